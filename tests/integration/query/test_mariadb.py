"""MariaDB, through SQLAlchemy: what is found, what is late, and what its types become."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url

from liberator.build.query import QueryConnector
from liberator.build.running import How
from liberator.config import load
from liberator.errors import LiberatorError, PreconditionError
from liberator.source.query.database import Chunk, Relation, Scan
from liberator.source.query.settings import TableSettings
from liberator.source.query.sql_alchemy import SqlAlchemyDatabase
from liberator.testing.publisher import MemoryPublisher
from liberator.testing.servers import MariaDb
from liberator.testing.servers.mariadb import connect
from liberator.testing.servers.process import wait_until
from tests.integration.query.reading import Looks, keys, ops, seen

Make = Callable[..., Looks]


class Session:
    """An application's session, in autocommit unless it begins a transaction."""

    def __init__(self, url: str) -> None:
        self.connection = connect(url)

    def run(self, *statements: str) -> Any:
        with self.connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return cursor.fetchall()


@pytest.fixture
def url(mariadb: MariaDb) -> Iterator[str]:
    """An empty database."""
    url = mariadb.database()
    yield url
    mariadb.drop(url)


@pytest.fixture
def sessions(url: str) -> Iterator[Callable[[], Session]]:
    """Opens sessions of the application."""
    with ExitStack() as stack:

        def make() -> Session:
            session = Session(url)
            stack.callback(session.connection.close)
            return session

        yield make


@pytest.fixture
def db(sessions: Callable[[], Session]) -> Session:
    """A session of the application."""
    return sessions()


@pytest.fixture
def looks(url: str, tmp_path: Path, unique: str) -> Make:
    """Makes a connector of the database."""

    def make(*tables: str, **settings: Any) -> Looks:
        return Looks(url, tmp_path, unique, *tables, **settings)

    return make


TIMED = (
    "create table t (id int primary key, v varchar(10), at datetime(6) not null default current_timestamp(6))"
)


def test_incrementing_finds_new_rows_only(looks: Make, db: Session) -> None:
    db.run(
        "create table t (id int auto_increment primary key, v text)", "insert into t (v) values ('a'), ('b')"
    )
    it = looks("t", incrementing_column="id", batch_rows=1)
    assert ops(it.look()) == [("r", 1), ("r", 2)]
    assert it.look() == []
    db.run("insert into t (v) values ('c')")
    assert ops(it.look()) == [("c", 3)]


def test_timestamp_and_incrementing_tells_new_rows_from_changed_ones(looks: Make, db: Session) -> None:
    db.run(TIMED, "insert into t (id) values (1), (2)")
    it = looks("t", timestamp_column="at", incrementing_column="id")
    assert ops(it.look()) == [("r", 1), ("r", 2)]
    db.run("insert into t (id) values (3)", "update t set at = current_timestamp(6) where id = 1")
    assert ops(it.look()) == [("c", 3), ("u", 1)]
    assert it.look() == []


def test_microseconds_are_kept(looks: Make, db: Session) -> None:
    """D73: rows one microsecond apart, on both sides of a saved position."""
    db.run(TIMED)
    for n in range(10):
        db.run(f"insert into t values ({n}, 'a', '2024-01-01 00:00:00.00000{n}')")
    it = looks("t", timestamp_column="at", batch_rows=4)
    first = it.look()
    assert [event.row["at"] for event in first][:2] == ["2024-01-01T00:00:00", "2024-01-01T00:00:00.000001"]
    assert keys(first) == list(range(10))
    db.run("insert into t values (10, 'a', '2024-01-01 00:00:00.000010')")
    assert keys(it.look()) == [10]


def test_rows_of_one_second_are_neither_lost_nor_doubled(looks: Make, db: Session) -> None:
    db.run("create table t (id int primary key, v text, at datetime not null)")
    db.run(*(f"insert into t values ({n}, 'a', '2024-01-01 00:00:00')" for n in range(1, 11)))
    it = looks("t", timestamp_column="at", batch_rows=4)
    assert keys(it.look()) == list(range(1, 11))
    db.run("insert into t values (0, 'a', '2024-01-01 00:00:00')", "update t set v = 'b' where id = 7")
    assert keys(it.look()) == [0, 7]
    assert it.look() == []


