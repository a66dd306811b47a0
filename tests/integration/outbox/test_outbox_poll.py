"""An outbox that is polled, in PostgreSQL, MariaDB and SQLite."""

from __future__ import annotations

import itertools
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import liberator
from liberator.build import checkpoint_adopt, checkpoint_reset, checkpoint_show, slot_create, status
from liberator.build.run import make_connector
from liberator.build.running import How
from liberator.errors import ConfigError, PreconditionError
from liberator.testing.servers import MariaDb, Postgres
from tests.integration.outbox.running import Running

COLUMNS = """(
    position {growing},
    id varchar(36) not null,
    aggregatetype varchar(100) not null,
    aggregateid varchar(100) not null,
    type varchar(100) not null,
    payload {payload},
    published_at {time} null,
    done {flag},
    trace_id varchar(100),
    amount numeric(10, 2)
)"""


@dataclass
class Db:
    """A database with an empty outbox."""

    url: str
    engine: sa.Engine

    def execute(self, *statements: str) -> list[Any]:
        """In one transaction; the rows of the last one."""
        rows: list[Any] = []
        with self.engine.begin() as connection:
            for statement in statements:
                result = connection.exec_driver_sql(statement)
                rows = [tuple(row) for row in result] if result.returns_rows else []
        return rows

    def add(self, *payloads: str | None, aggregate: str = "7", connection: Any = None) -> list[str]:
        """Events of one aggregate; their ids."""
        ids = [str(uuid.uuid4()) for _ in payloads]
        with ExitStack() as stack:
            used = connection or stack.enter_context(self.engine.begin())
            for id, payload in zip(ids, payloads, strict=True):
                used.execute(
                    sa.text(
                        "insert into outbox (id, aggregatetype, aggregateid, type, payload)"
                        " values (:id, 'order', :key, 'Placed', :payload)"
                    ).bindparams(sa.bindparam("payload", payload, sa.types.NullType())),
                    {"id": id, "key": aggregate},
                )
        return ids

    @property
    def left(self) -> list[str]:
        return [row[0] for row in self.execute("select id from outbox order by position")]


def _postgres(server: Postgres, stack: ExitStack) -> Db:
    dsn = server.database()
    stack.callback(server.drop, dsn)
    columns = COLUMNS.format(
        growing="bigint generated always as identity primary key",
        payload="jsonb",
        time="timestamptz",
        flag="boolean",
    )
    return _made(Db(dsn, sa.create_engine(dsn.replace("postgresql:", "postgresql+psycopg:"))), columns, stack)


@pytest.fixture(params=["pg18", "pg15", "mariadb", "sqlite"])
def db(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Db]:
    with ExitStack() as stack:
        if request.param.startswith("pg"):
            yield _postgres(request.getfixturevalue(f"postgres{request.param[2:]}"), stack)
        elif request.param == "mariadb":
            server: MariaDb = request.getfixturevalue("mariadb")
            url = server.database()
            stack.callback(server.drop, url)
            columns = COLUMNS.format(
                growing="bigint auto_increment primary key", payload="json", time="timestamp", flag="boolean"
            )
            yield _made(Db(url, sa.create_engine(url)), columns, stack)
        else:
            url = f"sqlite:///{tmp_path / 'shop.db'}"
            columns = COLUMNS.format(
                growing="integer primary key", payload="text", time="timestamp", flag="boolean"
            )
            yield _made(Db(url, sa.create_engine(url)), columns, stack)


@pytest.fixture
def pg(postgres18: Postgres) -> Iterator[Db]:
    with ExitStack() as stack:
        yield _postgres(postgres18, stack)


def _made(db: Db, columns: str, stack: ExitStack) -> Db:
    stack.callback(db.engine.dispose)
    db.execute(f"create table outbox {columns}")
    return db


locking = pytest.mark.parametrize("db", ["pg18", "pg15", "mariadb"], indirect=True)

Polling = Callable[..., Running]


@pytest.fixture
def polling(tmp_path: Path, unique: str) -> Polling:
    """Makes a connector that polls; another one each time."""
    numbers = itertools.count()

    def make(db: Db, **outbox: Any) -> Running:
        number = next(numbers)
        return Running(
            db.url,
            tmp_path / f"polling{number}",
            f"{unique}{number}",
            "outbox-poll.yaml",
            source={"outbox": outbox},
        )

    return make


def test_rows_are_published_in_order_and_deleted(db: Db, polling: Polling) -> None:
    running = polling(db, headers=["trace_id"], envelope=["amount"])
    db.execute(
        "insert into outbox (id, aggregatetype, aggregateid, type, payload, trace_id, amount)"
        " values ('a', 'order', '7', 'Placed', '{\"total\": 1.5}', 'x', 1.25)"
    )
    others = db.add(*(str(number) for number in range(250)))
    events = running.run()
    assert [event.id for event in events] == ["a", *others]
    first = events[0]
    assert (first.topic, first.key) == ("outbox.event.order", "7")
    assert first.value == {"payload": {"total": 1.5}, "amount": "1.25"}
    assert first.headers == {"id": "a", "type": "Placed", "trace_id": "x"}
    assert [event.value["payload"] for event in events[1:]] == list(range(250))
    assert db.left == []
    assert running.run() == []


