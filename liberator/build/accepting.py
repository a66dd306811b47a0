"""Which events of a stream a function sees.

Enters: events. Leaves: those that it sees, those that are done without it, those that are given up untried, and why. Made
for a sink; called by its loop once per poll.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import orjson

from liberator.change import Event
from liberator.consume.files.consumer import topic_of
from liberator.dispatch.sifting import Sifted
from liberator.errors import EvaluationError, FunctionError
from liberator.expression import Expression
from liberator.function.rows import row_of

if TYPE_CHECKING:
    from liberator.config import SinkConfig
    from liberator.config.trigger import TriggerSettings

Accepts = Callable[[Event], bool]


def sift(config: SinkConfig) -> Callable[[Sequence[Event]], Sifted]:
    """Which events the function of this sink sees."""
    checks: list[Accepts] = []
    json = config.stream is not None and config.stream.values == "json"
    others = (trigger for trigger in config.trigger if trigger.on != "file" and trigger.filter is not None)
    fits = _condition(next(others, None))
    of_files = [_condition(trigger) for trigger in config.files]
    if json:
        checks.append(only_json)
    if fits is not anything:
        checks.append(fits)
    if any(one is not anything for one in of_files) or (of_files and fits is not anything):
        checks = [_by_stream(topic_of(config.name), of_files, checks)]
        json = False

    def sifted(events: Sequence[Event]) -> Sifted:
        left = checks[1:] if json and are_json(events) else checks
        return one_by_one(events, left) if left else Sifted(events)

    return sifted


def _condition(trigger: TriggerSettings | None) -> Accepts:
    return filtered(trigger.filter) if trigger is not None and trigger.filter is not None else anything


def _by_stream(files: str, of_files: Sequence[Accepts], others: Sequence[Accepts]) -> Accepts:
    """Events of files have conditions of their own, each of its trigger. files: their topic."""

    def accepts(event: Event) -> bool:
        if event.topic == files:
            return of_files[event.partition](event)
        return all(fits(event) for fits in others)

    return accepts


def one_by_one(events: Sequence[Event], checks: Sequence[Accepts]) -> Sifted:
    """Every check is asked about every event."""
    wanted: list[Event] = []
    unwanted: list[Event] = []
    refused: list[tuple[Event, FunctionError]] = []
    for event in events:
        try:
            (wanted if all(accepts(event) for accepts in checks) else unwanted).append(event)
        except FunctionError as error:
            refused.append((event, error))
    return Sifted(wanted, unwanted, refused)


def are_json(events: Sequence[Event]) -> bool:
    """Are all values JSON or null, without asking one by one? False: some may still be JSON behind a registry's head."""
    values = [event.raw_value for event in events if event.raw_value is not None]
    try:
        deque(map(orjson.loads, values), maxlen=0)  # what they say is let go at once
    except orjson.JSONDecodeError:
        return False
    return True


def only_json(event: Event) -> bool:
    """May the function see this event? Raises `FunctionError` for a value that is neither JSON nor null."""
    value = event.payload
    if value is not None:
        try:
            orjson.loads(value)
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
        before, after, op = row_of(event)
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


def _failure(event: Event, what: str, code: str, fix: str) -> FunctionError:
    where = f"{event.topic}/{event.partition} at offset {event.offset}"
    return FunctionError(what, code=code, where=where, fix=fix)
