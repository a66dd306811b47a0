"""The converters in Rust give the bytes of Python's, and refuse what those refuse."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liberator.postgres.model import PgType
from liberator.postgres.values import ConversionError, Described, TypeOptions, converter, described
from liberator.transform import Kind, cast, mask
from tests.unit.postgres.test_values_malformed import BELIEVED, CHECKED, OPTIONS, SCRAPS

native: Any = pytest.importorskip("liberator_native")

INT4, NUMERIC = PgType(23, "pg_catalog", "int4"), PgType(1700, "pg_catalog", "numeric")
VECTOR, JSONB = PgType(1, "public", "vector"), PgType(3802, "pg_catalog", "jsonb")
INTEGERS = PgType(2, "pg_catalog", "_int4", "array", element=INT4)
PARTS = (("a", INT4, -1), ('b"', INTEGERS, -1), ("c", VECTOR, -1), ("d", JSONB, -1))
TYPES = [
    *CHECKED,
    *BELIEVED,
    PgType(11, "public", "trusting", "composite", attributes=PARTS),
    PgType(12, "public", "bare", "composite"),
    PgType(13, "public", "int_range", "range", element=INT4),
    PgType(14, "pg_catalog", "_box", "array", element=PgType(15, "pg_catalog", "box", delimiter=";")),
    PgType(16, "public", "price", "domain", element=NUMERIC),
]
EMBED = TypeOptions(json="embed")
MOMENTS = st.from_regex(
    rb"([0-9]{3,8}-[0-9]{2}-[0-9]{2})?[ T]?([0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{0,7})?)?"
    rb"([+-][0-9]{2}(:[0-9]{2}){0,2})?( BC)?",
    fullmatch=True,
)
FIGURES = st.from_regex(
    rb"[(\[$-]{0,2}[0-9,]{0,6}[.]?[0-9 ]{0,4}(e[+-]?[0-9]{0,3})?[%)\]]?|-?(NaN|Infinity|infinity)|P?T?[0-9YMDTHS.-]{0,12}",
    fullmatch=True,
)
TEXTS = st.one_of(SCRAPS, MOMENTS, FIGURES, st.text(max_size=40).map(str.encode))


def attempted(convert: Callable[[bytes], bytes], raw: bytes) -> bytes | None:
    try:
        return convert(raw)
    except ConversionError:
        return None


def twin(description: Described) -> Any:
    return native.Converter(json.dumps(description))


@pytest.mark.parametrize("type", TYPES, ids=lambda type: type.name)
@given(raw=TEXTS, options=st.sampled_from([*OPTIONS, EMBED]))
def test_text_gives_the_same_bytes_or_is_refused_by_both(
    type: PgType, raw: bytes, options: TypeOptions
) -> None:
    made = attempted(converter(type, -1, options), raw)
    assert twin(described(type, -1, options)).convert(raw) == made


@pytest.mark.parametrize("way", ["sha256", "redact", "null", "truncate:0", "truncate:3"])
@given(raw=TEXTS)
def test_a_mask_leaves_the_same(way: str, raw: bytes) -> None:
    mine = mask(way, "salt")
    convert = converter(PgType(25, "pg_catalog", "text"), -1, TypeOptions())
    made = attempted(lambda raw: mine.change(convert(raw)), raw)
    assert twin(("changed", ("text",), [mine.described])).convert(raw) == made


@pytest.mark.parametrize("kind", ["string", "number", "integer", "boolean"])
@pytest.mark.parametrize("inner", ["text", "float", "bool"])
@given(raw=st.one_of(TEXTS, st.sampled_from([b"t", b"1", b"-0", b"1.50", b"2.0", b"1E5", b"-0.0", b"NaN"])))
def test_a_cast_gives_the_same(inner: str, kind: Kind, raw: bytes) -> None:
    name = {"float": "float8"}.get(inner, inner)
    convert, (change, _) = converter(PgType(1, "pg_catalog", name), -1, TypeOptions()), cast(kind)
    made = attempted(lambda raw: change(convert(raw)), raw)
    assert twin(("changed", (inner,), [(kind,)])).convert(raw) == made


@given(raw=st.binary(max_size=60) | SCRAPS)
def test_what_a_mask_has_made_null_no_cast_sees(raw: bytes) -> None:
    assert twin(("changed", ("verbatim",), [("null",), ("integer",)])).convert(raw) == b"null"


def test_a_long_text_is_escaped_whole() -> None:
    raw = ("é😀" * 400_000 + "\n").encode()
    convert = converter(PgType(25, "pg_catalog", "text"), -1, TypeOptions())
    assert twin(("text",)).convert(raw) == convert(raw)


@pytest.mark.parametrize("opening", [b"{", b'{"', b"(", b'("', b"[", b"{[", b'{"{'])
def test_a_deep_or_long_opening_is_refused_like_anything_else(opening: bytes) -> None:
    for type in TYPES:
        raw = opening * 20_000
        made = attempted(converter(type, -1, TypeOptions()), raw)
        assert twin(described(type, -1, TypeOptions())).convert(raw) == made
