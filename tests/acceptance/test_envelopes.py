"""The command with each envelope: what a consumer of it builds from a snapshot and the stream is the table."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, from_kafka_event

from liberator.testing.oracle import Replay, assert_complete
from liberator.testing.servers import Kafka
from tests.acceptance.connector import PATIENCE, Connector
from tests.integration.publish import topics

SETUP = (
    "create table orders (id int, part int, name text, note text, primary key (id, part))",
    "alter table orders alter note set storage external",
    "create table history (at int, what text)",
    "alter table history replica identity full",
    "create table stock (id int primary key, n numeric)",
    "insert into orders select n, n % 3, 'order ' || n, repeat('x', 5000) from generate_series(1, 20) n",
    "insert into history values (1, 'a'), (1, 'a'), (2, 'b')",
    "insert into stock values (1, 1.5), (2, 'NaN')",
)
CHANGES = (
    "insert into orders values (100, 1, 'new', null)",
    "update orders set name = 'unchanged note' where id < 10",
    "update orders set note = 'short' where id = 3",
    "update orders set id = id + 1000 where id = 4",
    "delete from orders where id in (5, 100)",
    "delete from history where ctid = (select min(ctid) from history)",
    "update history set what = 'c' where at = 2",
    "truncate stock",
    "insert into stock values (3, 3)",
)
TABLES = ("public.orders", "public.history", "public.stock")
OPS = {"created": "c", "updated": "u", "deleted": "d", "read": "r", "truncated": "t"}

Line = Mapping[str, Any]
Reader = Callable[[Line], dict[str, Any]]


def from_cloudevents(line: Line) -> dict[str, Any]:
    """What the SDK reads of a record, in the words that the replay understands."""
    headers = {name: text.encode() for name, text in line["headers"].items()}
    key, value = (
        None if line[part] is None else json.dumps(line[part]).encode() for part in ("key", "value")
    )
    event = from_kafka_event(KafkaMessage(headers, key, value))  # type: ignore[arg-type]  # null values
    assert event.get_source() == f"/liberator/{line['topic'].split('.')[0]}"
    _, schema, table, kind = event.get_type().split(".")
    assert (event.get_subject() is None) == (line["key"] is None)
    data, time = event.get_data(), event.get_time()
    assert time is not None
    source = {"schema": schema, "table": table, **unchanged(line)}
    assert str(event.get_extension("lsn")).isdecimal()
    change = {"op": OPS[kind], **data, "source": source} if isinstance(data, dict) else None
    headers_as_text = {**line["headers"], "id": event.get_id()}
    return {"topic": line["topic"], "key": line["key"], "value": change, "headers": headers_as_text}


def from_flat(line: Line) -> dict[str, Any]:
    """What a consumer that upserts does with a record: a null value forgets the key, everything else is the row."""
    headers, row = line["headers"], line["value"]
    op, is_gone = headers["__op"], headers["__deleted"] == "true"
    assert is_gone == (op == "d")
    assert row is not None or op in "dt"
    assert int(headers["__ts_ms"]) >= int(headers["__source_ts_ms"]) > 0
    source = {"schema": headers["__schema"], "table": headers["__table"], **unchanged(line)}
    before = (row or line["key"]) if is_gone else json.loads(headers.get("__before", "null"))
    change = {"op": op, "before": before, "after": None if is_gone else row, "source": source}
    return {"topic": line["topic"], "key": line["key"], "value": change, "headers": headers}


def from_debezium(line: Line) -> dict[str, Any]:
    return dict(line)


def unchanged(line: Line) -> dict[str, Any]:
    names = line["headers"].get("__unchanged")
    return {"unchanged": json.loads(names)} if names else {}


ENVELOPES: dict[str, tuple[Reader, tuple[str, ...]]] = {
    "debezium": (from_debezium, ()),
    "binary": (from_cloudevents, ("--envelope", "cloudevents")),
    "structured": (
        from_cloudevents,
        ("--envelope", "cloudevents", "--set", "format.cloudevents_mode=structured"),
    ),
    "flat": (from_flat, ("--envelope", "flat")),
}


def published(connector: Connector) -> list[dict[str, Any]]:
    """Run it to its end; everything that it has published so far."""
    assert connector.launch("--once").wait(PATIENCE) == 0, connector.log
    return [json.loads(line) for line in (connector.folder / "events.ndjson").read_text().splitlines()]


@pytest.mark.parametrize("envelope", ENVELOPES)
def test_a_consumer_of_the_envelope_rebuilds_the_tables(
    envelope: str, each_database: str, connector: Callable[..., Connector]
) -> None:
    """D01, D02, D06"""
    read, options = ENVELOPES[envelope]
    it = connector(each_database, *options)
    it.execute(*SETUP)
    snapshot = published(it)
    assert len(snapshot) == 25
    it.execute(*CHANGES)
    lines = published(it)
    assert lines[:25] == snapshot
    assert any("__debezium.newkey" in line["headers"] for line in lines)
    if envelope != "debezium":
        assert any("__unchanged" in line["headers"] for line in lines)
    replay = assert_complete(Replay().read(map(read, lines)), each_database, TABLES)
    assert replay.events == len(lines)


@pytest.mark.parametrize("envelope", ["binary", "structured", "flat"])
def test_a_consumer_of_kafka_reads_the_envelope_out_of_its_records(
    envelope: str, database: str, kafka: Kafka, connector: Callable[..., Connector]
) -> None:
    it = connector(database, *ENVELOPES[envelope][1])
    it.execute("create table t (id int primary key, v numeric)", "insert into t values (1, 12.50)")
    to_kafka = ("--publish", f"kafka://{kafka.bootstrap}", "--once")
    assert it.launch(*to_kafka).wait(PATIENCE) == 0, it.log
    it.execute("delete from t")
    assert it.launch(*to_kafka).wait(PATIENCE) == 0, it.log
    records = topics.read(kafka.bootstrap, f"{it.name}.public.t")
    row = b'{"id":1,"v":"12.50"}'
    if envelope == "flat":
        assert [record.value for record in records] == [row, None]
        assert [record.headers["__op"] for record in records] == [b"r", b"d"]
        return
    assert row in (records[0].value or b"")
    read, gone, tombstone = (
        from_kafka_event(KafkaMessage(dict(record.headers), record.key, record.value))  # type: ignore[arg-type]  # null
        for record in records
    )
    assert read.get_data() == {"before": None, "after": {"id": 1, "v": "12.50"}}
    assert gone.get_data() == {"before": {"id": 1}, "after": None}
    assert not tombstone.get_data()
    assert {event.get_subject() for event in (read, gone, tombstone)} == {'{"id":1}'}
    assert [event.get_id().encode() for event in (read, gone, tombstone)] == [record.id for record in records]
