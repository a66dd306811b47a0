"""JSON values -> what a column takes.

Enters: a column's type as the database tells it, a value as JSON has it (docs/reference/types.md). Leaves: a value for the
driver. Called by ``writer``, once per value. No I/O. A value that the column can't hold is refused here, or by the database.

PostgreSQL reads every type from text, and so takes everything that our events hold of it, infinity and years before Christ
included. Of other databases the drivers get numbers, times and bytes.
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, time, timezone
from decimal import Decimal, InvalidOperation
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.types import TypeEngine

_Time = TypeVar("_Time")

Converter = Callable[[Any], Any]
"""Of a value that is not null. Raises `ValueError` whose text does not show the value."""


def converter(dialect: str, type: TypeEngine[Any], name: str = "") -> Converter:
    """What makes of JSON a value for a column. dialect: SQLAlchemy's name of the database. name: the type's own, of
    PostgreSQL."""
    if dialect == "postgresql":
        return _OWN.get(name) or _postgres(type)
    if isinstance(type, sa.types._Binary):
        return _bytes
    if isinstance(type, sa.Boolean):
        return _boolean
    if isinstance(type, sa.Integer):
        return _integer
    if isinstance(type, sa.Float):
        return _sqlite_float if dialect == "sqlite" else _float
    if isinstance(type, sa.Numeric):
        return (lambda value: str(_decimal(value))) if dialect == "sqlite" else _finite
    name = type.__class__.__name__.upper()
    if name == "BIT":
        return _bits
    if dialect == "sqlite":  # has no types for times; SQLAlchemy writes them with a blank
        return _sqlite_time if isinstance(type, sa.DateTime) else _text
    if isinstance(type, sa.DateTime):
        return _moment
    if isinstance(type, sa.Date):
        return _day
    return _clock if isinstance(type, sa.Time) and dialect not in ("mysql", "mariadb") else _text


def _text(value: Any) -> Any:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (Mapping, list)) else str(value)


def _integer(value: Any) -> int:
    if isinstance(value, float) and not value.is_integer():
        raise ValueError("a fraction, for a column of whole numbers")
    try:
        return int(value)
    except (TypeError, ValueError):
        raise ValueError("no whole number") from None


def _decimal(value: Any) -> Decimal:
    try:
        return Decimal(str(value))
    except InvalidOperation:
        raise ValueError("no decimal number") from None


def _finite(value: Any) -> Decimal:
    """These databases have no others, and some drivers write what is none as the name of a column."""
    number = _decimal(value)
    if not number.is_finite():
        raise ValueError("no finite number")
    return number


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ValueError("no number") from None


def _float(value: Any) -> float:
    number = _number(value)
    if not math.isfinite(number):
        raise ValueError("no finite number")
    return number


def _sqlite_float(value: Any) -> Any:
    number = _number(value)
    return "NaN" if math.isnan(number) else number  # as a number SQLite would make null of it


def _boolean(value: Any) -> bool:
    if value in (0, 1):
        return bool(value)
    raise ValueError("neither true nor false")


def _bytes(value: Any) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (TypeError, ValueError):
        raise ValueError("no bytes in base64") from None


def _bits(value: Any) -> bytes:
    if not isinstance(value, str) or not re.fullmatch("[01]+", value):
        raise ValueError("no zeros and ones")
    return int(value, 2).to_bytes((len(value) + 7) // 8, "big")


def _moment(value: Any) -> datetime:
    """Of a point in time its UTC: the session's zone."""
    moment = _parsed(datetime.fromisoformat, value)
    return moment if moment.tzinfo is None else moment.astimezone(timezone.utc).replace(tzinfo=None)


def _day(value: Any) -> date:
    return _parsed(lambda text: datetime.fromisoformat(text).date(), value)


def _clock(value: Any) -> time:
    return _parsed(time.fromisoformat, value)


def _parsed(parse: Callable[[str], _Time], value: Any) -> _Time:
    if not isinstance(value, str):
        raise ValueError("no text of a time")
    # Python 3.10 wants fractions of 3 or 6 digits, and knows no Z.
    text = re.sub(r"\.(\d{1,6})\d*", lambda found: f".{found[1]:0<6}", value)
    try:
        return parse(re.sub("[zZ]$", "+00:00", text))
    except ValueError:
        raise ValueError("a time that this database does not know") from None


