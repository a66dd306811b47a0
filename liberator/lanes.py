"""Lanes: events that keep their order among each other.

Enters: events, and what order is kept. Leaves: the lane of an event, and what one before it in its lane failed with. Called
by the loop, which never has a lane with two invocations, and by functions that do the events of an invocation one by one.
Pure.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Literal

from liberator.change import Event
from liberator.errors import FunctionError

Order = Literal["key", "partition", "none"]


def lane_of(event: Event, order: Order) -> Hashable:
    """The name of an event's lane; None: it has none of its own, and waits for nobody. Events without a key share the lane
    of their partition: their order is all there is."""
    if order == "none":
        return None
    if order == "partition" or event.raw_key is None:
        return (event.topic, event.partition)
    return (event.topic, event.raw_key)


def held_by(
    event: Event, events: Sequence[Event], failures: Mapping[int, FunctionError], order: Order
) -> FunctionError | None:
    """What an event of an invocation has to wait for: a failure that may pass, of one before it in its lane. failures: by
    index among `events`."""
    lane = lane_of(event, order)
    if lane is None or not failures:
        return None
    before = next((failures[n] for n in failures if lane_of(events[n], order) == lane), None)
    return before if before is not None and before.retryable else None
