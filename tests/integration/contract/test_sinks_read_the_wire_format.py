"""From a table over a stream with schema ids to a function, and back from the dead letters: by the commands, with nothing
set in the sink. Real PostgreSQL, Kafka and registry."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from liberator.testing.servers import Kafka, Registry
from tests.acceptance.sink import KafkaBroker, Sink
from tests.integration.contract.wire_format import Reader, Shop


@pytest.fixture
def shop(database: str, tmp_path: Path, unique: str, kafka: Kafka, registry: Registry) -> Shop:
    shop = Shop(database, tmp_path, unique, kafka, registry.url)
    shop.execute("create table orders (id int primary key, status text not null)")
    return shop


@pytest.fixture
def sink(tmp_path: Path, shop: Shop, kafka: Kafka) -> Iterator[Sink]:
    sink = Sink(tmp_path / "sink", f"{shop.name}.sink", KafkaBroker(kafka.bootstrap))
    yield sink
    sink.close()


def rows(sink: Sink, command: str, *words: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in sink.call(command, *words, "--json").splitlines()]


FUNCTION = """
    import pathlib
    import liberator

    def ship(events, context):
        for event in events:
            mended = (pathlib.Path(__file__).parent / "mended").exists()
            if event.key["id"] == 3 and event.value and event.value["op"] == "c" and not mended:
                raise liberator.PermanentError("no such street")
        note(events, context)
        return [{"order": event.key["id"]} for event in events]
"""


def test_a_function_gets_what_stands_behind_the_ids_and_dead_letters_keep_them(
    shop: Shop, sink: Sink, reader: Reader
) -> None:
    """D79. In a worker process, so events pass through shared memory."""
    shop.execute("insert into orders values (1, 'paid')")
    shop.run()
    shop.execute("insert into orders values (2, 'new'), (3, 'paid')", "delete from orders where id = 1")
    shop.run()
    sink.write(
        f"""
        stream: {{topics: [{shop.topic}]}}
        trigger: {{filter: "op == 'd' || after.status == 'paid'"}}
        function: {{python: "functions:ship"}}
        output: {{topic: {shop.name}.shipped}}
        """,
        FUNCTION,
    )
    sink.run()
    keys = [key for call in sink.calls() for key in call["keys"]]
    told = [(key["id"], value and value["op"]) for key, value in zip(keys, sink.given(), strict=True)]
    assert sorted(told, key=str) == [(1, "d"), (1, "r"), (1, None)]
    assert [json.loads(it.value or b"") for it in sink.broker.read(f"{shop.name}.shipped")] == [
        {"order": 1}
    ] * 3

    [original] = [it for it in shop.events() if it.key and reader.value(it.key)["id"] == 3]
    [letter] = sink.dead_letters()
    assert (letter.key, letter.value) == (original.key, original.value)
    [row] = rows(sink, "dlq list")
    assert row["key"] == '{"id":3}'
    [shown] = rows(sink, "dlq show", str(row["id"]), "--value")
    assert json.loads(str(shown["value"]))["after"] == {"id": 3, "status": "paid"}
    assert reader.decoded(letter.value or b"")[1] == json.loads(str(shown["value"]))

    (sink.folder / "mended").touch()
    tried = rows(sink, "function test", "--events", "dead-letters")
    assert (tried[0]["kind"], tried[0]["outcome"], tried[0]["key"]) == ("event", "done", {"id": 3})
    assert rows(sink, "dlq redrive", str(row["id"]))[0]["outcome"] == "redriven"
    assert [(it.key, it.value) for it in shop.events()].count((original.key, original.value)) == 2
    (sink.folder / "calls").unlink()
    sink.run()
    [shipped] = sink.given()
    assert shipped["after"] == {"id": 3, "status": "paid"}


def test_a_table_is_kept_of_a_stream_with_schema_ids(shop: Shop, sink: Sink) -> None:
    """Rows are of values, what is deleted is of keys."""
    shop.execute("insert into orders values (1, 'new'), (2, 'new')")
    shop.run()
    shop.execute("update orders set status = 'paid' where id = 2", "delete from orders where id = 1")
    shop.run()
    file = sink.folder / "copies.db"
    copies = sqlite3.connect(file)
    copies.execute("create table orders (id int primary key, status text)")
    copies.commit()
    sink.write(
        f"""
        stream: {{topics: [{shop.topic}]}}
        function: {{table: {{url: "sqlite:///{file}", table: orders}}}}
        """
    )
    sink.run()
    found = copies.execute("select id, status from orders").fetchall()
    copies.close()
    assert found == [(2, "paid")]
