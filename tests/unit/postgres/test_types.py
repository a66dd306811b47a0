"""Types as history and as names."""

from __future__ import annotations

import json
from typing import Any

import pytest

from liberator.postgres.model import PgType
from liberator.postgres.types import format_type, type_from_json, type_to_json

INT4 = PgType(23, "pg_catalog", "int4")
NUMERIC = PgType(1700, "pg_catalog", "numeric")
BOX = PgType(603, "pg_catalog", "box", delimiter=";")
PRICE = PgType(90001, "public", "price", "domain", element=NUMERIC, typmod=655366)
MOOD = PgType(90002, "my schema", "mood", "enum", labels=("sad", "ünï"))
PAIR = PgType(90003, "public", "pair", "composite", attributes=(("a", PRICE, -1), ("b", NUMERIC, 655366)))
RANGE = PgType(3904, "pg_catalog", "int4range", "range", element=INT4)
ALL = [
    INT4,
    BOX,
    PRICE,
    MOOD,
    PAIR,
    RANGE,
    PgType(4451, "pg_catalog", "int4multirange", "multirange", element=RANGE),
    PgType(90004, "public", "_pair", "array", element=PAIR),
    PgType(90005, "", "unknown"),
]


@pytest.mark.parametrize("type", ALL, ids=lambda type: type.name)
def test_a_type_comes_back_from_the_history(type: PgType) -> None:
    assert type_from_json(json.loads(json.dumps(type_to_json(type)))) == type


def test_the_usual_type_is_short_in_the_history() -> None:
    assert type_to_json(INT4) == {"oid": 23, "name": "int4"}


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"oid": 1},
        {"oid": 1, "name": "a", "kind": "new"},
        {"oid": 1, "name": "a", "attributes": [1]},
        [],
        None,
        1,
        "a",
    ],
)
def test_a_broken_history_is_a_value_error(data: Any) -> None:
    with pytest.raises(ValueError):
        type_from_json(data)


@pytest.mark.parametrize(
    ("type", "typmod", "name"),
    [
        (INT4, -1, "int4"),
        (NUMERIC, (10 << 16 | 2) + 4, "numeric(10,2)"),
        (NUMERIC, (5 << 16 | (-2 & 0x7FF)) + 4, "numeric(5,-2)"),
        (PgType(1, "pg_catalog", "varchar"), 24, "varchar(20)"),
        (PgType(1, "pg_catalog", "bpchar"), 5, "bpchar(1)"),
        (PgType(1, "pg_catalog", "bit"), 3, "bit(3)"),
        (PgType(1, "pg_catalog", "bit"), -1, '"bit"'),
        (PgType(1, "pg_catalog", "char"), -1, '"char"'),
        (PgType(1, "pg_catalog", "timestamptz"), 0, "timestamptz(0)"),
        (PgType(1, "pg_catalog", "interval"), 0x7FFF << 16 | 3, "interval(3)"),
        (PgType(1, "pg_catalog", "interval"), 0x1C08 << 16 | 0xFFFF, "interval day to second"),
        (PgType(1, "pg_catalog", "interval"), 0x1C08 << 16 | 3, "interval day to second(3)"),
        (PgType(1, "pg_catalog", "_numeric", "array", element=NUMERIC), (10 << 16 | 2) + 4, "numeric(10,2)[]"),
        (MOOD, -1, '"my schema".mood'),
        (PgType(1, "order", 'we"ird'), -1, '"order"."we""ird"'),
        (PgType(1, "public", "order"), -1, "public.order"),
        (PgType(1, "gis", "geometry"), -1, "gis.geometry"),
        (PgType(1, "gis", "geometry"), (4326 << 8) | (1 << 2), "gis.geometry(Point,4326)"),
        (PgType(1, "gis", "geometry"), (6 << 2) | 3, "gis.geometry(MultiPolygonZM)"),
        (PgType(1, "gis", "geometry"), 4326 << 8, "gis.geometry(Geometry,4326)"),
        (PgType(1, "public", "vector"), 3, "public.vector(3)"),
        (PgType(1, "", "unknown"), 7, "unknown"),
    ],
)  # fmt: skip
def test_a_name_can_be_used_in_a_cast(type: PgType, typmod: int, name: str) -> None:
    assert format_type(type, typmod) == name
