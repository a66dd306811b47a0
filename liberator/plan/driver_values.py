"""Driver values -> JSON, by the kind of a column and by what the driver really gave; and what schema it satisfies where a
value is what its column is for.

The forms are those of docs/reference/types.md: numbers as numbers, decimals as text with all their zeros, times in ISO 8601
without a zone where the database knows none, bytes in base64. A database that lets anything into a column (SQLite), or a
value that Python has no type for, comes as what it is. Called once per value; no I/O.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import orjson

from liberator.contract.derive import ColumnSchema
from liberator.contract.gate import ColumnFacts
from liberator.postgres.model import Column, Table
from liberator.postgres.values import ConversionError, TypeOptions
from liberator.postgres.values.rules import Schema, matching

AnyConverter = Callable[[Any], bytes]


def value_converter(column: Column, options: TypeOptions) -> AnyConverter:
    """What makes JSON of a column's values that are not NULL."""
    kind = column.type.name
    if kind == "bigint" and options.int64 == "string":
        return lambda value: b'"%b"' % any_value(value)
    if kind == "json" and options.json == "embed":
        return lambda value: value.encode() if isinstance(value, str) else any_value(value)
    if kind == "bits":
        return lambda value: _bits(value, column.typmod)
    return _BY_KIND.get(kind, any_value)


def value_schema(column: Column, options: TypeOptions) -> Schema:
    """The schema of a column's values that are not null, as its type says. What a database lets into a column besides does
    not keep it; SQLite's lets in anything."""
    kind = column.type.name
    if kind == "bigint" and options.int64 == "string":
        return matching("-?[0-9]+")
    if kind == "json" and options.json == "embed":
        return {}
    return _SCHEMAS.get(kind, {})


def value_facts(table: Table) -> list[ColumnFacts]:
    """What is certain of a table's columns: that they are there. A driver may give anything."""
    return [ColumnFacts(column.name, {}, column.name not in table.key) for column in table.columns]


def value_schemas(table: Table, options: TypeOptions) -> list[ColumnSchema]:
    """The schemas of the values of a table's columns. A query's rows are always whole."""
    return [
        ColumnSchema(column.name, value_schema(column, options), {}, column.not_null, False)
        for column in table.columns
    ]


def text(value: str) -> bytes:
    """A JSON string."""
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        raise ConversionError("text with half a character in it") from None


def any_value(value: Any) -> bytes:
    """By what it is."""
    convert = _BY_TYPE.get(type(value))
    if convert is not None:
        return convert(value)
    for known, convert in _BY_TYPE.items():
        if isinstance(value, known):
            return convert(value)
    return text(str(value))


def _float(value: float) -> bytes:
    if math.isnan(value):
        return b'"NaN"'
    if math.isinf(value):
        return b'"Infinity"' if value > 0 else b'"-Infinity"'
    return orjson.dumps(value)


def _decimal(value: Any) -> bytes:
    """Digits as they are, never in powers of ten. What the driver gave as another number is one."""
    if isinstance(value, Decimal):
        return b'"%b"' % (format(value, "f") if value.is_finite() else str(value)).encode()
    if isinstance(value, int | float):
        return b'"%b"' % any_value(value).strip(b'"')
    return any_value(value)


def _boolean(value: Any) -> bytes:
    if not (isinstance(value, Decimal) and value.is_snan()) and value in (
        0,
        1,
    ):  # a signaling NaN compares with nothing
        return b"true" if value else b"false"
    return any_value(value)


def _datetime(value: Any) -> bytes:
    """Of text (SQLite) the blank becomes ``T``."""
    if isinstance(value, datetime):
        if value.tzinfo is None:
            return b'"%b"' % _trimmed(value.isoformat()).encode()
        return b'"%bZ"' % _trimmed(value.astimezone(timezone.utc).replace(tzinfo=None).isoformat()).encode()
    if isinstance(value, str) and len(value) > 10 and value[10] == " ":
        return text(f"{value[:10]}T{value[11:]}")
    return any_value(value)


def _instant(value: Any) -> bytes:
    """A point in time: of a pinned session's UTC, where the driver does not say so itself."""
    if isinstance(value, datetime) and value.tzinfo is None:
        return b'"%bZ"' % _trimmed(value.isoformat()).encode()
    return _datetime(value)


