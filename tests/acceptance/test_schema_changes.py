"""Schemas that change while rows flow (D25 to D34): every row comes in the shape of its time."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

from tests.acceptance.connector import Connector
from tests.acceptance.events import created, deleted, read, updated
from tests.acceptance.stream import Stream

Make = Callable[..., Connector]


def test_a_column_added_within_a_transaction_is_in_the_rows_after_it(stream: Stream) -> None:
    """D25"""
    stream.run("create table t (id int primary key)")
    with stream.transaction():
        stream.run("insert into t values (1)", "alter table t add c int", "insert into t values (2, 5)")
    assert stream.events("t", silent={"t"}).changes == [created({"id": 1}), created({"id": 2, "c": 5})]


def test_a_column_with_a_default_is_in_new_rows_and_in_the_old_ones_once_they_change(stream: Stream) -> None:
    """D26: the old rows are not sent again."""
    stream.run(
        "create table t (id int primary key, v text)",
        "alter table t replica identity full",
        "insert into t values (1, 'a')",
        "alter table t add n int default 7",
        "insert into t (id) values (2)",
        "update t set v = 'b' where id = 1",
    )
    assert stream.events("t").changes == [
        created({"id": 1, "v": "a"}),
        created({"id": 2, "v": None, "n": 7}),
        updated({"id": 1, "v": "b", "n": 7}, before={"id": 1, "v": "a", "n": 7}),
    ]


def test_rows_have_the_names_of_their_time(stream: Stream) -> None:
    """D27: columns dropped and renamed, the table renamed: also its topic changes from then on."""
    stream.run(
        "create table t (id int primary key, a int, b int, c int)",
        "insert into t values (1, 1, 1, 1)",
        "alter table t drop a, drop b",
        "insert into t values (2, 2)",
        "alter table t rename c to d",
        "insert into t values (3, 3)",
        "alter table t rename to u",
        "insert into u values (4, 4)",
        "delete from u where id = 1",
    )
    events = stream.events(silent={"u"})
    assert events.changes == [
        created({"id": 1, "a": 1, "b": 1, "c": 1}),
        created({"id": 2, "c": 2}),
        created({"id": 3, "d": 3}),
        created({"id": 4, "d": 4}),
        deleted({"id": 1}),
    ]
    assert [event.topic for event in events] == [stream.topic(table) for table in "tttuuu"]
    assert [event.source["table"] for event in events[:5]] == list("tttuu")


def test_rewritten_rows_are_not_sent_again(stream: Stream) -> None:
    """D28: what DDL does to the values of rows is not in the log; the next change has the new type."""
    stream.run(
        "create table t (id int primary key, v int)",
        "insert into t values (1, 5), (2, 6)",
        "alter table t alter v type bigint using v * 1000000000000",
        "vacuum full t",
        "cluster t using t_pkey",
        "alter table t alter v type text using 'text ' || v",
        "update t set id = 3 where id = 2",
        "insert into t values (4, 'new')",
    )
    assert stream.events("t", silent={"t"}).changes == [
        created({"id": 1, "v": 5}),
        created({"id": 2, "v": 6}),
        deleted({"id": 2}),
        created({"id": 3, "v": "text 6000000000000"}),
        created({"id": 4, "v": "new"}),
    ]


def test_a_column_added_without_any_row_in_between_is_seen(stream: Stream) -> None:
    """D29: the shape is not what it was when somebody last looked."""
    stream.run(
        "create table t (id int primary key)",
        "alter table t add a int",
        "insert into t values (1, 1)",
        "alter table t add b int",
    )
    assert stream.events("t", silent={"t"}).changes == [created({"id": 1, "a": 1})]
    stream.run("insert into t values (2, 2, 2)")
    assert stream.events("t", silent={"t"})[1:].changes == [created({"id": 2, "a": 2, "b": 2})]


def test_a_backlog_comes_in_the_schemas_of_its_time(each_database: str, connector: Make) -> None:
    """D30: whatever the catalogue says by the time the connector is back, also of types that are gone."""
    stopped = connector(each_database)
    stopped.execute(
        "create type mood as enum ('sad', 'glad')",
        "create type place as (x int, y text)",
        "create table t (id int primary key, a text)",
    )
    stopped.run_once()
    stopped.execute(
        "insert into t values (1, 'a')",
        "alter table t add b int",
        "insert into t values (2, 'a', 2)",
        "alter table t rename b to c",
        "insert into t values (3, 'a', 3)",
        "alter table t alter c type text using 'c' || c",
        "insert into t values (4, 'a', 'c')",
        "alter table t drop a",
        "insert into t values (5, 'c')",
    )
    with stopped.connection.transaction():
        stopped.execute(
            "insert into t values (6, 'c')",
            "alter table t add d mood, add e mood[]",
            "insert into t values (7, 'c', 'glad', '{sad}')",
            "alter table t drop c, drop e, add f numeric default 1.50",
            "insert into t values (8, 'sad')",
        )
    stopped.execute("alter table t drop d", "drop type mood")
    with stopped.connection.transaction():
        stopped.execute(
            "insert into t values (9)",
            "alter table t rename to u",
            "insert into u values (10, 2.0)",
            "alter table u add p place",
            "insert into u values (11, 3, '(1,z)')",
            "alter table u drop p",
        )
    stopped.execute("drop type place", "update u set f = 9.99 where id = 1")
    events = stopped.run_once()
    assert events.changes == [
        created({"id": 1, "a": "a"}),
        created({"id": 2, "a": "a", "b": 2}),
        created({"id": 3, "a": "a", "c": 3}),
        created({"id": 4, "a": "a", "c": "c"}),
        created({"id": 5, "c": "c"}),
        created({"id": 6, "c": "c"}),
        created({"id": 7, "c": "c", "d": "glad", "e": "{sad}"}),
        created({"id": 8, "d": "sad", "f": "1.50"}),
        created({"id": 9, "f": "1.50"}),
        created({"id": 10, "f": "2.0"}),
        created({"id": 11, "f": "3", "p": "(1,z)"}),
        updated({"id": 1, "f": "9.99"}),
    ]
    assert [event.source["table"] for event in events] == [*"ttttttttt", *"uuu"]
    assert stopped.run_once() == []


def test_a_composite_that_its_type_no_longer_describes_is_a_dead_letter(stream: Stream) -> None:
    """D30: the log does not say what attributes a type had; what does not fit those that are known stays text."""
    stream.run("create type place as (x int, y text)", "create table t (id int primary key, p place)")
    stream.connector.freeze()
    stream.run(
        "insert into t values (1, '(1,a)')",
        "alter type place drop attribute x, add attribute z int",
        "insert into t values (2, '(b,2)')",
    )
    stream.connector.thaw()
    events = stream.connector.events()[-2:]
    assert events.changes == [created({"id": 1, "p": "(1,a)"}), created({"id": 2, "p": {"y": "b", "z": 2}})]
    assert events.topics == [f"{stream.connector.name}.dead-letters", stream.topic("t")]
    assert 'row with key {"id":1} breaks its contract: /p' in stream.log


def test_attributes_of_a_composite_have_their_names_of_now(stream: Stream) -> None:
    """The log says nothing when one is renamed, or replaced by another of the same type; old rows keep what they had."""
    stream.run(
        "create type place as (x int, y text)",
        "create table t (id int primary key, p place, more place[])",
        "insert into t values (1, '(1,a)', '{\"(1,a)\"}')",
    )
    assert stream.connector.events()[-1].row == {
        "id": 1,
        "p": {"x": 1, "y": "a"},
        "more": [{"x": 1, "y": "a"}],
    }
    stream.run("alter type place rename attribute x to z", "insert into t values (2, '(2,b)')")
    assert stream.connector.events()[-1].row == {"id": 2, "p": {"z": 2, "y": "b"}, "more": None}
    stream.run(
        "alter type place drop attribute z, add attribute w int",
        "insert into t values (3, '(c,3)', '{\"(d,4)\"}')",
    )
    assert stream.connector.events()[-1].row == {
        "id": 3,
        "p": {"y": "c", "w": 3},
        "more": [{"y": "d", "w": 4}],
    }


def test_a_backlog_of_composites_is_read_with_the_attributes_of_before_and_of_now(stream: Stream) -> None:
    """D30: the text of a row tells how many attributes its type had."""
    stream.run(
        "create type place as (x int, y text)",
        "create table t (id int primary key, p place)",
        "insert into t values (1, '(1,a)')",
    )
    assert stream.connector.events()[-1].row == {"id": 1, "p": {"x": 1, "y": "a"}}
    stream.connector.freeze()
    stream.run(
        "insert into t values (2, '(2,b)'), (3, '(3,c)')",
        "alter type place add attribute z int",
        "insert into t values (4, '(4,d,5)'), (5, '(5,e,6)')",
    )
    stream.connector.thaw()
    assert [event.row["p"] for event in stream.connector.events()[-4:]] == [
        {"x": 2, "y": "b"},
        {"x": 3, "y": "c"},
        {"x": 4, "y": "d", "z": 5},
        {"x": 5, "y": "e", "z": 6},
    ]


def test_the_key_changes_with_the_primary_key(stream: Stream) -> None:
    """D31: from that event on; its columns stand in the key's own order."""
    stream.run(
        "create table t (id int primary key, v int)",
        "insert into t values (1, 1)",
        "alter table t drop constraint t_pkey",
        "insert into t values (2, 2)",
        "alter table t rename id to number",
        "alter table t add primary key (v, number)",
        "insert into t values (3, 3)",
        "update t set v = 4 where number = 3",
    )
    events = stream.events("t", silent={"t"})
    assert events.keys == [
        {"id": 1},
        None,
        {"v": 3, "number": 3},
        {"v": 3, "number": 3},
        {"v": 3, "number": 3},
        {"v": 4, "number": 3},
    ]
    assert list(events[2].key) == ["v", "number"]
    assert events.changes[-2:] == [deleted({"v": 3, "number": 3}), created({"number": 3, "v": 4})]


