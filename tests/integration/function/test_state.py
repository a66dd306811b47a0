"""`context.state` in real stores: what an invocation changes is there when it is saved, with its offsets, or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from liberator.change import Event, TopicPartition
from liberator.errors import FunctionError
from liberator.function.python import PythonFunction
from liberator.function.state import State, StateSettings
from liberator.function.state_store import StateStore
from liberator.function.stateful import StatefulInvocations
from liberator.function.threads import ThreadInvocations
from liberator.protocols import Outcome
from liberator.testing.function import MemoryFunction

PLACE = TopicPartition("orders", 0)
Open = Callable[..., StateStore]


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """Opens the store of a connector."""
    sqlite = request.param == "sqlite"
    url = f"sqlite:{tmp_path / 'new' / 'state.db'}" if sqlite else request.getfixturevalue("database")
    with ExitStack() as stack:

        def opened(connector: str = "count") -> StateStore:
            made = StateStore(StateSettings(url, connector))
            stack.callback(made.close)
            made.make()
            return made

        yield opened


def events(*offsets: int) -> list[Event]:
    return [Event(*PLACE, offset, 0, b"k", b"{}") for offset in offsets]


def stateful(store: StateStore, act: Callable[[State], Outcome | None]) -> StatefulInvocations:
    """A function that does something with its state."""

    def answer(given: object, attempt: int) -> Outcome:
        state = State(store)
        outcome = act(state) or Outcome()
        return Outcome(outcome.failures, (), state.changes)

    return StatefulInvocations(MemoryFunction(answer, 4), store)


def invoke(function: StatefulInvocations, *offsets: int) -> Outcome:
    """One invocation, saved if it ended well."""
    function.begin(1, events(*offsets), 1)
    [(_, outcome)] = function.finished(0)
    if not outcome.failures:
        function.save(events(*offsets))
    return outcome


def add(state: State) -> None:
    state.put("n", state.get("n", 0) + 1)


def test_what_one_invocation_puts_the_next_one_gets(store: Open) -> None:
    function = stateful(store(), add)
    for offset in range(3):
        invoke(function, offset)
    assert State(store()).get("n") == 3
    assert function.places({PLACE: 0}, {}) == {PLACE: 3}


def test_values_are_whatever_json_knows(store: Open) -> None:
    value = {"a": [1, 2.5, None, True, "ünï'☃"], "": {}}

    def act(state: State) -> None:
        state.put("some 'key'", value)
        state.put("gone", 1)
        assert state.get("gone") == 1, "its own change is seen"
        state.delete("gone")
        assert state.get("gone") is None
        state.get("some 'key'")["a"].append("changed without put")

    invoke(stateful(store(), act), 0)
    assert State(store()).get("some 'key'") == value
    assert State(store()).get("gone", "nothing") == "nothing"
    with pytest.raises(ValueError):
        State(store()).put("n", float("nan"))
    with pytest.raises(TypeError):
        State(store()).get(1)  # type: ignore[arg-type]


def test_a_deleted_key_is_gone(store: Open) -> None:
    invoke(stateful(store(), add), 0)
    invoke(stateful(store(), lambda state: state.delete("n")), 1)
    assert State(store()).get("n") is None


def test_connectors_have_states_of_their_own(store: Open) -> None:
    invoke(stateful(store(), add), 0)
    assert State(store("other")).get("n") is None


def test_before_it_is_saved_nothing_is_there(store: Open) -> None:
    function = stateful(store(), add)
    function.begin(1, events(0), 1)
    assert function.free() == 0
    function.finished(0)
    assert State(store()).get("n") is None
    assert function.places({PLACE: 0}, {}) == {PLACE: None}


def test_an_invocation_that_fails_changes_nothing(store: Open) -> None:
    error = FunctionError("no", retryable=True)

    def act(state: State) -> Outcome:
        add(state)
        return Outcome({0: error, 1: error})

    function = stateful(store(), act)
    assert set(invoke(function, 0, 1).failures.values()) == {error}
    function.save(events(0))
    assert State(store()).get("n") is None


def test_where_some_events_failed_all_have(store: Open) -> None:
    def act(state: State) -> Outcome:
        add(state)
        return Outcome({1: FunctionError("no", retryable=True)})

    failures = invoke(stateful(store(), act), 0, 1, 2).failures
    assert list(failures) == [0, 1, 2]
    assert len({id(error) for error in failures.values()}) == 1, "so halves are tried"
    assert failures[0].retryable


def test_what_another_member_has_changed_meanwhile_is_not_overwritten(store: Open) -> None:
    ours, theirs = store(), store()
    invoke(stateful(ours, add), 0)

    def act(state: State) -> None:
        add(state)
        other = State(theirs)
        add(other)
        theirs.save(other.changes, {TopicPartition("orders", 1): (0, 0)})

    with pytest.raises(FunctionError) as caught:
        invoke(stateful(ours, act), 1)
    assert caught.value.code == "function.state_conflict"
    assert caught.value.retryable
    assert State(ours).get("n") == 2, "theirs"
    assert ours.places({PLACE: 0}, {}) == {PLACE: 1}, "our event comes again"


def test_two_members_can_not_both_be_the_first_to_write_a_key(store: Open) -> None:
    ours, theirs = store(), store()

    def act(state: State) -> None:
        add(state)
        other = State(theirs)
        add(other)
        theirs.save(other.changes, {TopicPartition("orders", 1): (0, 0)})

    with pytest.raises(FunctionError) as caught:
        invoke(stateful(ours, act), 0)
    assert caught.value.code == "function.state_conflict"
    assert State(ours).get("n") == 1


def test_who_has_lost_its_partition_saves_nothing(store: Open) -> None:
    zombie, heir = stateful(store(), add), stateful(store(), add)
    invoke(heir, 0, 1, 2)
    with pytest.raises(FunctionError) as caught:
        invoke(zombie, 0, 1)
    assert caught.value.code == "function.state_conflict"
    assert State(store()).get("n") == 1


def test_a_store_that_is_away_is_no_fault_of_an_event(store: Open) -> None:
    def act(state: State) -> Outcome:
        away = FunctionError("away", code="function.state_unreachable", retryable=True)
        return Outcome({0: away})

    with pytest.raises(FunctionError) as caught:
        invoke(stateful(store(), act), 0)
    assert caught.value.code == "function.state_unreachable"


def test_a_store_that_refuses_ends_the_connector_and_no_event_is_given_up(
    store: Open, tmp_path: Path
) -> None:
    ours = store()
    database = str(ours._engine.url).startswith("postgresql")
    with ours._engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE liberator_state")
    (tmp_path / "counting.py").write_text("def count(events, context):\n    context.state.get('n')\n")
    function = PythonFunction("counting:count", tmp_path)
    stateful = StatefulInvocations(ThreadInvocations(function, most=1, reader=ours), ours)
    stateful.begin(1, events(0), 1)
    with pytest.raises(FunctionError) as caught:
        stateful.finished(10)
    assert caught.value.code == "function.state_refused"
    assert not caught.value.retryable
    assert "42P01" in str(caught.value) if database else "no such table" in str(caught.value)
    stateful.close(1)


KEYS = [
    "a",
    "a/",
    "a/1",
    "a/10",
    "a/2",
    "a0",
    "b",
    "Z",
    "ü",
    "☃",
    chr(0xD7FF),
    chr(0xE000),
    "\U0001f600",
    chr(0x10FFFF),
]


def filled(store: Open, keys: list[str] = KEYS) -> StateStore:
    def act(state: State) -> None:
        for key in keys:
            state.put(key, {"key": key})

    invoke(stateful(store(), act), 0)
    return store()


def pages(state: State, prefix: str, limit: int) -> list[tuple[str, object]]:
    found: list[tuple[str, object]] = []
    after = None
    while page := state.scan(prefix, after=after, limit=limit):
        assert len(page) <= limit
        found += page
        after = page[-1][0]
    return found


def test_a_scan_has_all_keys_of_a_prefix_in_order(store: Open) -> None:
    reader = filled(store)
    for prefix in ("", "a", "a/", "a/1", "Z", "ü", chr(0xD7FF), chr(0x10FFFF), "none"):
        expected = [(key, {"key": key}) for key in sorted(KEYS) if key.startswith(prefix)]
        for limit in (1, 3, 100):
            assert pages(State(reader), prefix, limit) == expected
        assert list(State(reader).items(prefix)) == expected


def test_a_scan_sees_what_the_invocation_has_changed(store: Open) -> None:
    state = State(filled(store, ["a1", "a2", "a3", "a4", "b"]))
    state.put("a0", 0)
    state.put("a3", "new")
    state.put("a9", 9)
    state.delete("a1")
    state.delete("a2")
    assert state.scan("a", limit=2) == [("a0", 0), ("a3", "new")]
    assert state.scan("a", after="a3", limit=2) == [("a4", {"key": "a4"}), ("a9", 9)]
    assert [key for key, _ in state.items("a")] == ["a0", "a3", "a4", "a9"]


def test_many_keys_come_page_by_page(store: Open) -> None:
    keys = [f"k{number:05}" for number in range(1_201)]
    assert [key for key, _ in State(filled(store, keys)).items("k")] == keys


def test_states_of_others_are_not_scanned(store: Open) -> None:
    filled(store)
    assert list(State(store("other")).items()) == []


def test_what_was_scanned_and_then_changed_by_another_member_is_a_conflict(store: Open) -> None:
    filled(store, ["a", "b"])

    def all_of_them(state: State) -> None:
        state.put("count", len(list(state.items())))
        invoke(stateful(store(), add_to_b), 7)

    def add_to_b(state: State) -> None:
        state.put("b", 1)

    function = stateful(store(), all_of_them)
    function.begin(1, [Event("others", 0, 0, 0, b"k", b"{}")], 1)
    assert not function.finished(0)[0][1].failures
    with pytest.raises(FunctionError) as caught:
        function.save([Event("others", 0, 0, 0, b"k", b"{}")])
    assert caught.value.code == "function.state_conflict"
    assert State(store()).get("count") is None


@pytest.mark.parametrize("limit", [0, -1, 10_001])
def test_a_page_has_a_bound(tmp_path: Path, limit: int) -> None:
    state = State(StateStore(StateSettings(f"sqlite:{tmp_path / 'state.db'}", "count")))
    with pytest.raises(ValueError, match="1 to 10000 keys"):
        state.scan(limit=limit)
