"""`liberator.outbox.add`: events of an application, written in its own transaction."""

from __future__ import annotations

import datetime
import decimal
import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy
from sqlalchemy.orm import Session

from liberator import outbox
from liberator.errors import ConfigError, ContractError
from liberator.outbox import Outbox
from tests.integration.outbox.conftest import TABLE
from tests.integration.outbox.running import Running

Open = Callable[[str], Any]


@contextmanager
def engine(dsn: str) -> Iterator[sqlalchemy.Engine]:
    made = sqlalchemy.create_engine(dsn.replace("postgresql://", "postgresql+psycopg://"))
    yield made
    made.dispose()


@contextmanager
def by_psycopg(dsn: str) -> Iterator[Any]:
    with psycopg.connect(dsn) as connection:
        yield connection


@contextmanager
def by_session(dsn: str) -> Iterator[Any]:
    with engine(dsn) as made, Session(made) as session:
        yield session
        session.commit()


@contextmanager
def by_connection(dsn: str) -> Iterator[Any]:
    with engine(dsn) as made, made.connect() as connection:
        yield connection
        connection.commit()


ways = pytest.mark.parametrize("connected", [by_psycopg, by_session, by_connection])


def outbox_of(running: Running) -> Outbox:
    return Outbox(running.config())


@ways
def test_what_is_added_is_published_when_the_application_commits(log: Running, connected: Open) -> None:
    own = uuid.uuid4()
    with connected(log.dsn) as application:
        outbox.add(application, "order", 7, "OrderPlaced", {"total": "9.90"})
        application.rollback()
        first = outbox.add(application, "order", 7, "OrderPlaced", {"total": "ä"})
        second = outbox.add(application, "order", "8", "OrderLost", None, id=own)
    assert second == str(own)
    events = log.run()
    assert [(e.id, e.key, e.headers["type"], e.value) for e in events] == [
        (first, "7", "OrderPlaced", {"total": "ä"}),
        (str(own), "8", "OrderLost", None),
    ]


@ways
def test_further_columns_are_written_too(
    database: str, reading: Callable[..., Running], connected: Open
) -> None:
    further = {"table": "events", "headers": ["trace_id"], "envelope": ["tries", "at"]}
    running = reading(database, "outbox-log.yaml", source={"outbox": further})
    running.execute(
        TABLE.replace("outbox", "events"), "alter table events add trace_id text, add tries int, add at date"
    )
    with connected(database) as application:
        outbox_of(running).add(
            application, "order", 7, "t", [1], trace_id="x", tries=3, at=datetime.date(2024, 2, 29)
        )
    [event] = running.run()
    assert event.value == {"payload": [1], "tries": 3, "at": "2024-02-29"}
    assert event.headers["trace_id"] == "x"


@ways
def test_an_event_is_held_to_its_contract_before_it_is_written(log: Running, connected: Open) -> None:
    log.contract("outbox.event.order", "OrderPlaced", {"required": ["total"]})
    with connected(log.dsn) as application:
        with pytest.raises(ContractError, match="OrderPlaced breaks its contract: the row: lacks total"):
            outbox_of(log).add(application, "order", 7, "OrderPlaced", {"secret": 1})
        outbox_of(log).add(application, "order", 7, "OrderPlaced", {"total": 1})
    assert [event.value for event in log.run()] == [{"total": 1}]


@ways
def test_events_can_be_messages(messages: Running, connected: Open) -> None:
    messages.config(source={"outbox": {"headers": ["trace"]}})
    with connected(messages.dsn) as application:
        first = outbox_of(messages).add(application, "order", 7, "t", {"a": 'say "x" \\'}, trace="t1")
        application.commit()
        outbox_of(messages).add(application, "order", 7, "t", None)
        application.rollback()
    [event] = messages.run()
    assert (event.id, event.key, event.value) == (first, "7", {"a": 'say "x" \\'})
    assert event.headers["trace"] == "t1"


def test_other_databases_have_outboxes_too(tmp_path: Path) -> None:
    made = sqlalchemy.create_engine(f"sqlite:///{tmp_path / 'shop.db'}")
    with made.begin() as connection:
        connection.execute(sqlalchemy.text(TABLE.replace(" default gen_random_uuid()", "")))
        id = outbox.add(connection, "order", 7, "t", {"a": 1})
        rows = connection.execute(sqlalchemy.text("select * from outbox")).fetchall()
    made.dispose()
    assert rows == [(id, "order", "7", "t", '{"a":1}')]


def test_values_that_json_lacks_are_written_as_text_and_ready_json_as_it_is(log: Running) -> None:
    number = uuid.uuid4()
    payload = {"a": decimal.Decimal("1.10"), "b": number, "c": datetime.datetime(2024, 2, 29, 1, 2, 3)}
    with psycopg.connect(log.dsn) as application:
        outbox.add(application, "order", 7, "t", payload)
        outbox.add(application, "order", 7, "t", json.dumps({"n": 12345678901234567890}).encode())
    assert [event.value for event in log.run()] == [
        {"a": "1.10", "b": str(number), "c": "2024-02-29T01:02:03"},
        {"n": 12345678901234567890},
    ]


@pytest.mark.parametrize("payload", [float("nan"), object(), b"no JSON", {1: object()}])
def test_what_is_no_json_is_refused(payload: Any) -> None:
    with pytest.raises(ContractError) as refused:
        outbox.add(None, "order", 7, "t", payload)
    assert refused.value.code == "outbox.payload"


def test_an_aggregate_type_that_fits_into_no_topic_is_refused() -> None:
    with pytest.raises(ContractError, match="/aggregatetype"):
        outbox.add(None, "Order Line", 7, "t", {})


def test_the_file_of_the_connector_says_where_events_go(log: Running, tmp_path: Path) -> None:
    log.contract("outbox.event.order", "t", {"type": "array"})
    file = log.folder / "connectors" / "outbox-log.yaml"
    ours = Outbox.of(file, {"SHOP_DSN": log.dsn})
    with psycopg.connect(log.dsn) as application, pytest.raises(ContractError):
        ours.add(application, "order", 7, "t", {})
    other = tmp_path / "other.yaml"
    other.write_text("name: shop\nsource: {url: postgresql://db}\n")
    with pytest.raises(ConfigError):
        Outbox.of(other)
