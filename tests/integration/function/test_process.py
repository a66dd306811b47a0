"""Functions in worker processes: killed when they hang, replaced when they die."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from liberator.change import Event
from liberator.errors import ConfigError, FunctionError
from liberator.function.process import ProcessInvocations, WorkerSettings
from liberator.protocols import Outcome

EVENTS = [Event("t", 0, number, 0, b"k", b'{"n":%d}' % number) for number in range(2)]

SOURCE = """
import os, signal, time
started = time.monotonic()
def pid(events, context): return [os.getpid()]
def slow(events, context): time.sleep(events[0].value["n"] or 0.3); return [os.getpid()]
def hang(events, context): time.sleep(600)
def deaf(events, context):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True: pass
def die(events, context): os._exit(3)
def crash(events, context): os.kill(os.getpid(), signal.SIGSEGV)
def greedy(events, context): return [len(bytearray(1 << 30))]
def remaining(events, context): return [context.remaining]
def talk(events, context): print("hello"); return [1]
"""
UNREADY = """
def init(): raise OSError("no database")
def f(events, context): pass
"""

Make = Callable[..., ProcessInvocations]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """`make("hang", timeout=1)`: invocations of a function of the module above."""
    (tmp_path / "workers_under_test.py").write_text(SOURCE)
    (tmp_path / "unready_under_test.py").write_text(UNREADY)
    with ExitStack() as stack:

        def made(name: str, module: str = "workers_under_test", **settings: float) -> ProcessInvocations:
            it = ProcessInvocations(f"{module}:{name}", tmp_path, WorkerSettings(**settings))  # type: ignore[arg-type]
            stack.callback(it.close, 0.0)
            return it

        yield made


def ended(it: ProcessInvocations, count: int = 1, patience: float = 20.0) -> dict[int, Outcome]:
    found: dict[int, Outcome] = {}
    end = time.monotonic() + patience
    while len(found) < count:
        assert time.monotonic() < end, "an invocation did not end"
        found.update(it.finished(0.2))
    return found


def pid_of(outcome: Outcome) -> int:
    [output] = outcome.outputs
    return int(output.value or b"0")


def codes(outcome: Outcome) -> set[str]:
    assert len(outcome.failures) == len(EVENTS)
    assert all(error.retryable for error in outcome.failures.values())
    return {error.code for error in outcome.failures.values()}


def test_runs_elsewhere_and_a_warm_worker_serves_again(make: Make) -> None:
    it = make("pid")
    it.begin(1, EVENTS, 1)
    first = pid_of(ended(it)[1])
    it.begin(2, EVENTS, 1)
    assert pid_of(ended(it)[2]) == first != os.getpid()
    assert it.cold_starts == 1


def test_runs_as_many_at_a_time_as_there_may_be_workers(make: Make) -> None:
    it = make("slow", most=3)
    for number in range(3):
        it.begin(number, EVENTS, 1)
    assert it.free() == 0
    outcomes = ended(it, 3)
    assert len({pid_of(outcome) for outcome in outcomes.values()}) == 3
    assert it.free() == 3


@pytest.mark.parametrize("name", ["hang", "deaf"])
def test_a_function_that_hangs_is_killed_in_time(make: Make, name: str) -> None:
    it = make(name, timeout=0.5, most=1)
    it.begin(1, EVENTS, 1)
    began = time.monotonic()
    assert codes(ended(it)[1]) == {"function.timeout"}
    assert time.monotonic() - began < 10
    assert it.free() == 1


@pytest.mark.parametrize(("name", "words"), [("die", "ended with 3"), ("crash", "ended by signal 11")])
def test_a_worker_that_dies_fails_its_events_and_is_replaced(make: Make, name: str, words: str) -> None:
    it = make(name, most=1)
    it.begin(1, EVENTS, 1)
    outcome = ended(it)[1]
    assert codes(outcome) == {"function.crashed"}
    assert words in str(outcome.failures[0])
    it.begin(2, EVENTS, 1)
    ended(it)
    assert it.cold_starts == 2


def test_memory_is_limited(make: Make) -> None:
    it = make("greedy", memory=512 << 20)
    it.begin(1, EVENTS, 1)
    assert "MemoryError" in str(ended(it)[1].failures[0])


def test_idle_workers_end_down_to_the_least(make: Make) -> None:
    it = make("slow", least=1, most=3, idle=0.1)
    for number in range(3):
        it.begin(number, EVENTS, 1)
    ended(it, 3)
    end = time.monotonic() + 10
    while len(it._workers) > 1:
        assert time.monotonic() < end
        it.finished(0.05)
    time.sleep(0.2)
    it.finished(0)
    assert len(it._workers) == 1


def test_a_function_knows_how_much_time_it_has(make: Make) -> None:
    it = make("remaining", timeout=7)
    it.begin(1, EVENTS, 1)
    [output] = ended(it)[1].outputs
    assert 5 < float(output.value or b"0") <= 7


def test_what_a_function_prints_does_not_disturb(make: Make) -> None:
    it = make("talk")
    it.begin(1, EVENTS, 1)
    assert not ended(it)[1].failures


def test_a_function_that_is_not_there_is_told(make: Make) -> None:
    it = make("nothing")
    it.begin(1, EVENTS, 1)
    with pytest.raises(ConfigError):
        ended(it)


def test_an_init_that_fails_is_told(make: Make) -> None:
    it = make("f", "unready_under_test")
    it.begin(1, EVENTS, 1)
    with pytest.raises(FunctionError) as failed:
        ended(it)
    assert failed.value.code == "function.init"


def test_the_end_takes_running_workers_along(make: Make) -> None:
    it = make("hang", most=2)
    it.begin(1, EVENTS, 1)
    end = time.monotonic() + 10
    while not it._workers[0].ready and time.monotonic() < end:
        it.finished(0.05)
    process = it._workers[0].process
    began = time.monotonic()
    it.close(0.0)
    assert process.poll() is not None
    assert time.monotonic() - began < 5
