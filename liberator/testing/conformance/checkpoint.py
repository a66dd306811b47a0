"""What makes a checkpoint: merged, atomic, fenced, and never trusted blindly.

Enters: a `Store`, from the fixture ``store`` that a subclass gives. Leaves: verdicts. Subclass
`CheckpointConformance`; `DurableConformance` adds real kills for stores that outlive a process.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from datetime import datetime, timedelta, timezone

import pytest

from liberator.errors import CheckpointError
from liberator.protocols import Checkpoint


class Store(ABC):
    """Where checkpoints under test are kept."""

    @abstractmethod
    def open(self, name: str = "shop") -> Checkpoint:
        """A new checkpoint object for connector `name`, as a new process would make it."""

    @abstractmethod
    def damage(self, name: str, partition: str) -> None:
        """Alter a bit of what is saved of that partition."""

    @abstractmethod
    def come_from_the_future(self, name: str, partition: str) -> None:
        """Make the store, or that record, claim a later format."""


class DurableStore(Store):
    """A store that another process can open too."""

    @abstractmethod
    def program(self, name: str) -> str:
        """Python statements that bind ``checkpoint`` to a checkpoint of connector `name` in this store."""


class CheckpointConformance:
    """Every checkpoint."""

    @pytest.fixture
    def store(self) -> Store:
        """Where checkpoints under test are kept."""
        raise NotImplementedError("give the suite a `store` fixture")

    def test_a_first_start_finds_nothing(self, store: Store) -> None:
        checkpoint = store.open()
        assert checkpoint.load() == {}
        assert list(checkpoint.describe()) == []
        checkpoint.close()

    def test_deltas_are_merged(self, store: Store) -> None:
        checkpoint = store.open()
        epoch = checkpoint.acquire()
        checkpoint.save({"slot": b"1", "table a": b"reading"}, epoch)
        checkpoint.save({"slot": b"2", "table b": b"reading"}, epoch)
        checkpoint.save({}, epoch)
        assert checkpoint.load() == {"slot": b"2", "table a": b"reading", "table b": b"reading"}
        checkpoint.close()

    def test_an_empty_value_forgets_its_partition(self, store: Store) -> None:
        checkpoint = store.open()
        epoch = checkpoint.acquire()
        checkpoint.save({"slot": b"1", "table a": b"reading"}, epoch)
        checkpoint.save({"table a": b"", "never seen": b""}, epoch)
        assert checkpoint.load() == {"slot": b"1"}
        checkpoint.close()

    def test_values_and_partitions_are_any_bytes_and_any_text(self, store: Store) -> None:
        checkpoint = store.open()
        state = {
            "all bytes": bytes(range(256)),
            'table "We""ird.Ta/ble — ünï\t☃"': b'{"lsn":"16/B374D848"}',
            "large": random.Random(7).randbytes(600_000),
        }
        checkpoint.save(state, checkpoint.acquire())
        assert checkpoint.load() == state
        checkpoint.close()
        again = store.open()
        assert again.load() == state
        again.close()

    def test_the_next_process_finds_what_was_saved(self, store: Store) -> None:
        first = store.open()
        first.save({"slot": b"1"}, first.acquire())
        first.close()
        second = store.open()
        assert second.load() == {"slot": b"1"}
        second.save({"slot": b"2"}, second.acquire())
        assert second.load() == {"slot": b"2"}
        second.close()

    def test_epochs_only_grow(self, store: Store) -> None:
        epochs = []
        for _ in range(3):
            checkpoint = store.open()
            epochs += [checkpoint.acquire(), checkpoint.acquire()]
            checkpoint.close()
        assert epochs == sorted(set(epochs))

    def test_an_older_epoch_can_no_longer_save(self, store: Store) -> None:
        zombie, successor = store.open(), store.open()
        old = zombie.acquire()
        zombie.save({"slot": b"1"}, old)
        new = successor.acquire()
        with pytest.raises(CheckpointError) as refused:
            zombie.save({"slot": b"zombie", "other": b"zombie"}, old)
        assert refused.value.code == "checkpoint.fenced"
        assert not refused.value.retryable
        assert successor.load() == {"slot": b"1"}
        successor.save({"slot": b"2"}, new)
        assert zombie.load() == {"slot": b"2"}
        zombie.close()
        successor.close()

    def test_a_refused_zombie_does_not_disturb_its_successor(self, store: Store) -> None:
        zombie, successor = store.open(), store.open()
        old = zombie.acquire()
        new = successor.acquire()
        for round in range(3):
            with pytest.raises(CheckpointError):
                zombie.save({"slot": b"zombie"}, old)
            successor.save({"slot": b"%d" % round}, new)
        assert successor.load() == {"slot": b"2"}
        zombie.close()
        successor.close()

    def test_an_epoch_that_was_never_acquired_is_refused(self, store: Store) -> None:
        checkpoint = store.open()
        epoch = checkpoint.acquire()
        for wrong in (epoch - 1, epoch + 1):
            with pytest.raises(CheckpointError):
                checkpoint.save({"slot": b"1"}, wrong)
        assert checkpoint.load() == {}
        checkpoint.close()

    def test_connectors_do_not_mix(self, store: Store) -> None:
        names = ["shop", "shop2", "sho", "Shop", "shop.eu", "shop-eu"]
        checkpoints = {name: store.open(name) for name in names}
        epochs = {name: checkpoint.acquire() for name, checkpoint in checkpoints.items()}
        for name, checkpoint in checkpoints.items():
            checkpoint.save({"slot": name.encode()}, epochs[name])
        for name, checkpoint in checkpoints.items():
            assert checkpoint.load() == {"slot": name.encode()}
        checkpoints["shop"].reset()
        assert checkpoints["shop"].load() == {}
        assert checkpoints["shop2"].load() == {"slot": b"shop2"}
        for checkpoint in checkpoints.values():
            checkpoint.close()

    def test_a_reset_forgets_everything_but_the_epoch(self, store: Store) -> None:
        checkpoint = store.open()
        epoch = checkpoint.acquire()
        checkpoint.save({"slot": b"1", "table a": b"x"}, epoch)
        checkpoint.reset()
        assert checkpoint.load() == {}
        checkpoint.close()
        again = store.open()
        assert again.load() == {}
        assert again.acquire() > epoch
        again.close()

    def test_a_reset_by_another_ends_the_running_writer(self, store: Store) -> None:
        running, operator = store.open(), store.open()
        epoch = running.acquire()
        running.save({"slot": b"1"}, epoch)
        operator.reset()
        with pytest.raises(CheckpointError) as refused:
            running.save({"slot": b"2"}, epoch)
        assert refused.value.code == "checkpoint.fenced"
        assert operator.load() == {}
        running.close()
        operator.close()

    def test_a_writer_that_resets_goes_on_writing(self, store: Store) -> None:
        checkpoint = store.open()
        epoch = checkpoint.acquire()
        checkpoint.save({"slot": b"1"}, epoch)
        checkpoint.reset()
        checkpoint.save({"slot": b"2"}, epoch)
        assert checkpoint.load() == {"slot": b"2"}
        checkpoint.close()

    def test_describes_what_is_saved_and_when(self, store: Store) -> None:
        checkpoint = store.open()
        checkpoint.save({"table a": b"x", "slot": b"1"}, checkpoint.acquire())
        described = store.open().describe()
        assert [(partition, value) for partition, value, _ in described] == [
            ("slot", b"1"),
            ("table a", b"x"),
        ]
        for _, _, saved_at in described:
            age = datetime.now(timezone.utc) - datetime.fromisoformat(saved_at)
            assert timedelta(0) <= age + timedelta(seconds=1) < timedelta(minutes=1)
        checkpoint.close()

    def test_who_only_looks_disturbs_nobody(self, store: Store) -> None:
        writer, onlooker = store.open(), store.open()
        epoch = writer.acquire()
        for number in range(1, 4):
            writer.save({"slot": b"%d" % number}, epoch)
            assert [value for _, value, _ in onlooker.describe()] == [b"%d" % number]
            assert onlooker.load() == {"slot": b"%d" % number}
        writer.close()
        onlooker.close()

    def test_who_looks_while_another_writes_sees_whole_saves(self, store: Store) -> None:
        writer = store.open()
        epoch = writer.acquire()
        writer.save({"a": b"0", "b": b"0"}, epoch)
        seen: list[tuple[bytes, bytes]] = []
        ended = threading.Event()

        def look() -> None:
            onlooker = store.open()
            while not ended.is_set():
                state = onlooker.load()
                seen.append((state["a"], state["b"]))
            onlooker.close()

        looking = threading.Thread(target=look)
        looking.start()
        for number in range(1, 30):
            writer.save({"a": b"%d" % number, "b": b"%d" % number}, epoch)
        ended.set()
        looking.join()
        writer.close()
        assert seen
        assert all(a == b for a, b in seen)
        assert [int(a) for a, _ in seen] == sorted(int(a) for a, _ in seen)

    def test_a_damaged_value_is_refused_with_a_way_out(self, store: Store) -> None:
        checkpoint = store.open()
        checkpoint.save({"slot": b"16/B374D848", "table a": b"x"}, checkpoint.acquire())
        checkpoint.close()
        store.damage("shop", "slot")
        checkpoint = store.open()
        with pytest.raises(CheckpointError) as refused:
            checkpoint.load()
        assert refused.value.code == "checkpoint.corrupt"
        assert "checkpoint reset" in str(refused.value.fix)
        with pytest.raises(CheckpointError):
            checkpoint.describe()
        checkpoint.reset()
        assert checkpoint.load() == {}
        checkpoint.save({"slot": b"new"}, checkpoint.acquire())
        checkpoint.close()
        again = store.open()
        assert again.load() == {"slot": b"new"}
        again.close()

    def test_a_format_from_the_future_is_refused(self, store: Store) -> None:
        checkpoint = store.open()
        checkpoint.save({"slot": b"1"}, checkpoint.acquire())
        checkpoint.close()
        store.come_from_the_future("shop", "slot")
        checkpoint = store.open()
        with pytest.raises(CheckpointError) as refused:
            checkpoint.load()
        assert refused.value.code == "checkpoint.version"
        assert "newer" in str(refused.value.fix)
        checkpoint.close()

    def test_closing_twice_is_closing_once(self, store: Store) -> None:
        checkpoint = store.open()
        checkpoint.load()
        checkpoint.close()
        checkpoint.close()


_SAVE_UNTIL_KILLED = """
import sys
{program}
epoch = checkpoint.acquire()
number = int(checkpoint.load().get("a", b"0"))
while True:
    number += 1
    value = b"%d" % number
    checkpoint.save({{"a": value, "b": value, "c": value, "even": value if number % 2 else b""}}, epoch)
    print(number, flush=True)
