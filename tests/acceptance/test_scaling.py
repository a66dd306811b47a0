"""How many workers a sink has: none, one by the first event, more by what is behind, and none again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from liberator.testing.servers.process import free_port
from tests.acceptance.sink import LocalBroker, Sink, numbered

GATED = '''
import os, time
from pathlib import Path

here = Path(__file__).parent

def gated(events, context):
    """Ends when the test says so."""
    (here / f"at-the-gate-{os.getpid()}").touch()
    while not (here / "open").exists():
        time.sleep(0.01)
    note(events, context)
'''


@pytest.fixture
def sink(tmp_path: Path, unique: str) -> Iterator[Sink]:
    broker = LocalBroker(tmp_path / "events")
    broker.create(f"{unique}.in", 1)
    sink = Sink(tmp_path / "sink", unique, broker)
    yield sink
    sink.close()


def test_workers_follow_what_is_behind_to_their_most_and_to_zero_and_start_again(
    sink: Sink, unique: str
) -> None:
    port = free_port()
    sink.write(
        f"""
        stream: {{topics: [{unique}.in]}}
        trigger: {{batch_size: 1}}
        function: {{python: "functions:gated"}}
        scale: {{workers: {{min: 0, max: 8}}, lag_per_worker: 10, idle_timeout: 100ms}}
        observe: {{listen: "127.0.0.1:{port}"}}
        """,
        GATED,
    )

    def calls() -> dict[str, Any]:
        try:
            status = json.loads(sink.page(port, "/status"))
        except OSError:
            return {}
        return {**status["invocations"], "durable": status["events"]["durable"]}

    sink.launch()
    sink.wait_for(lambda: calls().get("workers") == 0, "a sink without workers")
    sink.broker.append(f"{unique}.in", numbered(range(25), keys=25))
    sink.wait_for(lambda: len(list(sink.folder.glob("at-the-gate-*"))) == 3, "a third worker")
    sink.wait_for(lambda: calls().get("workers") == 3, "three workers in the report")
    (sink.folder / "open").touch()
    sink.wait_for(lambda: calls()["durable"] == 25, "the end of all")
    sink.wait_for(lambda: calls()["workers"] == 0, "the end of idle workers")
    before = calls()["cold_starts"]
    sink.broker.append(f"{unique}.in", numbered([25]))
    sink.wait_for(lambda: calls()["durable"] == 26, "one more event")
    assert calls()["cold_starts"] == before + 1
    assert calls()["cold_start_seconds"] > 0
    assert sorted(value["n"] for value in sink.given()) == list(range(26))
