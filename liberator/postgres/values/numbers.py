"""Numbers: integers, object ids, floating point, numeric, money, and bool."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from liberator.postgres.values.rules import (
    VERBATIM,
    Bare,
    Converter,
    Family,
    Form,
    Schema,
    TypeOptions,
    matching,
    quoted,
    refusal,
    verbatim,
)

INTEGER = "-?(?:0|[1-9][0-9]*)"
FLOAT = INTEGER + "(?:[.][0-9]+)?(?:e[+-][0-9]+)?"
SPECIALS = "NaN|-?Infinity"
FLOAT_SCHEMA: Schema = {"anyOf": [{"type": "number"}, {"enum": ["NaN", "Infinity", "-Infinity"]}]}

_NUMERIC = "-?[0-9]+(?:[.][0-9]+)?|" + SPECIALS
_MONEY = "-?[0-9]+[.][0-9]{2}"


def _integer(low: int, high: int) -> Family:
    form = Form(verbatim, VERBATIM, {"type": "integer", "minimum": low, "maximum": high})
    return lambda typmod, options: form


_int8 = _integer(-(2**63), 2**63 - 1)


def _wide_integer(typmod: int, options: TypeOptions) -> Form:
    if options.int64 == "number":
        return _int8(typmod, options)
    pattern = "-?[0-9]{1,19}"
    return Form(quoted(pattern, "int8"), ("quoted", pattern), matching(pattern))


_is_number = re.compile(FLOAT.encode()).fullmatch
_special_float = {
    b"NaN": b'"NaN"',
    b"Infinity": b'"Infinity"',
    b"-Infinity": b'"-Infinity"',
    b"-0": b"-0.0",
}.get


def float_value(raw: bytes) -> bytes:
    """A float4 or float8: the shortest digits that give it back. JSON has no word for three values, and many readers
    (Python's among them) take ``-0`` for the integer 0."""
    special = _special_float(raw)
    if special is not None:
        return special
    if _is_number(raw):
        return raw
    raise refusal("float8")


def _float(typmod: int, options: TypeOptions) -> Form:
    return Form(float_value, ("float",), FLOAT_SCHEMA)


_quoted_numeric = quoted(_NUMERIC, "numeric")


def _numeric_value(raw: bytes) -> bytes:
    """The common form is found without a regular expression: digits with one point among them."""
    digits = raw[1:] if raw[:1] == b"-" else raw
    if digits.replace(b".", b"", 1).isdigit():
        return b'"' + raw + b'"'
    return _quoted_numeric(raw)


def _numeric(typmod: int, options: TypeOptions) -> Form:
    return Form(_numeric_value, ("numeric",), matching(_NUMERIC))


_quoted_money = quoted(_MONEY, "money")


def _money_value(raw: bytes) -> bytes:
    """-$1,234.50, as lc_monetary=C writes it, without its ornaments."""
    return _quoted_money(raw.translate(None, b"$,"))


def _money(typmod: int, options: TypeOptions) -> Form:
    return Form(_money_value, ("money",), matching(_MONEY))


def _xid8(typmod: int, options: TypeOptions) -> Form:
    pattern = "[0-9]{1,20}"
    return Form(quoted(pattern, "xid8"), ("quoted", pattern), matching(pattern))


class _Truth(dict[bytes, bytes]):
    def __missing__(self, raw: bytes) -> bytes:
        raise refusal("bool")


_truth: Converter = _Truth({b"t": b"true", b"f": b"false"}).__getitem__


def _bool(typmod: int, options: TypeOptions) -> Form:
    return Form(_truth, ("bool",), {"type": "boolean"})


def _vector_of(low: int, high: int, name: str) -> Family:
    """int2vector and oidvector: numbers between single blanks."""
    matches = re.compile(f"(?:{INTEGER}(?: {INTEGER})*)?".encode()).fullmatch

    def convert(raw: bytes) -> bytes:
        if not matches(raw):
            raise refusal(name)
        return b"[" + raw.replace(b" ", b",") + b"]"

    items = {"type": "integer", "minimum": low, "maximum": high}
    form = Form(convert, ("integers",), {"type": "array", "items": items})
    return lambda typmod, options: form


_SHORT = (-(2**15), 2**15 - 1)
_UNSIGNED = (0, 2**32 - 1)


def _bare_numerics(values: Sequence[bytes]) -> Sequence[bytes] | None:
    return None if b"".join(values).translate(None, b"0123456789.-") else values


BARE: dict[Converter, Bare] = {_numeric_value: _bare_numerics}

NUMBERS_IN_TEXT: dict[str, Callable[[str], float]] = {
    matching(_NUMERIC)["pattern"]: float,
    matching(_MONEY)["pattern"]: float,
    matching("-?[0-9]{1,19}")["pattern"]: int,
    matching("[0-9]{1,20}")["pattern"]: int,
}
"""Pattern of a schema -> what makes a number of the text that it describes."""

FAMILIES: dict[str, Family] = {
    "bool": _bool,
    "int2": _integer(*_SHORT),
    "int4": _integer(-(2**31), 2**31 - 1),
    "int8": _wide_integer,
    "oid": _integer(*_UNSIGNED),
    "xid": _integer(*_UNSIGNED),
    "cid": _integer(*_UNSIGNED),
    "xid8": _xid8,
    "float4": _float,
    "float8": _float,
    "numeric": _numeric,
    "money": _money,
    "int2vector": _vector_of(*_SHORT, "int2vector"),
    "oidvector": _vector_of(*_UNSIGNED, "oidvector"),
}
