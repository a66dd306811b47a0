"""The policy: what follows from an error, and how long the next attempt waits."""

from __future__ import annotations

import ast
from fnmatch import fnmatchcase
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import liberator
from liberator.errors import (
    CheckpointError,
    ContractError,
    DecodeError,
    FunctionError,
    LiberatorError,
    PreconditionError,
    PublishError,
    SourceError,
)
from liberator.policy import TABLE, Action, Backoff, Decision, decide


@pytest.mark.parametrize(
    ("error", "action"),
    [
        (SourceError("lost", code="postgres.57P01", retryable=True), Action.RETRY),
        (SourceError("lost", code="source.protocol"), Action.STOP),
        (PreconditionError("in use", code="postgres.55006", retryable=True), Action.RETRY),
        (PreconditionError("no grant", code="postgres.42501"), Action.STOP),
        (PublishError("down", code="publish.unreachable", retryable=True), Action.RETRY),
        (PublishError("denied", code="publish.topic_denied"), Action.STOP),
        (PublishError("reader left", code="publish.closed_pipe"), Action.END),
        (PublishError("large", code="publish.too_large"), Action.DEAD_LETTER),
        (CheckpointError("away", code="checkpoint.unreachable", retryable=True), Action.RETRY),
        (CheckpointError("older", code="checkpoint.older"), Action.STOP),
        (CheckpointError("zombie", code="checkpoint.fenced", retryable=True), Action.STOP),
        (ContractError("broken", retryable=True), Action.STOP),
        (DecodeError("cut off", retryable=True), Action.STOP),
        (FunctionError("busy", retryable=True), Action.RETRY),
        (FunctionError("cannot"), Action.DEAD_LETTER),
    ],
    ids=lambda value: value.code if isinstance(value, LiberatorError) else "",
)
def test_decides_by_code_and_by_what_the_error_says_of_itself(error: LiberatorError, action: Action) -> None:
    assert decide(error).action is action


@pytest.mark.parametrize(
    "error",
    [
        ValueError("x"),
        KeyboardInterrupt(),
        LiberatorError("new", code="new.thing", retryable=True),
        LiberatorError("?"),
    ],
)
def test_unknown_errors_stop(error: BaseException) -> None:
    decision = decide(error)
    assert decision.action is Action.STOP
    assert "report" in decision.remedy


def test_the_errors_own_advice_goes_before_the_tables() -> None:
    assert decide(SourceError("x", fix="GRANT it")) == Decision(Action.STOP, "GRANT it")
    assert decide(SourceError("x")).remedy == "look at the source database's log"


def codes_in_the_tree() -> set[str]:
    """Every code that a module of ours writes down."""
    found = set()
    for path in Path(liberator.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            value = None
            if isinstance(node, ast.keyword) and node.arg == "code":
                value = node.value
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "default_code":
                value = node.value
            if isinstance(value, ast.Constant) and isinstance(value.value, str) and "." in value.value:
                found.add(value.value)
    return found


def test_every_family_of_codes_has_been_thought_about() -> None:
    outside_the_loops = ("dead_letter.", "demo.", "events.", "logs.", "server.", "webhook.")
    unknown = {
        code
        for code in codes_in_the_tree()
        if not code.startswith(outside_the_loops)
        and not any(fnmatchcase(code, rule.code) for rule in TABLE[:-1])
    }
    assert unknown == set()


def test_no_line_of_the_table_hides_a_later_one() -> None:
    for index, rule in enumerate(TABLE):
        assert not any(fnmatchcase(rule.code, earlier.code) for earlier in TABLE[:index])
    assert TABLE[-1].code == "*"


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def backoff(random: float = 0.0, factor: float = 2.0) -> Backoff:
    return Backoff(random=lambda: random, tick=Clock(), factor=factor)


def test_delays_grow_by_the_factor_up_to_the_maximum() -> None:
    plain = Backoff(initial=1, max=10, factor=3, jitter=False, random=lambda: 0.9, tick=Clock())
    assert [plain.next() for _ in range(5)] == [1, 3, 9, 10, 10]


@given(st.floats(0, 1, exclude_max=True), st.integers(1, 2000))
def test_a_delay_lies_between_half_and_all_of_what_was_earned(random: float, attempts: int) -> None:
    jittered, plain = backoff(random), Backoff(jitter=False, random=lambda: 0, tick=Clock())
    delays = [(jittered.next(), plain.next()) for _ in range(attempts)]
    assert all(full / 2 <= delay <= full <= 5 for delay, full in delays)


def test_jitter_tells_clients_apart() -> None:
    assert backoff(0.0).next() == 0.1
    assert backoff(0.5).next() == pytest.approx(0.15)


def test_without_growth_for_a_factor_of_one() -> None:
    same = backoff(factor=1.0)
    assert all(first == second for first, second in pairwise([same.next() for _ in range(10)]))


def test_success_begins_anew() -> None:
    clock = Clock()
    waiting = Backoff(random=lambda: 0.0, tick=clock)
    first = waiting.next()
    waiting.next()
    clock.now += 7
    assert waiting.elapsed() == 7
    waiting.reset()
    assert waiting.elapsed() == 0
    clock.now += 1
    assert waiting.next() == first
    assert waiting.elapsed() == 0
