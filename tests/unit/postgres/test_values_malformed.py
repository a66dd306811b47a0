"""Bytes that no server sends: a `ConversionError` or well-formed JSON, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liberator.postgres.model import PgType
from liberator.postgres.values import ConversionError, TypeOptions, converter
from liberator.postgres.values.extensions import FAMILIES as EXTENSIONS
from liberator.postgres.values.forms import BUILT_IN

TEXT = PgType(25, "pg_catalog", "text")
NUMERIC = PgType(1700, "pg_catalog", "numeric")
PAIR = PgType(1, "public", "pair", "composite", attributes=(("a", NUMERIC, -1), ("b", TEXT, -1)))
RANGE = PgType(2, "public", "r", "range", element=NUMERIC)
COMPOUND = [
    PgType(3, "pg_catalog", "_text", "array", element=TEXT),
    PgType(4, "pg_catalog", "_numeric", "array", element=NUMERIC),
    PgType(5, "public", "_pair", "array", element=PAIR),
    PgType(6, "public", "_r", "array", element=RANGE),
    PAIR,
    RANGE,
    PgType(7, "public", "mr", "multirange", element=RANGE),
    PgType(8, "public", "mood", "enum", labels=("sad", 'q"')),
    PgType(
        9, "public", "text_mr", "multirange", element=PgType(10, "public", "text_r", "range", element=TEXT)
    ),
]
TRUSTED = {"int2", "int4", "int8", "oid", "xid", "cid", "vector", "halfvec"}
CHECKED = [
    *COMPOUND,
    *(PgType(1, "pg_catalog", name) for name in sorted(BUILT_IN.keys() - TRUSTED)),
    *(PgType(1, "public", name) for name in sorted(EXTENSIONS.keys() - TRUSTED)),
    PgType(1, "", "unknown"),
]
BELIEVED = [
    *(PgType(1, "pg_catalog", name) for name in sorted(BUILT_IN.keys() & TRUSTED)),
    *(PgType(1, "public", name) for name in sorted(EXTENSIONS.keys() & TRUSTED)),
    PgType(1, "pg_catalog", "_int4", "array", element=PgType(23, "pg_catalog", "int4")),
]
OPTIONS = [
    TypeOptions(),
    TypeOptions(int64="string", array_bounds="text", char="trim"),
    TypeOptions(array_bounds="fail"),
]

SNIPPETS = [
    b'{"', b'"}', b"{", b"}", b"(", b")", b"[", b"]", b",", b";", b'"', b'""', b"\\", b"\\\\", b'\\"', b"NULL", b"=>",
    b'"a"=>"b"', b", ", b"[0:1]=", b"empty", b"infinity", b"-", b"1", b"1.5", b"NaN", b"2024-01-02", b" 03:04:05", b"+00",
    b" BC", b"P1Y", b"T1S", b"\\x", b"00ff", b"0101000020E6100000", b"/5", b":", b"\xc3\xa9", b"\xff", b"\n", b"a", b" ",
]  # fmt: skip
SCRAPS = st.one_of(st.binary(max_size=40), st.lists(st.sampled_from(SNIPPETS), max_size=12).map(b"".join))


@pytest.mark.parametrize("type", CHECKED, ids=lambda type: type.name)
@given(raw=SCRAPS, options=st.sampled_from(OPTIONS))
def test_malformed_text_is_refused_or_gives_well_formed_json(
    type: PgType, raw: bytes, options: TypeOptions
) -> None:
    made = refused_or_made(converter(type, -1, options), raw)
    if made is not None:
        json.loads(made, parse_constant=pytest.fail)


@pytest.mark.parametrize("type", BELIEVED, ids=lambda type: type.name)
@given(raw=SCRAPS)
def test_trusted_types_raise_nothing_else_either(type: PgType, raw: bytes) -> None:
    refused_or_made(converter(type, -1, TypeOptions()), raw)


@pytest.mark.parametrize("opening", [b"{", b'{"', b"(", b'("', b"[", b"{[", b'{"{'])
@pytest.mark.parametrize("type", COMPOUND, ids=lambda type: type.name)
def test_a_deep_or_long_opening_ends_quickly(type: PgType, opening: bytes) -> None:
    refused_or_made(converter(type, -1, TypeOptions()), opening * 100_000)


def refused_or_made(convert: Callable[[bytes], bytes], raw: bytes) -> bytes | None:
    try:
        return convert(raw)
    except ConversionError:
        return None
