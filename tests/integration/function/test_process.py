"""Functions in worker processes: killed when they hang, replaced when they die."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from liberator.change import Event
from liberator.errors import ConfigError, FunctionError
from liberator.function.aside import AsideFunction
from liberator.function.named import NamedFunctions
from liberator.function.process import ProcessInvocations, WorkerSettings
from liberator.function.state import StateSettings
from liberator.function.state_store import StateStore
from liberator.function.steps import Calling
from liberator.protocols import Outcome
from tests.integration.function.ends import gone

EVENTS = [Event("t", 0, number, 0, b"k", b'{"n":%d}' % number) for number in range(2)]

SOURCE = """
import os, signal, subprocess, time
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
def variables(events, context): return [dict(os.environ)]
def begets(events, context):
    child = subprocess.Popen(["sleep", "600"])
    with open("new", "w") as file: file.write(str(child.pid))
    os.rename("new", "child")
    time.sleep(600)
def seen(events, context):
    return [[[event.key, len(event.raw_value), sorted(set(event.raw_value)), event.id] for event in events]]
def scans(events, context):
    state = context.state
    seen = [key for key, _ in state.items("k")]
    state.put(f"k{len(seen)}", 1)
    return [seen + [key for key, _ in state.scan("k", limit=2)]]
def asks(events, context):
    return [[context.call("pid", 1, timeout=20), os.getpid()], {name: os.environ.get(name) for name in ("TOKEN",)}]
calls = 0
def twice(events, context):
    global calls
    calls += 1
    if calls == 2: time.sleep(600)
    return [os.getpid()]
def hurries(events, context):
    pid = context.call("twice", 1, timeout=30)
    with open(os.path.join(os.path.dirname(__file__), "asked"), "w") as file: file.write(str(pid))
    context.call("twice", 1, timeout=0.5)
def talk(events, context): print("hello"); return [1]
def logs(events, context):
    context.log.debug("not asked for")
    context.log.info("event %s", events[0].id, extra={"order": 7})
    try: raise ValueError("no carrier\\nof this row")
    except ValueError: context.log.warning("odd", exc_info=True)
    context.log.info("%d", "no number")
    os._exit(3)
"""
HOOKS = """
import os
def note(what):
    with open(os.path.join(os.path.dirname(__file__), "hooks"), "a") as file: file.write(f"{what} {os.getpid()}\\n")
