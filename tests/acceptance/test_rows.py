"""Rows and replica identity (D01 to D19): what an insert, an update, a delete and a truncate become."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from tests.acceptance.connector import Connector
from tests.acceptance.events import TOMBSTONE, TRUNCATED, Events, created, deleted, read, updated
from tests.acceptance.stream import Stream

Make = Callable[..., Connector]

BIG = "repeat(md5('a'), 300)"
"""9600 bytes: with external storage, too large to stay in the row."""


def test_an_update_has_no_before_and_a_delete_has_the_key_alone(stream: Stream) -> None:
    """D01: what the server does not send is not invented, not even as null."""
    stream.run(
        "create table t (id int primary key, a text, b text)",
        "insert into t values (1, 'a', 'b')",
        "update t set a = 'c'",
        "delete from t",
    )
    events = stream.events("t")
    assert [event.change for event in events] == [
        created({"id": 1, "a": "a", "b": "b"}),
        updated({"id": 1, "a": "c", "b": "b"}),
        deleted({"id": 1}),
        TOMBSTONE,
    ]
    assert events.keys == [{"id": 1}] * 4


def test_full_identity_brings_the_whole_old_row(stream: Stream) -> None:
    """D02: and the key stays the primary key."""
    stream.run(
        "create table t (id int primary key, a text, b text)",
        "alter table t replica identity full",
        "insert into t values (1, 'a', null)",
        "update t set b = 'b'",
        "delete from t",
    )
    events = stream.events("t")
    assert [event.change for event in events] == [
        created({"id": 1, "a": "a", "b": None}),
        updated({"id": 1, "a": "a", "b": "b"}, before={"id": 1, "a": "a", "b": None}),
        deleted({"id": 1, "a": "a", "b": "b"}),
        TOMBSTONE,
    ]
    assert events.keys == [{"id": 1}] * 4


UNIDENTIFIED = {
    "no_key": ["create table no_key (id int, v text)"],
    "no_identity": [
        "create table no_identity (id int primary key, v text)",
        "alter table no_identity replica identity nothing",
    ],
    "late_key": ["create table late_key (id int primary key deferrable, v text)"],
    "lost_index": [
        "create table lost_index (id int not null, v text)",
        "create unique index lost on lost_index (id)",
        "alter table lost_index replica identity using index lost",
        "drop index lost",
    ],
}


def test_without_a_usable_identity_only_inserts_flow_and_the_application_never_fails(
    each_database: str, connector: Make
) -> None:
    """D03: published for updates, the application's own UPDATE would fail (55000). A warning names such tables."""
    running = connector(each_database)
    running.execute("create table keyed (id int primary key)")
    for table, made in UNIDENTIFIED.items():
        running.execute(*made, f"insert into {table} values (1, 'old')")
    running.start()
    running.events()
    for table in UNIDENTIFIED:
        running.execute(
            f"insert into {table} values (2, 'new')",
            f"update {table} set v = 'x'",
            f"delete from {table}",
            f"truncate {table}",
        )
    running.execute("insert into keyed values (1)")
    events = running.events()
    for table in UNIDENTIFIED:
        old, new = {"id": 1, "v": "old"}, {"id": 2, "v": "new"}
        assert events.of(table).changes == [read(old), created(new), TRUNCATED]
        assert events.of(table).keys == [None] * 3
        assert f"public.{table}" in next(
            line for line in running.log.splitlines() if "no usable replica identity" in line
        )
    assert events.of("keyed").changes == [created({"id": 1})]


def test_a_table_that_gets_a_key_flows_whole_from_the_next_start(each_database: str, connector: Make) -> None:
    """D03: and one that loses its key is left in peace from then on."""
    stopped = connector(each_database)
    stopped.execute("create table t (id int)", "create table u (id int constraint u_key primary key)")
    stopped.run_once()
    stopped.execute("alter table t add primary key (id)", "alter table u drop constraint u_key")
    stopped.run_once()
    for table in "tu":
        stopped.execute(
            f"insert into {table} values (1)", f"update {table} set id = id", f"delete from {table}"
        )
    events = stopped.run_once()
    assert events.of("t").changes == [created({"id": 1}), updated({"id": 1}), deleted({"id": 1})]
    assert events.of("u").changes == [created({"id": 1})]


