"""A transaction that was published in part: the rest of it comes after a restart, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from liberator.change import Batch, EncodedBatch, State
from liberator.errors import CheckpointError
from liberator.plan.python import PythonExecutor
from tests.unit.plan.test_python_executor import COLUMNS, OID, executor, run
from tests.unit.postgres.wire import begin, commit, insert, message, relation, update

KEY_CHANGES = update(OID, [b"9", b"x", b"y"], [b"1", None, None], "K")


def cut(it: PythonExecutor, *messages: bytes) -> tuple[EncodedBatch, State]:
    """What comes of the first part of a stream, and what is saved with it."""
    events = run(it, *messages)
    inside = it.inside()
    assert inside is not None
    return events, inside


def resumed(state: State, **settings: Any) -> PythonExecutor:
    it = executor(**settings)
    it.restart(state)
    return it


def test_the_rest_comes_after_a_restart_with_the_ids_it_would_have_had() -> None:
    changes = [insert(OID, b"%d" % number, b"a", b"b") for number in range(6)]
    start = [begin(256), relation(OID, "t", COLUMNS, "d")]
    whole = run(executor(), *start, *changes, commit(256, 264))
    first, state = cut(executor(), *start, *changes[:4])
    again = resumed(state)
    parts = ([*start, *changes[:2]], changes[2:5], [*changes[5:], commit(256, 264)])
    rest = [run(again, *part) for part in parts]
    assert [*first.ids, *(id for events in rest for id in events.ids)] == whole.ids
    assert [*first.values, *(value for events in rest for value in events.values)] == whole.values


def test_a_change_of_key_is_never_torn() -> None:
    start = [begin(256), relation(OID, "t", COLUMNS, "d"), KEY_CHANGES]
    first, state = cut(executor(), *start)
    assert [id.rpartition(b"/0/100/")[2] for id in first.ids] == [b"0", b"0/t", b"0/c"]
    rest = run(resumed(state), *start, insert(OID, b"2", b"a", b"b"), commit(256, 264))
    assert [id.rpartition(b"/0/100/")[2] for id in rest.ids] == [b"1"]


def test_logical_messages_inside_are_counted_too() -> None:
    settings: dict[str, Any] = {"messages": ("note",)}
    start = [begin(256), message("note", b"1", lsn=60), relation(OID, "t", COLUMNS, "d")]
    _, state = cut(executor(**settings), *start)
    rest = run(resumed(state, **settings), *start, message("note", b"2", lsn=70), commit(256, 264))
    assert [id.rpartition(b"/")[2] for id in rest.ids] == [b"m1"]


def test_messages_outside_of_transactions_that_came_before_do_not_come_again() -> None:
    settings: dict[str, Any] = {"messages": ("note",)}
    outside = message("note", b"1", lsn=60, transactional=False)
    start = [outside, begin(256), relation(OID, "t", COLUMNS, "d"), insert(OID, b"1", b"a", b"b")]
    _, state = cut(executor(**settings), *start)
    after = message("note", b"2", lsn=300, transactional=False)
    rest = run(resumed(state, **settings), *start, commit(256, 264), after)
    assert [id.rpartition(b"slot/")[2] for id in rest.ids] == [b"0/12C/m"]


def test_the_next_transaction_comes_whole_and_the_cut_is_forgotten() -> None:
    start = [begin(256), relation(OID, "t", COLUMNS, "d"), insert(OID, b"1", b"a", b"b")]
    _, state = cut(executor(), *start)
    again = resumed(state)
    run(again, *start, commit(256, 264))
    assert again.history()["transaction"] == b""
    assert "transaction" not in again.history()
    events = run(again, begin(512), insert(OID, b"2", b"a", b"b"), commit(512, 520))
    assert len(events) == 1


def test_a_second_cut_before_the_first_is_reached_again_does_not_go_back() -> None:
    start = [begin(256), relation(OID, "t", COLUMNS, "d")]
    changes = [insert(OID, b"%d" % number, b"a", b"b") for number in range(4)]
    _, state = cut(executor(), *start, *changes[:3])
    again = resumed(state)
    events, second = cut(again, *start, changes[0])
    assert not len(events)
    assert second == state


def test_between_transactions_nothing_can_be_cut() -> None:
    it = executor(messages=("note",))
    run(it, message("note", b"1", lsn=60, transactional=False))
    assert it.inside() is None
    run(it, begin(256), commit(256, 264))
    assert it.inside() is None


def test_the_begin_of_a_transaction_is_marked_once() -> None:
    start = [begin(256), relation(OID, "t", COLUMNS, "d"), insert(OID, b"1", b"a", b"b")]
    _, state = cut(executor(transaction_topic="shop.transaction"), *start)
    rest = run(resumed(state, transaction_topic="shop.transaction"), *start, commit(256, 264))
    assert [record.id.rpartition(b"/")[2] for record in rest.control] == [b"end"]
    assert rest.control[0].value is not None
    assert b'"event_count":1' in rest.control[0].value.replace(b" ", b"")


def test_a_snapshot_in_between_does_not_end_the_cut() -> None:
    _, state = cut(executor(), begin(256), relation(OID, "t", COLUMNS, "d"), insert(OID, b"1", b"a", b"b"))
    again = resumed(state)
    again.encode(Batch([]))
    events = run(again, begin(256), relation(OID, "t", COLUMNS, "d"), insert(OID, b"1", b"a", b"b"))
    assert not len(events)


@pytest.mark.parametrize(
    "value", [b"x", b"{}", b'{"v":2}', b'{"v":1,"commit_lsn":"0/1","changes":"x","messages":0}']
)
def test_what_is_no_cut_is_refused(value: bytes) -> None:
    with pytest.raises(CheckpointError) as refused:
        executor().restart({"transaction": value})
    assert refused.value.code == "checkpoint.corrupt"
