"""`liberate init outbox`: what it prints runs on real servers, and is all that writer and reader need."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
import pytest

from liberator.cli import main
from tests.integration.outbox.running import Running

Reading = Callable[..., Running]


@pytest.fixture
def script(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """What the command prints."""

    def call(*arguments: str) -> str:
        assert main(["init", "outbox", *arguments]) == 0
        return capsys.readouterr().out

    return call


@contextmanager
def role(dsn: str, name: str) -> Iterator[str]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"create role {name} login".encode())
        yield dsn.replace("//postgres@", f"//{name}@")
        connection.execute(f"drop owned by {name}".encode())
        connection.execute(f"drop role {name}".encode())


@pytest.fixture
def roles(each_database: str, unique: str) -> Iterator[tuple[str, str]]:
    """The database as writer and as reader, who may nothing yet."""
    with ExitStack() as stack:
        writer, reader = (stack.enter_context(role(each_database, f"{unique}_{n}")) for n in ("w", "r"))
        yield writer, reader


def execute(dsn: str, *statements: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def grants(unique: str, running: Running) -> list[str]:
    publication = running.config().source.log.publication[0]
    return ["--writer", f"{unique}_w", "--reader", f"{unique}_r", "--publication", publication]


@pytest.mark.parametrize("capture", ["log", "poll"])
def test_writer_and_reader_need_nothing_more(
    each_database: str,
    roles: tuple[str, str],
    unique: str,
    reading: Reading,
    script: Callable[..., str],
    capture: str,
) -> None:
    writer, reader = roles
    running = reading(reader, f"outbox-{capture}.yaml")
    execute(each_database, script("--capture", capture, *grants(unique, running)))
    insert = (
        "insert into outbox (aggregatetype, aggregateid, type, payload) values ('order', '{}', 't', '{{}}')"
    )
    execute(writer, insert.format(1))
    assert [event.key for event in running.run()] == ["1"]
    execute(writer, insert.format(2))
    assert [event.key for event in running.run()] == ["2"]
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        execute(writer, "select * from outbox")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        execute(reader, "delete from outbox" if capture == "log" else insert.format(3))


def test_the_file_of_a_connector_says_what_its_outbox_looks_like(
    database: str, reading: Reading, script: Callable[..., str]
) -> None:
    outbox = {
        "table": '"Odd".events',
        "columns": {"aggregate_id": "of", "payload": 'the "value"'},
        "headers": ["trace_id"],
        "envelope": ["tenant"],
    }
    running = reading(database, "outbox-log.yaml", source={"outbox": outbox, "url": database})
    running.config(publish={"url": "-"})
    printed = script(str(running.folder / "connectors" / "outbox-log.yaml"))
    execute(database, 'create schema "Odd"', printed)
    execute(
        database,
        'insert into "Odd".events (aggregatetype, "of", type, "the ""value""", trace_id, tenant)'
        " values ('order', '1', 't', '[1]', 'x', 'y')",
    )
    [event] = running.run(publish={"url": "${SHOP_BROKER}"})
    assert (event.key, event.value) == ("1", {"payload": [1], "tenant": "y"})
    assert event.headers["trace_id"] == "x"


@pytest.mark.parametrize("capture", ["log", "message"])
def test_triggers_make_events_of_an_application_that_is_not_changed(
    each_database: str,
    roles: tuple[str, str],
    unique: str,
    reading: Reading,
    script: Callable[..., str],
    capture: str,
) -> None:
    writer, reader = roles
    running = reading(reader, f"outbox-{capture}.yaml")
    execute(
        each_database,
        "create table orders (id int primary key, v text)",
        'create table "Order Lines" ("order" int, line int, primary key ("order", line))',
        f'grant all on orders, "Order Lines" to {unique}_w',
    )
    captured = ["--from", "orders", "--from", '"Order Lines"=order,line', "--capture", capture]
    execute(each_database, script(*captured, *grants(unique, running)))
    running.run()
    execute(
        writer,
        "insert into orders values (1, 'a'), (2, null)",
        "update orders set v = 'b' where id = 1",
        "update orders set id = 3 where id = 1",
        "delete from orders where id = 2",
        'insert into "Order Lines" values (3, 1)',
    )
    events = running.run()
    assert [(event.key, event.headers["type"], event.value) for event in events] == [
        ("1", "created", {"id": 1, "v": "a"}),
        ("2", "created", {"id": 2, "v": None}),
        ("1", "updated", {"id": 1, "v": "b"}),
        ("1", "deleted", {"id": 1, "v": "b"}),
        ("3", "created", {"id": 3, "v": "b"}),
        ("2", "deleted", {"id": 2, "v": None}),
        ("[3, 1]", "created", {"order": 3, "line": 1}),
    ]
    assert {event.topic for event in events} == {"outbox.event.orders", "outbox.event.Order_Lines"}
    assert len({event.id for event in events}) == len(events)


def test_a_table_without_that_key_gets_no_trigger_and_nothing_else_is_made(
    database: str, script: Callable[..., str]
) -> None:
    execute(database, "create table orders (number int primary key)")
    with pytest.raises(psycopg.errors.UndefinedColumn):
        execute(database, script("--from", "orders"))
    with psycopg.connect(database) as connection:
        assert connection.execute("select to_regclass('outbox')").fetchone() == (None,)


@pytest.mark.parametrize(
    "arguments", [["--table", "public.*"], ["--from", "a.b.c"], ["connectors/postgres-log.yaml"]]
)
def test_what_is_no_table_or_no_outbox_is_wrong_usage(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(Path(__file__).parents[3])
    monkeypatch.setenv("SHOP_DSN", "postgresql://db/shop")
    assert main(["init", "outbox", *arguments]) == 2
    assert capsys.readouterr().out == ""