def _time(value: Any) -> bytes:
    if isinstance(value, timedelta):
        return b'"%b"' % _clock(value).encode()
    return any_value(value)


def _clock(value: timedelta) -> str:
    """A time of day, or MySQL's hours beyond one, and below none."""
    sign = "-" if value < timedelta() else ""
    value = abs(value)
    seconds = value.days * 86400 + value.seconds
    fraction = f".{value.microseconds:06d}".rstrip("0") if value.microseconds else ""
    return f"{sign}{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{fraction}"


def _interval(value: Any) -> bytes:
    """As PostgreSQL writes it: days and time apart."""
    if not isinstance(value, timedelta):
        return any_value(value)
    whole = value.days * 86_400_000_000 + value.seconds * 1_000_000 + value.microseconds
    sign, whole = ("-", -whole) if whole < 0 else ("", whole)
    seconds, fraction = divmod(whole, 1_000_000)
    days, rest = divmod(seconds, 86400)
    parts = ((rest // 3600, "H"), (rest // 60 % 60, "M"))
    clock = "".join(f"{sign}{number}{unit}" for number, unit in parts if number)
    if rest % 60 or fraction:
        clock += f"{sign}{rest % 60}" + (f".{fraction:06d}".rstrip("0") if fraction else "") + "S"
    date_part = f"{sign}{days}D" if days else ""
    return f'"P{date_part}{"T" + clock if clock else ""}"'.encode() if date_part or clock else b'"PT0S"'


def _bits(value: Any, width: int) -> bytes:
    """Zeros and ones, as many as the column has. MySQL's driver gives the bytes."""
    if isinstance(value, bytes):
        return b'"%b"' % format(int.from_bytes(value, "big"), f"0{max(width, 1)}b").encode()
    return any_value(value)


def _bytes(value: Any) -> bytes:
    if isinstance(value, str):
        return text(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return b'"%b"' % base64.b64encode(bytes(value))
    return any_value(value)


def _text(value: Any) -> bytes:
    return text(value) if isinstance(value, str) else any_value(value)


def _trimmed(moment: str) -> str:
    """As PostgreSQL writes fractions: without zeros at the end."""
    return moment.rstrip("0") if "." in moment else moment


_BY_TYPE: dict[type, AnyConverter] = {
    str: text,
    bool: lambda value: b"true" if value else b"false",
    int: lambda value: b"%d" % value,
    float: _float,
    Decimal: _decimal,
    datetime: _datetime,
    date: lambda value: b'"%b"' % value.isoformat().encode(),
    time: lambda value: b'"%b"' % _trimmed(value.isoformat()).encode(),
    timedelta: _time,
    bytes: _bytes,
    bytearray: _bytes,
    memoryview: _bytes,
    UUID: lambda value: b'"%b"' % str(value).encode(),
}

_BY_KIND: dict[str, AnyConverter] = {
    "boolean": _boolean,
    "float": lambda value: _float(value) if isinstance(value, float) else any_value(value),
    "decimal": _decimal,
    "text": _text,
    "json": lambda value: text(json.dumps(value)) if isinstance(value, dict | list) else any_value(value),
    "bytes": _bytes,
    "datetime": _datetime,
    "instant": _instant,
    "time": _time,
    "interval": _interval,
}

_DATE, _CLOCK = "[0-9]{4}-[0-9]{2}-[0-9]{2}", "[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,6})?"

_SCHEMAS: dict[str, Schema] = {
    "boolean": {"type": "boolean"},
    "integer": {"type": "integer"},
    "bigint": {"type": "integer"},
    "float": {"anyOf": [{"type": "number"}, {"enum": ["NaN", "Infinity", "-Infinity"]}]},
    "decimal": matching("-?[0-9]+([.][0-9]+)?"),
    "text": {"type": "string"},
    "json": {"type": "string"},
    "bytes": {"type": "string", "contentEncoding": "base64"},
    "uuid": matching("[0-9A-Fa-f]{8}-?([0-9A-Fa-f]{4}-?){3}[0-9A-Fa-f]{12}"),
    "bits": matching("[01]+"),
    "date": matching(_DATE),
    "datetime": matching(f"{_DATE}T{_CLOCK}"),
    "instant": matching(f"{_DATE}T{_CLOCK}Z"),
    "time": matching(f"-?[0-9]?{_CLOCK}"),
    "interval": matching("P.+"),
}
