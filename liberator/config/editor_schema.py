"""The JSON Schema of a connector file, for editors: made from the models, committed as schemas/connector.schema.json.

Enters: the models. Leaves: a JSON Schema (2020-12). Whoever changes the models runs ``python -m
liberator.config > schemas/connector.schema.json``.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from itertools import pairwise
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from liberator.config.models import SourceConfig
from liberator.config.section import ConnectorConfig
from liberator.config.sidecar import SidecarConfig
from liberator.config.sink import SinkConfig

_NOT_A_RULE = ("title", "description", "default", "propertyNames")
"""What is told otherwise, or by some versions of pydantic only."""

_FILLED_IN = {"type": "string", "pattern": r"\$\{[^{}]+\}"}


_OTHERS: dict[str, type[ConnectorConfig]] = {"sidecar": SidecarConfig, "sink": SinkConfig}
"""Kinds of connectors that say which they are; without a word it is a source."""


def connector_schema() -> dict[str, Any]:
    """What a connector file may hold. Every value may also be filled in with ``${...}``."""
    parts = _sections(SourceConfig)
    chosen: dict[str, Any] = {"$ref": f"#/$defs/{SourceConfig.__name__}"}
    for kind, config in _OTHERS.items():
        parts |= _sections(config)
        chosen = {
            "if": {"properties": {"connector": {"const": kind}}, "required": ["connector"]},
            "then": {"$ref": f"#/$defs/{config.__name__}"},
            "else": chosen,
        }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A liberator connector",
        "description": "What a connector file holds; its key connector says which kind it is.",
        "type": "object",
        **chosen,
        "$defs": parts,
    }


def _sections(kind: type[ConnectorConfig]) -> dict[str, Any]:
    """The connector and all its sections, by name."""
    schema = kind.model_json_schema(by_alias=True, mode="validation", schema_generator=Described)
    parts = {**schema.pop("$defs"), kind.__name__: schema}
    for section in parts.values():
        section.pop("title")
        for name, value in section["properties"].items():
            section["properties"][name] = _or_filled_in(value)
    return parts


def _or_filled_in(value: dict[str, Any]) -> dict[str, Any]:
    """Mappings can't be filled in, and text without a pattern takes ``${...}`` anyway."""
    section = value.get("$ref") or value.get("allOf", [{}])[0].get("$ref")
    if section:
        return {"$ref": section}  # its own description stands there, and its default follows from its keys'
    about = {"description": " ".join(value["description"].split())}
    if "default" in value:
        about["default"] = value["default"]
    rule = {key: part for key, part in value.items() if key not in _NOT_A_RULE}
    if "const" in rule:
        rule.pop("enum", None)
    if rule.get("type") == "object" or any("$ref" in option for option in rule.get("anyOf", ())):
        return {**about, **rule}
    if rule.get("type") == "string" and not rule.keys() & {"pattern", "enum", "const"}:
        return {**about, **rule}
    options = rule["anyOf"] if rule.keys() == {"anyOf"} else [rule]
    return {**about, "anyOf": [*options, _FILLED_IN]}


class Described(GenerateJsonSchema):
    """Each key with the docstring below it."""

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        made = super().model_schema(schema)
        section: type[BaseModel] = schema["cls"]
        texts = {name: text for kind in reversed(section.__mro__) for name, text in _docstrings(kind).items()}
        for name, field in section.model_fields.items():
            if name in texts:
                made["properties"][field.alias or name].setdefault("description", texts[name])
        return made


def _docstrings(section: type) -> dict[str, str]:
    """What stands below each key that a class names itself."""
    if not issubclass(section, BaseModel) or section is BaseModel:
        return {}
    [definition] = ast.parse(textwrap.dedent(inspect.getsource(section))).body
    assert isinstance(definition, ast.ClassDef)
    return {
        key.target.id: inspect.cleandoc(below.value.value)
        for key, below in pairwise(definition.body)
        if isinstance(key, ast.AnnAssign) and isinstance(key.target, ast.Name)
        if isinstance(below, ast.Expr)
        and isinstance(below.value, ast.Constant)
        and isinstance(below.value.value, str)
    }
