"""A contract as a checked document: what may be in one, where its references lead, validators for its parts.

Enters: a JSON Schema as plain data. Leaves: a `Document` whose references all lead inside itself, or a
`ContractError` that names the place. Called by the store (at load) and by the gate; never fetches anything: a
contract is complete in itself or refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, unquote

import jsonschema_rs

from liberator.contract import pattern
from liberator.errors import ContractError

Schema = bool | dict[str, Any]
Pointer = tuple[str | int, ...]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
URI = "urn:liberator:contract"
"""The address under which a document's parts refer to it; never looked up anywhere but in the document."""

_ONE = (
    "additionalProperties",
    "contains",
    "contentSchema",
    "else",
    "if",
    "items",
    "not",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
)
_LISTS = ("allOf", "anyOf", "oneOf", "prefixItems")
_MAPS = ("$defs", "definitions", "dependentSchemas", "patternProperties", "properties")
_SAME_VALUE = frozenset({"allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas"})
"""Keywords whose subschemas judge the same value again."""

_UNSUPPORTED = (
    "$dynamicRef",
    "$dynamicAnchor",
    "$recursiveRef",
    "$recursiveAnchor",
    "$vocabulary",
    "dependencies",
)


def pointer_text(at: Pointer) -> str:
    """A JSON Pointer (RFC 6901)."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in at)


def walk(schema: Schema) -> Iterator[tuple[Pointer, Schema]]:
    """Every subschema with its place, the root first. Data in `enum`, `const` or `default` is not entered."""
    waiting: list[tuple[Pointer, Schema]] = [((), schema)]
    while waiting:
        at, here = waiting.pop()
        yield at, here
        if isinstance(here, dict):
            waiting.extend(reversed([(at + step, child) for step, child in _children(here)]))


def _children(schema: Mapping[str, Any]) -> Iterator[tuple[Pointer, Schema]]:
    for keyword, operand in schema.items():
        if keyword in _ONE:
            yield (keyword,), operand
        elif keyword in _LISTS:
            yield from (((keyword, index), child) for index, child in enumerate(operand))
        elif keyword in _MAPS:
            yield from (((keyword, name), child) for name, child in operand.items())


def validator(schema: Schema, registry: jsonschema_rs.Registry | None = None) -> Any:
    """The run-time validator: linear-time patterns, `format` is only a hint, nothing is fetched."""
    return jsonschema_rs.Draft202012Validator(
        schema,
        registry=registry,
        offline=True,
        validate_formats=False,
        pattern_options=jsonschema_rs.RegexOptions(),
    )


class Document:
    """A contract whose every part has been looked at.

    schema: the contract with references spelled as ``#/...`` and without ``$id`` and ``$anchor``.
    """

    def __init__(self, schema: Schema, where: str = "contract") -> None:
        """Check `schema` as a whole. `where` begins the place that an error names. Raises `ContractError`."""
        self._where = where
        self._refuse_what_is_no_schema(schema)
        self.schema: Schema = json.loads(json.dumps(schema))
        self._places = dict(walk(self.schema))
        self._refuse_what_no_engine_shares()
        self._settle_references(self._anchors())
        self._refuse_circles()
        self._registry = jsonschema_rs.Registry([(URI, self.schema)], draft=jsonschema_rs.Draft202012)
        self._refuse_what_does_not_compile()

    def at(self, place: Pointer) -> Schema:
        """The subschema at `place`."""
        return self._places[place]

    def target(self, reference: str) -> Pointer:
        """The place that a ``$ref`` of this document leads to."""
        return self._targets[reference]

    def judging(self, at: Pointer, name: str) -> list[Pointer]:
        """The places of what the subschema at `at` asks of the value of the member `name`."""
        schema = self._places[at]
        if isinstance(schema, bool):
            return []
        places: list[Pointer] = [(*at, "properties", name)] if name in schema.get("properties", ()) else []
        for text in schema.get("patternProperties", ()):
            if self.validator({"pattern": text}).is_valid(name):
                places.append((*at, "patternProperties", text))
        if not places and "additionalProperties" in schema:
            places.append((*at, "additionalProperties"))
        return places

    def link(self, place: Pointer) -> dict[str, Any]:
        """A schema for `validator` that stands for the subschema at `place`."""
        return {"$ref": f"{URI}#{quote(pointer_text(place), safe='/~')}"}

    def validator(self, schema: Schema) -> Any:
        """A validator of a schema that may hold links into this document."""
        return validator(schema, self._registry)

    def _error(self, code: str, at: Pointer, what: str, fix: str) -> ContractError:
        where = f"{self._where}, at {pointer_text(at) or 'the root'}"
        return ContractError(what, code=f"contract.{code}", where=where, fix=fix)

    def _refuse_what_is_no_schema(self, schema: Schema) -> None:
        try:
            json.dumps(schema, allow_nan=False, ensure_ascii=False).encode()
        except (ValueError, TypeError) as error:
            raise self._error(
                "invalid_schema",
                (),
                f"the contract is no JSON: {type(error).__name__}",
                "Use finite numbers and whole characters only.",
            ) from None
        dialect = schema.get("$schema", DIALECT) if isinstance(schema, dict) else DIALECT
        if not isinstance(dialect, str) or dialect.rstrip("#") != DIALECT:
            raise self._error(
                "unsupported",
                ("$schema",),
                "the contract is not written in JSON Schema 2020-12",
                f"Use {DIALECT}.",
            )
        if not jsonschema_rs.meta.is_valid(schema):
            raise self._metaschema_error(schema)

    def _metaschema_error(self, schema: Schema) -> ContractError:
        """What the reference validator says about a contract that is no schema."""
        import jsonschema
        from jsonschema.exceptions import SchemaError

        try:
            jsonschema.Draft202012Validator.check_schema(schema)
        except SchemaError as error:
            return self._error(
                "invalid_schema", tuple(error.path), f"no JSON Schema: {error.message}", "Correct it."
            )
        return self._error("invalid_schema", (), "no JSON Schema: a pattern cannot be read", "Correct it.")

    def _refuse_what_no_engine_shares(self) -> None:
        for at, here in self._places.items():
            if not isinstance(here, dict):
                continue
            unsupported = [word for word in _UNSUPPORTED if word in here]
            unsupported += [word for word in ("$id", "$schema") if at and word in here]
            if unsupported:
                raise self._error(
                    "unsupported",
                    (*at, unsupported[0]),
                    f"{unsupported[0]} is not supported inside a contract",
                    "Use $ref with '#/$defs/...'; dependentRequired and dependentSchemas instead of dependencies.",
                )
            for text in [
                *([here["pattern"]] if "pattern" in here else []),
                *here.get("patternProperties", {}),
            ]:
                self._refuse_unportable_pattern(at, text)

    def _refuse_unportable_pattern(self, at: Pointer, text: str) -> None:
        try:
            pattern.check(text)
        except pattern.NotPortable as error:
            raise self._error(
                "pattern_not_portable",
                at,
                f"the pattern {text!r} is outside the portable subset: {error}",
                "Write it without look-around, back references and flags; see the guide on contracts.",
            ) from None

    def _anchors(self) -> dict[str, Pointer]:
        anchors: dict[str, Pointer] = {}
        for at, here in self._places.items():
            name = here.get("$anchor") if isinstance(here, dict) else None
            if name is not None and anchors.setdefault(f"#{name}", at) != at:
                raise self._error(
                    "unsupported", at, f"the anchor {name!r} stands twice", "Give it another name."
                )
        return anchors

    def _settle_references(self, anchors: dict[str, Pointer]) -> None:
        """Rewrite every ``$ref`` as a plain pointer into this document, refusing all others."""
        by_text = {f"#{pointer_text(at)}": at for at in self._places} | anchors
        own = self.schema.get("$id", "") if isinstance(self.schema, dict) else ""
        self._targets: dict[str, Pointer] = {}
        for at, here in self._places.items():
            if not isinstance(here, dict):
                continue
            here.pop("$id", None)
            here.pop("$anchor", None)
            if "$ref" in here:
                place = self._resolve(at, here["$ref"], own, by_text)
                here["$ref"] = "#" + quote(pointer_text(place), safe="/~")
                self._targets[here["$ref"]] = place

    def _resolve(self, at: Pointer, reference: str, own: str, by_text: dict[str, Pointer]) -> Pointer:
        base, _, fragment = reference.partition("#")
        if base not in ("", own.rstrip("#")):
            raise self._error(
                "remote_ref",
                at,
                f"$ref {reference!r} leads out of the contract",
                "Copy what it refers to into $defs; nothing is ever fetched.",
            )
        place = by_text.get("#" + unquote(fragment))
        if place is None:
            raise self._error(
                "unresolved_ref", at, f"$ref {reference!r} leads to no schema", "Correct the reference."
            )
        return place

    def _refuse_circles(self) -> None:
        """A reference may lead back to itself only by way of a part of the value."""
        done: set[Pointer] = set()
        for start in self._places:
            path: list[Pointer] = []
            waiting = [(start, 0)]
            while waiting:
                at, depth = waiting.pop()
                del path[depth:]
                if at in path:
                    raise self._error(
                        "circular_ref",
                        at,
                        "a $ref leads back to itself for the same value",
                        "Break the circle.",
                    )
                if at not in done:
                    done.add(at)
                    path.append(at)
                    waiting.extend((following, depth + 1) for following in self._same_value(at))

    def _same_value(self, at: Pointer) -> Iterator[Pointer]:
        here = self._places[at]
        if isinstance(here, dict):
            yield from (at + step for step, _ in _children(here) if step[0] in _SAME_VALUE)
            if "$ref" in here:
                yield self._targets[here["$ref"]]

    def _refuse_what_does_not_compile(self) -> None:
        try:
            self.validator(self.link(()))
        except ValueError as error:
            raise self._error(
                "invalid_schema",
                (),
                f"the validator cannot compile the contract: {str(error).splitlines()[0]}",
                "Make its patterns smaller.",
            ) from None
