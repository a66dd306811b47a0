"""What the proof makes of a stream that is not as it should be."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from liberator.demo.load import Changes, Ledger, Receipt
from liberator.demo.proof import (
    across_partitions,
    check_dead_letters,
    check_stream,
    check_transactions,
    place_of,
    replayed,
)
from liberator.demo.stream import Event

DEAD = ['{"id":900001}', '{"id":900002}']


def event(
    n: int = 0,
    op: str = "c",
    *,
    commit: int = 0x20,
    xid: int = 7,
    key: int = 1,
    partition: int = 0,
    **headers: str,
) -> Event:
    """Event `n` of transaction `xid`, which committed at `commit`."""
    row = {"id": key}
    value = {
        "op": op,
        "before": row if op == "d" else None,
        "after": None if op == "d" else row,
        "source": {"txId": xid, "schema": "public", "table": "orders"},
    }
    id = f"1/shop/snapshot/0/{commit:X}/public.orders/{key}" if op == "r" else f"1/shop/0/{commit:X}/{n}"
    return Event(
        topic="shop.public.orders",
        partition=partition,
        key=json.dumps(row).encode(),
        value=json.dumps(value).encode(),
        headers={
            "id": headers.pop("id", id),
            **{f"__debezium.{name}": text for name, text in headers.items()},
        },
    )


def ledger(xid: int = 7, lsn: int = 0x1F, dropped: tuple[int, ...] = (), **changes: int) -> Ledger:
    """One committed transaction that changed so many orders, by kind."""
    counted: Changes = Counter()
    for kind, rows in changes.items():
        counted["orders", kind] = rows  # type: ignore[index]  # the names of arguments are the kinds
    return Ledger([Receipt(xid, lsn, counted)], list(dropped))


def test_a_transaction_that_came_whole_is_seen() -> None:
    events = [event(0), event(1, "u"), event(2, "d")]
    assert check_transactions(events, ledger(insert=1, update=1, delete=1)) == (1, [])


def test_a_key_change_is_one_change() -> None:
    events = [event(0, "d", newkey='{"id":2}'), event(0, "c", key=2, oldkey='{"id":1}', id="1/shop/0/20/0/c")]
    assert check_transactions(events, ledger(key=1)) == (1, [])


def test_a_transaction_of_which_an_event_is_lost_is_not_whole() -> None:
    [fault] = check_transactions([event(0)], ledger(insert=1, update=1))[1]
    assert fault == "transaction 7: is not whole in the stream"


def test_a_transaction_that_is_lost_is_missing() -> None:
    assert check_transactions([], ledger(insert=1)) == (
        0,
        ["transaction 7: was committed and is not in the stream"],
    )


def test_a_transaction_from_before_the_snapshot_need_not_be_there() -> None:
    assert check_transactions([event(op="r", commit=0x30)], ledger(lsn=0x2F, insert=1)) == (0, [])
    assert check_transactions([event(op="r", commit=0x30)], ledger(lsn=0x30, insert=1))[1] != []


def test_a_transaction_that_changed_nothing_need_not_be_there() -> None:
    assert check_transactions([], ledger()) == (0, [])


def test_a_rolled_back_transaction_must_not_be_there() -> None:
    [fault] = check_transactions([event(), event(commit=0x30, xid=8)], ledger(insert=1, dropped=(8,)))[1]
    assert fault == "transaction 8: was rolled back and yet published"


def test_a_transaction_that_nobody_made_must_not_be_there() -> None:
    [fault] = check_transactions([event(), event(commit=0x30, xid=9)], ledger(insert=1, dropped=(8,)))[1]
    assert fault == "transaction 9: was published and is of nobody's making"


def test_the_clerks_mistakes_are_the_dead_letters() -> None:
    assert check_dead_letters(DEAD) == []


@pytest.mark.parametrize(
    ("dead", "fault"),
    [
        (DEAD[:1], 'customers {"id":900002}: breaks its contract and is no dead letter'),
        ([*DEAD, '{"id":5}'], '{"id":5}: a dead letter for no reason'),
        ([*DEAD, DEAD[0]], '{"id":900001}: a dead letter for no reason'),
    ],
)
def test_other_dead_letters_are_a_fault(dead: list[str], fault: str) -> None:
    assert check_dead_letters(dead) == [fault]


def test_places_follow_the_order_of_commits() -> None:
    ids = [
        "1/shop/snapshot/0/20/public.orders/1",
        "1/shop/0/20/0",
        "1/shop/0/20/0/c",
        "1/shop/0/20/1",
        "1/shop/1/0/0",
    ]
    assert sorted(ids, key=place_of) == ids
    assert len({place_of(id) for id in ids}) == len(ids)


def test_reads_a_row_that_leaves_its_partition_before_it_arrives_in_another() -> None:
    """Whatever partition is read first; the order within each is kept, redeliveries included."""
    leaves = event(0, "d", commit=0x30, newkey='{"id":2}', partition=1)
    arrives = event(0, "c", commit=0x30, key=2, oldkey='{"id":1}', id="1/shop/0/30/0/c", partition=0)
    again = [event(0, "c", partition=1), leaves]
    for events in ([arrives, *again, *again], [*again, *again, arrives]):
        ordered = list(across_partitions(events))
        assert ordered.index(leaves) < ordered.index(arrives)
        assert [each for each in ordered if each.partition == 1] == [*again, *again]


def problems(events: list[Event], dead: list[str] | None = None) -> list[str]:
    once = {each.id: each for each in reversed(events)}
    first_ones = [each for each in events if once.pop(each.id, None) is not None]
    return check_stream(replayed(first_ones).problems(), replayed(events).problems(), dead or [])


def test_a_redelivery_is_no_problem() -> None:
    first, second = event(0, "c"), event(1, "u")
    assert problems([first, second, first, second]) == []


def test_a_redelivery_that_ends_early_is_a_problem() -> None:
    first, second = event(0, "c"), event(1, "u")
    [problem] = problems([first, second, first])
    assert "not up to the newest" in problem


def test_an_id_with_two_contents_is_a_problem() -> None:
    [problem] = problems([event(0, "c"), event(0, "u")])
    assert "other content" in problem


def test_an_event_out_of_order_is_a_problem() -> None:
    assert any("older than" in problem for problem in problems([event(0), event(2, "u"), event(1, "u")]))


def test_an_update_of_a_row_that_never_came_is_a_problem_unless_it_is_in_the_dead_letters() -> None:
    [problem] = problems([event(0, "u")])
    assert "never came" in problem
    assert problems([event(0, "u")], dead=['{"id":1}']) == []
