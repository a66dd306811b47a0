"""Dates and times: the text of datestyle ISO and intervalstyle iso_8601 in UTC, with ``T`` and ``Z`` put in.

The common forms are told by their shape alone: with every digit made 0 there are few of them, and a set finds
them faster than a regular expression. The rest (infinity, BC, years beyond 9999, and what is no time at all) goes to
the pattern.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from liberator.postgres.values.rules import (
    Bare,
    Converter,
    Described,
    Family,
    Form,
    TypeOptions,
    matching,
    quoted,
    refusal,
)

_DATE = "[0-9]{4,7}-[0-9]{2}-[0-9]{2}"
_TIME = "(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:[.][0-9]{1,6})?"
_TO_MIDNIGHT = f"(?:{_TIME}|24:00:00)"
_INFINITY = "-?infinity"

_YEARS, _MONTHS, _DAYS = "-?[0-9]+Y", "-?[0-9]+M", "-?[0-9]+D"
_HOURS, _MINUTES, _SECONDS = "-?[0-9]+H", "-?[0-9]+M", "-?[0-9]+(?:[.][0-9]{1,6})?S"


def _some_of(first: str, second: str, third: str) -> str:
    """One to three of these in order, without look-ahead."""
    return f"(?:{first}(?:{second})?(?:{third})?|{second}(?:{third})?|{third})"


_CALENDAR = _some_of(_YEARS, _MONTHS, _DAYS)
_CLOCK = f"T{_some_of(_HOURS, _MINUTES, _SECONDS)}"
_INTERVAL = f"P(?:{_CALENDAR}(?:{_CLOCK})?|{_CLOCK})|{_INFINITY}"

_ZEROS = bytes.maketrans(b"123456789", b"000000000")
_FRACTIONS = [b"", *(b"." + b"0" * digits for digits in range(1, 7))]
_DATE_SHAPE = b"0000-00-00"
_TIME_SHAPES = frozenset(b"00:00:00" + fraction for fraction in _FRACTIONS)
_TIMESTAMP_SHAPES = frozenset(_DATE_SHAPE + b" " + time for time in _TIME_SHAPES)
_TIMESTAMPTZ_SHAPES = frozenset(timestamp + b"+00" for timestamp in _TIMESTAMP_SHAPES)

_any_date = quoted(f"{_DATE}(?: BC)?|{_INFINITY}", "date")
_any_time = quoted(_TO_MIDNIGHT, "time")
_is_infinity = re.compile(_INFINITY.encode()).fullmatch
_timestamp_parts = re.compile(f"({_DATE}) ({_TIME})( BC)?".encode()).fullmatch
_timestamptz_parts = re.compile(f"({_DATE}) ({_TIME})[+]00( BC)?".encode()).fullmatch
_timetz_parts = re.compile(rf"{_TO_MIDNIGHT}[+-][0-9]{{2}}(:[0-9]{{2}}(?::[0-9]{{2}})?)?".encode()).fullmatch


def _date_value(raw: bytes) -> bytes:
    if raw.translate(_ZEROS) == _DATE_SHAPE:
        return b'"' + raw + b'"'
    return _any_date(raw)


def _time_value(raw: bytes) -> bytes:
    if raw.translate(_ZEROS) in _TIME_SHAPES:
        return b'"' + raw + b'"'
    return _any_time(raw)


def _timestamp_value(raw: bytes) -> bytes:
    if raw.translate(_ZEROS) in _TIMESTAMP_SHAPES:
        return b'"' + raw.replace(b" ", b"T", 1) + b'"'
    parts = _timestamp_parts(raw)
    if parts:
        return b'"%bT%b%b"' % (parts[1], parts[2], parts[3] or b"")
    if _is_infinity(raw):
        return b'"' + raw + b'"'
    raise refusal("timestamp")


def _timestamptz_value(raw: bytes) -> bytes:
    """The session's zone is UTC; ``Z`` says so, and stands where PostgreSQL reads it back, before BC."""
    if raw[-3:] == b"+00" and raw.translate(_ZEROS) in _TIMESTAMPTZ_SHAPES:
        return b'"%bT%bZ"' % (raw[:10], raw[11:-3])
    parts = _timestamptz_parts(raw)
    if parts:
        return b'"%bT%bZ%b"' % (parts[1], parts[2], parts[3] or b"")
    if _is_infinity(raw):
        return b'"' + raw + b'"'
    raise refusal("timestamptz")


def _timetz_value(raw: bytes) -> bytes:
    """The offset is part of the value: kept, with its minutes always written."""
    parts = _timetz_parts(raw)
    if not parts:
        raise refusal("timetz")
    return b'"' + raw + (b'"' if parts[1] else b':00"')


def _bare_dates(values: Sequence[bytes]) -> Sequence[bytes] | None:
    together = b"\n".join(values)
    return values if set(together.translate(_ZEROS).split(b"\n")) == {_DATE_SHAPE} else None


def _bare_timestamps(values: Sequence[bytes]) -> Sequence[bytes] | None:
    together = b"\n".join(values)
    if not _TIMESTAMP_SHAPES.issuperset(together.translate(_ZEROS).split(b"\n")):
        return None
    return together.replace(b" ", b"T").split(b"\n")


def _bare_timestamptzs(values: Sequence[bytes]) -> Sequence[bytes] | None:
    together = b"\n".join(values)
    if not _TIMESTAMPTZ_SHAPES.issuperset(together.translate(_ZEROS).split(b"\n")):
        return None
    # In the shape every digit is 0; a zone that is not UTC's would leave its plus behind.
    written = (together + b"\n").replace(b" ", b"T").replace(b"+00\n", b"Z\n")
    return None if b"+" in written else written[:-1].split(b"\n")


BARE: dict[Converter, Bare] = {
    _date_value: _bare_dates,
    _timestamp_value: _bare_timestamps,
    _timestamptz_value: _bare_timestamptzs,
}


def _family(convert: Converter, described: Described, pattern: str) -> Family:
    def family(typmod: int, options: TypeOptions) -> Form:
        return Form(convert, described, matching(pattern))

    return family


FAMILIES: dict[str, Family] = {
    "date": _family(_date_value, ("date",), f"{_DATE}(?: BC)?|{_INFINITY}"),
    "time": _family(_time_value, ("time",), _TO_MIDNIGHT),
    "timetz": _family(_timetz_value, ("timetz",), f"{_TO_MIDNIGHT}[+-][0-9]{{2}}:[0-9]{{2}}(?::[0-9]{{2}})?"),
    "timestamp": _family(_timestamp_value, ("timestamp",), f"{_DATE}T{_TIME}(?: BC)?|{_INFINITY}"),
    "timestamptz": _family(_timestamptz_value, ("timestamptz",), f"{_DATE}T{_TIME}Z(?: BC)?|{_INFINITY}"),
    "interval": _family(quoted(_INTERVAL, "interval"), ("quoted", _INTERVAL), _INTERVAL),
}