def test_all_tables_are_not_published_while_updates_of_one_would_fail(
    each_database: str, connector: Make
) -> None:
    """D03: a publication of all tables can't leave one out, so it is refused, and the application goes on."""
    refused = connector(each_database, "--set", "source.log.publication_autocreate=all_tables")
    refused.execute(
        "create table keyed (id int primary key)", "create table t (id int)", "insert into t values (1)"
    )
    block = refused.refusal()
    assert "source.no_replica_identity" in block
    assert "public.t" in block
    assert "REPLICA IDENTITY FULL" in block
    refused.execute("update t set id = 2")
    assert refused.execute("select from pg_publication") == []
    assert refused.execute("select from pg_replication_slots where database = current_database()") == []


def test_a_key_change_is_a_delete_and_a_create(stream: Stream) -> None:
    """D04: linked by headers; a large column that the server did not send is named, not null and not lost."""
    stream.run(
        "create table t (id int primary key, big text, v text)",
        "alter table t alter big set storage external",
        f"insert into t values (1, {BIG}, 'v')",
        "update t set id = 2 where id = 1",
    )
    gone, tombstone, come = stream.events("t")[1:]
    assert gone.change == deleted({"id": 1})
    assert gone.headers["__debezium.newkey"] == '{"id":2}'
    assert (tombstone.op, tombstone.key) == ("tombstone", {"id": 1})
    assert come.change == created({"id": 2, "v": "v"})
    assert come.headers["__debezium.oldkey"] == '{"id":1}'
    assert come.unchanged == ["big"]
    assert (come.key, gone.key) == ({"id": 2}, {"id": 1})
    assert (tombstone.id, come.id) == (f"{gone.id}/t", f"{gone.id}/c")


def test_a_key_change_with_full_identity_brings_the_large_column(stream: Stream) -> None:
    """D04: filled from the old row."""
    stream.run(
        "create table t (id int primary key, big text)",
        "alter table t alter big set storage external, replica identity full",
        f"insert into t values (1, {BIG})",
        "update t set id = 2 where id = 1",
    )
    first, gone, _, come = stream.events("t")
    assert gone.change == deleted(first.row)
    assert come.change == created({"id": 2, "big": first.row["big"]})
    assert len(come.row["big"]) == 9600
    assert come.unchanged == []


def test_a_large_key_that_did_not_change_is_still_the_key(stream: Stream) -> None:
    """D04: stored outside of the row it is not sent with it; the server sends the old key instead."""
    stream.run(
        "create table t (id text primary key, a text, v int)",
        "alter table t alter id set storage external, alter a set storage external",
        "insert into t values (repeat('k', 2500), repeat('a', 9000), 1)",
        "update t set v = 2",
    )
    _, update = stream.events("t")
    assert update.change == updated({"id": "k" * 2500, "v": 2}, before={"id": "k" * 2500})
    assert update.key == {"id": "k" * 2500}
    assert update.unchanged == ["a"]


def test_the_key_is_that_of_the_identity_index(stream: Stream) -> None:
    """D01: what a delete brings, though the table has a primary key too."""
    stream.run(
        "create table t (id int primary key, a int not null, b int not null)",
        "create unique index by_b on t (b, a)",
        "alter table t replica identity using index by_b",
        "insert into t values (1, 2, 3)",
        "update t set id = 4",
        "delete from t",
    )
    events = stream.events("t")
    assert events.changes == [
        created({"id": 1, "a": 2, "b": 3}),
        updated({"id": 4, "a": 2, "b": 3}),
        deleted({"a": 2, "b": 3}),
    ]
    assert [list(key.items()) for key in events.keys] == [[("b", 3), ("a", 2)]] * 4


@pytest.mark.parametrize("identity", ["default", "full"])
def test_an_update_to_the_same_values_is_a_plain_update(stream: Stream, identity: str) -> None:
    """D05: also of the key."""
    stream.run(
        "create table t (id int primary key, v text)",
        f"alter table t replica identity {identity}",
        "insert into t values (1, 'v')",
        "update t set id = id",
        "update t set v = v",
    )
    row = {"id": 1, "v": "v"}
    before = row if identity == "full" else None
    assert [event.change for event in stream.events("t")] == [
        created(row),
        *[updated(row, before=before)] * 2,
    ]


