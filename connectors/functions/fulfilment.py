"""The steps of `sink-steps.yaml`: each is called with one event, whose value is what the step before it gave."""

from __future__ import annotations

from typing import Any

IN_STOCK = {1: 4, 3: 0}


def order(events: Any, context: Any) -> Any:
    """The row, out of its envelope."""
    [event] = events
    return event.value["after"]


def price(events: Any, context: Any) -> Any:
    """What it costs."""
    [event] = events
    return {"order": event.value["id"], "total": 10 * event.value["id"]}


def stock(events: Any, context: Any) -> Any:
    """How many are there."""
    [event] = events
    left = IN_STOCK[event.value["id"]]
    if left == 0:
        raise LookupError("sold out")
    return left


def sorry(events: Any, context: Any) -> Any:
    """What is done when one of the two fails."""
    [event] = events
    return {"order": event.value["value"]["id"], "sorry": event.value["error"]["message"]}


def wait(events: Any, context: Any) -> Any:
    """Nothing is to be done yet."""
    [event] = events
    return {"order": event.value["id"], "waits": True}
