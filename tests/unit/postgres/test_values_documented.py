"""The table of docs/reference/types.md is true: every example in it is converted, and accepted by its schema."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from liberator.postgres.model import PgType
from liberator.postgres.values import TypeOptions, converter, schema
from liberator.postgres.values.extensions import FAMILIES as EXTENSIONS
from liberator.postgres.values.forms import BUILT_IN

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "types.md"
INT4 = PgType(23, "pg_catalog", "int4")
TEXT = PgType(25, "pg_catalog", "text")
RANGE = PgType(3904, "pg_catalog", "int4range", "range", element=INT4)
MADE_OF_OTHERS = {
    "int4[]": PgType(1007, "pg_catalog", "_int4", "array", element=INT4),
    "int4range": RANGE,
    "int4multirange": PgType(4451, "pg_catalog", "int4multirange", "multirange", element=RANGE),
    "mood": PgType(1, "public", "mood", "enum", labels=("sad", "so so")),
    "pair": PgType(2, "public", "pair", "composite", attributes=(("a", INT4, -1), ("b", TEXT, -1))),
    "price": PgType(3, "public", "price", "domain", element=PgType(1700, "pg_catalog", "numeric")),
}


def examples() -> list[tuple[str, str, str]]:
    """(first type named, text, JSON) of the rows of the first table."""
    return [(_code(row[0]), _code(row[1]), _code(row[2])) for row in _rows()]


def _rows() -> list[list[str]]:
    table = PAGE.read_text(encoding="utf-8").partition("## The table")[2].partition("\n\nTypes nest")[0]
    return [line.strip("|").split("|") for line in table.strip().splitlines()[2:]]


def _code(cell: str) -> str:
    found = re.search(r"`([^`]*)`", cell)
    return found[1] if found else "unknown"


@pytest.mark.parametrize(("name", "text", "value"), examples(), ids=lambda part: part[:20])
def test_the_table_for_users_is_true(name: str, text: str, value: str) -> None:
    type = MADE_OF_OTHERS.get(name, PgType(1, "public" if name in EXTENSIONS else "pg_catalog", name))
    assert converter(type, -1, TypeOptions())(text.encode()).decode() == value
    fragment, definitions = schema(type, -1, TypeOptions())
    Draft202012Validator({**fragment, "$defs": definitions}).validate(json.loads(value))


def test_the_table_for_users_names_every_type_with_a_form_of_its_own() -> None:
    names = {name for line in _rows() for name in re.findall(r"`([^`]*)`", line[0])}
    assert names >= BUILT_IN.keys() | EXTENSIONS.keys()