def _sqlite_time(value: Any) -> Any:
    try:
        moment = _moment(value)
    except ValueError:
        return _text(value)  # SQLite takes it as it is
    return f"{moment:%Y-%m-%d %H:%M:%S}.{moment.microsecond:06d}"


# PostgreSQL: everything as text


def _postgres(type: TypeEngine[Any]) -> Converter:
    name = type.__class__.__name__.upper()
    if isinstance(type, sa.types._Binary):
        return lambda value: "\\x" + _bytes(value).hex()
    if isinstance(type, sa.JSON):
        # Our events carry the text of a JSON value; whoever embeds it has no text, or text that is none of JSON.
        return _json_text
    if isinstance(type, sa.ARRAY):
        return lambda value: (
            _array(value, _postgres(type.item_type)) if isinstance(value, list) else _text(value)
        )
    if name == "HSTORE":
        return _hstore
    return _postgres_text


def _postgres_text(value: Any) -> str:
    """By the shape that types have that are no scalars: ranges, multiranges, points, composites."""
    if isinstance(value, Mapping):
        if _is_range(value):
            return _range(value)
        if value.keys() == {"x", "y"}:
            return f"({value['x']},{value['y']})"
        if value.keys() == {"srid", "wkb"}:
            return base64.b64decode(value["wkb"]).hex()
        return (
            f"({','.join('' if part is None else _quoted(_postgres_text(part)) for part in value.values())})"
        )
    if isinstance(value, list):
        if value and all(isinstance(part, Mapping) and _is_range(part) for part in value):
            return _braced(map(_range, value))
        return _array(value, _postgres_text)
    text: str = _text(value)
    return text


def _json_text(value: Any) -> str:
    if isinstance(value, str):
        try:
            json.loads(value)
        except ValueError:
            return json.dumps(value, ensure_ascii=False)
        return value
    return json.dumps(value, ensure_ascii=False)


def _array(value: Sequence[Any], convert: Converter, delimiter: str = ",") -> str:
    def element(part: Any) -> str:
        if part is None:
            return "NULL"
        return _array(part, convert, delimiter) if isinstance(part, list) else _quoted(convert(part))

    return _braced(map(element, value), delimiter)


def _braced(parts: Iterable[str], delimiter: str = ",") -> str:
    return f"{{{delimiter.join(parts)}}}"


def _listed(opening: str, delimiter: str, closing: str) -> Converter:
    """Of numbers in a list."""
    return lambda value: (
        f"{opening}{delimiter.join(map(str, value))}{closing}" if isinstance(value, list) else _text(value)
    )


def _boxes(value: Any) -> Any:
    return _array(value, _text, ";") if isinstance(value, list) else _text(value)


def _sparse(value: Any) -> Any:
    if not isinstance(value, Mapping) or not isinstance(value.get("vector"), Mapping):
        return _text(value)
    numbers = ",".join(f"{index}:{number}" for index, number in value["vector"].items())
    return f"{{{numbers}}}/{value.get('dimensions')}"


_OWN: Mapping[str, Converter] = {
    "_box": _boxes,
    "int2vector": _listed("", " ", ""),
    "oidvector": _listed("", " ", ""),
    "vector": _listed("[", ",", "]"),
    "halfvec": _listed("[", ",", "]"),
    "sparsevec": _sparse,
}
"""By the type's name: whose text is like no other's."""


def _is_range(value: Mapping[str, Any]) -> bool:
    return value == {"empty": True} or value.keys() == {"empty", "lower", "upper", "lower_inc", "upper_inc"}


def _range(value: Mapping[str, Any]) -> str:
    if value["empty"]:
        return "empty"
    lower, upper = (
        "" if value[end] is None else _quoted(_postgres_text(value[end])) for end in ("lower", "upper")
    )
    return f"{'[' if value['lower_inc'] else '('}{lower},{upper}{']' if value['upper_inc'] else ')'}"


def _hstore(value: Any) -> str:
    if not isinstance(value, Mapping):
        return _postgres_text(value)
    pairs = (f"{_quoted(k)}=>{'NULL' if v is None else _quoted(_text(v))}" for k, v in value.items())
    return ",".join(pairs)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
