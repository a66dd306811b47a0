"""Saving while events flow on: what is said to be saved, and when."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from liberator.capture import Capture, CaptureSettings
from liberator.change import Batch, State
from liberator.errors import CheckpointError
from liberator.ledger import Ledger
from liberator.policy import Backoff
from liberator.testing.checkpoint import MemoryCheckpoint
from liberator.testing.publisher import MemoryPublisher
from liberator.testing.source import MemoryEncoder, MemorySource, position
from liberator.testing.watch import MemoryWatch

GONE = CheckpointError("no broker answers", code="checkpoint.unreachable", retryable=True)


class GatedCheckpoint(MemoryCheckpoint):
    """Saves only when it is let; `begun` tells that a save is under way. failure: what saves fail with."""

    def __init__(self) -> None:
        super().__init__("gated")
        self.gate = threading.Event()
        self.begun = threading.Event()
        self.failure: CheckpointError | None = None

    def save(self, delta: State, epoch: int) -> None:
        self.begun.set()
        assert self.gate.wait(120)
        if self.failure is not None:
            raise self.failure
        super().save(delta, epoch)


@contextmanager
def ledger_of(checkpoint: MemoryCheckpoint) -> Iterator[Ledger]:
    ledger = Ledger(checkpoint, background=True)
    try:
        yield ledger
    finally:
        if isinstance(checkpoint, GatedCheckpoint):
            checkpoint.gate.set()
        ledger.close()


def test_nothing_is_said_to_be_saved_before_it_is() -> None:
    checkpoint = GatedCheckpoint()
    with ledger_of(checkpoint) as ledger:
        ledger.begin_saving(position(1))
        assert checkpoint.begun.wait(120)
        assert ledger.saved() is None
        assert ledger.state == {}
        checkpoint.gate.set()
        assert ledger.saved(wait=True) == position(1)
        assert ledger.state == checkpoint.load() == position(1)
        assert not ledger.saving
        assert ledger.saved(wait=True) is None


def test_what_a_save_fails_with_is_raised_where_its_answer_is_asked_for() -> None:
    checkpoint = GatedCheckpoint()
    checkpoint.failure = GONE
    checkpoint.gate.set()
    with ledger_of(checkpoint) as ledger:
        ledger.begin_saving(position(1))
        with pytest.raises(CheckpointError, match="no broker answers"):
            ledger.saved(wait=True)
        assert ledger.state == {}


def test_a_question_to_the_store_waits_for_the_save_that_is_under_way() -> None:
    """Asked at the same time, it might write the position before that one."""
    checkpoint = GatedCheckpoint()
    with ledger_of(checkpoint) as ledger:
        checkpoint.gate.set()
        ledger.save(position(1))
        checkpoint.gate.clear()
        ledger.begin_saving(position(2))
        threading.Timer(0.05, checkpoint.gate.set).start()
        ledger.confirm()
        assert checkpoint.load() == position(2)
        assert ledger.saved() == position(2)


def test_a_session_that_begins_forgets_the_failed_save_of_the_one_before() -> None:
    checkpoint = GatedCheckpoint()
    checkpoint.failure = GONE
    checkpoint.gate.set()
    with ledger_of(checkpoint) as ledger:
        ledger.begin_saving(position(1))
        assert ledger.begin(glance=False) == {}
        assert not ledger.saving


@pytest.mark.parametrize(("seen", "known"), [({}, position(2)), (position(1), position(1))])
def test_that_nothing_is_saved_is_not_believed_at_a_glance(seen: State, known: State) -> None:
    """It may stand behind another connector's transaction, and to begin anew would be wrong."""

    class Hidden(MemoryCheckpoint):
        def glance(self) -> State:
            return seen

    checkpoint = Hidden("hidden")
    checkpoint.save(position(2), checkpoint.acquire())
    with ledger_of(checkpoint) as ledger:
        assert ledger.begin(glance=True) == ledger.state == known


class FlowingSource(MemorySource):
    """Opens the gate when it has given its last event: a loop that waits for the save never gets there."""

    def __init__(self, events: list[bytes], checkpoint: GatedCheckpoint) -> None:
        super().__init__(events)
        self._checkpoint = checkpoint
        self.acknowledged_at_gate: list[State] = []

    def poll(self, limit: int, timeout: float) -> Batch:
        batch = super().poll(limit, timeout)
        if batch.final:
            assert self._checkpoint.begun.is_set()
            self.acknowledged_at_gate = list(self.acknowledged)
            self._checkpoint.gate.set()
        return batch


def test_events_flow_on_while_a_position_is_saved() -> None:
    checkpoint = GatedCheckpoint()
    source = FlowingSource([b'"1"', b'"2"', b'"3"', b'"4"'], checkpoint)
    publisher, encoder = MemoryPublisher(), MemoryEncoder()
    with ledger_of(checkpoint) as ledger:
        capture = Capture(
            source,
            lambda: publisher,
            ledger,
            lambda state: encoder,
            MemoryWatch(),
            CaptureSettings(save_interval=0.0, once=True),
            backoff=lambda: Backoff(random=lambda: 0.0, tick=time.monotonic),
        )
        capture.run()
        assert source.acknowledged_at_gate == []
        assert source.acknowledged[-1] == checkpoint.load() == position(4)
