"""SQLite, through SQLAlchemy: what each strategy finds, and what comes of values that no type holds."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from liberator.build.run import make_connector
from liberator.build.running import How
from liberator.config import from_options
from liberator.errors import PreconditionError, SourceError
from liberator.source.query.database import Relation
from liberator.source.query.settings import TableSettings
from liberator.source.query.sql_alchemy import SqlAlchemyDatabase
from liberator.testing.publisher import MemoryPublisher
from tests.integration.query.reading import Looks, Running, keys, ops, seen, until

Make = Callable[..., Looks]


@pytest.fixture
def db(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """The application's session, in autocommit."""
    connection = sqlite3.connect(tmp_path / "shop.db", isolation_level=None)
    yield connection
    connection.close()


@pytest.fixture
def looks(tmp_path: Path, unique: str) -> Make:
    """Makes a connector of the file."""

    def make(*tables: str, **settings: Any) -> Looks:
        return Looks(f"sqlite:///{tmp_path / 'shop.db'}", tmp_path, unique, *tables, **settings)

    return make


def test_rows_whose_key_is_null_or_shared_are_neither_lost_nor_stop_the_others(
    looks: Make, db: sqlite3.Connection
) -> None:
    db.executescript(
        "create table t (k text primary key, n integer); insert into t values (null, 0), ('a', 4), ('b', 5);"
        " create table u (k text, n integer); insert into u values ('a', 1), ('b', 2), ('b', 3), ('b', 4), ('c', 5)"
    )
    events = looks(strategy="bulk", batch_rows=2).look(key={"main.u": ["k"]})
    assert sorted(event.row["n"] for event in events if event.table == "t") == [0, 4, 5]
    assert sorted(event.row["n"] for event in events if event.table == "u") == [1, 2, 3, 4, 5]


