"""Tables that are renamed, exchanged, dropped or made anew between a snapshot that was interrupted and the next start: each
row comes under the name that its table has when it is read, none is missing, and none of another table stays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest

from liberator.testing.oracle import assert_complete
from tests.acceptance.connector import PATIENCE
from tests.fault.conftest import FaultConnector, SlowedConnector

Make = Callable[..., SlowedConnector]

ROWS = 2_000
A_PART = 1_000_000
"""Bytes, of the 6 MB of the table that is read first."""
KEYED = "id int primary key, v text"
FILLED = "select g, '{0} ' || g from generate_series(1, {1}) g"


def made(table: str, columns: str = KEYED, rows: int = ROWS) -> list[str]:
    """The statements that make a table with rows that say whose they are."""
    return [f"create table {table} ({columns})", f"insert into {table} {FILLED.format(table, rows)}"]


@contextmanager
def interrupted(it: SlowedConnector, *waiting: str) -> Iterator[None]:
    """Its first snapshot is killed while it reads the table `a_first`, with others still waiting; then what is inside
    happens."""
    fill_first(it)
    it.is_killed_after(A_PART, 1000)
    assert not {*waiting, "a_first"} & {*it.finished_tables()}
    yield


def fill_first(it: FaultConnector) -> None:
    """The table that is read first, and takes a while."""
    it.execute("create table a_first (id int primary key, v text)")
    it.execute("insert into a_first select g, repeat('v', 200) from generate_series(1, 30000) g")


def tables_of(it: FaultConnector, table: str) -> set[str]:
    """The tables, as their rows' values say, whose rows are in the topic of `table` after its last truncate."""
    events = [event for event in it.all_events() if event.value and event.source["table"] == table]
    begin = max((number for number, event in enumerate(events) if event.op == "t"), default=-1)
    return {event.row["v"].split()[0] for event in events[begin + 1 :] if event.op in "rcu"}


def test_a_renamed_table_is_read_under_its_new_name(each_database: str, slowed: Make) -> None:
    it = slowed(each_database)
    it.execute(*made("t"))
    with interrupted(it, "t"):
        it.execute("update t set v = 't then' where id = 1", "alter table t rename to u")
        it.execute("update u set v = 't now' where id = 2", "delete from u where id = 3")
    it.run_once()
    assert "public.t is public.u now" in it.log
    assert_complete(it.lines(), each_database, ["public.u", "public.a_first"], complete=False)
    assert tables_of(it, "u") == {"t"}
    assert it.finished_tables() == ["a_first", "u"]


def test_exchanged_tables_are_read_under_each_others_name(each_database: str, slowed: Make) -> None:
    """One of them was finished: its rows under the old name were those of the other one's name now."""
    it = slowed(each_database)
    it.execute(*made("t"), *made("u"))
    with interrupted(it, "t", "u"):
        it.execute("alter table t rename to x", "alter table u rename to t", "alter table x rename to u")
        it.execute("update t set v = 'u now' where id = 2", "delete from u where id = 3")
    it.run_once()
    assert_complete(it.lines(), each_database, ["public.t", "public.u"], complete=False)
    assert tables_of(it, "t") == {"u"}
    assert tables_of(it, "u") == {"t"}


def test_a_table_that_takes_the_name_of_a_finished_one_replaces_it(database: str, slowed: Make) -> None:
    it = slowed(database)
    it.execute(*made("t"), *made("aa", rows=20))
    with interrupted(it, "t"):
        it.execute("alter table a_first rename to gone", "alter table t rename to a_first")
    it.run_once()
    assert_complete(it.lines(), database, ["public.a_first"], complete=False)
    assert tables_of(it, "a_first") == {"t"}


def test_a_table_that_is_gone_is_no_longer_waited_for(each_database: str, slowed: Make) -> None:
    it = slowed(each_database)
    it.execute(*made("t"), *made("u", rows=5))
    with interrupted(it, "t"):
        it.execute("insert into t values (0, 't late')", "drop table t")
    it.run_once()
    assert "public.t is not captured any more, and so its rows are not read: it is gone" in it.log
    assert_complete(it.lines(), each_database, ["public.u", "public.a_first"], complete=False)
    assert [event.row["id"] for event in it.all_events() if event.topic.endswith(".t")] == [0]
    assert len(it.run_once()) == 0


