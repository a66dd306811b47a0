"""What each strategy finds on PostgreSQL, look by look, and what a look never misses (D72, D73, D74)."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

import pytest

from liberator.errors import PreconditionError
from liberator.testing.publisher import MemoryPublisher
from tests.integration.query.conftest import MakeLooks, Session
from tests.integration.query.reading import Running, keys, ops, seen, until

TIMED = "create table t (id int primary key, v text, at timestamptz not null default clock_timestamp())"


def test_bulk_reads_everything_each_time_under_new_ids(looks: MakeLooks, db: Session) -> None:
    db.execute("create table t (id int primary key); insert into t values (1), (2), (3)")
    it = looks("public.t", strategy="bulk", batch_rows=2)
    first, second = it.look(), it.look()
    assert ops(first) == ops(second) == [("r", 1), ("r", 2), ("r", 3)]
    assert len({event.id for event in first + second}) == 6


def test_incrementing_finds_new_rows_only(looks: MakeLooks, db: Session) -> None:
    db.execute("create table t (id int primary key, v text); insert into t values (1), (2)")
    it = looks("public.t", incrementing_column="id")
    assert ops(it.look()) == [("r", 1), ("r", 2)]
    assert it.look() == []
    db.execute("insert into t values (7), (4)")
    assert ops(it.look()) == [("c", 4), ("c", 7)]
    assert it.look() == []


def test_timestamp_finds_what_was_written(looks: MakeLooks, db: Session) -> None:
    db.execute(f"{TIMED}; insert into t values (1), (2), (3)")
    it = looks("public.t", timestamp_column="at")
    assert ops(it.look()) == [("r", 1), ("r", 2), ("r", 3)]
    db.execute("update t set v = 'x', at = clock_timestamp() where id = 2")
    db.execute("insert into t values (4)")
    assert ops(it.look()) == [("u", 2), ("u", 4)]
    assert it.look() == []


def test_timestamp_and_incrementing_tells_new_rows_from_changed_ones(looks: MakeLooks, db: Session) -> None:
    db.execute(f"{TIMED}; insert into t values (1), (2), (3)")
    it = looks("public.t", timestamp_column="at", incrementing_column="id")
    assert ops(it.look()) == [("r", 1), ("r", 2), ("r", 3)]
    db.execute("insert into t values (4)")
    db.execute("update t set at = clock_timestamp() where id = 1")
    assert ops(it.look()) == [("c", 4), ("u", 1)]
    assert it.look() == []


def test_xmin_needs_no_column(looks: MakeLooks, db: Session) -> None:
    db.execute("create table t (id int primary key, v text); insert into t values (1), (2), (3)")
    it = looks("public.t")
    assert ops(it.look()) == [("r", 1), ("r", 2), ("r", 3)]
    db.execute("update t set v = 'x' where id = 2")
    db.execute("insert into t values (0)")
    assert ops(it.look()) == [("u", 0), ("u", 2)]
    assert it.look() == []


def test_a_table_without_a_key_has_its_rows_told_apart_by_their_place(looks: MakeLooks, db: Session) -> None:
    db.execute("create table t (v text); insert into t values ('a'), ('a')")
    it = looks("public.t")
    first = it.look()
    assert [event.row for event in first] == [{"v": "a"}, {"v": "a"}]
    assert [event.key for event in first] == [None, None]
    assert len({event.id for event in first}) == 2
    db.execute("insert into t values ('b')")
    assert [event.row for event in it.look()] == [{"v": "b"}]


def test_a_query_is_read_as_a_table(looks: MakeLooks, db: Session) -> None:
    db.execute("create table t (id int primary key, n int); insert into t values (1, 5), (2, 7)")
    it = looks(
        "public.double", sql="SELECT id, n * 2 AS twice FROM public.t", incrementing_column="id", batch_rows=1
    )
    assert [event.row for event in it.look()] == [{"id": 1, "twice": 10}, {"id": 2, "twice": 14}]
    db.execute("insert into t values (3, 1)")
    assert [(event.op, event.table, event.row) for event in it.look()] == [
        ("u", "double", {"id": 3, "twice": 2})
    ]


def test_a_key_of_a_generated_column_is_none(looks: MakeLooks, db: Session) -> None:
    db.execute("create table t (n int, twice int generated always as (n * 2) stored primary key)")
    db.execute("insert into t values (1), (2), (3)")
    events = looks("public.t", batch_rows=2).look()
    assert [(event.key, event.row) for event in events] == [(None, {"n": n}) for n in (1, 2, 3)]


def test_a_query_without_a_cursor_is_read_whole(looks: MakeLooks, db: Session) -> None:
    db.execute("create table t (n int); insert into t values (1), (2)")
    it = looks("public.total", sql="SELECT sum(n) AS total FROM public.t -- of all")
    assert [event.row for event in it.look()] == [{"total": 3}]
    db.execute("insert into t values (3)")
    assert [event.row for event in it.look()] == [{"total": 6}]


@pytest.mark.parametrize("strategy", ["incrementing", "timestamp", "timestamp+incrementing", "xmin"])
def test_a_row_that_is_committed_late_is_seen(
    strategy: str, looks: MakeLooks, db: Session, sessions: Callable[[], Session]
) -> None:
    """D72: a first takes its number and time, b commits a greater one, a look, a commits, a look."""
    db.execute("create table t (id int primary key, at timestamptz not null)")
    a = sessions()
    it = looks("public.t", strategy=strategy, timestamp_column="at", incrementing_column="id")
    it.look()
    with a.transaction():
        a.execute("insert into t values (1, clock_timestamp())")
        db.execute("insert into t values (2, clock_timestamp())")
        assert keys(it.look()) == [2]
        db.execute("insert into t values (3, clock_timestamp())")
        assert keys(it.look()) == [3]
    assert keys(it.look()) == [1]
    assert it.look() == []


@pytest.mark.parametrize("strategy", ["incrementing", "xmin"])
def test_a_row_of_a_subtransaction_that_is_committed_late_is_seen(
    strategy: str, looks: MakeLooks, db: Session, sessions: Callable[[], Session]
) -> None:
    """A snapshot names the transactions that run, but not their subtransactions."""
    db.execute("create table t (id int primary key)")
    a = sessions()
    it = looks("public.t", strategy=strategy, incrementing_column="id")
    it.look()
    with a.transaction():
        a.execute("insert into t values (1)")
        with a.transaction():
            a.execute("insert into t values (2)")
        db.execute("insert into t values (3)")
        assert keys(it.look()) == [3]
        db.execute("insert into t values (4)")
        assert keys(it.look()) == [4], "what came before does not come again"
        with a.transaction():
            a.execute("insert into t values (5)")
    assert keys(it.look()) == [1, 2, 5]
    assert it.look() == []


def test_a_time_taken_before_the_first_write_is_late_too(
    looks: MakeLooks, db: Session, sessions: Callable[[], Session]
) -> None:
    """now() is when a transaction began: it has no id of its own then, and no horizon of ids knows it."""
    db.execute("create table t (id int primary key, at timestamptz not null default now())")
    a = sessions()
    it = looks("public.t", strategy="timestamp", timestamp_column="at")
    db.execute("insert into t values (0)")
    it.look()
    with a.transaction():
        a.execute("select 1")
        db.execute("insert into t values (2)")
        assert keys(it.look()) == [2]
        assert keys(it.look()) == []
        a.execute("insert into t values (1)")
    assert keys(it.look()) == [1]


def test_a_prepared_transaction_is_waited_for(
    looks: MakeLooks, db: Session, sessions: Callable[[], Session], unique: str
) -> None:
    db.execute("create table t (id int primary key); insert into t values (0)")
    it = looks("public.t", incrementing_column="id")
    it.look()
    a = sessions()
    a.execute("begin")
    a.execute("insert into t values (1)")
    a.execute(f"prepare transaction '{unique}'".encode())
    for number in (2, 3, 4):
        db.execute(f"insert into t values ({number})".encode())
        assert keys(it.look()) == [number]
    a.execute(f"commit prepared '{unique}'".encode())
    assert keys(it.look()) == [1]


def test_rows_of_one_time_are_neither_lost_nor_doubled_at_the_borders_of_pages(
    looks: MakeLooks, db: Session
) -> None:
    """D73"""
    db.execute("create table t (id int primary key, at timestamp not null)")
    db.execute("insert into t select n, '2024-01-01 00:00:00.000001' from generate_series(1, 10) n")
    it = looks("public.t", timestamp_column="at", batch_rows=4)
    assert keys(it.look()) == list(range(1, 11))
    db.execute("insert into t select n, '2024-01-01 00:00:00.000001' from generate_series(11, 15) n")
    db.execute("insert into t values (0, '2024-01-01 00:00:00.000001'), (20, '2024-01-01 00:00:00.000002')")
    assert keys(it.look()) == [0, 11, 12, 13, 14, 15, 20]
    assert it.look() == []


def test_rows_of_one_time_without_a_key_come_once(looks: MakeLooks, db: Session) -> None:
    db.execute("create table t (n int, at timestamp not null)")
    db.execute("insert into t select n, '2024-01-01' from generate_series(1, 10) n")
    it = looks("public.t", timestamp_column="at", batch_rows=4)
    assert sorted(event.row["n"] for event in it.look()) == list(range(1, 11))
    db.execute("insert into t values (11, '2024-01-01')")
    assert [event.row["n"] for event in it.look()] == [11]


@pytest.mark.parametrize(
    ("type", "values"),
    [
        ("public.citext", ["a", "B", "c", "D", "e", "_x"]),
        ("public.ltree", ["a", "a.b", "B.c", "z.y.x"]),
        ("public.hstore", ["a=>1", "b=>2, a=>3", "c=>NULL", ""]),
        ("pair", ["(0,z)", "(1,a)", "(1,)", "(2,b)", "(,c)", "(,)"]),
        ("uuid", [f"00000000-0000-0000-0000-00000000000{n}" for n in (1, 2, 3, 4)]),
        ("numeric", ["-Infinity", "-1", "0", "1e20", "Infinity", "NaN"]),
    ],
    ids=["citext", "ltree", "hstore", "composite", "uuid", "numeric"],
)
def test_every_row_comes_once_whatever_the_type_of_its_key_or_cursor(
    looks: MakeLooks, db: Session, type: str, values: list[str]
) -> None:
    """D51"""
    for extension in ("citext", "ltree", "hstore"):
        db.execute(f"create extension {extension} schema public".encode())
    db.execute("create type pair as (a int, b text)")
    db.execute(f"create table t (k {type} primary key, n serial)".encode())
    db.execute(f"create table two (n int, k {type}, primary key (n, k))".encode())
    for value in values:
        db.execute(f"insert into t values ('{value}'::{type})".encode())
        db.execute(f"insert into two values (1, '{value}'::{type}), (2, '{value}'::{type})".encode())
    whole = looks("public.t", "public.two", strategy="bulk", deletes="reconcile", batch_rows=2)
    assert sorted(event.table for event in whole.look()) == ["t"] * len(values) + ["two"] * 2 * len(values)
    growing = looks("public.t", "public.two", incrementing_column="k", batch_rows=2)
    growing.name += "_growing"
    assert len(growing.look()) == 3 * len(values)
    db.execute(f"delete from t where k = '{values[1]}'::{type}".encode())
    assert [event.op for event in whole.look() if event.table == "t" and event.op != "r"] == [
        "d",
        "tombstone",
    ]


def test_numbers_that_are_null_hide_no_rows_of_their_time(looks: MakeLooks, db: Session) -> None:
    db.execute("create table t (id int primary key, at timestamp not null, n int)")
    db.execute("insert into t select n, '2024-01-01', nullif(n % 3, 0) from generate_series(1, 10) n")
    it = looks("public.t", timestamp_column="at", incrementing_column="n", batch_rows=2)
    assert sorted(keys(it.look())) == list(range(1, 11))


def test_rows_that_share_a_configured_key_are_neither_lost_nor_given_one_id(
    looks: MakeLooks, db: Session
) -> None:
    db.execute("create table t (customer int, n int)")
    db.execute("insert into t select n / 4, n from generate_series(0, 11) n")
    it = looks("public.t", strategy="bulk", batch_rows=3)
    events = it.look(key={"public.t": ["customer"]})
    assert sorted(event.row["n"] for event in events) == list(range(12))
    assert len({event.id for event in events}) == 12


@pytest.mark.parametrize("key", [["k"], ["k", "v"], ["v", "k"]], ids="-".join)
def test_rows_whose_configured_key_is_null_are_read_behind_all_others(
    looks: MakeLooks, db: Session, key: list[str]
) -> None:
    db.execute("create table t (k int, v int, n serial)")
    rows = [(1, 1), (None, 3), (2, None), (None, 3), (None, None), (2, 1), (None, None), (1, 1), (3, 3)]
    db.cursor().executemany("insert into t (k, v) values (%s, %s)", rows)
    db.execute("create view w as select * from t")
    it = looks("public.t", "public.w", strategy="bulk", batch_rows=2)
    events = it.look(key={"public.t": key, "public.w": key})
    assert sorted(event.row["n"] for event in events) == sorted([*range(1, 10)] * 2)


def test_values_with_a_null_in_them_do_not_hide_what_grows(
    looks: MakeLooks, db: Session, caplog: pytest.LogCaptureFixture
) -> None:
    """They stand behind all others in the order."""
    db.execute("create type pair as (a int, b int); create table t (id serial primary key, c pair)")
    db.execute("insert into t (c) values ((1,1)), ((1,null)), ((null,1)), (null), ((null,null))")
    it = looks("public.t", incrementing_column="c", batch_rows=1)
    assert sorted(keys(it.look())) == [1, 2, 3, 4, 5]
    assert "4 rows have a c that says nothing" in caplog.text
    db.execute("insert into t (c) values ((1,2)), ((2,null))")
    assert sorted(keys(it.look())) == [6, 7]


def test_values_that_python_has_no_word_for_pass(looks: MakeLooks, db: Session) -> None:
    """D74"""
    db.execute("create table t (id int primary key, d date, h time, s timestamptz, n numeric)")
    db.execute(
        "insert into t values (1, 'infinity', '24:00:00', '-infinity', 'NaN'),"
        " (2, '0044-03-15 BC', '00:00', '294276-12-31 00:00:00+00', 1.10)"
    )
    it = looks("public.t", incrementing_column="id", batch_rows=1)
    assert [event.row for event in it.look()] == [
        {"id": 1, "d": "infinity", "h": "24:00:00", "s": "-infinity", "n": "NaN"},
        {"id": 2, "d": "0044-03-15 BC", "h": "00:00:00", "s": "294276-12-31T00:00:00Z", "n": "1.10"},
    ]


@pytest.mark.parametrize("odd", ["'infinity'", "'-infinity'", "null", "'9999-12-31'"])
def test_a_time_of_no_use_blinds_nobody(
    odd: str, looks: MakeLooks, db: Session, caplog: pytest.LogCaptureFixture
) -> None:
    """Such rows are read as others are, and their number is warned of."""
    db.execute("create table t (id int primary key, at timestamptz)")
    db.execute(f"insert into t values (1, now()), (2, {odd}), (3, {odd})".encode())
    it = looks("public.t", timestamp_column="at", batch_rows=1)
    assert sorted(keys(it.look())) == [1, 2, 3]
    assert "public.t: 2 rows" in caplog.text
    assert it.look() == []
    db.execute("insert into t values (4, now())")
    db.execute(f"insert into t values (5, {odd})".encode())
    db.execute(f"update t set at = {odd} where id = 1".encode())
    assert sorted(keys(it.look())) == [1, 4, 5]


def test_a_number_that_is_infinite_blinds_nobody(looks: MakeLooks, db: Session) -> None:
    db.execute("create table t (id numeric primary key); insert into t values (1), ('NaN'), ('infinity')")
    it = looks("public.t", incrementing_column="id")
    assert sorted(keys(it.look())) == ["1", "Infinity", "NaN"]
    db.execute("insert into t values (2)")
    assert keys(it.look()) == ["2"]


def test_an_id_names_a_row_version(looks: MakeLooks, db: Session, unique: str) -> None:
    db.execute("create table t (id int primary key, v text)")
    db.execute("insert into t values (1)")
    it = looks("public.t")
    [(xid,)] = db.execute("select xmin::text from t").fetchall()
    assert [event.id for event in it.look()] == [f'{unique}/public.t/{{"id":1}}/{xid}']


def test_a_look_that_was_cut_off_goes_on_behind_its_last_saved_row(looks: MakeLooks, db: Session) -> None:
    """And what was written into the part that it had read comes with the next one."""
    db.execute("create table t (id int primary key, v text)")
    db.execute("insert into t select n from generate_series(1, 5000) n")
    it = looks("public.t", batch_rows=1000)
    publisher = MemoryPublisher()
    connector = it.connector(publisher, max_events=2300)
    connector.capture.run()
    connector.close()
    assert len(publisher.events) == 2300
    db.execute("update t set v = 'late' where id in (7, 4000)")
    rest = keys(it.look())
    assert rest[0] == 2101, "the third page behind the first of 100 was not whole"
    assert set(rest) == set(range(2101, 5001))
    assert {*keys(it.look())} >= {7}
    assert it.look() == []
    first = {event.id for event in map(seen, publisher.events)}
    assert len(first) == 2300


def test_new_columns_and_dropped_ones_are_followed(looks: MakeLooks, db: Session) -> None:
    db.execute("create table t (id int primary key, a text); insert into t values (1, 'a')")
    it = looks("public.t", incrementing_column="id")
    it.look()
    db.execute("alter table t drop column a, add column b int; insert into t values (2, 5)")
    assert [event.row for event in it.look()] == [{"id": 2, "b": 5}]


def test_a_partitioned_table_is_read_under_its_own_name(looks: MakeLooks, db: Session) -> None:
    db.execute(
        "create table t (id int primary key) partition by range (id);"
        "create table t1 partition of t for values from (0) to (10);"
        "create table t2 partition of t for values from (10) to (20); insert into t values (1), (11)"
    )
    it = looks()
    assert [(event.table, event.row["id"]) for event in it.look()] == [("t", 1), ("t", 11)]


def test_a_view_is_read_when_it_is_named(looks: MakeLooks, db: Session) -> None:
    db.execute("create table t (id int primary key); insert into t values (1); create view w as table t")
    assert {event.table for event in looks().look()} == {"t"}
    it = looks("public.w", incrementing_column="id")
    assert [(event.table, event.row) for event in it.look()] == [("w", {"id": 1})]


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"incrementing_column": "nr"}, "source.query_column"),
        ({"sql": "SELECT 1 FROM nowhere"}, "source.query_sql"),
        ({"sql": "SELECT 1 AS a; DROP TABLE t"}, "source.query_sql"),
        ({"sql": "SELECT 1 AS a, 2 AS b, 3 AS a"}, "source.query_sql"),
    ],
)
def test_refuses_what_can_not_be_read(
    settings: dict[str, str], code: str, looks: MakeLooks, db: Session
) -> None:
    db.execute("create table t (id int primary key)")
    with pytest.raises(PreconditionError) as caught:
        looks("public.t", **settings).look()
    assert caught.value.code == code


def test_refuses_a_table_that_is_not_there(looks: MakeLooks, db: Session) -> None:
    db.execute("create table t (id int primary key)")
    with pytest.raises(PreconditionError) as caught:
        looks("public.tt").look()
    assert caught.value.code == "source.table_missing"


def test_a_look_that_was_cut_off_goes_on_in_the_middle_of_rows_that_share_a_place(
    looks: MakeLooks, db: Session
) -> None:
    """They arrive in several batches of 1000."""
    db.execute("create table t (n int, v int); insert into t select 1, v from generate_series(1, 2500) v")
    it = looks("public.t", incrementing_column="n", batch_rows=10)
    publisher = MemoryPublisher()
    with closing(it.connector(publisher, max_events=1500)) as connector:
        connector.capture.run()
    first = [seen(event).row["v"] for event in publisher.events]
    assert {*first, *(event.row["v"] for event in it.look())} == set(range(1, 2501))


def test_another_key_since_a_look_was_cut_off_begins_that_look_anew(looks: MakeLooks, db: Session) -> None:
    db.execute("create table t (id int primary key, v int not null unique)")
    db.execute("insert into t select n, 100 - n from generate_series(1, 20) n")
    it = looks("public.t", strategy="bulk", batch_rows=5)
    with closing(it.connector(MemoryPublisher(), max_events=10)) as connector:
        connector.capture.run()
    db.execute("alter table t drop constraint t_pkey, add primary key (v)")
    assert sorted(event.row["id"] for event in it.look()) == list(range(1, 21))


def test_a_table_that_is_made_anew_between_two_looks_is_read_from_its_beginning(
    looks: MakeLooks, db: Session, caplog: pytest.LogCaptureFixture
) -> None:
    db.execute("create table t (id int primary key); insert into t values (8), (9)")
    it = looks("public.t", incrementing_column="id")
    it.look()
    db.execute("drop table t; create table t (id int primary key); insert into t values (1), (9)")
    assert ops(it.look()) == [("r", 1), ("r", 9)]
    assert "public.t was made anew" in caplog.text
    assert it.look() == []


def test_a_table_that_is_made_anew_or_renamed_is_read_on(
    looks: MakeLooks, db: Session, caplog: pytest.LogCaptureFixture
) -> None:
    db.execute("create table t (id int primary key); insert into t values (8), (9)")
    db.execute("create table u (id int primary key); insert into u values (1)")
    publisher = MemoryPublisher()
    it = looks("public.*", incrementing_column="id", poll_interval="100ms", discovery_interval="100ms")

    def rows(table: str) -> list[object]:
        events = [seen(event) for event in list(publisher.events)]
        return [tuple(event.row.values()) for event in events if event.table == table]

    with Running(it.connector(publisher, once=False)):
        until(lambda: len(publisher.events) == 3, "the first rows do not come")
        db.execute("drop table t; create table t (id int primary key, v int); insert into t values (1, 2)")
        db.execute("alter table u rename to w")
        until(lambda: rows("t")[2:] == [(1, 2)], "the new table's row does not come")
        until(lambda: rows("w") == [(1,)], "the renamed table's row does not come")
    assert "public.t was made anew" in caplog.text
