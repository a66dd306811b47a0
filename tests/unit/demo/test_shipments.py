"""What the proof makes of shipments that are not as they should be."""

from __future__ import annotations

import json

from liberator.demo.shipments import ShippingProof, prove_shipping, shipped_orders
from liberator.demo.shop import ABROAD
from liberator.demo.stream import ORIGIN, Event

ORDERS = "shop.public.orders"


def order(id: int, status: str = "paid", event: str | None = None) -> Event:
    value = json.dumps({"op": "u", "after": {"id": id, "status": status}}).encode()
    return Event(ORDERS, 0, b'{"id":%d}' % id, value, {"id": event or f"e{id}"})


def shipment(id: int, event: str | None = None) -> Event:
    paid = event or f"e{id}"
    value = json.dumps({"order": id, "carrier": "post", "paid": paid}).encode()
    return Event("shop.shipped", 0, b'{"id":%d}' % id, value, {"id": f"{paid}/shipped"})


def letter(id: int) -> Event:
    dead = order(id)
    return Event("shop-shipping.dead-letters", 0, dead.key, dead.value, {**dead.headers, ORIGIN: ORDERS})


FAILED, REDRIVEN = [order(ABROAD), order(ABROAD)], [letter(ABROAD), shipment(ABROAD)]
"""What comes of the order that the function fails on."""


def prove(orders: list[Event], told: list[Event]) -> ShippingProof:
    return prove_shipping([*FAILED, *orders], [*REDRIVEN, *told])


def test_all_that_is_paid_is_shipped() -> None:
    proof = prove([order(1), order(2, "new")], [shipment(1)])
    assert proof == ShippingProof(2, 2, 0, [f'{{"id":{ABROAD}}}'], [])


def test_an_event_that_comes_twice_is_shipped_once() -> None:
    assert prove([order(1), order(1)], [shipment(1)]).faults == []


def test_an_order_that_is_paid_twice_is_shipped_twice() -> None:
    events = [order(1), order(1, event="later")]
    assert prove(events, [shipment(1), shipment(1, "later")]).faults == []
    assert prove(events, [shipment(1)]).faults == ["order 1: is paid and was not shipped (event later)"]


def test_deletes_and_other_tables_are_nothing_to_ship() -> None:
    delete = Event(ORDERS, 0, b'{"id":1}', b'{"op":"d","before":{"id":1},"after":null}', {"id": "d1"})
    tombstone = Event(ORDERS, 0, b'{"id":1}', None, {"id": "d1/t"})
    payment = Event("shop.public.payments", 0, b"{}", b'{"op":"c","after":{"status":"paid"}}', {"id": "p1"})
    assert prove([delete, tombstone, payment], []).faults == []


def test_repeats_are_counted() -> None:
    proof = prove([order(1)], [shipment(1), shipment(1)])
    assert (proof.shipments, proof.again, proof.faults) == (3, 1, [])


def test_what_nobody_paid_must_not_be_shipped() -> None:
    [fault] = prove([order(1, "new")], [shipment(1)]).faults
    assert fault == "order 1: was shipped, and it is not what was paid (event e1)"


def test_another_order_than_the_one_that_was_paid_is_a_fault() -> None:
    assert len(prove([order(1)], [shipment(2, "e1")]).faults) == 2


def test_another_dead_letter_is_a_fault() -> None:
    [fault] = prove([order(1)], [shipment(1), letter(1)]).faults
    assert "should be the only dead letter" in fault


def test_a_dead_letter_that_was_not_redriven_is_a_fault() -> None:
    [fault] = prove_shipping(FAILED[:1], REDRIVEN).faults
    assert fault == f"order {ABROAD} was not redriven"


def test_knows_which_orders_are_shipped_so_far() -> None:
    assert shipped_orders([shipment(1), letter(2), shipment(3)]) == {1, 3}
