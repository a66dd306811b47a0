"""The functions of `sink-calls.yaml`: one calls two others, of which one calls a third."""

from __future__ import annotations

from typing import Any


def promise(events: Any, context: Any) -> None:
    """Orders that can be sent, and what they cost."""
    for event in events:
        order = event.value["after"]
        stock = context.call("stock", {"item": order["id"]}, cause=event)
        if stock["left"] > 0:
            price = context.call("quote", order, cause=event)
            context.publish({"order": order["id"], "price": price}, cause=event)


def quote(events: Any, context: Any) -> Any:
    """A price."""
    [event] = events
    return 10 * event.value["id"] * context.call("rate", event)["percent"] // 100
