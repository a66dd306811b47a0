"""Reading: no digit is lost, and legal but unusual JSON is read too."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liberator.contract.reading import members, read


@given(st.integers(-(10**40), 10**40))
def test_reads_every_integer_exactly(number: int) -> None:
    assert read(str(number).encode()) == number


@given(st.decimals(allow_nan=False, allow_infinity=False))
def test_reads_every_decimal_as_the_number_that_is_written(number: Decimal) -> None:
    text = str(number).lower().replace("+", "")
    value = read(text.encode())
    assert Decimal(repr(value) if isinstance(value, float) else value) == number


@pytest.mark.parametrize("digits", [4000, 4300, 20_000])
def test_reads_integers_longer_than_python_converts(digits: int) -> None:
    assert Decimal(read(b"9" * digits)) == Decimal("9" * digits)


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b'"\\ud800"', "\ufffd"),
        (b'{"a":["\\udc00\\ud83d\\ude00"]}', {"a": ["\ufffd😀"]}),
        (b'"\\u0000"', "\0"),
        (b" [ 1 ,\t2 ]\n", [1, 2]),
    ],
)
def test_reads_what_json_allows(raw: bytes, value: Any) -> None:
    assert read(raw) == value


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"NaN", b"-Infinity", b"01", b"'a'", b'"\xff"', b"[1,]", b'{"a":1e}']
)
def test_refuses_what_is_no_json(raw: bytes) -> None:
    with pytest.raises(ValueError):
        read(raw)


@pytest.mark.parametrize("exponent", ["99999999999999999999", "-99999999999999999999"])
@pytest.mark.parametrize("mantissa", ["1", "-2.5", "0", "-0.00"])
def test_keeps_sign_and_side_of_unthinkable_exponents(mantissa: str, exponent: str) -> None:
    value = read(f"{mantissa}e{exponent}".encode())
    tiny = exponent.startswith("-") or Decimal(mantissa) == 0
    assert (value == 0) == tiny
    assert (value < -(10**400)) == (not tiny and mantissa.startswith("-"))


_SCALARS = st.none() | st.floats(allow_nan=False, allow_infinity=False) | st.text()


@given(st.dictionaries(st.text(), st.recursive(_SCALARS, st.lists, max_leaves=4)))
def test_splits_an_object_into_the_texts_of_its_members(row: dict[str, Any]) -> None:
    for indent in (None, 1):
        found = dict(members(json.dumps(row, indent=indent).encode()))
        assert {name: json.loads(raw) for name, raw in found.items()} == row
