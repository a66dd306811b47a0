"""Was every paid order shipped, and once? The verdict on the function.

Enters: the events of the shop, and what the sink published, both as consumers read them. Leaves: a `ShippingProof` with
every fault that was found. Called by the demo's story. Believes nothing that the sink says of itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from liberator.demo.proof import first_few, key_of
from liberator.demo.shop import ABROAD
from liberator.demo.stream import ORIGIN, Event, table_of


@dataclass
class ShippingProof:
    """paid: events of paid orders, each id once. shipments: all; again: those beyond the first of an event. dead: keys of
    the events that the function failed on, and that were redriven then."""

    paid: int
    shipments: int
    again: int
    dead: list[str]
    faults: list[str]


def prove_shipping(events: Sequence[Event], told: Iterable[Event]) -> ShippingProof:
    """Compare what was paid with what was shipped. events: of the shop's tables; told: all that the sink published."""
    told = list(told)
    letters = [event for event in told if ORIGIN in event.headers]
    shipments = [_value(event) for event in told if ORIGIN not in event.headers]
    paid = paid_orders(events)
    shipped = Counter((each["paid"], each["order"]) for each in shipments)
    return ShippingProof(
        paid=len(paid),
        shipments=len(shipments),
        again=shipped.total() - len(shipped),
        dead=sorted(map(key_of, letters)),
        faults=[
            *_told("is paid and was not shipped", paid.items() - shipped.keys()),
            *_told("was shipped, and it is not what was paid", shipped.keys() - paid.items()),
            *check_letters(letters, events),
        ],
    )


def paid_orders(events: Iterable[Event]) -> dict[str, int]:
    """Ids of the events that show a paid order, and the orders' own."""
    found = {}
    for event in events:
        if ORIGIN not in event.headers and table_of(event) == "orders":
            order = _value(event).get("after")
            if order is not None and order["status"] == "paid":
                found[event.id] = order["id"]
    return found


def shipped_orders(told: Iterable[Event]) -> set[int]:
    """The orders that were shipped so far."""
    return {_value(event)["order"] for event in told if ORIGIN not in event.headers}


def check_letters(letters: Sequence[Event], events: Iterable[Event]) -> list[str]:
    """The order that nobody could ship is the only dead letter, and it came a second time, by the redrive."""
    dead = [key_of(letter) for letter in letters]
    if dead != [f'{{"id":{ABROAD}}}']:
        return [f"order {ABROAD} should be the only dead letter of the function; there are {dead}"]
    if sum(event.id == letters[0].id for event in events) < 2:
        return [f"order {ABROAD} was not redriven"]
    return []


def _told(what: str, found: Iterable[tuple[str, int]]) -> list[str]:
    return first_few(f"order {order}: {what} (event {id})" for id, order in sorted(found))


def _value(event: Event) -> dict[str, Any]:
    """Nothing in a tombstone."""
    value: dict[str, Any] = orjson.loads(event.value or b"{}")
    return value
