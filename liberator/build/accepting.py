"""Which events of a stream a function sees.

Enters: events. Leaves: yes, no (the event is done), or an error (it is given up untried). Made for a sink; called by its
loop once per event.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import orjson

from liberator.change import Event
from liberator.consume.files.consumer import topic_of
from liberator.errors import EvaluationError, FunctionError
from liberator.expression import Expression

if TYPE_CHECKING:
    from liberator.config import SinkConfig
    from liberator.config.trigger import TriggerSettings

Accepts = Callable[[Event], bool]

_STRUCTURED = "application/cloudevents+json"
_OPS = {"created": "c", "updated": "u", "deleted": "d", "read": "r", "truncated": "t"}
"""By the end of a CloudEvent's type."""


def accepts(config: SinkConfig) -> Accepts:
    """Which events the function of this sink sees."""
    readable = only_json if config.stream and config.stream.values == "json" else anything
    of_files = [_condition(trigger) for trigger in config.files]
    others = (trigger for trigger in config.trigger if trigger.on != "file" and trigger.filter is not None)
    fits = _condition(next(others, None))
    if fits is anything and all(one is anything for one in of_files):
        return readable
    files = topic_of(config.name)

    def accepted(event: Event) -> bool:
        if event.topic == files and of_files:
            return of_files[event.partition](event)
        return readable(event) and fits(event)

    return accepted


def _condition(trigger: TriggerSettings | None) -> Accepts:
    return filtered(trigger.filter) if trigger is not None and trigger.filter is not None else anything


def only_json(event: Event) -> bool:
    """May the function see this event? Raises `FunctionError` for a value that is neither JSON nor null."""
    if event.raw_value is not None:
        try:
            orjson.loads(event.raw_value)
        except orjson.JSONDecodeError:
            raise _failure(
                event,
                "the value is no JSON",
                "function.poison",
                "correct whoever publishes it, or set stream.values: any",
            ) from None
    return True


def anything(event: Event) -> bool:
    """Every event may be seen."""
    return True


def filtered(condition: Expression) -> Accepts:
    """Only events of which `condition` holds. Raises `FunctionError` where it fails."""
    asked = condition.mentions("after")

    def fits(event: Event) -> bool:
        value = event.value
        if value is None:
            return True
        before, after, op = _row(event)
        if after is None and before is not None and asked != frozenset():
            # Of a deleted row nobody knows more than what the server sent.
            if asked is None or not asked <= before.keys():
                return True
            after = before
        try:
            return condition.holds(
                {
                    "after": after,
                    "before": before,
                    "op": op,
                    "key": event.key,
                    "value": value,
                    "headers": dict(event.headers),
                    "topic": event.topic,
                    "id": event.id,
                }
            )
        except EvaluationError as error:
            fix = "write has(after.x) where it may be missing"
            raise _failure(event, f"trigger.filter fails: {error}", "function.filter", fix) from error

    return fits


def _row(event: Event) -> tuple[Mapping[str, Any] | None, Any, str]:
    """Before, after and op, whatever the envelope; of a bare value that itself is after."""
    value, headers = event.value, event.headers
    type: Any = headers.get("ce_type")
    if isinstance(value, Mapping) and headers.get("content-type", "").startswith(_STRUCTURED):
        type, value = value.get("type"), value.get("data")
    if not isinstance(value, Mapping) or not {"before", "after"} <= value.keys():
        return None, value, headers.get("__op", "")
    before, op = value["before"], value.get("op") or _OPS.get(str(type).rpartition(".")[2])
    return before if isinstance(before, Mapping) else None, value["after"], op if isinstance(op, str) else ""


def _failure(event: Event, what: str, code: str, fix: str) -> FunctionError:
    where = f"{event.topic}/{event.partition} at offset {event.offset}"
    return FunctionError(what, code=code, where=where, fix=fix)