"""


class DurableConformance(CheckpointConformance):
    """A checkpoint that outlives its process. kills: how many processes are killed while they save."""

    kills = 4

    @pytest.fixture
    def store(self) -> DurableStore:
        """Where checkpoints under test are kept."""
        raise NotImplementedError("give the suite a `store` fixture")

    def test_kill_9_leaves_whole_saves_and_loses_none(self, store: DurableStore) -> None:
        program = _SAVE_UNTIL_KILLED.format(program=store.program("shop"))
        told = 0
        for _ in range(self.kills):
            told = max(told, _save_for_a_while(program))
            checkpoint = store.open()
            state = checkpoint.load()
            checkpoint.close()
            number = int(state["a"])
            assert number >= told, "a save that had returned is lost"
            assert state["a"] == state["b"] == state["c"]
            assert ("even" in state) == bool(number % 2)
        assert told > self.kills


def _save_for_a_while(program: str) -> int:
    """Run the program, kill -9 it at a random moment while it saves; returns the last number it told."""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline(), "the process ended before it saved anything"
        time.sleep(random.uniform(0.05, 0.3))
        os.kill(process.pid, signal.SIGKILL)
        lines = process.stdout.read().splitlines()
    return int(lines[-1]) if lines and lines[-1].isdigit() else 1