def test_a_row_that_is_committed_within_the_delay_is_seen(
    looks: Make, db: Session, sessions: Callable[[], Session]
) -> None:
    """D72, with a delay in place of snapshots."""
    db.run("create table t (id int primary key)", "insert into t values (0)")
    it = looks("t", incrementing_column="id", delay="1h")
    assert keys(it.look(delay="0s")) == [0]
    a = sessions()
    a.run("begin", "insert into t values (1)")
    db.run("insert into t values (2)")
    assert keys(it.look()) == [2]
    assert it.look() == []
    a.run("commit")
    assert keys(it.look()) == [1]
    assert it.look(delay="0s") == []
    assert it.look(delay="0s") == []


def test_every_type_has_its_json(looks: Make, db: Session) -> None:
    db.run(
        "create table t (id bigint unsigned primary key, i tinyint, b bit(5), n decimal(20,4), f double, s char(3),"
        " e enum('x','y'), st set('p','q'), d date, dt datetime(6), ts timestamp(3) null, tm time(2), y year,"
        " x varbinary(4), j json, u uuid, l longtext)"
    )
    db.run(
        "insert into t values (18446744073709551615, -1, b'00101', 1.5, 0.1, 'é', 'y', 'p,q', '2024-02-29',"
        " '2024-02-29 10:11:12.000500', '2024-02-29 10:11:12.5', '-100:00:00.5', 2024, x'00ff', '{\"a\": 1.0}',"
        " '12345678-1234-1234-1234-123456789abc', 'l')",
        "insert into t (id) values (1)",
    )
    empty, full = (event.row for event in looks("t").look())
    assert set(empty.values()) == {1, None}
    assert full == {
        "id": 18446744073709551615,
        "i": -1,
        "b": "00101",
        "n": "1.5000",
        "f": 0.1,
        "s": "é",
        "e": "y",
        "st": "p,q",
        "d": "2024-02-29",
        "dt": "2024-02-29T10:11:12.0005",
        "ts": "2024-02-29T10:11:12.5Z",
        "tm": "-100:00:00.5",
        "y": 2024,
        "x": "AP8=",
        "j": '{"a": 1.0}',
        "u": "12345678-1234-1234-1234-123456789abc",
        "l": "l",
    }


def test_a_date_of_zeros_comes_as_it_is(looks: Make, db: Session) -> None:
    """D74"""
    db.run("set sql_mode = ''", "create table t (id int primary key, d date, dt datetime)")
    db.run("insert into t values (1, '0000-00-00', '2024-00-00 00:00:00')")
    [event] = looks("t").look()
    assert event.row == {"id": 1, "d": "0000-00-00", "dt": "2024-00-00T00:00:00"}


def test_keys_of_several_columns_order_pages(looks: Make, db: Session) -> None:
    db.run("create table t (a varchar(5), b int, primary key (a, b))")
    db.run("insert into t values ('x', 1), ('x', 2), ('Y', 1), ('y', 2), ('a', 9)")
    it = looks("t", batch_rows=2)
    assert sorted((event.key["a"], event.key["b"]) for event in it.look()) == [
        ("Y", 1),
        ("a", 9),
        ("x", 1),
        ("x", 2),
        ("y", 2),
    ]


@pytest.mark.parametrize(
    ("type", "values"),
    [
        ("enum('z', 'a', 'm', 'b')", "('z'), ('a'), ('m'), ('b')"),
        ("set('z', 'a')", "('z'), ('a'), ('z,a'), ('')"),
        ("bit(4)", "(b'0'), (b'1'), (b'1010'), (b'1111')"),
        ("float", "(0.1), (-1.7), (3.3333333), (16777217)"),
        ("time", "('-838:59:59'), ('-00:00:01'), ('24:00:00'), ('838:59:59')"),
    ],
    ids=["enum", "set", "bit", "float", "time"],
)
def test_every_row_comes_once_whatever_the_type_of_its_key(
    looks: Make, db: Session, type: str, values: str
) -> None:
    """D51"""
    db.run(f"create table t (k {type} primary key)", f"insert into t values {values}")
    it = looks("t", strategy="bulk", deletes="reconcile", batch_rows=2)
    with closing(it.connector(published := MemoryPublisher(), max_events=8)) as connector:
        connector.capture.run()
    assert [seen(event).op for event in published.events] == ["r"] * 4
    db.run("delete from t limit 1")
    assert [event.op for event in it.look()] == ["r"] * 3 + ["d", "tombstone"]