LARGE = {
    "t": BIG,
    "a": "array(select generate_series(1, 4000))",
    "j": f"jsonb_build_object('k', {BIG})",
    "b": f"decode({BIG}, 'hex')",
    "h": f"hstore('k', {BIG})",
    "u": "array_fill('9b2f6e3c-2a63-4d54-9f2b-0f6b7a1c2d3e'::uuid, array[700])",
    "e": "array_fill('large'::size, array[3000])",
}
"""Values of a type each, stored outside of the row."""


def _large_columns(stream: Stream) -> None:
    stream.run(
        "create type size as enum ('small', 'large')",
        "create table t (id int primary key, t text, a int[], j jsonb, b bytea, h hstore, u uuid[], e size[], v int)",
        "alter table t " + ", ".join(f"alter {column} set storage external" for column in LARGE),
    )


def test_large_columns_that_did_not_change_are_named_and_left_out(stream: Stream) -> None:
    """D06: of every type, and the row still fulfils a contract that requires them."""
    properties = {
        "id": {"type": "integer"},
        "v": {"type": "integer"},
        "t": {"type": "string", "minLength": 9600},
    }
    stream.contract("t", {"type": "object", "properties": properties, "required": ["id", "v", *LARGE]})
    _large_columns(stream)
    stream.run(f"insert into t values (1, {', '.join(LARGE.values())}, 1)", "update t set v = 2")
    insert, update = stream.events("t")
    assert set(insert.row) == {"id", "v", *LARGE}
    assert insert.unchanged == []
    assert update.change == updated({"id": 1, "v": 2})
    assert update.unchanged == list(LARGE)


def test_large_columns_come_whole_with_full_identity(stream: Stream) -> None:
    """D07: the new row still says "unchanged"; the value is in the old one."""
    _large_columns(stream)
    stream.run(
        "alter table t replica identity full",
        f"insert into t values (1, {', '.join(LARGE.values())}, 1)",
        "update t set v = 2",
        "update t set t = null, a = null",
    )
    insert, first, second = stream.events("t")
    assert first.change == updated({**insert.row, "v": 2}, before=insert.row)
    assert second.change == updated({**first.row, "t": None, "a": None}, before=first.row)
    assert first.unchanged == second.unchanged == []


def test_a_truncate_is_one_event_per_published_table(stream: Stream) -> None:
    """D08: in commit order, with its options; a table that is not published has none."""
    stream.run(
        "create table a (id int primary key)",
        "create table b (id int primary key)",
        "create table child (id int primary key references a)",
        "create unlogged table unpublished (id int primary key references a)",
        "insert into b values (1)",
        "truncate b",
        "insert into b values (2)",
        "truncate b, child restart identity",
        "truncate a cascade",
    )
    events = stream.events()
    assert [(event.op, event.topic, event.key, event.source.get("truncate")) for event in events] == [
        ("c", stream.topic("b"), {"id": 1}, None),
        ("t", stream.topic("b"), None, []),
        ("c", stream.topic("b"), {"id": 2}, None),
        ("t", stream.topic("b"), None, ["restart_identity"]),
        ("t", stream.topic("child"), None, ["restart_identity"]),
        ("t", stream.topic("a"), None, ["cascade"]),
        ("t", stream.topic("child"), None, ["cascade"]),
    ]
    assert {event.change for event in events.ops("t")} == {TRUNCATED}


def test_one_of_two_equal_rows_is_deleted_once(stream: Stream) -> None:
    """D09: without a key the whole row is all there is; no key, so no tombstone."""
    stream.run(
        "create table t (v text)",
        "alter table t replica identity full",
        "insert into t values ('same'), ('same')",
        "delete from t where ctid = (select min(ctid) from t)",
    )
    events = stream.events("t")
    row = {"v": "same"}
    assert [event.change for event in events] == [created(row), created(row), deleted(row)]
    assert events.keys == [None] * 3


def test_what_a_foreign_key_does_follows_its_cause(stream: Stream) -> None:
    """D10: cascades to children and grandchildren, in the same transaction."""
    stream.run(
        "create table parent (id int primary key)",
        "create table child (id int primary key, parent int references parent on delete cascade)",
        "create table grandchild (id int primary key, child int references child on delete set null)",
        "insert into parent values (1)",
        "insert into child values (1, 1), (2, 1)",
        "insert into grandchild values (1, 2)",
        "delete from parent",
    )
    events = Events(event for event in stream.events()[4:] if event.op != "tombstone")
    assert [(event.topic, event.change) for event in events] == [
        (stream.topic("parent"), deleted({"id": 1})),
        (stream.topic("child"), deleted({"id": 1})),
        (stream.topic("child"), deleted({"id": 2})),
        (stream.topic("grandchild"), updated({"id": 1, "child": None})),
    ]
    assert len({event.source["txId"] for event in events}) == 1


