"""Which events a function sees: no poison, and those that the filter lets through."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest

from liberator.build.accepting import are_json, filtered, one_by_one, only_json
from liberator.change import Event
from liberator.config.sink_values import FILTER_VARIABLES
from liberator.errors import FunctionError
from liberator.expression import condition
from tests.unit.function.headed import headed
from tests.unit.plan.test_envelopes import ENVELOPES, in_envelope
from tests.unit.plan.test_python_executor import OID
from tests.unit.postgres.wire import delete, insert, update


def event(value: Any, topic: str = "orders") -> Event:
    return Event(topic, 0, 0, 0, b'{"id":1}', None if value is None else json.dumps(value).encode())


def passes(text: str, value: Any, topic: str = "orders") -> bool:
    return filtered(condition(text, FILTER_VARIABLES))(event(value, topic))


def row(op: str, after: dict[str, Any] | None, before: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"before": before, "after": after, "op": op}


@pytest.mark.parametrize("value", [b"", b"no", b'"\xc3"', b"NaN", b'{"a":1'])
def test_poison_is_found(value: bytes) -> None:
    """D79."""
    with pytest.raises(FunctionError):
        only_json(Event("t", 0, 0, 0, None, value))


@pytest.mark.parametrize("value", [None, b"null", b"1", b'{"a": 123456789012345678901234567890}'])
def test_json_and_null_are_no_poison(value: bytes | None) -> None:
    assert only_json(Event("t", 0, 0, 0, None, value))


def test_json_behind_the_head_of_a_registry_is_no_poison() -> None:
    assert only_json(*headed([event({"a": 1})]))
    with pytest.raises(FunctionError, match="no JSON"):
        only_json(*headed([Event("t", 0, 0, 0, None, b"no")]))


def test_a_filter_sees_what_stands_behind_the_head_of_a_registry() -> None:
    fits = filtered(condition("after.status == 'paid' && key.id == 1", FILTER_VARIABLES))
    found = [
        fits(one) for one in headed([event(row("u", {"status": "paid"})), event(row("u", {"status": "new"}))])
    ]
    assert found == [True, False]


def test_events_are_looked_at_together_and_one_by_one_when_there_is_poison() -> None:
    good = [Event("t", 0, offset, 0, None, value) for offset, value in enumerate([b"1", None, b"[]"])]
    poison = Event("t", 0, 3, 0, None, b"no")
    assert are_json(good)
    assert not are_json([*good, poison])
    sifted = one_by_one([good[0], poison, good[1]], [only_json, lambda event: event.raw_value is not None])
    assert (sifted.wanted, sifted.unwanted) == ([good[0]], [good[1]])
    assert [(event, why.code) for event, why in sifted.refused] == [(poison, "function.poison")]


PAID = "after.status == 'paid'"


@pytest.mark.parametrize(
    ("text", "value", "expected"),
    [
        (PAID, row("u", {"status": "paid"}), True),
        (PAID, row("u", {"status": "new"}), False),
        (PAID, {"status": "paid"}, True),  # a bare row
        (PAID, row("d", None, {"id": 1, "status": "paid"}), True),
        (PAID, row("d", None, {"id": 1, "status": "new"}), False),
        (PAID, row("d", None, {"id": 1}), True),  # nobody knows
        (PAID, None, True),  # a tombstone
        ("op != 'd'", row("d", None, {"id": 1}), False),
        ("after.total > 10", row("c", {"total": 10.5}), True),
        ("topic == 'orders' && key.id == 1", row("c", {}), True),
    ],
)
def test_the_filter_decides(text: str, value: Any, expected: bool) -> None:
    assert passes(text, value) == expected


def test_an_expression_that_fails_gives_the_event_up_and_tells_no_value() -> None:
    with pytest.raises(FunctionError) as caught:
        passes(PAID, row("c", {"secret": "hunter22"}))
    assert caught.value.code == "function.filter"
    assert "hunter22" not in str(caught.value)


def test_what_was_read_of_an_event_does_not_travel_with_it() -> None:
    read = event({"a": 1})
    size = len(pickle.dumps(read))
    assert read.value == {"a": 1}
    assert len(pickle.dumps(read)) == size
    assert pickle.loads(pickle.dumps(read)).value == {"a": 1}


@pytest.mark.parametrize("envelope", ENVELOPES)
def test_the_filter_reads_rows_and_ops_out_of_every_envelope(envelope: str) -> None:
    events = in_envelope(
        envelope,
        insert(OID, b"1", b"new", None),
        update(OID, [b"1", b"paid", None]),
        delete(OID, b"1", None, None),
    )
    read = [
        Event("orders", 0, 0, 0, key, value, own or ())
        for key, value, own in zip(events.keys, events.values, events.headers, strict=True)
    ]
    is_paid = filtered(condition("op != 'c' && after.name == 'paid'", FILTER_VARIABLES))
    is_created = filtered(condition("op == 'c' && after.id == 1", FILTER_VARIABLES))
    assert [is_paid(event) for event in read[:2]] == [False, True]
    assert [is_created(event) for event in read[:2]] == [True, False]
    if envelope != "flat":
        assert not is_created(read[2]), "a delete"
    assert is_created(read[-1]), "a null says nothing, so it passes"
