"""Contracts, tables and rows for property tests: small pools of values, so that rules are met and broken often."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from liberator.contract.gate import ColumnFacts

TEXTS = ["", "a", "A", "ab", "abc", "abcd", "é", "😀", "a\n", '"', "\\", "1", "12", "NaN", "-1.5", "/"]
NUMBERS: list[int | float] = [
    0,
    1,
    -1,
    2,
    3,
    7,
    10,
    0.5,
    1.5,
    -0.25,
    0.1,
    0.3,
    19.99,
    2**53 + 1,
    2**63,
    10**24,
    1e22,
]
NAMES = ["id", "a", "b", "c", "_x", "日本"]
PATTERNS = [
    "^a",
    "^[a-c]+$",
    r"^\d+$",
    "é|A",
    "^.?$",
    r"^\w*$",
    "^$",
    r"^-?[0-9]+(\.[0-9]+)?$",
    r"\s",
    r"[^\d]",
]


@dataclass(frozen=True)
class Kind:
    """A kind of column: what its type guarantees and the JSON values that it can have."""

    guaranteed: dict[str, Any]
    values: SearchStrategy[Any]


def _integers(low: int, high: int) -> SearchStrategy[int]:
    return st.sampled_from([n for n in NUMBERS if isinstance(n, int) and low <= n <= high]) | st.integers(
        low, high
    )


_NESTED: SearchStrategy[Any] = st.recursive(
    st.sampled_from([None, 1, 2, 7]), lambda inner: st.lists(inner, max_size=3), max_leaves=4
).filter(lambda value: isinstance(value, list))

KINDS = [
    Kind(
        {"type": "integer", "minimum": -99, "maximum": 2**31 - 1, "x-pg-type": "integer"},
        _integers(-99, 2**31 - 1),
    ),
    Kind({"type": "integer", "minimum": 0, "maximum": 10}, _integers(0, 10)),
    Kind({"type": "integer"}, _integers(-(10**30), 10**30)),
    Kind(
        {"anyOf": [{"type": "number"}, {"enum": ["NaN", "Infinity", "-Infinity"]}]},
        st.sampled_from([*[float(n) for n in NUMBERS if abs(n) < 2**53], "NaN", "-Infinity"]),
    ),
    Kind({"type": "string"}, st.sampled_from(TEXTS)),
    Kind({"type": "string", "maxLength": 3}, st.sampled_from([t for t in TEXTS if len(t) <= 3])),
    Kind(
        {"type": "string", "pattern": "^[a-c]+$", "not": {"pattern": "\\n"}},
        st.sampled_from(["a", "abc", "ab"]),
    ),
    Kind({"type": "boolean"}, st.booleans()),
    Kind({"enum": ["a", "b", "ab"]}, st.sampled_from(["a", "b", "ab"])),
    Kind(
        {
            "$ref": "#/$defs/list",
            "$defs": {
                "list": {
                    "type": "array",
                    "items": {"anyOf": [{"type": "integer"}, {"type": "null"}, {"$ref": "#/$defs/list"}]},
                }
            },
        },
        _NESTED,
    ),
    Kind(
        {
            "type": "object",
            "properties": {"empty": {"type": "boolean"}, "lower": {"type": ["integer", "null"]}},
            "required": ["empty"],
            "additionalProperties": False,
        },
        st.fixed_dictionaries({"empty": st.booleans()}, optional={"lower": st.sampled_from([None, 1, 5])}),
    ),
    Kind(
        {},
        st.recursive(
            st.sampled_from([None, True, *NUMBERS[:9], *TEXTS[:5]]),
            lambda inner: (
                st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["a", "é"]), inner, max_size=2)
            ),
            max_leaves=3,
        ),
    ),
]
"""One of each way in which a converter's schema is written."""

_number = st.sampled_from(NUMBERS)
_positive = st.sampled_from([n for n in NUMBERS if n > 0])
_count = st.integers(0, 4)
_data = st.sampled_from([None, True, False, *NUMBERS, *TEXTS, [1], [1.0, True], {"a": 1}, {"a": 1.0}])
_types = st.sampled_from(["null", "boolean", "integer", "number", "string", "array", "object"])


