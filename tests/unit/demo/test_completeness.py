"""What the proof makes of the stream of an outbox that is not as it should be."""

from __future__ import annotations

from liberator.demo.completeness import Told, check_outbox, told_by
from liberator.demo.stream import Event


def told(id: str, aggregate: str = "7", payload: bytes = b"{}") -> Told:
    return Told(id, aggregate, "OrderPlaced", payload)


A, B, OTHER = told("a"), told("b"), told("c", aggregate="8")


def test_all_is_well_when_each_event_is_there_in_its_order() -> None:
    assert check_outbox([A, B, OTHER], [OTHER, A, B]) == []


def test_redeliveries_are_no_fault() -> None:
    assert check_outbox([A, B], [A, B, A, B]) == []
    assert check_outbox([A, B], [A, B, A]) == []


def test_sees_an_event_that_is_lost() -> None:
    assert check_outbox([A, OTHER], [A]) == ["event c (OrderPlaced): is in the outbox and not in its stream"]


def test_sees_a_lost_event_among_others_of_its_aggregate() -> None:
    assert check_outbox([A, B], [B])[0] == "event a (OrderPlaced): is in the outbox and not in its stream"


def test_sees_an_event_that_was_rolled_back() -> None:
    assert check_outbox([A], [A, OTHER]) == [
        "event c (OrderPlaced): is in the stream, and not like this in the outbox"
    ]


def test_sees_another_payload() -> None:
    assert len(check_outbox([A], [told("a", payload=b"[]")])) == 2


def test_sees_events_that_are_out_of_order() -> None:
    assert check_outbox([A, B], [B, A]) == ["order 7: its events are not in the order of the outbox"]


def test_reads_an_event_whatever_the_blanks_of_its_payload() -> None:
    event = Event("shop-outbox.order", 0, b"7", b'{"b": 1, "a": 2}', {"id": "a", "type": "OrderPlaced"})
    assert told_by(event) == told("a", payload=b'{"a":2,"b":1}')