def test_a_new_table_flows_when_all_tables_are_published(stream: Stream) -> None:
    """D33"""
    assert stream.events() == []
    stream.run("create table t (id int primary key)", "insert into t values (1)")
    assert stream.events().changes == [created({"id": 1})]


def test_a_table_flows_from_the_moment_it_is_published(each_database: str, connector: Make) -> None:
    """D33: its existing rows come when they are asked for; taken out and put in again it does not come twice."""
    running = connector(each_database, "--publication", "theirs")
    running.execute(
        "create table first (id int primary key)",
        "create table t (id int primary key)",
        "create publication theirs for table first",
        "insert into t values (1)",
    )
    running.start()
    running.execute(
        "insert into t values (2)",
        "alter publication theirs add table t",
        "insert into t values (3)",
        "alter publication theirs drop table t",
        "insert into t values (4)",
        "alter publication theirs add table t",
        "insert into t values (5)",
    )
    assert running.events().changes == [created({"id": 3}), created({"id": 5})]
    running.stop()
    assert running.run_once() == []
    reset = [sys.executable, "-m", "liberator", "checkpoint", "reset", "--yes", "--read", "public.t"]
    subprocess.run([*reset, "--source", running.dsn, "--name", running.name], check=True, cwd=running.folder)
    assert running.run_once().changes == [read({"id": id}) for id in range(1, 6)]


