"""The benchmark's clients, for a moment."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.benchmark.requests import ask
from tests.integration.sidecar.conftest import Running
from tests.integration.sidecar.events import local_events


def test_what_the_benchmark_counts_is_there(start: Callable[..., Running], tmp_path: Path) -> None:
    running = start()
    running.until_ready()
    answers = ask(running.port, 20, 0.5, "a")
    assert set(answers.statuses) == {202}
    assert len(local_events(tmp_path / "events", "outbox.event.order")) == answers.statuses[202]
    assert answers.per_second > 0
    assert 0 < answers.quantile(0.5) <= answers.quantile(0.99)
