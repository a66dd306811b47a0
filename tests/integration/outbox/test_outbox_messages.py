"""An outbox without a table: logical messages of real servers."""

from __future__ import annotations

import json
from typing import Any

import psycopg
import pytest

from tests.integration.outbox.running import Running

EVENT = {"aggregatetype": "order", "aggregateid": 7, "type": "OrderPaid", "payload": {"amount": 9.5}}


def say(running: Running, content: Any, *, prefix: str = "outbox", transactional: bool = True) -> None:
    text = content if isinstance(content, str) else json.dumps(content)
    with psycopg.connect(running.dsn) as connection:
        connection.execute("select pg_logical_emit_message(%s, %s, %s)", (transactional, prefix, text))
        # What is said outside of transactions reaches the disk with the next one.
        connection.execute("select pg_logical_emit_message(true, 'flush', '')")


@pytest.mark.parametrize("transactional", [True, False])
def test_a_message_is_an_event(messages: Running, transactional: bool) -> None:
    say(messages, {"id": "e-1", **EVENT}, transactional=transactional)
    [event] = messages.run()
    assert (event.topic, event.key, event.value) == ("outbox.event.order", "7", {"amount": 9.5})
    assert event.headers == {"id": "e-1", "type": "OrderPaid"}


def test_no_table_is_needed_and_none_is_published(messages: Running) -> None:
    messages.execute("create table t (id int primary key)", "insert into t values (1)")
    say(messages, EVENT)
    assert [event.key for event in messages.run()] == ["7"]


def test_a_message_of_a_transaction_that_is_rolled_back_is_none(messages: Running) -> None:
    with psycopg.connect(messages.dsn) as connection:
        connection.execute("select pg_logical_emit_message(true, 'outbox', %s)", (json.dumps(EVENT),))
        connection.rollback()
    say(messages, EVENT, prefix="other")
    assert messages.run() == []


def test_a_message_without_an_id_is_called_by_its_place(messages: Running) -> None:
    say(messages, EVENT)
    say(messages, EVENT)
    say(messages, EVENT, transactional=False)
    first = [event.id for event in messages.run(max_events=2)]
    again = [event.id for event in messages.run()]
    slot = messages.config().source.log.slot
    assert len({*first, *again}) == 3
    assert all(f"/{slot}/" in id for id in again)


def test_numbers_of_a_payload_keep_every_digit(messages: Running) -> None:
    say(
        messages,
        '{"aggregatetype": "a", "aggregateid": "1", "type": "t", "payload": {"n": 12345678901234567890.10}}',
    )
    messages.run()
    assert '{"n": 12345678901234567890.10}' in (messages.folder / "published.ndjson").read_text()


def test_members_become_headers_or_stand_beside_the_payload(messages: Running) -> None:
    say(messages, {**EVENT, "trace": "t1", "tenant": {"id": 3}})
    [event] = messages.run(source={"outbox": {"headers": ["trace", "missing"], "envelope": ["tenant", "no"]}})
    assert event.value == {"payload": {"amount": 9.5}, "tenant": {"id": 3}, "no": None}
    assert event.headers == {"id": event.id, "type": "OrderPaid", "trace": "t1"}


@pytest.mark.parametrize("content", ["no JSON", "[]", '"text"', "{"])
def test_a_message_that_is_no_object_is_a_dead_letter(messages: Running, content: str) -> None:
    say(messages, content)
    [event] = messages.run()
    assert event.topic.endswith(".dead-letters")
    assert (
        event.headers["__connect.errors.exception.message"]
        == "the row: is no JSON object (json, at the root)"
    )


def test_a_message_is_held_to_the_contract_of_its_type(messages: Running) -> None:
    messages.contract("outbox.event.order", "OrderPaid", {"required": ["amount", "currency"]})
    say(messages, EVENT)
    [event] = messages.run()
    assert event.topic.endswith(".dead-letters")
    assert "lacks currency" in event.headers["__connect.errors.exception.message"]


def test_no_payload_is_a_tombstone_only_if_asked(messages: Running) -> None:
    say(messages, {**EVENT, "payload": None})
    assert "outbox.event.order" in [event.topic for event in messages.run()]
    say(messages, {key: value for key, value in EVENT.items() if key != "payload"})
    [event] = messages.run(source={"outbox": {"tombstones": True}})
    assert event.value is None
