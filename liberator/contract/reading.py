"""JSON bytes to Python values without losing a digit, so that a verdict is about the number that is written.

Enters: the JSON of a row or a column. Leaves: values with `int` of any size, and `float` or `Decimal`, whichever
holds the number. Called by the gate's slow paths; never decides whether a value is good.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from typing import Any

import orjson

_SHAPE = bytes.maketrans(b"0123456789.E", b"00000000000e")
_GREAT_EXPONENTS = (b"0e000", b"0e-000", b"0e+000")

_INT_DIGITS = 4000
"""Python refuses longer decimal texts for `int` (its limit against quadratic time is 4300)."""

_DECODER = json.JSONDecoder(parse_float=str, parse_int=str)
_BLANK = re.compile(r"[ \t\n\r]*")


def read(raw: bytes) -> Any:
    """The value of JSON text, exactly.

    Half of a surrogate pair (legal in PostgreSQL's ``json``) is read as U+FFFD. Raises `ValueError` for what is no
    JSON and `RecursionError` for what is nested too deeply to be read.
    """
    if not has_long_number(raw, 16):
        try:
            return orjson.loads(raw)
        except ValueError:
            pass  # nested too deeply for orjson, half a surrogate pair, or no JSON: the standard reader tells
    value = json.loads(raw, parse_float=_fraction, parse_int=_integer, parse_constant=_constant)
    return _whole_characters(value) if b"\\u" in raw else value


def has_long_number(raw: bytes, digits: int) -> bool:
    """Is there a number (or, harmlessly, text that looks like one) of so many digits, or with a three-digit exponent?"""
    shape = raw.translate(_SHAPE)
    return b"0" * digits in shape or (b"0e" in shape and any(each in shape for each in _GREAT_EXPONENTS))


def members(raw: bytes) -> Iterator[tuple[str, bytes]]:
    """The members of a JSON object as name and the value's own text, in order."""
    text = raw.decode()
    at = _skip(text, text.index("{") + 1)
    while text[at] != "}":
        name, at = _DECODER.raw_decode(text, at)
        start = _skip(text, _skip(text, at) + 1)
        _, end = _DECODER.raw_decode(text, start)
        yield name, text[start:end].encode()
        at = _skip(text, end)
        at = _skip(text, at + 1) if text[at] == "," else at


def _skip(text: str, at: int) -> int:
    found = _BLANK.match(text, at)
    return found.end() if found else at


def _integer(text: str) -> int | Decimal:
    return int(text) if len(text) < _INT_DIGITS else Decimal(text)


def _fraction(text: str) -> int | Decimal:
    """A whole number as such, where it has no more digits than that: the validator compares decimals as floats."""
    try:
        number = Decimal(text)
    except InvalidOperation:  # an exponent beyond 10**18: no contract can tell it from a smaller giant
        mantissa, _, exponent = text.lower().partition("e")
        giant = "0" if exponent.startswith("-") or not mantissa.strip("-0.") else "1E+999999"
        return Decimal("-" + giant if mantissa.startswith("-") else giant)
    is_whole = number.adjusted() < _INT_DIGITS and number == number.to_integral_value()
    return int(number) if is_whole else number


def _constant(text: str) -> Any:
    raise ValueError(f"{text} is no JSON")


def _whole_characters(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_whole_characters(item) for item in value]
    if isinstance(value, dict):
        return {_whole_characters(name): _whole_characters(item) for name, item in value.items()}
    return value
