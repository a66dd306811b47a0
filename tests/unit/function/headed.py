"""Events with the head of a schema registry in front of keys and values, and the same without."""

from __future__ import annotations

from collections.abc import Sequence

from liberator.change import Event
from liberator.contract.registry.wire import encode


def headed(events: Sequence[Event]) -> list[Event]:
    """As a source with `schema.registry` publishes them."""
    return [
        Event(
            *(event.topic, event.partition, event.offset, event.timestamp),
            None if event.raw_key is None else encode(7, event.raw_key),
            None if event.raw_value is None else encode(8, event.raw_value),
            event.raw_headers,
        )
        for event in events
    ]
