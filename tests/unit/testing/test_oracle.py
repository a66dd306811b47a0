"""The replay oracle: it is content with a good stream, and with no other."""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liberator.testing.oracle import Difference, Replay

Event = dict[str, Any]
TABLE = "public.orders"


def event(op: str, key: Any, after: Any = None, *, id: str, before: Any = None, **more: Any) -> Event:
    """An event as a line of standard output holds it. unchanged, headers, table: as in events."""
    schema, _, table = more.get("table", TABLE).partition(".")
    source: Event = {"schema": schema, "table": table, "lsn": more.get("lsn", 1), "snapshot": "false"}
    if "unchanged" in more:
        source["unchanged"] = more["unchanged"]
    return {
        "topic": f"shop.{schema}.{table}",
        "key": key,
        "value": {
            "before": before,
            "after": after,
            "source": source,
            "op": op,
            "ts_ms": 1,
            "transaction": None,
        },
        "headers": {"id": id, **more.get("headers", {})},
        "position": id,
    }


def tombstone(of: Event) -> Event:
    return {**of, "value": None, "headers": {"id": of["headers"]["id"] + "/t"}}


def log(commit: int, number: int = 0) -> str:
    """The id of a change."""
    return f"7312/shop/0/{commit:X}/{number}"


def read(lsn: int, key: int) -> str:
    """The id of a row that a snapshot read."""
    return f"7312/shop/snapshot/0/{lsn:X}/{TABLE}/{key}"


def row(id: int, value: Any = "a") -> Event:
    return {"id": id, "value": value}


def kinds(replay: Replay) -> list[str]:
    return [problem.kind for problem in replay.problems()]


C1 = event("c", {"id": 1}, row(1), id=log(10))
U1 = event("u", {"id": 1}, row(1, "b"), id=log(20))
D1 = event("d", {"id": 1}, before={"id": 1}, id=log(30))
R1 = event("r", {"id": 1}, row(1), id=read(15, 1))


@pytest.mark.parametrize(
    ("events", "rows"),
    [
        ([C1], [row(1)]),
        ([C1, U1], [row(1, "b")]),
        ([C1, U1, D1, tombstone(D1)], []),
        ([R1, U1], [row(1, "b")]),
        ([C1, U1, C1, U1], [row(1, "b")]),
        ([C1, U1, U1, D1, tombstone(D1), D1, tombstone(D1)], []),
        ([C1, event("c", {"id": 2}, row(2), id=log(10, 1))], [row(2), row(1)]),
        ([D1, event("c", {"id": 1}, row(1, "again"), id=log(30, 1))], [row(1, "again")]),
    ],
    ids=[
        "create",
        "update",
        "delete",
        "snapshot",
        "redelivery",
        "deleted again",
        "two keys",
        "created again",
    ],
)
def test_is_content_with_a_stream_that_adds_up(events: list[Event], rows: list[Event]) -> None:
    replay = Replay().read(events)
    assert replay.problems() == []
    assert replay.compare(TABLE, rows) == []
    assert sorted(map(str, replay.rows(TABLE))) == sorted(map(str, rows))


@pytest.mark.parametrize(
    ("events", "problems"),
    [
        ([U1, {**U1, "value": {**U1["value"], "after": row(1, "x")}}], ["unseen", "content"]),
        ([C1, {**C1, "value": {**C1["value"], "op": "r"}}], ["content"]),
        ([D1, {**D1, "value": {**D1["value"], "before": {"id": 2}}}], ["content"]),
        ([C1, {**C1, "key": {"id": 2}}], ["content"]),
        ([C1, event("u", {"id": 1}, row(1), id=log(9))], ["order"]),
        (
            [C1, event("u", {"id": 1}, row(1), id=log(20, 1)), event("u", {"id": 1}, row(1), id=log(20))],
            ["order"],
        ),
        ([R1, event("u", {"id": 1}, row(1, "b"), id=log(14))], ["order"]),
        ([U1, R1], ["unseen", "stale"]),
        ([C1, U1, event("r", {"id": 1}, row(1), id=read(20, 1))], ["stale"]),
        ([U1], ["unseen"]),
        ([C1, event("c", {"id": 1}, row(1), id=log(11))], ["twice"]),
        ([R1, event("c", {"id": 1}, row(1), id=log(16))], ["twice"]),
        ([C1, tombstone(D1)], ["tombstone"]),
        ([C1, U1, C1], ["behind"]),
        ([C1, U1, D1, U1], ["behind"]),
        ([event("c", {"id": 1}, row(1), id="")], ["id"]),
    ],
)
def test_finds_what_a_stream_must_not_do(events: list[Event], problems: list[str]) -> None:
    assert kinds(Replay().read(events)) == problems


