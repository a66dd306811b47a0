"""One side's run: it is started, rows are committed at a steady pace, a consumer notes when it gets them.

Enters: a lap with an empty table, and a side. Leaves: `Heard`, and of our traced side its steps. Called by the command line.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.benchmark import debezium
from tests.benchmark.ground import Lap
from tests.benchmark.processes import cpu_seconds_of_all, errors_of, start
from tests.benchmark.sides.connect import Worker
from tests.benchmark.sides.liberate import LIBERATE, Connector, Delivery

_START_WITHIN = 120.0
_END_WITHIN = 60.0
_LOOK = 0.1

Step = dict[str, int]
"""Microseconds by step of the way, of one batch; see `tests.benchmark.latency.traced`."""


@dataclass(frozen=True)
class Pace:
    """rate: transactions a second. warm: how many come before those that count. count: how many count. idle: seconds
    without any, in which a side's use of the CPU is looked at."""

    rate: float = 500.0
    warm: int = 5000
    count: int = 10_000
    idle: float = 10.0


@dataclass(frozen=True, slots=True)
class Heard:
    """times: milliseconds from commit to consumer, of each row that counts. rate: transactions a second, as it really was.
    lost: rows that never came. idle: part of one CPU that is used while nothing happens. steps: of a traced side."""

    side: str
    times: Sequence[float]
    rate: float
    lost: int
    idle: float | None
    steps: Sequence[Step] = ()


@dataclass(frozen=True, slots=True)
class Runner:
    """A side. prepare: returns the name of its topic, and what starts it."""

    name: str
    prepare: Callable[[Lap], tuple[str, Callable[[], subprocess.Popen[bytes]], Path]]
    refusal: Callable[[], str | None] = lambda: None


def runners() -> list[Runner]:
    """Everybody, in the order of the report; the traced one comes last."""
    return [
        Runner("liberate", lambda lap: _liberate(lap, "at_least_once")),
        Runner("liberate, exactly once", lambda lap: _liberate(lap, "exactly_once")),
        Runner("Debezium on Connect, default", lambda lap: _connect(lap, tuned=False), debezium.refusal),
        Runner("Debezium on Connect, tuned", lambda lap: _connect(lap, tuned=True), debezium.refusal),
        Runner("liberate, traced", lambda lap: _liberate(lap, "at_least_once", traced=True)),
    ]


def _liberate(
    lap: Lap, delivery: Delivery, *, traced: bool = False
) -> tuple[str, Callable[[], subprocess.Popen[bytes]], Path]:
    publish: dict[str, object] = {
        "url": f"kafka://{lap.bootstrap}", "delivery": delivery, "options": {"compression.type": "lz4"},
    }  # fmt: skip
    it = Connector(lap, "traced" if traced else delivery, publish)
    program = [sys.executable, "-m", "tests.benchmark.latency.traced", "steps"] if traced else LIBERATE
    command = [*program, "run", "connector.yaml", "--log-level", "warning"]
    return lap.topic(it.name), lambda: start(command, it.folder, it.environ), it.folder


def _connect(lap: Lap, *, tuned: bool) -> tuple[str, Callable[[], subprocess.Popen[bytes]], Path]:
    name = "tuned" if tuned else "connect"
    folder = lap.place(name)
    connector = debezium.connector(lap.dsn, f"{name}-{lap.name}", lap.slot(name), name)
    worker = Worker(folder, lap.bootstrap, connector, tuned=tuned)
    return lap.topic(f"{name}-{lap.name}"), lambda: worker.start(lap.environ()), folder


def travel(lap: Lap, runner: Runner, pace: Pace) -> Heard:
    """Run one side. Raises `RuntimeError` when it does not start or fails."""
    name, begin, folder = runner.prepare(lap)
    rows = pace.warm + pace.count
    with _running(begin(), folder) as process, _listening(lap, name, rows) as listener:
        _wait_until_it_streams(lap, process, folder)
        rate = _write(lap, pace.rate, rows)
        heard = [json.loads(line) for line in _said(listener)]
        idle = _idle(process, pace.idle) if pace.idle else None
    counted = {id: (committed, at) for id, committed, at in heard if id > pace.warm}
    times = [(at - committed) / 1000 for committed, at in counted.values()]
    got = {id: at for id, (_, at) in counted.items()}
    return Heard(runner.name, times, rate, pace.count - len(counted), idle, _steps(folder, got))


@contextmanager
def _running(process: subprocess.Popen[bytes], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    try:
        yield process
        process.send_signal(signal.SIGTERM)
        process.wait(_END_WITHIN)
    finally:
        process.kill()
        process.communicate()


@contextmanager
def _listening(lap: Lap, name: str, rows: int) -> Iterator[subprocess.Popen[bytes]]:
    folder = lap.place(f"listener-{name}")
    command = [sys.executable, "-m", "tests.benchmark.latency.listener", lap.bootstrap, name, str(rows)]
    process = start(command, folder, lap.environ(), stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        if process.stdout.readline() != b"ready\n":
            raise RuntimeError(f"the listener did not start:\n{errors_of(folder).read_text()[-2000:]}")
        yield process
    finally:
        process.kill()
        process.communicate()


def _said(listener: subprocess.Popen[bytes]) -> list[bytes]:
    assert listener.stdout is not None
    return listener.stdout.read().splitlines()


def _wait_until_it_streams(lap: Lap, process: subprocess.Popen[bytes], folder: Path) -> None:
    """A side streams when its slot is in use and its walsender has nothing left to send."""
    deadline = time.monotonic() + _START_WITHIN
    streams = (
        "SELECT count(*) FROM pg_stat_replication JOIN pg_replication_slots ON active_pid = pid"
        " WHERE database = current_database() AND state = 'streaming'"
    )
    while lap.execute(streams) != [(1,)]:
        if process.poll() is not None or time.monotonic() > deadline:
            said = errors_of(folder).read_text(errors="replace")[-2000:]
            raise RuntimeError(f"{process.args!r} does not stream:\n{said}")
        time.sleep(_LOOK)


def _write(lap: Lap, rate: float, rows: int) -> float:
    command = [sys.executable, "-m", "tests.benchmark.latency.writer", lap.dsn, str(rate), str(rows)]
    done = subprocess.run(command, env=lap.environ(), stdout=subprocess.PIPE, check=True)
    return float(done.stdout)


def _idle(process: subprocess.Popen[bytes], seconds: float) -> float:
    """After a pause in which what is left of the work is done."""
    time.sleep(2)
    before, began = cpu_seconds_of_all(process.pid), time.monotonic()
    time.sleep(seconds)
    return (cpu_seconds_of_all(process.pid) - before) / (time.monotonic() - began)


def _steps(folder: Path, got: Mapping[int, int]) -> list[Step]:
    """What our traced side has written, with the time at which the last row of each batch was got."""
    file = folder / "steps"
    if not file.exists():
        return []
    steps = [json.loads(line) for line in file.read_text().splitlines()]
    ids = [step.pop("ids") for step in steps]
    return [{**step, "got": got[of[-1]]} for step, of in zip(steps, ids, strict=True) if of and of[-1] in got]
