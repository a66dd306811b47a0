"""What drivers give, as JSON."""

from __future__ import annotations

import json
import math
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from liberator.plan.driver_values import value_converter
from liberator.postgres.model import Column, PgType
from liberator.postgres.values import ConversionError, TypeOptions


def made(kind: str, value: Any, options: TypeOptions | None = None, typmod: int = -1) -> str:
    column = Column("v", PgType(0, "sqlalchemy", kind), typmod)
    return value_converter(column, options or TypeOptions())(value).decode()


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("integer", -5, "-5"),
        ("bigint", 2**64 - 1, "18446744073709551615"),
        ("boolean", 1, "true"),
        ("boolean", False, "false"),
        ("boolean", "maybe", '"maybe"'),
        ("boolean", Decimal("sNaN"), '"sNaN"'),
        ("decimal", Decimal("1.10"), '"1.10"'),
        ("decimal", Decimal("1E+3"), '"1000"'),
        ("decimal", Decimal("-0.000000000001"), '"-0.000000000001"'),
        ("decimal", Decimal("NaN"), '"NaN"'),
        ("decimal", 2, '"2"'),
        ("float", 0.1, "0.1"),
        ("float", math.inf, '"Infinity"'),
        ("float", -math.inf, '"-Infinity"'),
        ("float", math.nan, '"NaN"'),
        ("float", -0.0, "-0.0"),
        ("text", 'é"\n', '"é\\"\\n"'),
        ("bytes", b"\x00\xff", '"AP8="'),
        ("bytes", bytearray(b"a"), '"YQ=="'),
        ("date", date(2024, 2, 29), '"2024-02-29"'),
        ("date", "0000-00-00", '"0000-00-00"'),
        ("time", time(10, 11, 12, 500), '"10:11:12.0005"'),
        ("time", timedelta(hours=-100, microseconds=-500_000), '"-100:00:00.5"'),
        ("time", timedelta(hours=838, minutes=59, seconds=59), '"838:59:59"'),
        ("datetime", datetime(2024, 1, 2, 3, 4, 5, 1), '"2024-01-02T03:04:05.000001"'),
        ("datetime", datetime(2024, 1, 2), '"2024-01-02T00:00:00"'),
        ("datetime", "2024-01-02 03:04:05", '"2024-01-02T03:04:05"'),
        ("datetime", datetime(2024, 1, 2, 3, tzinfo=timezone(timedelta(hours=2))), '"2024-01-02T01:00:00Z"'),
        ("instant", datetime(2024, 1, 2, 3, 4, 5), '"2024-01-02T03:04:05Z"'),
        ("interval", timedelta(days=1, hours=2, seconds=3, microseconds=400), '"P1DT2H3.0004S"'),
        ("interval", timedelta(seconds=-1), '"PT-1S"'),
        ("interval", timedelta(), '"PT0S"'),
        ("uuid", UUID(int=1), '"00000000-0000-0000-0000-000000000001"'),
        ("json", '{"a": 1.0}', '"{\\"a\\": 1.0}"'),
        ("json", {"a": 1}, '"{\\"a\\": 1}"'),
        ("other", object, f'"{object}"'),
    ],
)
def test_values_have_the_json_of_their_column(kind: str, value: Any, expected: str) -> None:
    assert made(kind, value) == expected


def test_bits_are_as_many_as_the_column_has() -> None:
    assert made("bits", b"\x05", typmod=5) == '"00101"'


def test_options_choose() -> None:
    assert made("bigint", 5, TypeOptions(int64="string")) == '"5"'
    assert made("json", '{"a": 1.0}', TypeOptions(json="embed")) == '{"a": 1.0}'


def test_half_a_character_is_no_text() -> None:
    with pytest.raises(ConversionError):
        made("text", "\ud800")


KINDS = [
    "boolean",
    "float",
    "decimal",
    "text",
    "json",
    "bytes",
    "datetime",
    "instant",
    "time",
    "interval",
    "other",
]
ANYTHING = st.one_of(
    st.booleans(),
    st.integers(),
    st.text(),
    st.binary(),
    st.floats(),
    st.decimals(),
    st.datetimes(),
    st.timedeltas(),
)


@example("boolean", Decimal("sNaN"))
@given(st.sampled_from(KINDS), ANYTHING)
def test_whatever_a_column_holds_becomes_json(kind: str, value: Any) -> None:
    """SQLite lets anything into any column; NaN is no JSON, and never a bare word."""
    json.loads(made(kind, value), parse_constant=lambda word: pytest.fail(word))