def test_a_snapshot_that_shows_a_change_may_come_after_it() -> None:
    replay = Replay().read([C1, event("r", {"id": 1}, row(1), id=read(11, 1))])
    assert replay.problems() == []


def test_a_change_that_the_snapshot_does_not_show_may_come_after_it() -> None:
    replay = Replay().read([R1, event("u", {"id": 1}, row(1, "b"), id=log(15))])
    assert replay.problems() == []


def test_commit_order_compares_numbers_not_texts() -> None:
    replay = Replay().read(
        [event("c", {"id": 1}, row(1), id=log(0x9)), event("u", {"id": 1}, row(1), id=log(0x10))]
    )
    assert replay.problems() == []


def test_other_ids_are_ordered_by_the_lsn_of_the_source() -> None:
    first = event("c", {"id": 1}, row(1), id="one", lsn=7)
    assert kinds(Replay().read([first, event("u", {"id": 1}, row(1), id="two", lsn=8)])) == []
    assert kinds(Replay().read([first, event("u", {"id": 1}, row(1), id="two", lsn=6)])) == ["order"]
    assert kinds(Replay().read([first, event("u", {"id": 1}, row(1), id="two", lsn=None)])) == ["order"]


def test_processing_times_may_differ_between_deliveries() -> None:
    again = {
        **C1,
        "value": {**C1["value"], "ts_ms": 999, "source": {**C1["value"]["source"], "version": "2"}},
    }
    replay = Replay().read([C1, again])
    assert (replay.problems(), replay.events, replay.redelivered) == ([], 2, 1)


def test_a_stream_that_begins_in_the_middle_may_change_what_it_never_showed() -> None:
    assert Replay(complete=False).read([U1, D1, tombstone(D1)]).problems() == []


def test_fills_what_was_not_sent_from_the_row_before() -> None:
    first = event("c", {"id": 1}, {"id": 1, "n": 1, "big": "x"}, id=log(10))
    then = event("u", {"id": 1}, {"id": 1, "n": 2}, id=log(20), unchanged=["big"])
    assert list(Replay().read([first, then]).rows(TABLE)) == [{"id": 1, "n": 2, "big": "x"}]


def test_fills_what_was_not_sent_when_the_key_changes() -> None:
    first = event("c", {"id": 1}, {"id": 1, "big": "x"}, id=log(10))
    leave = event("d", {"id": 1}, before={"id": 1}, id=log(20), headers={"__debezium.newkey": '{"id": 2}'})
    arrive = event(
        "c",
        {"id": 2},
        {"id": 2},
        id=log(20) + "/c",
        unchanged=["big"],
        headers={"__debezium.oldkey": '{"id":1}'},
    )
    moved = [leave, tombstone(leave), arrive]
    for events in ([first, *moved], [first, *moved, *moved]):
        replay = Replay().read(events)
        assert replay.problems() == []
        assert list(replay.rows(TABLE)) == [{"id": 2, "big": "x"}]
    assert kinds(Replay().read(moved)) == ["unseen"]


def test_what_is_delivered_again_may_begin_in_the_middle_of_a_rows_life() -> None:
    first = event("c", {"id": 1}, {"id": 1, "n": 1, "big": "x"}, id=log(10))
    update = event("u", {"id": 1}, {"id": 1, "n": 2}, id=log(20), unchanged=["big"])
    leave = event("d", {"id": 1}, before={"id": 1}, id=log(30), headers={"__debezium.newkey": '{"id":2}'})
    old_key = {"__debezium.oldkey": '{"id":1}'}
    arrive = event("c", {"id": 2}, {"id": 2, "n": 2}, id=log(30) + "/c", unchanged=["big"], headers=old_key)
    again = [update, leave, tombstone(leave), arrive]
    replay = Replay().read([first, *again, *again])
    assert replay.problems() == []
    assert list(replay.rows(TABLE)) == [{"id": 2, "n": 2, "big": "x"}]