@pytest.mark.parametrize("columns", [KEYED, "id int, v text"], ids=["keyed", "keyless"])
def test_a_table_made_anew_under_its_name_replaces_the_former_one(
    columns: str, each_database: str, slowed: Make
) -> None:
    it = slowed(each_database)
    it.execute(*made("t", columns))
    with interrupted(it, "t"):
        it.execute("insert into t values (0, 'former')", "drop table t", f"create table t ({columns})")
        it.execute("insert into t values (1, 'anew')")
    it.run_once()
    assert "public.t was dropped and made anew" in it.log
    assert_complete(it.lines(), each_database, ["public.t", "public.a_first"], complete=False)
    assert tables_of(it, "t") == {"anew"}


def test_a_table_renamed_out_of_what_is_configured_is_said_to_be(database: str, slowed: Make) -> None:
    it = slowed(database, "--table", "public.a_first", "--table", "public.t*")
    it.execute(*made("t"))
    with interrupted(it, "t"):
        it.execute("alter table t rename to u")
    it.run_once()
    assert "public.t is not captured any more, and so its rows are not read: it is public.u now" in it.log


@pytest.mark.parametrize("via_root", [True, False])
def test_a_table_put_below_a_root_is_read_as_what_it_comes_under(
    via_root: bool, database: str, slowed: Make
) -> None:
    option = f"source.log.publish_via_partition_root={str(via_root).lower()}"
    it = slowed(database, "--set", option)
    it.execute(*made("t"))
    with interrupted(it, "t"):
        it.execute("create table root (id int primary key, v text) partition by range (id)")
        it.execute("alter table root attach partition t for values from (0) to (100000)")
        it.execute("insert into root values (20000, 't late')")
    it.run_once()
    assert_complete(it.lines(), database, ["public.root" if via_root else "public.t"], complete=False)


def test_a_table_renamed_while_the_snapshot_runs_comes_under_the_name_of_its_place(
    each_database: str, slowed: Make
) -> None:
    """Before the rename in the stream its rows are those of the old name, after it those of the new one."""
    it = slowed(each_database)
    fill_first(it)
    it.execute(*made("t", rows=10))
    process = it.reads(A_PART, 1000, "--once")
    it.execute("alter table t rename to u", "update u set v = 't now' where id = 1")
    it.goes_on()
    assert process.wait(PATIENCE) == 0
    it.run_once()
    events = [event for event in it.all_events() if event.source["table"] in "tu"]
    assert [(event.op, event.source["table"]) for event in events] == [("r", "t")] * 10 + [("u", "u")]


def test_a_column_that_comes_while_the_snapshot_runs_is_in_its_rows(each_database: str, slowed: Make) -> None:
    it = slowed(each_database)
    fill_first(it)
    it.execute(*made("t", rows=10))
    process = it.reads(A_PART, 1000, "--once")
    it.execute("alter table t rename v to w", "alter table t add column n int default 7")
    it.goes_on()
    assert process.wait(PATIENCE) == 0
    assert_complete(it.lines(), each_database, ["public.t", "public.a_first"])
    with psycopg.connect(each_database) as connection:
        assert connection.execute("select sum(n) from t").fetchone() == (70,)


def test_a_table_made_anew_after_it_was_read_is_read_again(each_database: str, slowed: Make) -> None:
    """The usual migration: a new table is filled and takes the place of the old one. It was in no publication until now."""
    it = slowed(each_database, "--table", "public.t")
    it.execute(*made("t", rows=20))
    it.run_once()
    it.execute(*made("anew", rows=10), "alter table t rename to former", "alter table anew rename to t")
    it.execute("update t set v = 'anew now' where id = 1", "delete from t where id = 2")
    it.run_once()
    assert "public.t: another table than before" in it.log
    assert_complete(it.lines(), each_database, ["public.t"], complete=False)
    assert tables_of(it, "t") == {"anew"}
    assert it.run_once() == []