def test_a_key_that_seems_gone_is_asked_for_whatever_its_type(db: Session, url: str) -> None:
    """A row that comes again while keys are compared is not called deleted. Values do not come back as they are compared."""
    name = make_url(url).database or ""
    db.run(
        "create table t (e enum('z', 'a'), s set('z', 'a'), b bit(64), f float, d double, h time(3),"
        " primary key (e, s, b, f, d, h))",
        "insert into t values ('z', '', b'0', 0, 1e-300, '-838:59:59'), ('a', 'z,a', 0xffffffffffffffff, 16777217,"
        " 1.0 / 3, '-00:00:00.001'), ('A', 'A', b'1', -0.1, -1.7976931348623157e308, '838:59:59')",
    )
    database = SqlAlchemyDatabase(
        url,
        statement_timeout=60,
        wants=lambda schema, table: True,
        default_schema=name,
        default_only=True,
        stop=threading.Event(),
    )
    with closing(database):
        database.open()
        shape = database.shape(Relation(name, "t"), TableSettings(strategy="bulk"))
        assert shape is not None
        scan = Scan(shape, database.begin(shape), keys=True)
        keys = [key for chunk in database.page(scan, 10) for key in database.key_place(shape, chunk)]
        assert database.present(shape, keys) == {0, 1, 2}
        db.run("delete from t where f = 0")
        assert len(database.present(shape, keys)) == 2


def test_a_table_that_is_changed_between_two_pages_is_read_on(
    looks: Make, db: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    db.run("create table t (id int primary key, v int)", "insert into t values (1, 1), (2, 2), (3, 3)")
    page, calls = SqlAlchemyDatabase.page, []

    def page_then_alter(self: SqlAlchemyDatabase, scan: Scan, rows: int) -> Iterator[Chunk]:
        yield from page(self, scan, rows)
        calls.append(scan)
        if len(calls) == 1:
            db.run("alter table t drop column v, add column w int default 7")

    monkeypatch.setattr(SqlAlchemyDatabase, "page", page_then_alter)
    rows = [event.row for event in looks("t", batch_rows=1).look()]
    assert rows == [{"id": 1, "v": 1}, {"id": 2, "w": 7}, {"id": 3, "w": 7}]


@pytest.mark.parametrize("type", ["float", "bit(4)", "enum('z', 'a')", "set('z', 'a')", "time"])
def test_refuses_a_cursor_that_is_not_compared_as_it_is_shown(looks: Make, db: Session, type: str) -> None:
    """Rows were lost, or came at every look."""
    db.run(
        f"create table t (id int primary key, c {type}, d double)", "insert into t (id, d) values (1, 0.1)"
    )
    with pytest.raises(PreconditionError, match=r"c of .*t can't tell what is new"):
        looks("t", incrementing_column="c").look()
    assert keys(looks("t", incrementing_column="d").look()) == [1]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1 AS a, 2 AS a",
        "SELECT id FROM t, t AS u",
        "SELECT nope(id) AS x FROM t",
        "SELECT LEFT('a') AS x",
    ],
    ids=["twice", "unclear", "no-function", "arguments"],
)
def test_a_query_that_is_wrong_is_refused_and_not_tried_again(looks: Make, db: Session, sql: str) -> None:
    db.run("create table t (id int primary key)")
    with pytest.raises(PreconditionError) as caught:
        looks("x", sql=sql).look()
    assert not caught.value.retryable


def test_nothing_can_be_written(looks: Make, db: Session) -> None:
    """A query that writes is refused by the server: the session is read-only."""
    db.run("create table t (id int primary key)", "create sequence q")
    with pytest.raises(LiberatorError) as caught:
        looks("x", sql="SELECT NEXT VALUE FOR q AS n").look()
    assert "READ ONLY" in str(caught.value).upper()


