"""An outbox table, read from the log of real servers (D75)."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from liberator.errors import ContractError, PreconditionError, SourceError
from tests.integration.outbox.conftest import TABLE
from tests.integration.outbox.running import Event, Running


def add(
    dsn: str, payload: Any, *, id: str | None = None, aggregate: str = "order", type: str = "OrderPlaced"
) -> str:
    id = id or str(uuid.uuid4())
    with psycopg.connect(dsn) as connection:
        connection.execute(
            "insert into outbox (id, aggregatetype, aggregateid, type, payload) values (%s, %s, '7', %s, %s)",
            (id, aggregate, type, payload),
        )
    return id


def test_an_inserted_row_is_an_event(log: Running) -> None:
    id = add(log.dsn, Jsonb({"total": 9.5, "lines": [1, 2]}))
    assert log.run() == [
        Event(
            "outbox.event.order",
            "7",
            {"total": 9.5, "lines": [1, 2]},
            {"id": id, "type": "OrderPlaced"},
        )
    ]


def test_a_row_that_is_inserted_and_deleted_in_one_transaction_is_one_event(log: Running) -> None:
    """D75"""
    log.execute(
        "insert into outbox (aggregatetype, aggregateid, type, payload) values ('order', '1', 't', '{}')",
        "delete from outbox",
    )
    log.execute("truncate outbox")
    assert [event.key for event in log.run()] == ["1"]


def test_updates_are_no_events_and_warned_of(log: Running, caplog: pytest.LogCaptureFixture) -> None:
    """D75"""
    add(log.dsn, Jsonb(1))
    log.execute("update outbox set payload = '2'")
    with caplog.at_level(logging.WARNING):
        assert [event.value for event in log.run()] == [1]
    assert "1 rows of the outbox public.outbox were updated so far; updates are no events" in caplog.messages


def test_updates_can_stop_the_connector(log: Running) -> None:
    """D75"""
    add(log.dsn, Jsonb(1))
    log.execute("update outbox set payload = '2'")
    with pytest.raises(SourceError) as refused:
        log.run(source={"outbox": {"on_update": "stop"}})
    assert refused.value.code == "outbox.updated"


def test_rows_that_are_there_before_the_first_start_are_events_with_the_same_ids(
    each_database: str, reading: Callable[..., Running]
) -> None:
    running = reading(each_database, "outbox-log.yaml")
    running.execute(TABLE)
    ids = [add(each_database, Jsonb(number)) for number in range(20)]
    events = running.run()
    assert [event.id for event in events] == ids
    assert [event.value for event in events] == list(range(20))
    assert {event.key for event in events} == {"7"}


def test_other_tables_are_not_published(log: Running) -> None:
    log.execute("create table other (id int primary key)", "insert into other values (1)")
    add(log.dsn, Jsonb({}))
    assert [event.topic for event in log.run()] == ["outbox.event.order"]
    with psycopg.connect(log.dsn) as connection:
        rows = connection.execute("select tablename from pg_publication_tables").fetchall()
    assert rows == [("outbox",)]


@pytest.mark.parametrize(("tombstones", "value"), [(False, "null"), (True, None)])
def test_a_null_payload_is_a_tombstone_only_if_asked(
    log: Running, tombstones: bool, value: str | None
) -> None:
    """D75"""
    log.config(source={"outbox": {"tombstones": tombstones}})
    add(log.dsn, None)
    [event] = log.run()
    assert event.value is None
    raw = (log.folder / "published.ndjson").read_text()
    assert '"value":null' in raw
    assert event.headers["type"] == "OrderPlaced"


@pytest.mark.parametrize(
    ("type", "payload", "value"),
    [
        ("json", '{"a":  1.0, "a": 12345678901234567890}', {"a": 12345678901234567890}),
        ("text", '{"a": "ä"}', {"a": "ä"}),
        ("varchar(100)", "[1]", [1]),
        ("bytea", b'{"a": 1}', {"a": 1}),
        ("bytea", b"\x00\xff", b"\x00\xff"),
    ],
)
def test_a_payload_of_any_type_is_the_value_itself(
    each_database: str, reading: Callable[..., Running], type: str, payload: Any, value: Any
) -> None:
    """D75"""
    running = reading(each_database, "outbox-log.yaml")
    running.execute(TABLE.replace("jsonb", type))
    running.run()
    add(each_database, payload)
    [event] = running.run()
    assert (event.topic, event.value) == ("outbox.event.order", value)


@pytest.mark.parametrize("payload", ["", "no JSON", '{"a": NaN}', "{"])
def test_text_that_is_no_json_is_a_dead_letter(
    each_database: str, reading: Callable[..., Running], payload: str
) -> None:
    """D75"""
    running = reading(each_database, "outbox-log.yaml")
    running.execute(TABLE.replace("jsonb", "text"))
    running.run()
    id = add(each_database, payload)
    [event] = running.run()
    assert event.topic.endswith(".dead-letters")
    assert (event.key, event.id, event.value) == ("7", id, payload.encode())
    assert event.headers["__connect.errors.topic"].endswith("outbox.event.order")
    assert event.headers["__connect.errors.exception.message"] == "/payload: is no JSON (json, at the root)"


def test_further_columns_become_headers_or_stand_beside_the_payload(
    each_database: str, reading: Callable[..., Running]
) -> None:
    """D75"""
    further = {"headers": ["trace_id", "tries", "nothing"], "envelope": ["tenant", "at"]}
    running = reading(each_database, "outbox-log.yaml", source={"outbox": further})
    running.execute(
        TABLE,
        "alter table outbox add trace_id text, add tries int, add nothing text, add tenant text, add at timestamptz",
    )
    running.execute(
        "insert into outbox values (gen_random_uuid(), 'order', '1', 'Paid', '{\"a\": 1}', 'say \"x\"', 3, null, 'blue',"
        " '2024-02-03 04:05:06+00')"
    )
    from_table = running.run()
    running.execute(
        "insert into outbox values (gen_random_uuid(), 'order', '1', 'Paid', '{\"a\": 1}', 'say \"x\"', 3, null, null,"
        " '2024-02-03 04:05:06+00')"
    )
    from_log = running.run()
    for tenant, [event] in (("blue", from_table), (None, from_log)):
        assert event.value == {"payload": {"a": 1}, "tenant": tenant, "at": "2024-02-03T04:05:06Z"}
        del event.headers["id"]  # type: ignore[attr-defined]  # it was read from JSON, so it is a dict
        assert event.headers == {"type": "Paid", "trace_id": 'say "x"', "tries": "3"}


@pytest.mark.parametrize("aggregate", ["", "Order Line", "ü"])
def test_what_can_not_be_routed_is_a_dead_letter_whatever_the_policy(log: Running, aggregate: str) -> None:
    id = add(log.dsn, Jsonb({"a": 1}), aggregate=aggregate)
    [event] = log.run(schema={"on_invalid": "warn"})
    assert event.topic.endswith(".dead-letters")
    assert (event.key, event.id, event.value) == ("7", id, {"a": 1})
    assert "/aggregatetype" in event.headers["__connect.errors.exception.message"]


def test_a_missing_column_is_an_error_at_the_start(
    each_database: str, reading: Callable[..., Running]
) -> None:
    """D75"""
    running = reading(
        each_database, "outbox-log.yaml", source={"outbox": {"columns": {"type": "event_type"}}}
    )
    running.execute(TABLE)
    with pytest.raises(PreconditionError) as refused:
        running.run()
    assert refused.value.code == "outbox.column_missing"
    assert "event_type" in refused.value.what
    with psycopg.connect(each_database) as connection:
        slots = connection.execute(
            "select from pg_replication_slots where database = current_database()"
        ).fetchall()
    assert slots == []


def test_a_payload_of_a_type_that_holds_none_is_an_error_at_the_start(
    database: str, reading: Callable[..., Running]
) -> None:
    running = reading(database, "outbox-log.yaml")
    running.execute(TABLE.replace("jsonb", "int"))
    with pytest.raises(PreconditionError) as refused:
        running.run()
    assert refused.value.code == "outbox.payload_type"


ORDER_PLACED = {
    "type": "object",
    "required": ["total"],
    "properties": {"total": {"type": "integer", "minimum": 0}},
}


def test_a_payload_is_held_to_the_contract_of_its_type(log: Running) -> None:
    log.contract("outbox.event.order", "OrderPlaced", {"type": "array"}, version=1)
    log.contract("outbox.event.order", "OrderPlaced", ORDER_PLACED, version=2)
    add(log.dsn, Jsonb({"total": 1}))
    wrong = add(log.dsn, Jsonb({"total": -1, "secret": "x"}))
    add(log.dsn, Jsonb({"total": -1}), type="OrderLost")
    add(log.dsn, Jsonb({"total": -1}), aggregate="basket")
    good, bad, other_type, other_topic = log.run()
    assert (good.topic, good.value) == ("outbox.event.order", {"total": 1})
    assert bad.topic.endswith(".dead-letters")
    assert (bad.id, bad.key, bad.value, bad.headers["type"]) == (
        wrong,
        "7",
        {"total": -1, "secret": "x"},
        "OrderPlaced",
    )
    message = bad.headers["__connect.errors.exception.message"]
    assert message == "/total: is less than 0 (minimum, at /properties/total/minimum)"
    assert other_type.topic == "outbox.event.order"
    assert other_topic.topic == "outbox.event.basket"


def test_a_payload_that_breaks_its_contract_can_stop_the_connector_or_be_published_with_a_warning(
    log: Running,
) -> None:
    log.contract("outbox.event.order", "OrderPlaced", ORDER_PLACED)
    add(log.dsn, Jsonb({}))
    with pytest.raises(ContractError):
        log.run(schema={"on_invalid": "stop"})
    [event] = log.run(schema={"on_invalid": "warn"})
    assert (event.topic, event.value) == ("outbox.event.order", {})


def test_a_type_with_odd_characters_has_its_contract_in_a_folder_of_its_own(log: Running) -> None:
    log.contract("outbox.event.order", "order%2Fplaced", {"const": 1})
    add(log.dsn, Jsonb(1), type="order/placed")
    add(log.dsn, Jsonb(2), type="order/placed")
    assert [event.topic.endswith("dead-letters") for event in log.run()] == [False, True]


def test_the_topic_can_be_of_the_type(log: Running) -> None:
    add(log.dsn, Jsonb({}))
    [event] = log.run(publish={"topic": "{aggregatetype}.{type}"})
    assert event.topic == "order.OrderPlaced"


def test_an_interrupted_run_goes_on_with_the_same_ids(log: Running) -> None:
    """D76, on a small scale"""
    ids = [add(log.dsn, Jsonb(number)) for number in range(10)]
    first = [event.id for event in log.run(max_events=4)]
    rest = [event.id for event in log.run()]
    assert first == ids[:4]
    assert rest == ids[-len(rest) :]
    assert len(rest) >= 6


def test_events_say_why_they_happened(log: Running) -> None:
    log.execute(
        "insert into outbox values (gen_random_uuid(), 'order', '1', 'a', '{}')",
        'select pg_logical_emit_message(true, \'liberator.context\', \'{"user": "ann", "type": "no", "n": 1}\')',
        "insert into outbox values (gen_random_uuid(), 'order', '1', 'b', '{}')",
    )
    log.execute("insert into outbox values (gen_random_uuid(), 'order', '1', 'c', '{}')")
    headers = [{name: v for name, v in event.headers.items() if name != "id"} for event in log.run()]
    assert headers == [{"type": "a"}, {"type": "b", "user": "ann", "n": "1"}, {"type": "c"}]
