"""Partitioned tables (D20 to D24): each row once, under the name that is documented, in snapshot and stream alike."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.acceptance.connector import Connector
from tests.acceptance.events import TOMBSTONE, TRUNCATED, created, deleted, read, updated
from tests.acceptance.stream import Stream

Make = Callable[..., Connector]

BY_REGION = [
    "create table t (id int, region text, v text, primary key (id, region)) partition by list (region)",
    "create table t_a partition of t for values in ('a')",
    "create table t_b (v text, id int not null, region text not null, primary key (id, region))",
    "alter table t attach partition t_b for values in ('b')",
]
"""A table with two partitions, the second with its columns in another order."""


def test_partitions_come_under_their_own_names_and_a_move_leaves_one_for_the_other(
    leafwise: Stream,
) -> None:
    """D20: publish_via_partition_root false."""
    leafwise.run(*BY_REGION, "insert into t values (1, 'a', 'v')", "update t set region = 'b'")
    events = leafwise.events()
    assert [(event.topic, event.change) for event in events] == [
        (leafwise.topic("t_a"), created({"id": 1, "region": "a", "v": "v"})),
        (leafwise.topic("t_a"), deleted({"id": 1, "region": "a"})),
        (leafwise.topic("t_a"), TOMBSTONE),
        (leafwise.topic("t_b"), created({"id": 1, "region": "b", "v": "v"})),
    ]
    assert list(events[3].row) == ["v", "id", "region"]
    assert [event.source["table"] for event in events.ops("c", "d")] == ["t_a", "t_a", "t_b"]


def test_partitions_come_under_the_name_and_in_the_shape_of_their_root(stream: Stream) -> None:
    """D21: publish_via_partition_root true: one topic."""
    stream.run(
        *BY_REGION, "insert into t values (1, 'a', 'v')", "update t set region = 'b'", "update t set v = 'w'"
    )
    events = stream.events()
    assert [event.change for event in events] == [
        created({"id": 1, "region": "a", "v": "v"}),
        deleted({"id": 1, "region": "a"}),
        TOMBSTONE,
        created({"id": 1, "region": "b", "v": "v"}),
        updated({"id": 1, "region": "b", "v": "w"}),
    ]
    assert "__debezium.newkey" not in events[1].headers, "the server sends a move as a delete and an insert"
    assert set(events.topics) == {stream.topic("t")}
    assert {event.source["table"] for event in events.ops("c", "u", "d")} == {"t"}
    assert {tuple(event.row) for event in events.ops("c", "u")} == {("id", "region", "v")}
    snapshot = stream.snapshot()
    assert snapshot.changes == [read({"id": 1, "region": "b", "v": "w"})]
    assert (snapshot[0].source["table"], list(snapshot[0].row)) == ("t", ["id", "region", "v"])


def test_only_a_truncate_of_what_is_published_is_seen(stream: Stream, leafwise: Stream) -> None:
    """D22: of a partition that is published as its root, the server sends nothing."""
    stream.run(
        *BY_REGION,
        "insert into t values (1, 'a'), (2, 'b')",
        "truncate t_a",
        "insert into t values (3, 'a')",
        "truncate t",
    )
    rootwise = stream.events()
    assert [event.op for event in rootwise] == ["c", "c", "c", "t"]
    assert rootwise[3].change == TRUNCATED
    assert set(rootwise.topics) == {stream.topic("t")}
    assert [(event.op, event.topic.rsplit(".")[-1]) for event in leafwise.events()] == [
        ("c", "t_a"),
        ("c", "t_b"),
        ("t", "t_a"),
        ("c", "t_a"),
        ("t", "t_a"),
        ("t", "t_b"),
    ]


@pytest.mark.parametrize("via_root", [True, False], ids=["as root", "as leaf"])
def test_partitions_come_and_go_while_it_runs(each_database: str, connector: Make, via_root: bool) -> None:
    """D23: what is attached flows without a restart, its old rows never come; detached it is silent; a drop says nothing."""
    running = connector(
        each_database,
        *("--table", "public.t", "--set", f"source.log.publish_via_partition_root={str(via_root).lower()}"),
    )
    running.execute(
        "create table t (id int primary key) partition by range (id)",
        "create table t_1 partition of t for values from (10) to (20)",
        "insert into t values (10)",
    )
    running.start()
    running.events()
    running.execute(
        "create table t_2 partition of t for values from (20) to (30)",
        "insert into t values (20)",
        "create table t_3 (id int primary key)",
        "insert into t_3 values (30)",
        "alter table t attach partition t_3 for values from (30) to (40)",
        "insert into t values (31)",
        "alter table t detach partition t_2",
        "insert into t_2 values (21)",
        "drop table t_1",
        "insert into t values (32)",
    )
    events = running.events()
    leaves = ["t_1", "t_2", "t_3", "t_3"]
    assert [event.source["table"] for event in events] == (["t"] * 4 if via_root else leaves)
    assert events.changes == [read({"id": 10}), created({"id": 20}), created({"id": 31}), created({"id": 32})]


THREE_LEVELS = [
    "create table root (id int primary key, v text) partition by range (id)",
    "create table middle partition of root for values from (0) to (100) partition by range (id)",
    "create table leaf partition of middle for values from (0) to (10)",
    "create table second partition of middle for values from (10) to (20)",
    "create table beside partition of root for values from (100) to (200)",
]


@pytest.mark.parametrize(
    ("via_root", "chosen", "names"),
    [
        (True, "root", {1: "root", 11: "root", 101: "root"}),
        (True, "middle", {1: "middle", 11: "middle"}),
        (True, "leaf", {1: "leaf"}),
        (True, "*", {1: "root", 11: "root", 101: "root"}),
        (False, "root", {1: "leaf", 11: "second", 101: "beside"}),
        (False, "middle", {1: "leaf", 11: "second"}),
        (False, "leaf", {1: "leaf"}),
        (False, "*", {1: "leaf", 11: "second", 101: "beside"}),
    ],
)
def test_each_row_of_three_levels_comes_once(
    each_database: str, connector: Make, via_root: bool, chosen: str, names: dict[int, str]
) -> None:
    """D24: under the topmost chosen table, or under the partition that holds it."""
    running = connector(
        each_database,
        *(
            "--table",
            f"public.{chosen}",
            "--set",
            f"source.log.publish_via_partition_root={str(via_root).lower()}",
        ),
    )
    running.execute(*THREE_LEVELS, "insert into root values (1, 'old'), (11, 'old'), (101, 'old')")
    running.start()
    running.execute(
        "insert into root values (2, 'new'), (12, 'new'), (102, 'new')",
        "update root set v = 'x' where id % 2 = 1",
    )
    events = running.events()
    seen = [(event.op, event.row["id"], event.source["table"]) for event in events]
    assert sorted(seen) == sorted(
        [("r", id, name) for id, name in names.items()]
        + [("c", id + 1, name) for id, name in names.items()]
        + [("u", id, name) for id, name in names.items()]
    )
    assert [event.topic for event in events] == [f"{running.name}.public.{name}" for _, _, name in seen]


def test_the_application_may_update_partitions_that_log_less_than_their_root(
    each_database: str, connector: Make
) -> None:
    """D03, D24: what a partition logs decides, not its root; published for updates, the application's would fail."""
    running = connector(each_database, "--table", "public.t")
    running.execute(
        "create table t (id int, v text) partition by range (id)",
        "alter table t replica identity full",
        "create table t_1 partition of t for values from (0) to (10)",
    )
    running.start()
    running.execute("insert into t values (1, 'a')", "update t set v = 'b'", "delete from t")
    assert running.events().changes == [created({"id": 1, "v": "a"})]
    assert "public.t: no usable replica identity" in running.log