def init(): note("init")
def close(): note("close")
def f(events, context): note("call")
"""
UNREADY = """
def init(): raise OSError("no database")
def f(events, context): pass
"""

DIES = """
import os
def init(): os._exit(7)
def f(events, context): pass
"""

Make = Callable[..., ProcessInvocations]


class Waiting:
    """So many events are behind."""

    def __init__(self, events: int | None) -> None:
        self.events = events
        self.running: list[int] = []
        self.ready: list[float] = []

    def behind(self) -> int | None:
        return self.events

    def cold_start(self) -> None:
        pass

    def worker_ready(self, seconds: float) -> None:
        self.ready.append(seconds)

    def workers(self, running: int) -> None:
        self.running.append(running)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """`make("hang", timeout=1)`: invocations of a function of the module above."""
    (tmp_path / "workers_under_test.py").write_text(SOURCE)
    (tmp_path / "unready_under_test.py").write_text(UNREADY)
    (tmp_path / "dies_under_test.py").write_text(DIES)
    (tmp_path / "hooks_under_test.py").write_text(HOOKS)
    with ExitStack() as stack:

        def made(
            name: str, module: str = "workers_under_test", watch: Waiting | None = None, **settings: Any
        ) -> ProcessInvocations:
            it = ProcessInvocations(f"{module}:{name}", tmp_path, WorkerSettings(**settings), watch)
            stack.callback(it.close, 0.0)
            return it

        yield made


def ended(it: ProcessInvocations, count: int = 1, patience: float = 120.0) -> dict[int, Outcome]:
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


def test_batches_of_any_size_come_whole_one_after_the_other(make: Make) -> None:
    it = make("seen")
    for number, size in enumerate((10, 5 << 20, 1, 20 << 20, 2)):
        large = Event("t", 0, number, 0, None, bytes([number]) * size, (("id", b"e"),))
        small = Event("t", 1, number, 0, b"k", b"end")
        it.begin(number, [large, small], 1)
        [output] = ended(it)[number].outputs
        assert json.loads(output.value or b"") == [
            [None, size, [number], "e"],
            ["k", 3, [100, 101, 110], f"t/1/{number}"],
        ]


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
    assert time.monotonic() - began < 60
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
    end = time.monotonic() + 120
    while len(it._workers) > 1:
        assert time.monotonic() < end
        it.finished(0.05)
    time.sleep(0.2)
    it.finished(0)
    assert len(it._workers) == 1


@pytest.mark.parametrize(
    ("behind", "workers"), [(0, 1), (1, 1), (1_000, 1), (1_001, 2), (2_500, 3), (99_999, 4), (None, 4)]
)
def test_there_is_a_worker_for_every_so_many_events(make: Make, behind: int | None, workers: int) -> None:
    assert make("pid", watch=Waiting(behind), lag_per_worker=1_000, most=4).free() == workers


def test_what_is_asked_for_grows_and_shrinks_with_what_is_behind(make: Make) -> None:
    watch = Waiting(20)
    it = make("slow", watch=watch, lag_per_worker=10, idle=0.1)
    it.begin(1, EVENTS, 1)
    it.begin(2, EVENTS, 1)
    assert it.free() == 0
    watch.events = 0
    ended(it, 2)
    assert it.free() == 1
    end = time.monotonic() + 120
    while watch.running[-1]:
        assert time.monotonic() < end, watch.running
        it.finished(0.05)
    assert watch.running[:3] == [0, 1, 2]
    assert len(watch.ready) == 2


def test_the_worker_that_worked_last_works_next(make: Make) -> None:
    it = make("slow")
    it.begin(1, EVENTS, 1)
    it.begin(2, EVENTS, 1)
    ended(it, 2)
    pids = set()
    for number in range(3, 6):
        it.begin(number, EVENTS, 1)
        pids.add(pid_of(ended(it)[number]))
    assert len(pids) == 1


def test_of_warm_workers_another_takes_the_place_of_one_that_died(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("liberator.function.process._WARM_AGAIN", 0.05)
    watch = Waiting(0)
    it = make("pid", watch=watch, least=1)
    first = it._workers[0].process
    first.kill()
    end = time.monotonic() + 120
    while not watch.ready:
        assert time.monotonic() < end, "no other worker came"
        it.finished(0.05)
    assert [worker.process.pid for worker in it._workers] != [first.pid]


def test_a_worker_has_the_variables_that_it_is_given_and_no_others(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_DSN", "postgresql://me:hunter2@db/shop")
    it = make("variables", environment={"API_TOKEN": "t0ken"})
    it.begin(1, EVENTS, 1)
    [output] = ended(it)[1].outputs
    seen = json.loads(output.value or b"")
    assert seen.pop("API_TOKEN") == "t0ken"
    assert seen.keys() <= {"PYTHONPATH", "LC_CTYPE"}, "which Python itself sets"


def test_what_a_function_has_started_is_killed_with_it(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    it = make("begets", timeout=600)
    it.begin(1, EVENTS, 1)
    end = time.monotonic() + 120
    while not (tmp_path / "child").exists():
        assert time.monotonic() < end, "it did not begin"
        it.finished(0.05)
    it._workers[0].deadline = time.monotonic()
    assert codes(ended(it)[1]) == {"function.timeout"}
    gone(int((tmp_path / "child").read_text()))


_KILLED = """
import sys, time
from pathlib import Path
from liberator.change import Event
from liberator.function.process import ProcessInvocations, WorkerSettings
it = ProcessInvocations("workers_under_test:deaf", Path(sys.argv[1]), WorkerSettings())
it.begin(1, [Event("t", 0, 0, 0, None, b"1")], 1)
while not it._workers[0].ready:
    it.finished(0.05)
