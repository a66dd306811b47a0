"""Driver values as JSON can hold them without loss, and back: for places in a checkpoint and keys in a file. No I/O."""

from __future__ import annotations

import base64
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID


def pack(value: Any) -> Any:
    """What is neither text nor a whole number nor a boolean gets the name of its kind. Microseconds are kept."""
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, datetime):
        return {"datetime": value.isoformat()}
    if isinstance(value, date):
        return {"date": value.isoformat()}
    if isinstance(value, time):
        return {"time": value.isoformat()}
    if isinstance(value, timedelta):
        return {"timedelta": [value.days, value.seconds, value.microseconds]}
    if isinstance(value, Decimal):
        return {"decimal": str(value)}
    if isinstance(value, float):
        return {"float": repr(value)}
    if isinstance(value, bytes | bytearray | memoryview):
        return {"bytes": base64.b64encode(bytes(value)).decode()}
    if isinstance(value, UUID):
        return {"uuid": str(value)}
    return str(value)


_KINDS: dict[str, Any] = {
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "time": time.fromisoformat,
    "timedelta": lambda parts: timedelta(*parts),
    "decimal": Decimal,
    "float": float,
    "bytes": base64.b64decode,
    "uuid": UUID,
}


def unpack(packed: Any) -> Any:
    """Inverse of `pack`."""
    if not isinstance(packed, dict):
        return packed
    [(kind, value)] = packed.items()
    return _KINDS[kind](value)


def at_least(value: Any, bound: Any) -> bool:
    """Is one value at least as great as another? When they can't be compared: yes."""
    try:
        return bool(value >= bound)
    except TypeError:
        return True