def test_values_that_a_partition_does_not_log_are_not_taken_for_null(stream: Stream) -> None:
    """D24: the root promises full old rows, its partition logs keys: the server pads them with nulls."""
    stream.run(
        "create table t (id int primary key, big text, v text) partition by range (id)",
        "alter table t replica identity full",
        "create table t_1 partition of t for values from (0) to (10)",
        "alter table t_1 alter big set storage external",
        "insert into t values (1, repeat(md5('a'), 300), 'v')",
        "update t set id = 2",
    )
    come = stream.events("t")[-1]
    assert come.change == created({"id": 2, "v": "v"})
    assert come.unchanged == ["big"]


def test_the_old_row_of_a_partition_that_logs_a_key_is_that_key(stream: Stream) -> None:
    """D24: some partitions log all that their root promises, others the key alone: what was not sent is not null."""
    stream.run(
        "create table t (id int, v text) partition by range (id)",
        "alter table t replica identity full",
        "create table t_1 partition of t for values from (0) to (10)",
        "alter table t_1 replica identity full",
        "create table t_2 partition of t for values from (10) to (20)",
        "alter table t_2 add primary key (id)",
        "insert into t values (1, 'full'), (11, 'keyed'), (12, 'keyed')",
        "update t set id = id + 1 where id in (1, 12)",
        "delete from t",
    )
    events = stream.connector.events()[-5:]
    assert [event.before for event in events] == [
        {"id": 1, "v": "full"},
        {"id": 12},
        {"id": 2, "v": "full"},
        {"id": 11},
        {"id": 13},
    ]


