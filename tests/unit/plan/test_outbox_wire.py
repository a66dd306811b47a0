"""The ids in front of an outbox's events: which schema each type has, and which values get one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from liberator.change import EncodedBatch
from liberator.contract.payload import PayloadGate
from liberator.contract.registry.subjects import Strategy
from liberator.errors import ContractError
from liberator.plan.invalid import InvalidRows
from liberator.plan.outbox import Entry, Form, OutboxNames, OutboxSettings, Router
from liberator.plan.outbox_wire import EventWire, event_schema

CONTRACT = {
    "type": "object",
    "properties": {"amount": {"$ref": "#/$defs/money"}},
    "$defs": {"money": {"type": "string"}},
}


class Registry:
    """Gives ids, and keeps what they are of."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.is_there = True

    def id_of(self, subject: str, schema: dict[str, Any]) -> int:
        if not self.is_there:
            raise ContractError("no answer", code="registry.unreachable", retryable=True)
        self.asked.append((subject, schema))
        return len(self.asked)


def router(
    registry: Registry,
    strategy: Strategy = "topic_record_name",
    envelope: Sequence[str] = (),
    **settings: Any,
) -> Router:
    gate = PayloadGate(CONTRACT)
    outbox = OutboxSettings(
        names=OutboxNames(),
        topic=lambda aggregate_type, type: f"event.{aggregate_type}" if aggregate_type else None,
        contract=lambda topic, type: gate if type == "Paid" else None,
        envelope=tuple(envelope),
        **settings,
    )
    invalid = InvalidRows("dead_letter", "shop", "dead", now_ms=lambda: 5)
    wire = EventWire(registry.id_of, strategy, envelope)
    return Router(outbox, invalid, "public.outbox", lambda: 5, wire.prefix)


def event(payload: bytes | None, type: bytes | None = b"Paid", form: Form = "json") -> Entry:
    return Entry(b"1", b"order", b"7", type, payload, form, extras=((b'"trace"', b'"t"'),))


def value(it: Router, entry: Entry) -> tuple[str, bytes | None]:
    out = EncodedBatch(string_keys=True)
    it.add(out, entry, b"")
    assert out.keys == [entry.aggregate_id], "the key stays what the application wrote"
    return out.topics[0], out.values[0]


def test_each_type_of_event_has_a_schema_and_a_subject_of_its_own() -> None:
    registry = Registry()
    it = router(registry)
    assert value(it, event(b'{"amount":"1"}')) == ("event.order", b'\x00\x00\x00\x00\x01{"amount":"1"}')
    assert value(it, event(b"[1]", b"Sent")) == ("event.order", b"\x00\x00\x00\x00\x02[1]")
    assert value(it, event(b"null")) == ("dead", b"\x00\x00\x00\x00\x01null")
    (paid, contract), (sent, anything) = registry.asked
    assert (paid, sent) == ("event.order-Paid", "event.order-Sent")
    assert contract["properties"] == CONTRACT["properties"]
    assert contract["title"] == "Paid"
    assert set(anything) == {"$schema", "title"}


@pytest.mark.parametrize(
    ("strategy", "type", "subject"),
    [
        ("topic_name", b"Paid", "event.order-value"),
        ("record_name", b"Paid", "Paid"),
        ("record_name", None, "event.order-value"),
        ("topic_record_name", None, "event.order-value"),
    ],
)
def test_the_subject_is_as_the_strategy_says(strategy: Strategy, type: bytes | None, subject: str) -> None:
    registry = Registry()
    value(router(registry, strategy), event(b"{}", type))
    assert [name for name, _ in registry.asked] == [subject]


def test_a_tombstone_has_no_schema() -> None:
    registry = Registry()
    assert value(router(registry, tombstones=True), event(None)) == ("event.order", None)
    assert registry.asked == []


def test_the_schema_of_an_envelope_has_the_contract_of_its_payload() -> None:
    registry = Registry()
    it = router(registry, envelope=["trace"])
    whole = b'\x00\x00\x00\x00\x01{"payload":{"amount":"1"},"trace":"t"}'
    assert value(it, event(b'{"amount":"1"}')) == ("event.order", whole)
    [(_, schema)] = registry.asked
    gate = PayloadGate(schema)
    assert gate.violation(whole[5:]) is None
    assert gate.violation(b'{"payload":{"amount":1},"trace":"t"}') is not None
    assert gate.violation(b'{"amount":"1"}') is not None
    assert value(it, event(b'{"amount":1}')) == ("dead", b'{"amount":1}'), "the payload alone, of no schema"


def test_bytes_that_are_no_json_are_a_dead_letter_as_the_schema_is_one_of_json() -> None:
    assert value(router(Registry()), event(b"\xff", b"Sent", "bytes"))[0] == "dead"


def test_what_can_not_be_routed_is_kept_as_it_was_written() -> None:
    it = router(Registry())
    entry = event(b"{}")
    entry.aggregate_type = None
    assert value(it, entry) == ("dead", b"{}")


def test_no_event_goes_out_without_an_answer_of_the_registry() -> None:
    registry = Registry()
    it = router(registry)
    registry.is_there = False
    with pytest.raises(ContractError, match="no answer"):
        value(it, event(b"{}"))
    registry.is_there = True
    assert value(it, event(b"{}"))[1] == b"\x00\x00\x00\x00\x01{}"


def test_the_registry_is_asked_once_for_a_type() -> None:
    registry = Registry()
    it = router(registry)
    for _ in range(3):
        value(it, event(b"{}"))
    assert len(registry.asked) == 1


def test_a_contract_keeps_the_title_that_it_has() -> None:
    assert event_schema("Paid", {"title": "an order is paid"})["title"] == "an order is paid"