@pytest.mark.parametrize("column", ["published_at", "done"])
def test_rows_can_be_marked_instead(db: Db, polling: Polling, column: str) -> None:
    running = polling(db, after_publish=f"mark:{column}")
    first = db.add("1", "2")
    assert [event.id for event in running.run()] == first
    second = db.add("3")
    assert [event.id for event in running.run()] == second
    assert db.left == first + second
    assert db.execute(f"select count(*) from outbox where {column} is null") == [(0,)]


@locking
def test_what_is_committed_late_is_published(db: Db, polling: Polling) -> None:
    """D72: an earlier row that is committed after later ones were published."""
    running = polling(db)
    with db.engine.connect() as late:
        late.begin()
        [first] = db.add("1", connection=late)
        second = db.add("2")
        assert [event.id for event in running.run()] == second
        late.commit()
    assert [event.id for event in running.run()] == [first]
    assert db.left == []


def keep(polling: Polling, db: Db, **outbox: Any) -> Running:
    """A connector that leaves rows where they are."""
    kept = polling(db, after_publish="keep", order_column="position", **outbox)
    expect_late_rows(kept, db, "1ms")
    return kept


def expect_late_rows(running: Running, db: Db, delay: str) -> None:
    """From now on, where the database does not tell who may still commit."""
    if db.url.startswith("mysql"):
        running.config(source={"query": {"delay": delay}})


def test_rows_can_be_kept(db: Db, polling: Polling) -> None:
    running = keep(polling, db, headers=["trace_id"], envelope=["amount"])
    db.execute(
        "insert into outbox (id, aggregatetype, aggregateid, type, payload, trace_id, amount)"
        " values ('a', 'order', '7', 'Placed', '{\"n\": 12345678901234567890.10}', 'x', 1.25)"
    )
    first = ["a", *db.add(*(str(number) for number in range(250)))]
    events = running.run()
    assert [event.id for event in events] == first
    assert (events[0].topic, events[0].key) == ("outbox.event.order", "7")
    assert events[0].headers == {"id": "a", "type": "Placed", "trace_id": "x"}
    assert events[0].value["amount"] == "1.25"
    assert '"payload":{"n": 12345678901234567890.10}' in (running.folder / "published.ndjson").read_text()
    second = db.add("1", "2")
    assert [event.id for event in running.run()] == second
    assert running.run() == []
    assert db.left == first + second


@locking
def test_rows_that_are_kept_and_committed_late_are_published(db: Db, polling: Polling) -> None:
    """D72"""
    running = keep(polling, db)
    db.add("0")
    running.run()
    expect_late_rows(running, db, "1h")
    with db.engine.connect() as late:
        late.begin()
        [first] = db.add("1", connection=late)
        second = db.add("2")
        assert [event.id for event in running.run()] == second
        late.commit()
    assert [event.id for event in running.run()] == [first]


def test_a_table_to_be_kept_that_is_not_there_is_refused(db: Db, polling: Polling) -> None:
    with pytest.raises(PreconditionError) as refused:
        keep(polling, db, table="public.missing").run()
    assert refused.value.code == "source.no_tables"


def test_keeping_rows_needs_an_order_and_no_one_hidden(pg: Db, polling: Polling) -> None:
    with pytest.raises(ConfigError, match="told by their order"):
        polling(pg, after_publish="keep").config()
    other = polling(pg, after_publish="keep", order_column="position")
    with pytest.raises(ConfigError, match="committed late"):
        other.config(source={"url": "mysql+pymysql://db/shop"})


def test_nothing_is_deleted_that_was_not_published(db: Db, polling: Polling) -> None:
    """A run that ends inside a round gives its rows back, and they come again with the same ids (Invariant 1)."""
    ids = db.add(*(str(number) for number in range(20)))
    running = polling(db)
    assert [event.id for event in running.run(max_events=5)] == ids[:5]
    assert db.left == ids
    assert [event.id for event in running.run()] == ids


def test_no_payload_is_the_json_null_or_a_tombstone(db: Db, polling: Polling) -> None:
    """D75"""
    for tombstones in (False, True):
        db.add(None)
        [event] = polling(db, tombstones=tombstones).run()
        assert (event.topic, event.value) == ("outbox.event.order", None)


@pytest.mark.parametrize("db", ["sqlite"], indirect=True)
def test_text_that_is_no_json_is_a_dead_letter(db: Db, polling: Polling) -> None:
    """D75"""
    db.add("no JSON")
    [event] = polling(db).run()
    assert event.topic.endswith(".dead-letters")
    assert event.value == b"no JSON"
    assert db.left == []