def test_a_truncate_empties_its_table_only() -> None:
    other = event("c", {"id": 1}, row(1), id=log(11), table="public.other")
    replay = Replay().read([C1, other, event("t", None, id=log(20))])
    assert list(replay.rows(TABLE)) == []
    assert list(replay.rows("public.other")) == [row(1)]
    assert replay.problems() == []


def test_what_is_delivered_again_may_end_at_a_truncate_that_is_newer() -> None:
    """A table made anew: after a kill its stream comes again up to where the former one's rows are taken back."""
    older, newer = event("t", None, id=log(12)), event("t", None, id=log(25))
    assert kinds(Replay(complete=False).read([C1, older, U1, C1, older])) == ["behind"]
    assert kinds(Replay(complete=False).read([C1, older, U1, C1, older, newer])) == []


def test_a_table_without_a_key_is_a_multiset() -> None:
    twins = [event("c", None, row(1), id=log(10, number)) for number in range(3)]
    gone = event("d", None, before=row(1), id=log(20))
    changed = event("u", None, {"id": 1}, before=row(1), id=log(21), unchanged=["value"])
    replay = Replay().read([*twins, gone, twins[1], changed, gone])
    assert replay.problems() == []
    assert list(replay.rows(TABLE)) == [row(1), row(1)]
    assert replay.compare(TABLE, [row(1), row(1)]) == []
    assert [difference.kind for difference in replay.compare(TABLE, [row(1)])] == ["unexpected"]
    assert kinds(replay.read([event("d", None, before=row(9), id=log(30))])) == ["unseen"]


def test_passes_over_what_changes_no_row() -> None:
    heartbeat = {
        "topic": "hb",
        "key": {"serverName": "shop"},
        "value": {"ts_ms": 1},
        "headers": {},
        "position": "",
    }
    marker = {**heartbeat, "topic": "tx", "value": {"status": "BEGIN", "id": "1:2"}}
    message = event("m", {"prefix": "p"}, id=log(5) + "/m0")
    assert Replay().read([heartbeat, marker, message]).events == 0


def test_passes_over_what_tells_the_fate_of_a_dead_letter() -> None:
    mark = {
        **C1,
        "topic": "shop.dead-letters",
        "value": {"letter": "0:1"},
        "headers": {"__liberator.mark": "redriven"},
    }
    replay = Replay().read([mark])
    assert (replay.dead_letters, replay.events) == (0, 0)


def test_counts_dead_letters_and_leaves_them_out() -> None:
    dead = {**C1, "topic": "shop.dead-letters", "headers": {"id": log(10), "__connect.errors.topic": "shop"}}
    replay = Replay().read([dead])
    assert (replay.dead_letters, replay.events, list(replay.rows(TABLE))) == (1, 0, [])


def test_reads_lines_dicts_and_kafka_records_alike() -> None:
    lines = Replay().read([json.dumps(C1), json.dumps(U1).encode() + b"\n", "\n"])
    records = Replay()
    for each in (C1, U1, tombstone(D1)):
        value = None if each["value"] is None else json.dumps(each["value"]).encode()
        headers = [("id", each["headers"]["id"].encode())]
        records.add_record(each["topic"], json.dumps(each["key"]).encode(), value, headers)
    assert list(lines.rows(TABLE)) == [row(1, "b")]
    assert (records.events, kinds(records)) == (3, ["tombstone"])


def test_differences_name_the_key_and_the_columns() -> None:
    replay = Replay().read(
        [C1, event("c", {"id": 3}, row(3), id=log(11)), event("c", {"id": 4}, row(4), id=log(12))]
    )
    assert replay.compare(TABLE, [row(1, "z"), row(2), row(4)]) == [
        Difference("different", TABLE, '{"id":1}', 'value: the table has "z", the stream "a"'),
        Difference("missing", TABLE, '{"id":2}', 'the table has {"id":2,"value":"a"}'),
        Difference("unexpected", TABLE, '{"id":3}', 'the stream has {"id":3,"value":"a"}'),
    ]


def test_a_column_that_only_one_side_has_is_a_difference() -> None:
    replay = Replay().read([event("c", {"id": 1}, {"id": 1}, id=log(10))])
    assert [d.detail for d in replay.compare(TABLE, [{"id": 1, "n": None}])] == [
        "n: the table has null, the stream nothing"
    ]
    assert replay.compare(TABLE, [{"id": 1, "n": 7}], columns=["id"]) == []


