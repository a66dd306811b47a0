"""What we publish with a registry, read by the library that most consumers use: confluent-kafka's client of the registry and
its JSON deserializer, which fetches the schema of each message and validates. Real PostgreSQL, Kafka and registry."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from liberator.testing.servers import Kafka, Registry
from tests.integration.contract.wire_format import Shop

COLUMNS = """id bigint primary key, total numeric(12,2), anything numeric, weight double precision, mood mood,
    place place, tags text[], grid int[], document jsonb, raw bytea, made timestamptz, day date, span interval,
    uid uuid, network inet, period tstzrange, flag boolean"""
ROW = """(1, 12.30, 'NaN', 'Infinity', 'calm', '(left,3)', '{a,NULL}', '{{1,2},{3,4}}', '{"deep": [1, {"x": null}]}',
    '\\x00ff', 'infinity', '2026-02-28', '1 mon 2 days', '6f2b1d0e-7a0f-4f5e-9a43-0a3d9f2a7c11', '10.0.0.1/8',
    '[2026-01-01,2026-02-01)', true)"""


@pytest.mark.parametrize(("envelope", "count"), [("debezium", 6), ("flat", 5), ("cloudevents", 6)])
def test_confluents_deserializer_takes_every_type_in_every_envelope(
    database: str, tmp_path: Path, unique: str, kafka: Kafka, registry: Registry, envelope: str, count: int
) -> None:
    """Snapshot, update, a new version of the table, delete, tombstone and truncate; nulls in every column."""
    shop = Shop(database, tmp_path, unique, kafka, registry.url)
    shop.execute(
        "create type mood as enum ('calm', 'wild')",
        "create type place as (side text, n int)",
        f"create table orders ({COLUMNS})",
        f"insert into orders values {ROW}",
        "insert into orders values (2)",
    )
    options = [f"format.envelope={envelope}", "publish.create_topics.partitions=1"]
    shop.run(*options)
    shop.execute(
        "alter table orders add remark text",
        "update orders set remark = 'ü' where id = 1",
        "delete from orders where id = 2",
        "truncate orders",
    )
    shop.run(*options)
    published = shop.events()
    assert len(published) == count
    read = shop.confluent_reads(count)
    assert read == [
        tuple(data and json.loads(data[5:]) for data in (event.key, event.value)) for event in published
    ]
