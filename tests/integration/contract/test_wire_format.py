"""The wire format in a running connector: real PostgreSQL, Kafka and registry, read as any other client reads it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from liberator.testing.proxy import Proxy
from liberator.testing.publisher import Published
from liberator.testing.servers import Kafka, Registry
from tests.integration.contract.wire_format import Reader, Shop


@pytest.fixture
def shop(database: str, tmp_path: Path, unique: str, kafka: Kafka, registry: Registry) -> Shop:
    shop = Shop(database, tmp_path, unique, kafka, registry.url)
    shop.execute("create table orders (id int primary key, quantity int not null, tags text[])")
    return shop


def by_id(events: list[Published], reader: Reader) -> dict[int, list[Any]]:
    """The values of each key, in order."""
    found: dict[int, list[Any]] = {}
    for event in events:
        found.setdefault(reader.value(event.key)["id"], []).append(reader.value(event.value))
    return found


def test_snapshot_and_stream_carry_the_ids_of_their_schemas(shop: Shop, reader: Reader) -> None:
    """Keys, values and deletes; a tombstone stays null, and the version of a table its own id."""
    shop.execute("insert into orders values (1, 10, '{a}')")
    shop.run()
    shop.execute(
        "update orders set quantity = 11 where id = 1",
        "alter table orders add place text",
        "insert into orders values (2, 20, '{b}', 'here')",
        "delete from orders where id = 1",
        "truncate orders",
    )
    shop.run()
    events = shop.events()
    keyed = [event for event in events if event.key is not None]
    rows = by_id(keyed, reader)
    assert [value and value["op"] for value in rows[1]] == ["r", "u", "d", None]
    assert [value["after"] for value in rows[2]] == [
        {"id": 2, "quantity": 20, "tags": ["b"], "place": "here"}
    ]
    [truncated] = [event for event in events if event.key is None]
    assert reader.value(truncated.value)["op"] == "t"
    assert len({reader.id(event.key) for event in keyed}) == 1, (
        "a key's bytes do not change with other columns"
    )
    of_first = [event.value for event in keyed if reader.value(event.key)["id"] == 1 and event.value]
    first, second = reader.id(of_first[0]), reader.id(of_first[-1])
    assert first == reader.id(of_first[1]) != second
    assert "place" not in reader.schema(first)["$defs"]["row"]["properties"]
    assert "place" in reader.schema(second)["$defs"]["row"]["properties"]
    assert reader.versions(f"{shop.topic}-value") == [1, 2]
    assert reader.versions(f"{shop.topic}-key") == [1]
    shop.done([*shop.command("schema", "register"), "--registry", shop.registry])
    assert reader.versions(f"{shop.topic}-value") == [1, 2], "the command registers what the connector has"
    assert reader.versions(f"{shop.topic}-key") == [1]


def test_the_schema_is_that_of_the_stored_contract_and_dead_letters_look_as_they_would_have(
    shop: Shop, reader: Reader
) -> None:
    """D77, D32"""
    shop.done(shop.command("schema", "derive"))
    path = shop.folder / "schemas" / shop.topic / "1.json"
    contract = json.loads(path.read_text())
    contract["properties"]["quantity"]["maximum"] = 10
    path.write_text(json.dumps(contract))
    shop.execute("insert into orders values (1, 10), (2, 11)")
    shop.run()
    [good] = shop.events()
    schema_id, value = reader.decoded(good.value or b"")
    assert value["after"]["quantity"] == 10
    assert reader.schema(schema_id)["$defs"]["row"]["properties"]["quantity"]["maximum"] == 10
    [bad] = shop.events(f"{shop.name}.dead-letters")
    assert reader.decoded(bad.value or b"", valid=False)[0] == schema_id
    assert reader.decoded(bad.key or b"") == (reader.id(good.key), {"id": 2})
    shop.execute("alter table orders add place text", "insert into orders values (3, 1)")
    shop.run()
    [change] = [json.loads(event.value or b"") for event in shop.events(f"{shop.name}.schema-changes")]
    assert change["contract"]["after"] == 2, "control records are plain JSON"


def test_queries_carry_them_too(shop: Shop, reader: Reader) -> None:
    shop.execute("insert into orders select n, n, '{}' from generate_series(1, 50) n")
    shop.run("source.query.strategy=xmin", "source.query.deletes=reconcile", mode="query")
    shop.execute("delete from orders where id = 7")
    shop.run("source.query.strategy=xmin", "source.query.deletes=reconcile", mode="query")
    rows = by_id(shop.events(), reader)
    assert sorted(rows) == list(range(1, 51))
    assert [value and value["op"] for value in rows[7]] == ["r", "d", None]


def test_a_schema_that_may_not_be_registered_must_be_there(shop: Shop, reader: Reader) -> None:
    shop.execute("insert into orders values (1, 1)")
    said = shop.run("schema.registry_register=false", code=1)
    assert "registry.not_registered" in said
    assert "liberate schema register" in said
    assert shop.events() == []
    shop.done([*shop.command("schema", "register"), "--registry", shop.registry, "--subjects", "record_name"])
    shop.run("schema.registry_register=false", "schema.subjects=record_name")
    assert list(by_id(shop.events(), reader)) == [1]


def test_what_was_registered_once_is_published_without_the_registry_and_what_is_new_waits_for_it(
    shop: Shop, reader: Reader, weather: Proxy
) -> None:
    """Nothing overtakes a row that waits for its schema, and nothing is lost when the process is killed meanwhile."""
    shop.registry = weather.url(shop.registry)
    shop.execute("insert into orders values (1, 1)")
    shop.run()
    weather.down()
    shop.execute("insert into orders values (2, 2)")
    assert "is taken from the cache" in shop.run()
    assert sorted(by_id(shop.events(), reader)) == [1, 2]
    shop.execute(
        "alter table orders add place text",
        "insert into orders values (3, 3, '{}', 'here')",
        "insert into orders values (2 + 2, 4, '{}', 'there')",
    )

    def start() -> subprocess.Popen[bytes]:
        with (shop.folder / "log").open("ab") as log:
            return subprocess.Popen(
                shop.publish(), cwd=shop.folder, env=shop.environment(), stdin=subprocess.DEVNULL, stderr=log
            )

    process = start()
    shop.wait_for(lambda: "the schema registry can't be reached" in shop.log and "trying again" in shop.log)
    process.kill()
    process.wait()
    assert sorted(by_id(shop.events(), reader)) == [1, 2]
    process = start()
    try:
        shop.wait_for(lambda: shop.log.count("trying again") > 1)
        weather.up()
        shop.wait_for(lambda: len(shop.events()) >= 4)
    finally:
        process.kill()
        process.wait()
    assert sorted(by_id(shop.events(), reader)) == [1, 2, 3, 4]
