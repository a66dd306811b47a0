"""Events that were done do not start a function again."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pytest

from liberator.change import Event
from liberator.errors import FunctionError
from liberator.function.done_ids import SqliteIds
from liberator.function.idempotent import IdempotentInvocations
from liberator.protocols import Outcome, Output
from liberator.testing.function import MemoryFunction


class MemoryIds:
    def __init__(self, *ids: str) -> None:
        self.ids = set(ids)
        self.closed = False

    def known(self, ids: Collection[str]) -> set[str]:
        return self.ids & set(ids)

    def remember(self, ids: Collection[str]) -> None:
        self.ids |= set(ids)

    def close(self) -> None:
        self.closed = True


def events(*ids: str) -> list[Event]:
    return [Event("t", 0, n, 0, b"k", b"1", (("id", id.encode()),)) for n, id in enumerate(ids)]


def test_what_is_known_is_left_out_and_counts_as_done() -> None:
    function = MemoryFunction(lambda given, attempt: Outcome())
    it = IdempotentInvocations(function, MemoryIds("b"))
    it.begin(1, events("a", "b", "c"), 1)
    assert [event.id for event in function.calls[0][0]] == ["a", "c"]
    assert it.finished(0.0) == [(1, Outcome({}, []))]


def test_when_everything_is_known_the_function_is_not_called() -> None:
    function = MemoryFunction()
    it = IdempotentInvocations(function, MemoryIds("a", "b"))
    it.begin(1, events("a", "b"), 1)
    assert function.calls == []
    assert it.finished(0.0) == [(1, Outcome())]


def test_failures_and_outputs_are_those_of_the_events_they_belong_to() -> None:
    error = FunctionError("no")
    answer = Outcome({1: error}, [Output(None, None, b"1", event=1), Output(None, None, b"2")])
    it = IdempotentInvocations(MemoryFunction(lambda given, attempt: answer), MemoryIds("a"))
    it.begin(1, events("a", "b", "c", "c"), 1)
    ((_, outcome),) = it.finished(0.0)
    assert outcome.failures == {2: error, 3: error}
    assert [output.event for output in outcome.outputs] == [2, None]


def test_what_is_remembered_is_known_and_the_store_is_closed() -> None:
    ids = MemoryIds()
    it = IdempotentInvocations(MemoryFunction(), ids)
    it.remember(events("a", "b"))
    assert ids.ids == {"a", "b"}
    it.close(0.0)
    assert ids.closed


def test_a_file_remembers_by_connector_and_forgets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1_000.0]
    monkeypatch.setattr("liberator.function.done_ids.time.time", lambda: clock[0])
    mine, other = (SqliteIds(tmp_path / "x" / "done.db", name, 60.0) for name in ("mine", "other"))
    many = [f"e{number}" for number in range(1_200)]
    mine.remember(many)
    mine.remember(many[:3])
    assert mine.known([*many, "new"]) == set(many)
    assert other.known(many) == set()
    mine.close()
    again = SqliteIds(tmp_path / "x" / "done.db", "mine", 60.0)
    assert again.known(["e7"]) == {"e7"}
    clock[0] += 61.0
    assert again.known(["e7"]) == set()
    again.close()
    other.close()


def test_a_file_that_can_not_be_is_an_error_that_may_pass(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FunctionError) as caught:
        SqliteIds(tmp_path / "file" / "done.db", "mine", 60.0)
    assert caught.value.code == "function.idempotency"
    assert caught.value.retryable