@cache
def value_schemas(depth: int = 2, *, references: bool = True) -> SearchStrategy[Any]:
    """Schemas for the value of a column; references lead to ``#/$defs/d`` and ``#/$defs/e``."""
    plain: dict[str, SearchStrategy[Any]] = {
        "type": _types | st.lists(_types, min_size=1, max_size=3, unique=True),
        "enum": st.lists(_data, min_size=1, max_size=4),
        "const": _data,
        "minimum": _number,
        "maximum": _number,
        "exclusiveMinimum": _number,
        "exclusiveMaximum": _number,
        "multipleOf": _positive,
        "minLength": _count,
        "maxLength": _count,
        "pattern": st.sampled_from(PATTERNS),
        "minItems": _count,
        "maxItems": _count,
        "uniqueItems": st.booleans(),
        "minProperties": _count,
        "required": st.lists(st.sampled_from(["a", "empty", "lower"]), max_size=2, unique=True),
        "format": st.sampled_from(["date-time", "uuid"]),
        "title": st.just("a title"),
    }
    if depth == 0:
        return _some_of(plain)
    inner = value_schemas(depth - 1, references=references)
    several = st.lists(inner, min_size=1, max_size=2)
    nested: dict[str, SearchStrategy[Any]] = {
        "anyOf": several | inner.map(lambda schema: [schema, {"type": "null"}]),
        "allOf": several,
        "oneOf": several,
        "not": inner,
        "if": inner,
        "then": inner,
        "else": inner,
        "items": inner,
        "contains": inner,
        "prefixItems": several,
        "properties": st.dictionaries(st.sampled_from(["a", "empty", "lower"]), inner, max_size=2),
        "patternProperties": st.dictionaries(st.sampled_from(["^a", "^lo"]), inner, max_size=1),
        "additionalProperties": inner,
        "propertyNames": inner,
        "unevaluatedItems": inner,
    }
    if references:
        nested["$ref"] = st.sampled_from(["#/$defs/d", "#/$defs/e"])
    # Weighted: most contracts are plain.
    return st.one_of(_some_of(plain), _some_of(plain), _some_of(plain | nested), st.booleans())


def _some_of(keywords: dict[str, SearchStrategy[Any]], most: int = 3) -> SearchStrategy[dict[str, Any]]:
    chosen = st.lists(st.sampled_from(sorted(keywords)), max_size=most, unique=True)
    return chosen.flatmap(lambda names: st.fixed_dictionaries({name: keywords[name] for name in names}))


@cache
def row_schemas(depth: int = 1, *, plain: bool = False) -> SearchStrategy[Any]:
    """Schemas for a row. plain: of `properties`, `required` and `type` only."""
    names = st.sampled_from(NAMES)
    listed = st.lists(names, max_size=2, unique=True)
    values = value_schemas(1)
    of_columns = st.dictionaries(names, values, max_size=4)
    keywords: dict[str, SearchStrategy[Any]] = {
        "properties": of_columns,
        "required": listed,
        "type": st.sampled_from(["object", ["object", "null"]]),
    }
    if plain:
        return st.fixed_dictionaries({}, optional=keywords)
    keywords |= {
        "patternProperties": st.dictionaries(st.sampled_from(["^[ab]$", "^_", "本"]), values, max_size=2),
        "additionalProperties": values,
        "propertyNames": st.sampled_from([{"maxLength": 2}, {"pattern": "^[a-z]"}, True]),
        "minProperties": _count,
        "maxProperties": st.integers(2, 6),
        "dependentRequired": st.dictionaries(names, listed, max_size=1),
    }
    if depth:
        inner = row_schemas(depth - 1)
        several = st.lists(inner, min_size=1, max_size=2)
        keywords |= {
            "allOf": several,
            "anyOf": several,
            "oneOf": several,
            "not": inner,
            "if": inner,
            "then": inner,
            "else": inner,
            "dependentSchemas": st.dictionaries(names, inner, max_size=1),
            "unevaluatedProperties": st.booleans(),
            "$ref": st.just("#/$defs/row"),
        }
    common = st.fixed_dictionaries({"properties": of_columns}, optional={"required": listed})
    return st.one_of(_some_of(keywords, 4), st.builds(lambda a, b: {**a, **b}, common, _some_of(keywords, 2)))


@st.composite
def contracts(draw: st.DrawFn, *, plain: bool = False) -> dict[str, Any]:
    """Whole contracts, with the definitions that references lead to."""
    schema: dict[str, Any] = dict(draw(row_schemas(plain=plain)))
    definitions = value_schemas(0, references=False)
    schema["$defs"] = {
        "d": draw(definitions),
        "e": {"type": ["array", "string"], "items": {"anyOf": [{"$ref": "#/$defs/e"}, draw(definitions)]}},
        "row": draw(row_schemas(0)),
    }
    return schema


@dataclass(frozen=True)
class TableRow:
    """A table's columns and one row of it."""

    columns: tuple[ColumnFacts, ...]
    row: dict[str, Any]

    def without(self, names: tuple[str, ...]) -> bytes:
        """The row's JSON, lacking some columns."""
        return encoded({name: value for name, value in self.row.items() if name not in names})


def encoded(value: Any) -> bytes:
    """JSON as converters write it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


@st.composite
def table_rows(draw: st.DrawFn) -> TableRow:
    """Tables of up to five columns, and a row that keeps what their types guarantee."""
    columns, row = [], {}
    for name in draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=5, unique=True)):
        kind = draw(st.sampled_from(KINDS))
        nullable = draw(st.booleans())
        columns.append(ColumnFacts(name, kind.guaranteed, nullable))
        row[name] = draw(st.none() | kind.values if nullable else kind.values)
    return TableRow(tuple(columns), row)