def test_on_conflict_and_merge_are_what_they_did(stream: Stream) -> None:
    """D11: nothing, an update, or an update and an insert."""
    stream.run(
        "create table t (id int primary key, v text)",
        "insert into t values (1, 'a')",
        "insert into t values (1, 'b') on conflict do nothing",
        "insert into t values (1, 'c') on conflict (id) do update set v = excluded.v",
        "merge into t using (values (1, 'd'), (2, 'e')) s (id, v) on s.id = t.id"
        " when matched then update set v = s.v when not matched then insert values (s.id, s.v)",
    )
    events = stream.events("t")
    assert events[:2].changes == [created({"id": 1, "v": "a"}), updated({"id": 1, "v": "c"})]
    merged = sorted(events[2:].changes, key=lambda change: change[0])
    assert merged == [created({"id": 2, "v": "e"}), updated({"id": 1, "v": "d"})]


def test_generated_columns_are_in_neither_snapshot_nor_stream(stream: Stream) -> None:
    """D12: the server does not stream them unless a publication asks for it, so the snapshot leaves them out too."""
    virtual = ", e int generated always as (a * 3) virtual" if stream.server_version >= 18 else ""
    stream.run(
        f"create table t (id int primary key, a int, d int generated always as (a * 2) stored{virtual}, z text)",
        "insert into t values (1, 5)",
        "update t set a = 6, z = 'z'",
    )
    row = {"id": 1, "a": 6, "z": "z"}
    assert stream.events("t").changes == [created({"id": 1, "a": 5, "z": None}), updated(row)]
    assert stream.snapshot("t").changes == [read(row)]


def test_generated_columns_that_a_publication_asks_for_are_in_both(database: str, connector: Make) -> None:
    """D12: PostgreSQL 18 can publish them."""
    running = connector(database, "--publication", "theirs")
    running.execute(
        "create table t (id int primary key, a int, d int generated always as (a * 2) stored)",
        "create table listed (id int primary key, a int, d int generated always as (a * 2) stored)",
        "create publication theirs for table t, listed (id, d) with (publish_generated_columns = stored)",
        "insert into t values (1, 5)",
        "insert into listed values (1, 5)",
    )
    running.start()
    running.execute("insert into t values (2, 6)", "insert into listed values (2, 6)")
    events = running.events()
    assert events.of("t").changes == [read({"id": 1, "a": 5, "d": 10}), created({"id": 2, "a": 6, "d": 12})]
    assert events.of("listed").changes == [read({"id": 1, "d": 10}), created({"id": 2, "d": 12})]


def test_a_rolled_back_insert_leaves_a_gap_and_no_alarm(stream: Stream) -> None:
    """D13: what a sequence gave away is not a loss."""
    stream.run("create table t (id serial primary key)", "insert into t default values")
    with pytest.raises(psycopg.errors.DivisionByZero), stream.transaction():
        stream.run("insert into t default values", "select 1 / 0")
    stream.run("insert into t default values")
    assert stream.events("t").changes == [created({"id": 1}), created({"id": 3})]
    assert "WARNING" not in stream.log
    assert "ERROR" not in stream.log


def test_what_a_savepoint_takes_back_never_was(stream: Stream) -> None:
    """D14: the rest of the transaction comes."""
    stream.run("create table t (id int primary key)")
    with stream.transaction():
        stream.run(
            "insert into t values (1)",
            "savepoint s",
            "insert into t values (2)",
            "rollback to s",
            "insert into t values (3)",
        )
    with pytest.raises(psycopg.errors.DivisionByZero), stream.transaction():
        stream.run("insert into t values (4)", "select 1 / 0")
    events = stream.events("t")
    assert events.changes == [created({"id": 1}), created({"id": 3})]
    assert len({event.source["txId"] for event in events}) == 1