def test_a_table_made_while_it_was_down_flows_from_the_next_start(database: str, connector: Make) -> None:
    """D33: into a publication of its own the connector takes it then, and says so; what it had before is asked for."""
    stopped = connector(database)
    stopped.execute("create table first (id int primary key)")
    stopped.run_once()
    stopped.execute("create table t (id int primary key)", "insert into t values (1)")
    stopped.start()
    stopped.execute("insert into t values (2)")
    assert stopped.events().changes == [created({"id": 2})]
    assert "adding public.t" in stopped.log


def test_a_table_that_is_not_configured_any_more_leaves_the_publication(
    database: str, connector: Make
) -> None:
    """D33: what nobody wants is not sent; a publication that another connector made is left as it is."""
    first = connector(database)
    first.execute("create table a (id int primary key)", "create table b (id int primary key)")
    first.run_once()
    other = connector(database, "--publication", first.slot, "--table", "public.a")
    other.run_once()
    listed = "select tablename from pg_publication_tables where pubname = '{}' order by 1"
    assert first.execute(listed.format(first.slot)) == [("a",), ("b",)]
    first.reconfigure("--table", "public.a")
    first.execute("insert into a values (1)", "insert into b values (1)")
    assert first.run_once().of("a").changes == [created({"id": 1})]
    assert first.execute(listed.format(first.slot)) == [("a",)]


def test_rows_of_a_table_that_was_dropped_before_they_were_read_still_come(
    each_database: str, connector: Make
) -> None:
    """D34: the backlog knows them, the catalogue does not; also when nothing else is left to capture."""
    stopped = connector(each_database, "--table", "public.t")
    stopped.execute(
        "create table t (b int, a int, v numeric(5, 2), primary key (a, b))", "insert into t values (1, 2, 3)"
    )
    assert stopped.run_once().changes == [read({"b": 1, "a": 2, "v": "3.00"})]
    stopped.execute("insert into t values (4, 5, 6)", "delete from t where a = 2", "drop table t")
    events = stopped.run_once()
    assert events.changes == [created({"b": 4, "a": 5, "v": "6.00"}), deleted({"b": 1, "a": 2})]
    assert [list(key.items()) for key in events.keys] == [[("a", 5), ("b", 4)], *[[("a", 2), ("b", 1)]] * 2]
    assert "public.t does not exist" in stopped.log
