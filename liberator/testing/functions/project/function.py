"""What __NAME__ does with the events of its stream."""

from __future__ import annotations

from typing import Any

from liberator import PermanentError


def init() -> None:
    """Called once in each worker, before its first events: open connections here."""


def handle(events: list[Any], context: Any) -> None:
    """Called with a batch. What it publishes is sent when it has ended; what it raises is tried again, then halved, then a
    dead letter. The same event may come twice, after a crash say, with the same `event.id`.
    """
    for event in events:
        order = (event.value or {}).get("after")
        if order is None or order["status"] != "paid":
            continue  # a delete, its tombstone, or an order that is not paid
        if order["total"] < 0:
            raise PermanentError(f"order {order['id']} has a negative total")  # never tried again
        context.log.info("order %s is paid", order["id"])
        # The cause names the output, and its headers tell of it: a chain of functions is found by one id.
        context.publish({"order": order["id"], "total": order["total"]}, key=event.key, cause=event)


def close() -> None:
    """Called once in each worker, at its end."""