def test_a_payload_is_held_to_its_contract(db: Db, polling: Polling) -> None:
    running = polling(db)
    running.contract("outbox.event.order", "Placed", {"type": "array"})
    db.add("[]", "{}")
    assert [event.topic.endswith(".dead-letters") for event in running.run()] == [False, True]
    assert db.left == []


def test_numbers_keep_every_digit(db: Db, polling: Polling) -> None:
    db.add('{"n": 12345678901234567890.10}')
    running = polling(db)
    running.run()
    assert "12345678901234567890.10" in (running.folder / "published.ndjson").read_text()


@locking
def test_several_pollers_share_the_work(db: Db, polling: Polling) -> None:
    """D76: by FOR UPDATE SKIP LOCKED; together they publish every row once."""
    expected: dict[str, list[str]] = {f"k{number}": [] for number in range(10)}
    for _ in range(30):
        for key, ids in expected.items():
            ids += db.add("{}", aggregate=key)
    runnings = [polling(db) for _ in range(3)]
    published: list[tuple[str, str]] = []
    lock = threading.Lock()

    def work(running: Running) -> None:
        while db.left:
            events = running.run()
            with lock:
                published.extend((event.key or "", event.id) for event in events)

    threads = [threading.Thread(target=work, args=(running,)) for running in runnings]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(published) == len(set(published)) == 300
    assert {key: {id for k, id in published if k == key} for key in expected} == {
        key: set(ids) for key, ids in expected.items()
    }


@locking
def test_a_row_waits_for_an_earlier_one_of_its_aggregate_that_another_poller_has(
    db: Db, polling: Polling
) -> None:
    """Invariant 3"""
    first, second = db.add("1", "2", aggregate="a")
    [other] = db.add("3", aggregate="b")
    running = polling(db)
    with db.engine.connect() as another:
        another.begin()
        another.execute(sa.text("select * from outbox where position = 1 for update"))
        assert [event.id for event in running.run()] == [other]
    assert [event.id for event in running.run()] == [first, second]


def test_the_order_may_be_of_another_column(db: Db, polling: Polling) -> None:
    one, two, three = db.add("1", "2", "3")
    db.execute("update outbox set amount = 4 - position")
    assert [event.id for event in polling(db, order_column="amount").run()] == [three, two, one]


@pytest.mark.parametrize(
    ("outbox", "code"),
    [
        ({"table": "public.missing"}, "source.table_missing"),
        ({"after_publish": "mark:missing"}, "outbox.column_missing"),
        ({"after_publish": "mark:trace_id"}, "outbox.mark_type"),
        ({"columns": {"payload": "missing"}}, "outbox.column_missing"),
        ({"columns": {"payload": "amount"}}, "outbox.payload_type"),
        ({"columns": {"id": "trace_id"}}, "outbox.id_nullable"),
    ],
)
def test_what_can_not_be_polled_is_refused_at_the_start(
    db: Db, polling: Polling, outbox: dict[str, Any], code: str
) -> None:
    with pytest.raises(PreconditionError) as refused:
        polling(db, **outbox).run()
    assert refused.value.code == code


def test_exactly_once_is_refused(pg: Db, polling: Polling) -> None:
    with pytest.raises(ConfigError) as refused:
        polling(pg).config(publish={"url": "kafka://localhost", "delivery": "exactly_once"})
    assert "delivery" in str(refused.value.where)


def test_a_connection_that_is_lost_in_a_round_is_opened_again(pg: Db, polling: Polling) -> None:
    ids = pg.add("1", "2", "3")
    running = polling(pg)
    connector = make_connector(running.config(), How(once=True))
    settle = connector.source.ack

    def lose(state: Any) -> None:
        connector.source.ack = settle  # type: ignore[method-assign]  # once only
        pg.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and application_name like 't%%'"
        )
        settle(state)

    connector.source.ack = lose  # type: ignore[method-assign]  # the moment between durable and deleted
    with closing(connector):
        connector.capture.run()
    assert pg.left == []
    published = (running.folder / "published.ndjson").read_text().splitlines()
    assert len(published) == 6
    assert all(any(id in line for line in published) for id in ids)


def test_the_commands_about_a_connector_know_that_there_is_no_slot(pg: Db, polling: Polling) -> None:
    running = polling(pg)
    pg.add("1")
    running.run()
    config = running.config()
    assert status(config) == {"connector": config.name, "mode": "outbox", "rounds": 1}
    assert [row["position"] for row in checkpoint_show(config)] == ["1 rounds"]
    for command in (slot_create, checkpoint_adopt):
        with pytest.raises(PreconditionError) as refused:
            command(config)
        assert refused.value.code == "source.no_slot"
    checkpoint_reset(config)
    assert list(checkpoint_show(config)) == []


def test_the_loop_of_python_code_is_for_rows() -> None:
    with pytest.raises(ConfigError, match="no changes of rows"):
        liberator.stream("postgresql://db/shop", mode="outbox")