def test_long_values_are_shortened_in_differences() -> None:
    replay = Replay().read([event("c", {"id": 1}, row(1, "x" * 1000), id=log(10))])
    (difference,) = replay.compare(TABLE, [row(1, "y" * 1000)])
    assert len(str(difference)) < 400


def test_a_table_that_never_came_is_missing_as_a_whole() -> None:
    assert [d.kind for d in Replay().compare(TABLE, [row(1), row(1)])] == ["missing", "missing"]


def test_numbers_that_no_double_holds_are_compared_exactly() -> None:
    line = json.dumps(event("c", {"id": 1}, row(1, "NUMBER"), id=log(10)))
    replay = Replay().read([line.replace('"NUMBER"', "10000000000000000000000001")])
    assert replay.compare(TABLE, [row(1, 10**25 + 1)]) == []
    assert [d.kind for d in replay.compare(TABLE, [row(1, 10**25)])] == ["different"]


def history(random: Random, length: int) -> tuple[list[Event], dict[int, Event]]:
    """A random life of a table: its events in commit order, and what the table holds in the end."""
    table: dict[int, Event] = {}
    events: list[Event] = []
    for commit in range(1, length + 1):
        for number in range(random.randint(1, 3)):
            id, key = random.randrange(6), log(commit * 16, number)
            fresh = {"id": id, "value": f"{commit}.{number}", "big": "x"}
            if id not in table:
                events.append(event("c", {"id": id}, fresh, id=key))
                table[id] = fresh
            elif random.random() < 0.3:
                events.append(event("d", {"id": id}, before={"id": id}, id=key))
                events.append(tombstone(events[-1]))
                del table[id]
            else:
                sent = {name: value for name, value in fresh.items() if name != "big"}
                events.append(event("u", {"id": id}, sent, id=key, unchanged=["big"]))
                table[id] = {**fresh, "big": table[id]["big"]}
    return events, table


@given(st.randoms(use_true_random=False), st.integers(1, 40))
def test_a_good_history_is_good_however_often_its_tail_is_delivered_again(
    random: Random, length: int
) -> None:
    events, table = history(random, length)
    delivered = list(events)
    for _ in range(random.randrange(3)):
        delivered += events[random.randrange(len(events)) :]
    replay = Replay().read(delivered)
    assert replay.problems() == []
    assert replay.compare(TABLE, table.values()) == []


Damage = Callable[[list[Event], Random], list[Event]]


def _lose(events: list[Event], random: Random) -> list[Event]:
    """The newest event of some key is lost."""
    last = {str(each["key"]): index for index, each in enumerate(events) if each["value"] is not None}
    lost = random.choice(sorted(last.values()))
    return [each for index, each in enumerate(events) if index != lost]


def _swap(events: list[Event], random: Random) -> list[Event]:
    """Two events of one key change places."""
    pairs = [
        (i, j)
        for j in range(len(events))
        for i in range(j)
        if events[i]["key"] == events[j]["key"] and None not in (events[i]["value"], events[j]["value"])
    ]
    i, j = random.choice(pairs)
    return [*events[:i], events[j], *events[i + 1 : j], events[i], *events[j + 1 :]]


def _alter(events: list[Event], random: Random) -> list[Event]:
    """An event is delivered again with another content."""
    chosen = random.choice([each for each in events if each["value"] and each["value"]["after"]])
    return [*events, {**chosen, "value": {**chosen["value"], "after": row(chosen["key"]["id"], "altered")}}]


def _fall_back(events: list[Event], random: Random) -> list[Event]:
    """An old event is delivered again, the newer ones of its key are not."""
    old = [
        each
        for index, each in enumerate(events)
        if any(
            e["key"] == each["key"] and e["headers"] != each["headers"] and e["value"] for e in events[index:]
        )
    ]
    return [*events, random.choice(old)]


@pytest.mark.parametrize("damage", [_lose, _swap, _alter, _fall_back])
@given(random=st.randoms(use_true_random=False))
def test_no_damage_goes_unnoticed(damage: Damage, random: Random) -> None:
    events, table = history(random, 30)
    replay = Replay().read(damage(events, random))
    assert replay.problems() or replay.compare(TABLE, table.values())
