"""Functions with a state: it is never ahead of its offsets and never behind them, whatever happens in between."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from tests.acceptance.sink import LocalBroker, Record, Sink, numbered

COUNTING = """
import time

def count(events, context):
    for event in events:
        context.state.put("all", context.state.get("all", 0) + 1)
        seen = context.state.get(f"of {event.key}", [])
        context.state.put(f"of {event.key}", [*seen, event.value["n"]])
    context.publish(context.state.get("all"))
"""


@pytest.fixture
def sink(tmp_path: Path, unique: str) -> Iterator[Sink]:
    made = Sink(tmp_path / "sink", unique, LocalBroker(tmp_path / "events"))
    yield made
    made.close()


@pytest.mark.parametrize("where", ["sqlite, in workers", "postgresql, in process"])
def test_each_event_is_counted_once_whenever_the_process_is_killed(
    sink: Sink, request: pytest.FixtureRequest, tmp_path: Path, where: str
) -> None:
    path, count = tmp_path / "state.db", 600
    dsn = None if where.startswith("sqlite") else str(request.getfixturevalue("database"))
    sink.write(
        f"""
        stream: {{topics: [{sink.name}.in]}}
        trigger: {{batch_size: 5, batch_window: 0s}}
        function: {{python: "functions:count", in_process: {str(dsn is not None).lower()}}}
        output: {{topic: {sink.name}.out}}
        state: {{url: '{dsn or f"sqlite:{path}"}'}}
        """,
        COUNTING,
    )
    sink.broker.create(f"{sink.name}.in", 2)
    for partition in (0, 1):
        mine = [record for n, record in enumerate(numbered(range(count), keys=8)) if n % 8 % 2 == partition]
        sink.broker.append(f"{sink.name}.in", mine, partition)

    def state() -> dict[str, object]:
        query = "SELECT key, value FROM liberator_state"
        try:
            if dsn is not None:
                with psycopg.connect(dsn) as postgres:
                    found = postgres.execute(query).fetchall()
            else:
                with closing(sqlite3.connect(path)) as sqlite:
                    found = sqlite.execute(query).fetchall()
        except (sqlite3.OperationalError, psycopg.errors.UndefinedTable):
            return {}
        return {key: json.loads(value) for key, value in found}

    for goal in (5, 200):
        process = sink.launch()
        sink.wait_for(lambda goal=goal: state().get("all", 0) >= goal, f"{goal} events")  # type: ignore[misc]
        process.kill()
        process.wait()
        assert state()["all"] < count, "it was killed in the middle"  # type: ignore[operator]
    sink.run()
    expected = {f"of k{key}": [n for n in range(count) if n % 8 == key] for key in range(8)}
    assert state() == {"all": count, **expected}


def test_an_event_that_is_given_up_leaves_no_trace_in_the_state(sink: Sink, tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    sink.write(
        f"""
        stream: {{topics: [{sink.name}.in]}}
        trigger: {{batch_size: 10, batch_window: 0s}}
        function: {{python: "functions:picky"}}
        policy: {{retry: {{attempts: 2, initial: 1ms}}}}
        state: {{url: 'sqlite:{path}'}}
        """,
        """
        def picky(events, context):
            for event in events:
                context.state.put("sum", context.state.get("sum", 0) + event.value["n"])
                if event.value["n"] == 3:
                    raise ValueError("three")
        """,
    )
    sink.broker.create(f"{sink.name}.in", 1)
    sink.broker.append(f"{sink.name}.in", numbered(range(10)))
    sink.run()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT value FROM liberator_state").fetchall() == [(str(45 - 3),)]
    assert [json.loads(record.value or b"")["n"] for record in sink.dead_letters()] == [3]


def test_a_function_joins_its_stream_with_a_table_that_a_sink_keeps(tmp_path: Path, unique: str) -> None:
    """The example of the guide: orders, with the customer as another context's stream tells of it."""
    broker, copy = LocalBroker(tmp_path / "events"), tmp_path / "customers.db"
    customers = Sink(tmp_path / "customers", f"{unique}.customers", broker)
    orders = Sink(tmp_path / "orders", f"{unique}.orders", broker)
    with closing(sqlite3.connect(copy)) as connection:
        connection.execute("CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT)")
    customers.write(
        f"""
        stream: {{topics: [{unique}.customers]}}
        function: {{table: {{url: 'sqlite:///{copy}', table: customers}}}}
        """
    )
    orders.write(
        f"""
        stream: {{topics: [{unique}.orders]}}
        function: {{python: "functions:enrich"}}
        output: {{topic: {unique}.enriched}}
        state: {{url: 'sqlite:{tmp_path / "state.db"}'}}
        """,
        f"""
        import sqlite3
        customers = None

        def init():
            global customers
            customers = sqlite3.connect("file:{copy}?mode=ro", uri=True)

        def enrich(events, context):
            for event in events:
                order = event.value["after"]
                [name] = customers.execute("SELECT name FROM customers WHERE id = ?", [order["customer"]]).fetchone()
                count = context.state.get(name, 0) + 1
                context.state.put(name, count)
                context.publish({{"order": order["id"], "name": name, "count": count}})
        """,
    )
    people = [{"id": 1, "name": "Ann"}, {"id": 2, "name": "Bob"}, {"id": 2, "name": "Bea"}]
    bought = [{"id": n, "customer": 1 + n % 2} for n in range(4)]
    for topic, rows in ((f"{unique}.customers", people), (f"{unique}.orders", bought)):
        values = [json.dumps({"before": None, "after": row, "op": "u"}).encode() for row in rows]
        broker.create(topic, 1)
        keys = [json.dumps({"id": row["id"]}).encode() for row in rows]
        broker.append(topic, [Record(key, value) for key, value in zip(keys, values, strict=True)])
    try:
        customers.run()
        orders.run()
    finally:
        customers.close()
        orders.close()
    found = [json.loads(record.value or b"") for record in broker.read(f"{unique}.enriched")]
    assert [(one["name"], one["count"]) for one in sorted(found, key=lambda one: one["order"])] == [
        ("Ann", 1),
        ("Bea", 1),
        ("Ann", 2),
        ("Bea", 2),
    ]