print(it._workers[0].process.pid, flush=True)
time.sleep(600)
"""


def test_a_busy_worker_does_not_outlive_a_connector_that_is_killed(make: Make, tmp_path: Path) -> None:
    connector = subprocess.Popen([sys.executable, "-c", _KILLED, str(tmp_path)], stdout=subprocess.PIPE)
    assert connector.stdout is not None
    with connector:
        worker = int(connector.stdout.readline())
        connector.kill()
    gone(worker)


def test_a_function_knows_how_much_time_it_has(make: Make) -> None:
    it = make("remaining", timeout=600)
    it.begin(1, EVENTS, 1)
    [output] = ended(it)[1].outputs
    assert 300 < float(output.value or b"0") <= 600


def test_a_worker_outlives_the_thread_that_has_started_it(make: Make) -> None:
    it, pids = make("pid"), list[int]()

    def call(number: int) -> None:
        it.begin(number, EVENTS, 1)
        pids.append(pid_of(ended(it)[number]))

    for number in (1, 2):
        thread = threading.Thread(target=call, args=[number])
        thread.start()
        thread.join()
    assert len(pids) == 2
    assert pids[0] == pids[1]


def test_what_a_function_prints_does_not_disturb(make: Make) -> None:
    it = make("talk")
    it.begin(1, EVENTS, 1)
    assert not ended(it)[1].failures


def test_what_a_function_logs_is_in_the_log_of_the_connector(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "liberator")
    it = make("logs")
    it.begin(1, EVENTS, 1)
    assert codes(ended(it)[1]) == {"function.crashed"}
    line = SOURCE[: SOURCE.index('"no number"')].count("\n") + 1
    said = [record for record in caplog.records if record.name.startswith("liberator.function.workers_under")]
    assert [(record.levelname, record.getMessage()) for record in said] == [
        ("INFO", f"event {EVENTS[0].id}"),
        ("WARNING", "odd"),
        ("INFO", f"a record (line {line}) can't be shown: TypeError"),
    ]
    assert (vars(said[0])["order"], vars(said[1])["error"]) == (7, "ValueError: no carrier")


def test_a_function_that_is_not_there_is_told(make: Make) -> None:
    it = make("nothing")
    it.begin(1, EVENTS, 1)
    with pytest.raises(ConfigError):
        ended(it)


def test_each_worker_calls_init_and_close_once(make: Make, tmp_path: Path) -> None:
    it = make("f", "hooks_under_test", most=2)
    it.begin(1, EVENTS, 1)
    it.begin(2, EVENTS, 1)
    ended(it, 2)
    it.begin(3, EVENTS, 1)
    ended(it)
    it.close(0.0)
    by_worker: dict[str, list[str]] = defaultdict(list)
    for line in (tmp_path / "hooks").read_text().splitlines():
        what, worker = line.split()
        by_worker[worker].append(what)
    assert sorted(by_worker.values(), key=len) == [
        ["init", "call", "close"],
        ["init", "call", "call", "close"],
    ]


@pytest.mark.parametrize("module", ["unready_under_test", "dies_under_test"])
def test_an_init_that_fails_or_ends_its_worker_is_told_and_fails_no_event(make: Make, module: str) -> None:
    it = make("f", module)
    it.begin(1, EVENTS, 1)
    with pytest.raises(FunctionError) as failed:
        ended(it)
    assert failed.value.code == "function.init"


def test_the_end_takes_running_workers_along(make: Make) -> None:
    it = make("hang", most=2)
    it.begin(1, EVENTS, 1)
    end = time.monotonic() + 120
    while not it._workers[0].ready and time.monotonic() < end:
        it.finished(0.05)
    process = it._workers[0].process
    began = time.monotonic()
    it.close(0.0)
    assert process.poll() is not None
    assert time.monotonic() - began < 60


def test_a_worker_scans_the_state(make: Make, tmp_path: Path) -> None:
    settings = StateSettings(f"sqlite:{tmp_path / 'state.db'}", "count")
    store = StateStore(settings)
    store.make()
    it = make("scans", state=settings)
    for number, expected in enumerate((["k0"], ["k0", "k0", "k1"], ["k0", "k1", "k0", "k1"])):
        it.begin(number, EVENTS, 1)
        outcome = ended(it)[number]
        assert json.loads(outcome.outputs[0].value or b"") == expected
        assert outcome.state is not None
        store.save(outcome.state, {})
    store.close()


def test_a_worker_has_its_calls_done_by_the_connector(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", "a secret")
    other = AsideFunction("workers_under_test:pid", tmp_path, WorkerSettings(most=2))
    with closing(NamedFunctions({"pid": Calling("pid", other)})) as named:
        it = make("asks", calls=named)
        pids = []
        for number in range(2):
            it.begin(number, EVENTS, 1)
            answer, environment = ended(it)[number].outputs
            pids.append(json.loads(answer.value or b""))
            assert json.loads(environment.value or b"") == {"TOKEN": None}
    assert pids[0] == pids[1], "both workers are kept"
    assert len({*pids[0], os.getpid()}) == 3
    gone(pids[0][0])


def test_a_call_that_hangs_ends_with_its_time_and_its_worker_is_killed(make: Make, tmp_path: Path) -> None:
    other = AsideFunction("workers_under_test:twice", tmp_path, WorkerSettings(most=1))
    with closing(NamedFunctions({"twice": Calling("twice", other)})) as named:
        it = make("hurries", calls=named)
        it.begin(1, EVENTS, 1)
        assert codes(ended(it)[1]) == {"function.timeout"}
        gone(int((tmp_path / "asked").read_text()))
        assert it.cold_starts == 1, "the caller is not to blame"
