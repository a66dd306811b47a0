"""Functions of the user's in the middle of a plan: the slow path, one event at a time, for tables that ask for it.

Enters: the JSON of an event's rows. Leaves: what the functions made of it. Called by the executors after everything else was
done to a row, before it is validated. What a function raises is told by its class alone: its words may hold the row.
"""

from __future__ import annotations

import json
import math
from typing import Any, NamedTuple

import orjson

from liberator.codec.envelope import NO_ROW
from liberator.contract.violation import Violation
from liberator.errors import EvaluationError
from liberator.plan.compile import TablePlan
from liberator.plan.invalid import Failure
from liberator.transform import Call

_FIX = "correct the function; the event is in the dead letters"


class Finished(NamedTuple):
    """An event's rows at last. wrong: why it can't go on its topic."""

    before: bytes
    after: bytes
    wrong: Violation | None


def finished(
    plan: TablePlan,
    failure: Failure | None,
    op: bytes,
    key: bytes | None,
    id: bytes,
    before: bytes,
    after: bytes,
    missing: tuple[bytes, ...] = (),
) -> Finished | None:
    """What the functions make of an event; None: nothing. failure: of a filter, after which they are not asked. missing:
    columns that were not sent."""
    if failure is not None or not plan.calls:
        return Finished(before, after, failure)
    try:
        made = _called(plan, op, key, id, before, after)
    except EvaluationError as error:
        return Finished(before, after, Failure.of(error))
    if made is None:
        return None
    return Finished(*made, _violation(plan, made[1], missing))


def _called(
    plan: TablePlan, op: bytes, key: bytes | None, id: bytes, before: bytes, after: bytes
) -> tuple[bytes, bytes] | None:
    """`before` and `after` as the functions leave them; None: they want no event. Raises `EvaluationError`."""
    event: dict[str, Any] = {"id": id.decode(), "topic": plan.topic, "table": plan.label, "op": op.decode()}
    try:
        event["key"] = None if key is None else orjson.loads(key)
        event["before"], event["after"] = orjson.loads(before), orjson.loads(after)
    except orjson.JSONDecodeError:
        raise _failed(plan.calls[0], "can't be given a document that Python has no values for") from None
    has_row = event["after"] is not None
    for each in plan.calls:
        try:
            given = each.function(event)
        except Exception as error:
            raise _failed(each, f"raised {type(error).__name__}") from None
        if given is None:
            return None
        if not isinstance(given, dict) or not given.keys() >= {"before", "after"}:
            raise _failed(each, "gave back something that is no event")
        if not (isinstance(given["after"], dict) if has_row else given["after"] is None):
            raise _failed(each, "gave back an event whose after is not what its op asks for")
        event = given
    try:
        return _json(event["before"]), _json(event["after"])
    except TypeError:
        raise _failed(plan.calls[-1], "gave back something that JSON has no word for") from None


def _json(row: Any) -> bytes:
    """Raises `TypeError` for what can't be said. (orjson would write null for NaN and infinity.)"""
    written = orjson.dumps(row)
    if b"null" in written and not _is_finite(row):
        raise TypeError
    return written


def _is_finite(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict):
        return all(map(_is_finite, value.values()))
    return not isinstance(value, list | tuple) or all(map(_is_finite, value))


def _violation(plan: TablePlan, after: bytes, missing: tuple[bytes, ...]) -> Violation | None:
    """How a row that functions made breaks the stored contract; None: it keeps it, or there is none, or no row."""
    gate = plan.whole
    if gate is None or after == NO_ROW:
        return None
    absent = tuple(json.loads(name) for name in missing)
    try:
        return gate.explain(after, absent)
    except ValueError:
        return None


def _failed(call: Call, what: str) -> EvaluationError:
    return EvaluationError(f"{call.name} {what}", code="transform.function", where=call.name, fix=_FIX)
