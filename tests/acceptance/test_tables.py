"""Tables that a sink keeps: every event takes effect once, whatever happens in between."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from liberator.testing.servers import Kafka
from tests.acceptance.sink import Broker, KafkaBroker, LocalBroker, Record, Sink

TABLE = "CREATE TABLE orders (id INTEGER PRIMARY KEY, status TEXT)"


@pytest.fixture(params=["local", "kafka"])
def sink(request: pytest.FixtureRequest, tmp_path: Path, unique: str) -> Iterator[Sink]:
    """A sink on each broker in turn."""
    broker: Broker
    if request.param == "local":
        broker = LocalBroker(tmp_path / "events")
    else:
        kafka: Kafka = request.getfixturevalue("kafka")
        broker = KafkaBroker(kafka.bootstrap)
    made = Sink(tmp_path / "sink", unique, broker)
    yield made
    made.close()


@pytest.fixture
def local_sink(tmp_path: Path, unique: str) -> Iterator[Sink]:
    made = Sink(tmp_path / "sink", unique, LocalBroker(tmp_path / "events"))
    yield made
    made.close()


def rows(numbers: range, **more: Any) -> list[Record]:
    """Created orders, each of its own key."""
    values = [{"before": None, "after": {"id": n, "status": "new", **more}, "op": "c"} for n in numbers]
    keys = [json.dumps({"id": n}).encode() for n in numbers]
    return [Record(key, json.dumps(value).encode()) for key, value in zip(keys, values, strict=True)]


def configured(sink: Sink, url: str, more: str = "") -> None:
    sink.write(
        f"""
        stream: {{topics: [{sink.name}.in]}}
        trigger: {{batch_size: 20, batch_window: 20ms}}
        function: {{table: {{url: '{url}', table: orders}}}}
        {more}
        """
    )


def asked(path: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as connection, connection:
        return connection.execute(query).fetchall()


def test_each_event_takes_effect_once_whenever_the_process_is_killed(database: str, local_sink: Sink) -> None:
    sink, count = local_sink, 2_000
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(TABLE)
        connection.execute("CREATE TABLE seen (id int, at bigserial)")
        connection.execute(
            "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN INSERT INTO seen VALUES (NEW.id); RETURN NEW; END $$"
        )
        connection.execute(
            "CREATE TRIGGER note AFTER INSERT OR UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION note()"
        )
        configured(sink, database)
        sink.broker.create(f"{sink.name}.in", 1)
        sink.broker.append(f"{sink.name}.in", rows(range(count)))

        def seen() -> int:
            return int(connection.execute("SELECT count(*) FROM seen").fetchone()[0])  # type: ignore[index]

        for goal in (20, 700):
            process = sink.launch()
            sink.wait_for(lambda goal=goal: seen() >= goal, f"{goal} rows")  # type: ignore[misc]
            process.kill()
            process.wait()
            assert seen() < count, "it was killed in the middle"
        sink.run()
        assert connection.execute("SELECT id FROM seen ORDER BY at").fetchall() == [
            (n,) for n in range(count)
        ]
        assert connection.execute("SELECT count(*) FROM orders").fetchone() == (count,)
    assert sink.broker.committed(sink.name, f"{sink.name}.in") == count


def test_the_offsets_of_the_table_count_and_not_those_of_the_group(sink: Sink, tmp_path: Path) -> None:
    """A database that was restored is as old as its offsets are."""
    copy = tmp_path / "copy.db"
    asked(copy, TABLE)
    configured(sink, f"sqlite:///{copy}")
    topic = f"{sink.name}.in"
    sink.broker.create(topic, 1)
    sink.broker.append(topic, rows(range(30)))
    sink.run()
    assert asked(copy, "SELECT count(*) FROM orders") == [(30,)]
    asked(copy, "DELETE FROM orders WHERE id >= 10")
    asked(copy, "UPDATE liberator_offsets SET next_offset = 10")
    sink.run()
    assert asked(copy, "SELECT count(*) FROM orders") == [(30,)]
    assert sink.broker.committed(sink.name, topic) == 30


def test_a_row_that_is_refused_is_a_dead_letter_and_the_others_are_written(
    local_sink: Sink, tmp_path: Path
) -> None:
    sink, copy = local_sink, tmp_path / "copy.db"
    asked(copy, "CREATE TABLE orders (id INTEGER PRIMARY KEY, status TEXT CHECK (status <> 'bad'))")
    configured(sink, f"sqlite:///{copy}")
    topic = f"{sink.name}.in"
    sink.broker.create(topic, 1)
    sink.broker.append(topic, [*rows(range(4)), *rows(range(4, 5), status="bad"), *rows(range(5, 9))])
    sink.run()
    assert [row for (row,) in asked(copy, "SELECT id FROM orders ORDER BY id")] == [0, 1, 2, 3, 5, 6, 7, 8]
    [letter] = sink.dead_letters()
    assert letter.key == b'{"id": 4}'
    assert "CHECK constraint failed" in letter.header("__connect.errors.exception.message")


def test_with_on_failure_stop_the_row_is_tried_again_at_the_next_start(
    local_sink: Sink, tmp_path: Path
) -> None:
    sink, copy = local_sink, tmp_path / "copy.db"
    asked(copy, "CREATE TABLE orders (id INTEGER PRIMARY KEY, status TEXT CHECK (status <> 'bad'))")
    configured(sink, f"sqlite:///{copy}", "policy: {on_failure: stop}")
    topic = f"{sink.name}.in"
    sink.broker.create(topic, 1)
    sink.broker.append(topic, [*rows(range(2)), *rows(range(2, 3), status="bad"), *rows(range(3, 5))])
    sink.run(code=1)
    assert asked(copy, "SELECT count(*) FROM orders") == [(2,)]
    asked(copy, "DROP TABLE orders")
    asked(copy, TABLE)
    sink.run()
    assert asked(copy, "SELECT id, status FROM orders") == [(2, "bad"), (3, "new"), (4, "new")]


def test_a_database_that_is_away_is_waited_for(local_sink: Sink, tmp_path: Path) -> None:
    """Nothing is given up for it, and the rows come when it is back."""
    sink, copy = local_sink, tmp_path / "copy.db"
    asked(copy, TABLE)
    configured(sink, f"sqlite:///{copy}", "policy: {timeout: 200ms}")
    sink.broker.create(f"{sink.name}.in", 1)
    sink.broker.append(f"{sink.name}.in", rows(range(3)))
    with closing(sqlite3.connect(copy, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        process = sink.launch()
        sink.wait_for(lambda: sink.log.count("does not do it") >= 2, "two attempts")
        other.execute("ROLLBACK")
        sink.wait_for(lambda: asked(copy, "SELECT count(*) FROM orders") == [(3,)], "the rows")
    sink.stop(process)
    assert sink.dead_letters() == []


def test_a_table_follows_a_table_of_postgres(database: str, local_sink: Sink, tmp_path: Path) -> None:
    """Every change of the source, all the way; with a contract that makes the table."""
    sink, copy = local_sink, tmp_path / "copy.db"
    topic = f"{sink.name}.src.public.orders"
    contract = sink.folder / "schemas" / topic / "1.json"
    contract.parent.mkdir(parents=True)
    integer = {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1}
    properties = {
        "id": integer,
        "status": {"type": ["string", "null"]},
        "total": {"type": ["string", "null"]},
    }
    contract.write_text(json.dumps({"type": "object", "properties": properties, "x-key": ["id"]}))
    sink.write(
        f"""
        stream: {{topics: [{topic}]}}
        trigger: {{batch_window: 20ms}}
        function: {{table: {{url: 'sqlite:///{copy}', table: orders, create: true}}}}
        """
    )
    source = tmp_path / "source.yaml"
    source.write_text(
        f"connector: source\nname: {sink.name}.src\nsource: {{url: '{database}', tables: [public.orders]}}\n"
        f"publish: {{url: '{sink.broker.url}', create_topics: {{partitions: 1}}}}\n"
    )
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("create table orders (id int primary key, status text, total numeric(10, 2))")
        connection.execute(
            "insert into orders select n, repeat('x', 3000), n / 2.0 from generate_series(1, 50) n"
        )
        process = sink.launch(files=[source, sink.path])

        def same() -> bool:
            there = connection.execute("select id, status, total::text from orders order by id").fetchall()
            try:
                return asked(copy, "SELECT id, status, total FROM orders ORDER BY id") == there
            except sqlite3.OperationalError:
                return False

        sink.wait_for(same, "the rows that were there")
        connection.execute("alter table orders alter column status set storage external")
        connection.execute("update orders set total = total + 1 where id < 20")
        connection.execute("update orders set id = id + 100 where id in (3, 4)")
        connection.execute("delete from orders where id between 10 and 30")
        sink.wait_for(same, "updates, keys that change, deletes")
        connection.execute("truncate orders")
        connection.execute("insert into orders values (1, 'anew', null)")
        sink.wait_for(same, "a truncate, and a row behind it")
    sink.stop(process)
    assert sink.dead_letters() == []