def test_a_partition_that_another_publication_lists_comes_under_the_root_only(
    each_database: str, connector: Make
) -> None:
    """D24: the server sends it once, and so does the snapshot."""
    running = connector(each_database, "--publication", "roots,leaves")
    running.execute(
        *THREE_LEVELS,
        "create publication roots for table root with (publish_via_partition_root = true)",
        "create publication leaves for table leaf",
        "insert into root values (1, 'old')",
    )
    running.start()
    running.execute("insert into root values (2, 'new')")
    events = running.events()
    assert events.changes == [read({"id": 1, "v": "old"}), created({"id": 2, "v": "new"})]
    assert [event.source["table"] for event in events] == ["root", "root"]


def test_an_excluded_partition_is_left_out_or_refused(database: str, connector: Make) -> None:
    """D24: as leaves it is left out; its rows can't be told from the others under the root's name, so that is refused."""
    leafwise = ("--set", "source.log.publish_via_partition_root=false")
    running = connector(database, "--exclude", "public.second", *leafwise)
    running.execute(*THREE_LEVELS, "insert into root values (1), (11)")
    running.start()
    running.execute("insert into root values (2), (12)")
    events = running.events()
    assert [(event.op, event.row["id"]) for event in events] == [("r", 1), ("c", 2)]
    running.stop()
    block = connector(database, "--exclude", "public.second").refusal()
    assert "partition public.second is excluded, but its rows are published as those of public.root" in block


def test_a_partition_that_was_dropped_before_it_was_read_still_comes(
    each_database: str, connector: Make
) -> None:
    """D23, D34: nothing but the publication knows by then whose partition it was."""
    options = ("--table", "public.root", "--set", "source.log.publish_via_partition_root=false")
    stopped = connector(each_database, *options)
    stopped.execute(*THREE_LEVELS)
    stopped.run_once()
    stopped.execute(
        "insert into root values (1, 'v')",
        "create table third partition of root for values from (200) to (300)",
        "insert into root values (201, 'v'), (101, 'v')",
        "drop table third",
        "drop table leaf",
        "alter table root detach partition beside",
        "insert into beside values (102, 'late')",
    )
    events = stopped.run_once()
    assert [(event.source["table"], event.row["id"]) for event in events] == [
        ("leaf", 1),
        ("third", 201),
        ("beside", 101),
    ]
    stopped.execute("insert into root values (11, 'v')")
    assert [event.row["id"] for event in stopped.run_once()] == [11]
