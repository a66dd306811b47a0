"""How the local log is waited for."""

from __future__ import annotations

from pathlib import Path

import pytest

from liberator.consume import local
from liberator.consume.local import LocalConsumer
from liberator.locallog import LocalLog


class Nobody:
    def assigned(self, partitions: object) -> None:
        """Nothing depends on it."""

    revoked = lost = assigned


def test_a_quiet_log_is_looked_at_less_often_and_heard_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An idle sink costs next to nothing."""
    monkeypatch.setattr(local, "_LIVELY", 0.0)
    log = LocalLog(tmp_path)
    log.create_topic("orders", 1)
    consumer = LocalConsumer(tmp_path, "quiet")
    consumer.subscribe(["orders"], Nobody())
    assert len(consumer.poll(10, 0.1)) == 0
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            with log.transaction() as transaction:
                transaction.append(["orders"], [0], [b"k"], [b"{}"], [None])

    monkeypatch.setattr("liberator.consume.local.time.sleep", sleep)
    assert consumer.poll(10, 60.0).values == [b"{}"]
    assert pauses[:3] == [local._LOOK_IDLE] * 3
    consumer.close()
