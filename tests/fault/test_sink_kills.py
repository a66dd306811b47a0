"""kill -9 at every step of an event's way through a sink: nothing is lost, what comes again is what was under way (D79, D80,
D83). The process kills itself at a call of its own code, so that each test is about one moment and no luck is
involved.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.acceptance.sink import PATIENCE, LocalBroker, Sink, numbered

EVENTS, BATCH, POISON = 20, 5, 7

_DYING = """
import os, signal
from importlib import import_module
from liberator.consume.local import LocalConsumer

LocalConsumer.__init__.__kwdefaults__["session_timeout"] = 1.0  # the next member does not wait long for the dead one

def die_at(target, when):
    module, _, path = target.partition(":")
    owner, _, name = path.rpartition(".")
    owner = getattr(import_module(module), owner)
    method = getattr(owner, name)
    def dying(*given, **named):
        if when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = method(*given, **named)
        os.kill(os.getpid(), signal.SIGKILL)
        return result
    setattr(owner, name, dying)

die_at(os.environ["DIE_AT"], os.environ["DIE_WHEN"])
"""


class MortalSink(Sink):
    """One that kills itself, before or after the first call of a method, as long as `dies` says where."""

    dies: tuple[str, str] | None = None

    def _environ(self) -> dict[str, str]:
        environ = super()._environ()
        if self.dies is None:
            return environ
        folder = self.folder / "dying"
        folder.mkdir(exist_ok=True)
        (folder / "sitecustomize.py").write_text(_DYING)
        at, when = self.dies
        path = os.pathsep.join([str(folder), environ["PYTHONPATH"]])
        return {**environ, "PYTHONPATH": path, "DIE_AT": at, "DIE_WHEN": when}


@pytest.fixture
def sink(tmp_path: Path, unique: str) -> Iterator[MortalSink]:
    broker = LocalBroker(tmp_path / "events")
    broker.create(f"{unique}.in", 1)
    broker.append(f"{unique}.in", numbered(range(EVENTS)))
    sink = MortalSink(tmp_path / "sink", unique, broker)
    sink.write(
        f"""
        stream: {{topics: [{unique}.in]}}
        trigger: {{batch_size: {BATCH}, batch_window: 10ms}}
        function: {{python: "functions:double", in_process: true}}
        output: {{topic: {unique}.out}}
        policy: {{idempotency: {{store: "sqlite:done.db"}}, order: partition, bisect: true, retry: {{attempts: 1}}}}
        """,
        f"""
        def double(events, context):
            if any(event.value["n"] == {POISON} for event in events):
                raise ValueError("poison")
            note(events, context)
            return [{{"n": event.value["n"] * 2}} for event in events]
        """,
    )
    yield sink
    sink.close()


class Phase(NamedTuple):
    """at, when: where it is killed. repeats: most events that the function may be given again."""

    at: str
    when: str
    repeats: int


PHASES = {
    "events are read": Phase("liberator.function.checked:CheckedInvocations.begin", "before", 0),
    "the function is at work": Phase("liberator.function.checked:CheckedInvocations.begin", "after", BATCH),
    "the function has ended": Phase("liberator.publish.local:LocalPublisher.publish", "before", BATCH),
    "outputs are durable": Phase("liberator.function.done_ids:SqliteIds.remember", "before", BATCH),
    "offsets are to be committed": Phase("liberator.consume.local:LocalConsumer.commit", "before", 0),
    "offsets are committed": Phase("liberator.consume.local:LocalConsumer.commit", "after", 0),
    "a dead letter is to be written": Phase("liberator.dispatch.loop:Dispatch._give_up", "before", BATCH),
    "a dead letter is written": Phase("liberator.dispatch.loop:Dispatch._give_up", "after", BATCH),
}


@pytest.mark.parametrize("phase", PHASES.values(), ids=PHASES)
def test_nothing_is_lost_and_only_what_was_under_way_comes_again(sink: MortalSink, phase: Phase) -> None:
    sink.dies = phase.at, phase.when
    assert sink.launch("--once").wait(PATIENCE) == -signal.SIGKILL, sink.log
    sink.dies = None
    sink.run("--once")
    done = [value["n"] for value in sink.given()]
    good = [n for n in range(EVENTS) if n != POISON]
    assert list(dict.fromkeys(done)) == good, "each, and for the first time in its order"
    assert len(done) - len(good) <= phase.repeats, done
    outputs = [json.loads(record.value or b"")["n"] for record in sink.broker.read(f"{sink.name}.out")]
    assert sorted(set(outputs)) == [n * 2 for n in good]
    letters = sink.dead_letters()
    assert {letter.header("id") for letter in letters} == {f"e{POISON}"}
    assert {letter.value for letter in letters} == {b'{"n":%d}' % POISON}
    assert sink.broker.committed(sink.name, f"{sink.name}.in") == EVENTS
