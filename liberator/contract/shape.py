"""What a contract comes down to for a table whose columns are known.

Enters: a contract and the names of the columns. Leaves: which subschemas judge which column, whether anything is
left that judges the row as a whole, and what no row of this table can satisfy. Called by the gate at compile time.

Every row has exactly the table's columns, so whatever asks for the presence or the names of members (`required`,
`additionalProperties: false`, `minProperties`, `dependentRequired`, `propertyNames`...) is decided here for good.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from liberator.contract.document import Document, Pointer, pointer_text
from liberator.contract.violation import Violation

_WHOLE_ROW = ("anyOf", "oneOf", "not", "if", "enum", "const", "unevaluatedProperties")
"""Keywords whose verdict on a row depends on values of several columns."""


@dataclass(slots=True)
class Shape:
    """columns: name -> places of the subschemas that judge its value. whole_row: something judges the row as one."""

    columns: dict[str, list[Pointer]] = field(default_factory=dict)
    whole_row: bool = False
    impossible: Violation | None = None


def shape(document: Document, names: Sequence[str]) -> Shape:
    """The contract as it meets a table with the columns `names`."""
    found = Shape({name: [] for name in names})
    waiting: list[Pointer] = [()]
    while waiting:
        at = waiting.pop(0)
        schema = document.at(at)
        if isinstance(schema, bool):
            if not schema:
                found.impossible = found.impossible or Violation(
                    "", "false", pointer_text(at), "allows no row at all"
                )
            continue
        waiting += _also(document, at, schema, names)
        found.whole_row = found.whole_row or any(word in schema for word in _WHOLE_ROW)
        found.impossible = found.impossible or next(_impossible(document, at, schema, names), None)
        for name in names:
            found.columns[name] += document.judging(at, name)
    return found


def _also(
    document: Document, at: Pointer, schema: Mapping[str, Any], names: Sequence[str]
) -> Iterator[Pointer]:
    """Places of the subschemas that judge the row together with `schema`."""
    yield from ((*at, "allOf", index) for index, _ in enumerate(schema.get("allOf", ())))
    yield from (
        (*at, "dependentSchemas", name) for name in schema.get("dependentSchemas", ()) if name in names
    )
    if "$ref" in schema:
        yield document.target(schema["$ref"])


def _impossible(
    document: Document, at: Pointer, schema: Mapping[str, Any], names: Sequence[str]
) -> Iterator[Violation]:
    """Why no row with the columns `names` can satisfy `schema`."""

    def violation(rule: str, message: str, path: str = "") -> Violation:
        return Violation(path, rule, pointer_text((*at, rule)), message)

    types = schema.get("type", "object")
    if types != "object" and "object" not in types:
        yield violation("type", "a row is an object, which the contract does not allow")
    for name in schema.get("required", ()):
        if name not in names:
            yield violation("required", f"the table has no column {name!r}")
    for trigger, others in schema.get("dependentRequired", {}).items():
        for name in others:
            if trigger in names and name not in names:
                yield violation("dependentRequired", f"the table has no column {name!r}")
    if len(names) < schema.get("minProperties", 0) or len(names) > schema.get("maxProperties", len(names)):
        rule = "minProperties" if len(names) < schema.get("minProperties", 0) else "maxProperties"
        yield violation(rule, f"the table has {len(names)} columns")
    for name in names:
        for place in document.judging(at, name):
            if document.at(place) is False:
                rule = str(place[len(at)])
                yield violation(
                    rule, "the table has a column that the contract does not allow", pointer_text((name,))
                )
    if "propertyNames" in schema:
        allowed = document.validator(document.link((*at, "propertyNames")))
        for name in names:
            if not allowed.is_valid(name):
                yield violation(
                    "propertyNames", "the contract does not allow this name", pointer_text((name,))
                )
