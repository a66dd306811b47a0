"""Events made by hand, for tests of functions. Pure but for the numbers that tell them apart."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from typing import Any

from liberator.change import Event
from liberator.testing.functions.recorded import dump

_numbers = count(1)

TOPIC = "test"
"""Of events that are made without one."""

_WHEN = 1_767_225_600_000
"""The first moment of 2026, milliseconds."""


def event(
    value: Any,
    *,
    topic: str = TOPIC,
    key: Any = None,
    headers: Mapping[str, str] | None = None,
    id: str | None = None,
    timestamp: int = _WHEN,
) -> Event:
    """An event as a function is given it. value, key: as JSON, bytes as they are, None for null. id: default: one that no
    other event has. timestamp: milliseconds since the Unix epoch."""
    number = next(_numbers)
    pairs = {"id": id or f"{TOPIC}/{number}", **(headers or {})}
    raw = tuple((name, text.encode()) for name, text in pairs.items())
    return Event(topic, 0, number, timestamp, dump(key), dump(value), raw)


def change(
    after: Mapping[str, Any] | None,
    *,
    before: Mapping[str, Any] | None = None,
    op: str | None = None,
    topic: str = TOPIC,
    key: Any = None,
    id: str | None = None,
) -> Event:
    """A change of a row, as a source with the default envelope publishes it. op: default: c, u or d, as before and after
    say. key: default: the row's ``id``, if it has one."""
    row = after if after is not None else before or {}
    if key is None and "id" in row:
        key = {"id": row["id"]}
    told = op or ("d" if after is None else "u" if before is not None else "c")
    value = {"before": before, "after": after, "op": told, "ts_ms": _WHEN, "source": {"ts_ms": _WHEN}}
    return event(value, topic=topic, key=key, id=id)
