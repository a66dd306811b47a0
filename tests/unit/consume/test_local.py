"""How the local log is waited for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from liberator.change import TopicPartition
from liberator.consume import local
from liberator.consume.local import LocalConsumer
from liberator.errors import ConsumeError
from liberator.locallog import LocalLog, LocalLogFailure


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


def test_a_read_that_fails_loses_nothing_of_the_partitions_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = LocalLog(tmp_path)
    log.create_topic("orders", 2)
    with log.transaction() as transaction:
        transaction.append(["orders"] * 2, [0, 1], [b"k"] * 2, [b"0", b"1"], [None] * 2)
    consumer = LocalConsumer(tmp_path, "group")
    consumer.subscribe(["orders"], Nobody())
    read, calls = consumer._log.read, []

    def once(partition: TopicPartition, *arguments: Any) -> int:
        calls.append(partition)
        if len(calls) == 2:
            raise LocalLogFailure("busy", "another process writes", retryable=True)
        return read(partition, *arguments)

    monkeypatch.setattr(consumer._log, "read", once)
    with pytest.raises(ConsumeError):
        consumer.poll(10, 0.0)
    assert set(consumer.poll(10, 0.0).values) == {b"0", b"1"}
    consumer.close()


def test_who_could_not_take_partitions_in_is_told_of_them_again(tmp_path: Path) -> None:
    """And nothing of them is read before."""

    class Late(Nobody):
        told = 0

        def assigned(self, partitions: object) -> None:
            self.told += 1
            if self.told == 1:
                raise ConsumeError("not now", code="consume.unreachable", retryable=True)

    log = LocalLog(tmp_path)
    log.create_topic("orders", 1)
    with log.transaction() as transaction:
        transaction.append(["orders"], [0], [b"k"], [b"0"], [None])
    consumer, late = LocalConsumer(tmp_path, "group"), Late()
    consumer.subscribe(["orders"], late)
    with pytest.raises(ConsumeError):
        consumer.poll(10, 0.0)
    assert consumer.assigned() == frozenset()
    assert consumer.poll(10, 0.0).values == [b"0"]
    assert late.told == 2
    consumer.close()
