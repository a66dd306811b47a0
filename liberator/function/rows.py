"""The row that an event tells of, whatever its envelope.

Enters: an event. Leaves: the row before and after, and what happened to it. Called by filters, and by functions that keep
tables. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from liberator.change import Event

_STRUCTURED = "application/cloudevents+json"
_OPS = {"created": "c", "updated": "u", "deleted": "d", "read": "r", "truncated": "t", "message": "m"}
"""By the end of a CloudEvent's type."""


class RowOfEvent(NamedTuple):
    """before: what is known of the row before. after: the row after, or what stands in its place: a bare value. op: ``c``,
    ``u``, ``d``, ``r``, ``t``, ``m``, or nothing where the event does not say."""

    before: Mapping[str, Any] | None
    after: Any
    op: str


def row_of(event: Event) -> RowOfEvent:
    """Before, after and op; of a bare value that itself is after."""
    value, headers = event.value, event.headers
    type: Any = headers.get("ce_type")
    if isinstance(value, Mapping) and headers.get("content-type", "").startswith(_STRUCTURED):
        type, value = value.get("type"), value.get("data")
    if not isinstance(value, Mapping) or not {"before", "after"} <= value.keys():
        return RowOfEvent(None, value, headers.get("__op", ""))
    before, op = value["before"], value.get("op") or _OPS.get(str(type).rpartition(".")[2])
    return RowOfEvent(
        before if isinstance(before, Mapping) else None, value["after"], op if isinstance(op, str) else ""
    )