def test_a_query_that_takes_too_long_is_ended_and_asks_for_less(
    looks: Make, db: Session, caplog: pytest.LogCaptureFixture
) -> None:
    """D52: four rows a second; a page of all of them would take longer than a statement may."""
    db.run("create table t (id int primary key)")
    db.run(*(f"insert into t values ({n})" for n in range(1, 401)))
    it = looks(
        "x",
        sql="SELECT id, SLEEP(0.01) AS z FROM t",
        incrementing_column="id",
        statement_timeout="2s",
        batch_rows=400,
    )
    assert {event.row["id"] for event in it.look()} == set(range(1, 401))
    assert "a page took too long; from now on it has 100 rows" in caplog.text


def test_a_connection_that_is_lost_is_made_again(looks: Make, db: Session) -> None:
    """Nothing is lost, and nothing saved comes again."""
    db.run("create table t (id int primary key)")
    db.run("insert into t select seq from seq_1_to_20000")
    it = looks("t", incrementing_column="id", batch_rows=500, rows_per_second=20_000)
    publisher = MemoryPublisher()
    with closing(it.connector(publisher)) as connector:
        thread = threading.Thread(target=connector.capture.run)
        thread.start()
        while len(publisher.events) < 2000:
            time.sleep(0.01)
        for (number,) in db.run(
            "select id from information_schema.processlist where id <> connection_id() and db = database()"
        ):
            db.run(f"kill {number}")
        thread.join(120)
    assert not thread.is_alive()
    assert sorted(keys([seen(event) for event in publisher.events])) == list(range(1, 20_001))


def test_stopping_ends_a_query_that_runs(looks: Make, db: Session) -> None:
    db.run("create table t (id int primary key)", "insert into t values (1)")
    it = looks("x", sql="SELECT id, SLEEP(600) AS z FROM t")
    with closing(it.connector(MemoryPublisher())) as connector:
        thread = threading.Thread(target=connector.capture.run)
        thread.start()
        running = "select id from information_schema.processlist where db = database() and info like '%%SLEEP(600)%%'"
        assert wait_until(lambda: len(db.run(f"{running} and id <> connection_id()")) == 1, timeout=120)
        connector.capture.stop()
        thread.join(120)
        assert not thread.is_alive()


def test_the_sample_connector_runs_as_it_stands(url: str, db: Session, tmp_path: Path) -> None:
    db.run("create table countries (code char(2) primary key)", "insert into countries values ('de'), ('fr')")
    db.run(
        "create table orders (id int primary key, updated_at datetime(6) not null default current_timestamp(6))"
    )
    db.run("insert into orders (id) values (1), (2)")
    sample = Path(__file__).parents[3] / "connectors" / "mariadb-query.yaml"
    text = sample.read_text().replace("delay: 10s", "delay: 200ms")
    (tmp_path / "legacy.yaml").write_text(text)
    [config] = load(tmp_path / "legacy.yaml", {"LEGACY_DSN": url, "SHOP_BROKER": "-"})

    def look() -> list[tuple[str, str]]:
        publisher = MemoryPublisher()
        with closing(QueryConnector(config, How(lambda: publisher, once=True))) as connector:
            connector.capture.run()
        return sorted((event.table, event.op) for event in map(seen, publisher.events))

    rows = [("countries", "r")] * 2
    assert look() == [*rows, ("orders", "r"), ("orders", "r")]
    db.run("delete from orders where id = 1", "insert into orders (id) values (3)")
    assert look() == [*rows, ("orders", "c"), ("orders", "d"), ("orders", "tombstone")]


def test_refuses_a_wrong_password(url: str, mariadb: MariaDb, tmp_path: Path, unique: str) -> None:
    mariadb.execute(f"create user {unique[:20]} identified by 'right'")
    wrong = url.replace("root@", f"{unique[:20]}:wrong@")
    with pytest.raises(PreconditionError) as caught:
        Looks(wrong, tmp_path, unique).look()
    assert caught.value.code == "source.refused"
    assert "wrong@" not in str(caught.value)