def test_rows_that_share_a_key_of_null_are_all_read_and_counted(
    looks: Make, db: sqlite3.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    """SQLite lets several rows have NULL in a primary key of text."""
    db.execute("create table t (a integer, b text, v integer, primary key (a, b))")
    rows = [(None, None), (None, "x"), (1, "x"), (None, None), (1, None), (1, None), (1, None), (2, "y")]
    db.executemany("insert into t values (?, ?, ?)", [(*row, n) for n, row in enumerate(rows)])
    assert sorted(event.row["v"] for event in looks(batch_rows=1).look()) == list(range(len(rows)))
    assert "main.t: 6 rows have NULL in their primary key" in caplog.text


def test_an_index_that_holds_some_rows_only_is_no_key(looks: Make, db: sqlite3.Connection) -> None:
    db.executescript(
        "create table t (k text not null, v integer); create unique index u on t (k) where v > 1;"
        " insert into t values ('a', 0), ('a', 1), ('a', 2), ('b', 1)"
    )
    events = looks(batch_rows=1).look()
    assert sorted(event.row["v"] for event in events) == [0, 1, 1, 2]
    assert {event.key for event in events} == {None}


def test_equal_values_of_a_column_that_should_grow_do_not_lose_rows_between_pages(
    looks: Make, db: sqlite3.Connection
) -> None:
    db.executescript("create table o (id integer primary key); create table i (o integer, v integer)")
    db.executemany("insert into o values (?)", [(n,) for n in range(3)])
    db.executemany("insert into i values (?, ?)", [(n // 3, n) for n in range(9)])
    it = looks("main.x", sql="SELECT id, v FROM o JOIN i ON o = id", incrementing_column="id", batch_rows=2)
    assert sorted(event.row["v"] for event in it.look()) == list(range(9))
    assert it.look() == []


@pytest.mark.parametrize("taken", [1, 700])
def test_a_look_that_was_cut_off_goes_on_in_the_middle_of_rows_that_share_a_key(
    taken: int, looks: Make, db: sqlite3.Connection
) -> None:
    db.execute("create table t (k text primary key, v integer)")
    db.execute("begin")
    db.executemany("insert into t values (null, ?)", [(n,) for n in range(1200)])
    db.execute("commit")
    it = looks("t", batch_rows=100)
    publisher = MemoryPublisher()
    with closing(it.connector(publisher, max_events=taken)) as connector:
        connector.capture.run()
    first = [seen(event).row["v"] for event in publisher.events]
    assert {*first, *(event.row["v"] for event in it.look())} == set(range(1200))


def test_bulk_reads_everything_each_time_under_new_ids(looks: Make, db: sqlite3.Connection) -> None:
    db.executescript(
        "create table t (id integer primary key, v text); insert into t values (1, 'a'), (2, null)"
    )
    it = looks(batch_rows=1)
    first, second = it.look(), it.look()
    assert (
        [event.row for event in first]
        == [event.row for event in second]
        == [
            {"id": 1, "v": "a"},
            {"id": 2, "v": None},
        ]
    )
    assert len({event.id for event in first + second}) == 4


def test_incrementing_finds_new_rows_only(looks: Make, db: sqlite3.Connection) -> None:
    db.executescript("create table t (id integer primary key); insert into t values (1), (2), (3)")
    it = looks("t", incrementing_column="id", batch_rows=2)
    assert ops(it.look()) == [("r", 1), ("r", 2), ("r", 3)]
    assert it.look() == []
    db.execute("insert into t values (7), (5)")
    assert ops(it.look()) == [("c", 5), ("c", 7)]
    assert it.look() == []


def test_rows_of_one_time_are_neither_lost_nor_doubled(looks: Make, db: sqlite3.Connection) -> None:
    """D73: also those that are written at that time after it was looked at."""
    db.execute("create table t (id integer primary key, at datetime, v text)")
    db.executemany(
        "insert into t values (?, '2024-01-01 00:00:00.000001', 'a')", [(n,) for n in range(1, 11)]
    )
    it = looks("t", timestamp_column="at", batch_rows=4)
    assert keys(it.look()) == list(range(1, 11))
    assert it.look() == []
    db.execute("insert into t values (0, '2024-01-01 00:00:00.000001', 'a')")
    db.execute("update t set v = 'b' where id = 5")
    assert keys(it.look()) == [0, 5]
    assert it.look() == []
    db.execute("insert into t values (11, '2024-01-01 00:00:00.000002', 'a')")
    assert keys(it.look()) == [11]


def test_a_query_may_end_in_a_comment(looks: Make, db: sqlite3.Connection) -> None:
    it = looks("main.one", sql="WITH c AS (SELECT ':a %s' AS v) SELECT * FROM c -- :b")
    assert [event.row for event in it.look()] == [{"v": ":a %s"}]


def test_without_a_key_a_row_is_known_by_all_its_values(looks: Make, db: sqlite3.Connection) -> None:
    db.executescript(
        "create table t (v text, at datetime); insert into t values ('a', '2024-01-01 00:00:00')"
    )
    it = looks("t", timestamp_column="at")
    assert [event.row["v"] for event in it.look()] == ["a"]
    db.execute("insert into t values ('b', '2024-01-01 00:00:00')")
    assert [event.row["v"] for event in it.look()] == ["b"]


def test_a_time_of_no_use_blinds_nobody(
    looks: Make, db: sqlite3.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    db.execute("create table t (id integer primary key, at datetime)")
    db.execute("insert into t values (1, '2024-01-01 00:00:00'), (2, null), (3, '9999-12-31 00:00:00')")
    it = looks("t", timestamp_column="at")
    assert sorted(keys(it.look())) == [1, 2, 3]
    assert "main.t: 2 rows have a at that says nothing" in caplog.text
    db.execute("insert into t values (4, '2024-01-01 00:00:01'), (5, null)")
    caplog.clear()
    assert keys(it.look()) == [4]
    assert "NULL: 2, in the future: 1" in caplog.text


@pytest.mark.parametrize("between", [" ", "T"], ids=["space", "T"])
def test_times_of_today_are_not_in_the_future_however_they_are_written(
    between: str, db: sqlite3.Connection, tmp_path: Path
) -> None:
    db.execute("create table t (id integer primary key, at datetime)")
    db.execute(
        "insert into t values (1, ?), (2, '9999-12-31T00:00:00'), (3, '2024-05-03 00:00:00')",
        (f"2024-05-01{between}00:59:00",),
    )
    database = SqlAlchemyDatabase(
        f"sqlite:///{tmp_path / 'shop.db'}",
        statement_timeout=60,
        wants=lambda schema, table: True,
        default_schema="main",
        default_only=True,
        stop=threading.Event(),
        now=lambda: datetime(2024, 5, 1, 1, tzinfo=timezone.utc),
    )
    with closing(database):
        database.open()
        shape = database.shape(
            Relation("main", "t"), TableSettings(strategy="timestamp", timestamp_column="at")
        )
        assert shape is not None
        assert database.odd(shape, database.begin(shape)) == {"in the future": 2}


def test_values_are_what_their_column_and_they_are(looks: Make, db: sqlite3.Connection) -> None:
    """SQLite lets anything into any column."""
    db.execute(
        "create table t (id integer primary key, b boolean, n numeric(10,2), f real, d datetime, x blob, s varchar(5))"
    )
    db.execute("insert into t values (1, 1, 1.5, 0.1, '2024-02-29 10:11:12.5', x'00ff', 'é\"')")
    db.execute("insert into t values (2, 'maybe', 'many', 'few', 7, 'text', 3)")
    assert [event.row for event in looks("t").look()] == [
        {"id": 1, "b": True, "n": "1.5", "f": 0.1, "d": "2024-02-29T10:11:12.5", "x": "AP8=", "s": 'é"'},
        {"id": 2, "b": "maybe", "n": "many", "f": "few", "d": 7, "x": "text", "s": "3"},
    ]


def test_text_that_is_not_utf8_comes_as_base64(looks: Make, db: sqlite3.Connection) -> None:
    db.executescript("create table t (id integer primary key, s text); insert into t values (1, 'a')")
    db.execute("insert into t values (2, cast(x'e4f6' as text)), (3, 'c')")
    assert [event.row["s"] for event in looks("t").look()] == ["a", "5PY=", "c"]


def test_large_rows_come_few_at_a_time_and_wait_within_the_budget(
    looks: Make, db: sqlite3.Connection
) -> None:
    db.execute("create table t (id integer primary key, v blob)")
    db.executemany("insert into t values (?, zeroblob(300000))", [(n,) for n in range(60)])
    connector = looks().connector(MemoryPublisher())
    source = connector.source
    source._settings = replace(source._settings, queue_bytes=2_000_000)
    sizes: list[int] = []
    with closing(connector):
        source.open({})
        while not (batch := source.poll(1, 1.0)).final:
            assert source.queued() <= 2_000_000
            sizes.append(batch.size)
    assert sum(sizes) >= 60 * 300_000
    assert max(sizes) < 1_500_000


def test_who_writes_is_not_held_up_while_the_publisher_stalls(looks: Make, db: sqlite3.Connection) -> None:
    """A page that waited for room would keep its lock on the file."""
    db.execute("create table t (id integer primary key, v blob)")
    db.execute("begin")
    db.executemany("insert into t values (?, zeroblob(20000))", [(n,) for n in range(1000)])
    db.execute("commit")
    publisher = MemoryPublisher(100_000)
    publisher.stall()
    connector = looks().connector(publisher)
    with Running(connector):
        until(lambda: connector.source.queued() >= 2_000_000, "the queue does not fill")
        db.execute("pragma busy_timeout = 60000")
        db.execute("insert into t values (-1, null)")
        publisher.go_on()
        until(lambda: len(publisher.events) >= 1000, "the rest does not come")


def test_a_page_that_ends_with_a_key_that_is_not_utf8_stops_and_skips_nothing(
    looks: Make, db: sqlite3.Connection
) -> None:
    db.execute("create table t (k text primary key)")
    db.execute("insert into t values (cast(x'e4f6' as text)), (cast(x'ffff' as text))")
    with pytest.raises(SourceError, match=r"b'\\xe4\\xf6' is text that is not UTF-8"):
        looks(strategy="bulk", batch_rows=1).look()


def test_a_query_is_read_as_a_table(looks: Make, db: sqlite3.Connection) -> None:
    db.executescript("create table t (id integer primary key, at text); insert into t values (1, '12:30')")
    it = looks("main.early", sql="SELECT id, at FROM t WHERE at < '13:00'", incrementing_column="id")
    assert [event.row for event in it.look()] == [{"id": 1, "at": "12:30"}]
    db.execute("insert into t values (2, '12:31'), (3, '14:00')")
    assert keys(it.look()) == [None]
    assert it.look() == []


def test_names_with_odd_characters_are_read(looks: Make, db: sqlite3.Connection) -> None:
    db.execute('create table "We""ird %b" ("a%b" integer primary key, "Sel""ect" text, "x:y" text)')
    db.execute("insert into \"We\"\"ird %b\" values (1, '100%', ':z')")
    it = looks(incrementing_column='"a%b"'.strip('"'))
    assert [event.row for event in it.look()] == [{"a%b": 1, 'Sel"ect': "100%", "x:y": ":z"}]
    assert it.look() == []


def test_the_file_is_not_written_to(looks: Make, db: sqlite3.Connection) -> None:
    db.execute("create table t (id integer primary key)")
    with pytest.raises(PreconditionError):
        looks("main.x", sql="SELECT 1 AS a) t; DROP TABLE t; --").look()
    assert db.execute("select count(*) from t").fetchall() == [(0,)]


def test_refuses_a_file_that_is_not_there(looks: Make) -> None:
    with pytest.raises(PreconditionError) as caught:
        looks("t").look()
    assert caught.value.code == "source.missing"


def test_refuses_xmin(looks: Make, db: sqlite3.Connection) -> None:
    db.execute("create table t (id integer primary key)")
    with pytest.raises(PreconditionError) as caught:
        looks("t", strategy="xmin").look()
    assert caught.value.code == "source.query_strategy"


def test_it_tells_how_far_it_is_behind_in_each_table(tmp_path: Path) -> None:
    path = tmp_path / "legacy.db"
    with sqlite3.connect(path) as connection:
        connection.executescript("create table t (id integer primary key); insert into t values (1), (2)")
    connection.close()
    options = {"source": f"sqlite:///{path}", "mode": "query", "publish": f"file:{tmp_path / 'out'}"}
    with closing(make_connector(from_options(options), How(once=True, trial=True))) as connector:
        connector.capture.run()
        status = connector.telemetry.snapshot()
    table = status["passes"]["main.t"]
    assert (table["count"], table["rows"]) == (1, None)
    assert 0 <= table["behind_seconds"] <= status["uptime_seconds"]