def test_transactions_without_changes_give_no_events_and_move_the_position(stream: Stream) -> None:
    """D14: else the server would keep their WAL."""
    stream.run(
        "create table t (id int primary key)",
        "alter table t add v text",
        "select count(*) from t",
        "create index on t (v)",
    )
    (written,) = stream.run("select pg_current_wal_lsn()")[0]
    stream.connector.wait_for(lambda: stream.connector.confirmed_up_to(written), "the acknowledgement")
    assert stream.events() == []


def test_transactions_come_in_the_order_of_their_commits(stream: Stream) -> None:
    """D15: not in that of their beginnings."""
    stream.run("create table t (id int primary key)")
    other = stream.session()
    with stream.transaction():
        stream.run("insert into t values (1)")
        with other.transaction():
            other.execute("insert into t values (2)")
            stream.run("insert into t values (3)")
            other.execute("insert into t values (4)")
        stream.run("insert into t values (5)")
    assert [event.row["id"] for event in stream.events("t")] == [2, 4, 1, 3, 5]


def test_every_change_of_a_row_within_a_transaction_comes(stream: Stream) -> None:
    """D16: none is folded into another."""
    stream.run("create table t (id int primary key, v text)", "insert into t values (1, 'a')")
    with stream.transaction():
        stream.run(
            "update t set v = 'b'",
            "update t set v = 'c'",
            "update t set v = 'd'",
            "insert into t values (2, 'e')",
            "delete from t where id = 2",
        )
    events = stream.events("t")[1:]
    assert [event.change for event in events] == [
        *(updated({"id": 1, "v": v}) for v in "bcd"),
        created({"id": 2, "v": "e"}),
        deleted({"id": 2}),
        TOMBSTONE,
    ]
    assert len({event.source["txId"] for event in events if event.op != "tombstone"}) == 1


def test_what_writes_no_wal_is_not_seen(stream: Stream) -> None:
    """D17: unlogged and temporary tables and materialized views; a table that becomes logged later keeps its old rows
    to itself."""
    stream.run(
        "create unlogged table quiet (id int primary key)",
        "insert into quiet values (1)",
        "create temp table passing (id int primary key)",
        "insert into passing values (1)",
        "create materialized view view as select 1 as id with no data",
        "refresh materialized view view",
        "create table copied as select 7 as id",
        "alter table quiet set logged",
        "insert into quiet values (2)",
    )
    events = stream.events(silent={"quiet"})
    assert events.topics == [stream.topic("copied"), stream.topic("quiet")]
    assert events.changes == [created({"id": 7}), created({"id": 2})]


def test_a_row_filter_decides_by_the_rows_old_and_new_state(each_database: str, connector: Make) -> None:
    """D18: what enters the filter is an insert, what leaves it a delete; the snapshot is bound by it too."""
    running = connector(each_database, "--publication", "theirs")
    running.execute(
        "create table t (id int primary key)",
        "create publication theirs for table t where (id > 10)",
        "insert into t values (6), (50)",
    )
    running.start()
    running.execute(
        "update t set id = 60 where id = 6", "update t set id = 5 where id = 50", "insert into t values (6)"
    )
    assert running.events().changes == [read({"id": 50}), created({"id": 60}), deleted({"id": 50})]


def test_a_column_list_binds_the_snapshot_too(each_database: str, connector: Make) -> None:
    """D18: what is not published is not read."""
    running = connector(each_database, "--publication", "theirs")
    running.execute(
        "create table t (id int primary key, secret text, v text)",
        "create publication theirs for table t (id, v)",
        "insert into t values (1, 's', 'a')",
    )
    running.start()
    running.execute("insert into t values (2, 's', 'b')", "update t set secret = 'u', v = 'c' where id = 1")
    assert running.events().changes == [
        read({"id": 1, "v": "a"}),
        created({"id": 2, "v": "b"}),
        updated({"id": 1, "v": "c"}),
    ]


def test_publications_with_different_columns_of_a_table_are_refused(
    each_database: str, connector: Make
) -> None:
    """D19: found before the start; the server would fail at the first change (0A000)."""
    refused = connector(each_database, "--publication", "narrow,wide")
    refused.execute(
        "create table t (id int primary key, a int, b int)",
        "create publication narrow for table t (id, a)",
        "create publication wide for table t",
        "insert into t values (1)",
    )
    block = refused.refusal()
    assert "source.publication_columns" in block
    assert "narrow" in block
    assert "wide" in block
    assert "public.t" in block
    assert refused.execute("select from pg_replication_slots where database = current_database()") == []
