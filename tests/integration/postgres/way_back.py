"""From JSON back to PostgreSQL, as docs/reference/types.md tells readers to do it."""

from __future__ import annotations

import base64
from typing import Any

from liberator.postgres.model import PgType


def backslashed(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def doubled(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '""') + '"'


def way_back(value: Any, type: PgType) -> str:
    """JSON value -> text that the type's input function reads."""
    if type.kind == "domain":
        assert type.element
        return way_back(value, type.element)
    if type.kind == "array":
        return value if isinstance(value, str) else _array(value, type)
    if type.kind == "composite":
        fields = ((value[name], part) for name, part, _ in type.attributes)
        return (
            "("
            + ",".join("" if item is None else doubled(way_back(item, part)) for item, part in fields)
            + ")"
        )
    if type.kind == "range":
        return _range(value, type)
    if type.kind == "multirange":
        assert type.element
        return "{" + ",".join(way_back(item, type.element) for item in value) + "}"
    if type.name == "bytea":
        return "\\x" + base64.b64decode(value).hex()
    if isinstance(value, dict):
        return _object(value, type)
    if isinstance(value, list):
        return (
            " ".join(map(str, value))
            if type.name.endswith("vector") and type.schema == "pg_catalog"
            else repr(value)
        )
    return value if isinstance(value, str) else repr(value)


def _array(value: list[Any], type: PgType) -> str:
    element = type.element
    assert element
    own_lists = element.name == "numbers" or element.kind == "multirange" or element.name.endswith("vector")

    def part(item: Any) -> str:
        if item is None:
            return "NULL"
        if isinstance(item, list) and not own_lists:
            return _array(item, type)
        return backslashed(way_back(item, element))

    return "{" + element.delimiter.join(map(part, value)) + "}"


def _range(value: dict[str, Any], type: PgType) -> str:
    assert type.element
    if value["empty"]:
        return "empty"
    low, high = (
        "" if bound is None else doubled(way_back(bound, type.element))
        for bound in (value["lower"], value["upper"])
    )
    return f"{'[' if value['lower_inc'] else '('}{low},{high}{']' if value['upper_inc'] else ')'}"


def _object(value: dict[str, Any], type: PgType) -> str:
    if type.name == "point":
        return f"({value['x']!r},{value['y']!r})".replace("'", "")
    if type.name == "sparsevec":
        return (
            "{"
            + ",".join(f"{key}:{item!r}" for key, item in value["vector"].items())
            + f"}}/{value['dimensions']}"
        )
    assert type.name == "hstore"
    pairs = ((backslashed(key), "NULL" if item is None else backslashed(item)) for key, item in value.items())
    return ",".join(f"{key}=>{item}" for key, item in pairs)
