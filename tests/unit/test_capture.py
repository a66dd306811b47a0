"""The loop between the protocols: order of durable, save and acknowledge; what an error does to it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from liberator.capture import COUNT, Capture, CaptureSettings, cut
from liberator.change import Batch, EncodedBatch, State
from liberator.checkpoint.local import LocalCheckpoint
from liberator.errors import (
    CheckpointError,
    ContractError,
    LiberatorError,
    PreconditionError,
    PublishError,
    SourceError,
)
from liberator.ledger import Ledger, merge
from liberator.locallog import LocalLog
from liberator.policy import Backoff
from liberator.protocols import LoopState
from liberator.publish.local import LocalPublisher
from liberator.testing.checkpoint import MemoryCheckpoint
from liberator.testing.publisher import MemoryPublisher
from liberator.testing.source import Abort, MemoryEncoder, MemorySource, position
from liberator.testing.watch import MemoryWatch
from tests.unit.locallog.events import read

LOST = SourceError("the connection was lost", code="postgres.connection", retryable=True)
BUSY = PreconditionError("slot is active for PID 7", code="postgres.55006", retryable=True)
FROZEN = SourceError("this process stood still", code="source.frozen", retryable=True)
AWAY = ContractError("the schema registry can't be reached", code="registry.unreachable", retryable=True)
FULL = PreconditionError("all replication slots are in use", code="postgres.53400", retryable=True)
EVENTS = [b'"1"', b'"2"', b'"3"', b'"4"']


class Bench:
    """A loop of twins. Its clock jumps with every wait, so nothing here takes time."""

    def __init__(self, source: MemorySource, **settings: object) -> None:
        self.source = source
        self.publisher = MemoryPublisher()
        self.checkpoint = MemoryCheckpoint("bench")
        self.watch = MemoryWatch()
        self.encoder = MemoryEncoder()
        self.now, self.step = 0.0, 10.0
        fields = {"save_interval": 0.0, **settings}
        self.capture = Capture(
            source,
            lambda: self.publisher,
            Ledger(None if settings.get("trial") else self.checkpoint),
            lambda state: self.encoder,
            self.watch,
            CaptureSettings(**fields),  # type: ignore[arg-type]  # the tests' own keywords
            backoff=lambda: Backoff(random=lambda: 0.0, tick=self.tick),
            tick=self.tick,
        )

    def tick(self) -> float:
        self.now += self.step
        return self.now

    def slowly(self, step: float) -> Bench:
        """The clock goes on by `step` seconds a look; waits still take no time."""
        bench, self.step = self, step

        class Waits(threading.Event):
            def wait(self, timeout: float | None = None) -> bool:
                bench.now += timeout or 0.0
                return self.is_set()

        self.capture._stopping = Waits()
        return self

    def published(self) -> list[bytes | None]:
        return [event.value for event in self.publisher.events]


def bench(script: Sequence[bytes | Abort] = EVENTS, **settings: object) -> Bench:
    return Bench(MemorySource(script), **settings)


def test_publishes_everything_in_order_and_saves_the_last_position() -> None:
    it = bench()
    it.capture.run()
    assert it.published() == EVENTS
    assert it.checkpoint.load() == position(4)
    assert it.source.acknowledged[-1] == position(4)
    assert it.watch.states[-1] == "stopped"
    assert it.watch.kept == 4


def test_resumes_from_what_is_saved() -> None:
    it = bench()
    it.checkpoint.save(position(2), it.checkpoint.acquire())
    it.capture.run()
    assert it.source.opened == [position(2)]
    assert it.published() == EVENTS[2:]


def test_saves_before_it_acknowledges_and_only_what_is_durable() -> None:
    """Invariant 1: durable, save, ack."""
    story: list[tuple[str, State]] = []
    it = bench()
    save, ack, durable = it.checkpoint.save, it.source.ack, it.publisher.durable

    def tell(what: str, call: Callable[[State], None]) -> Callable[[State], None]:
        def told(state: State) -> None:
            story.append((what, dict(state)))
            call(state)

        return told

    def told_durable() -> State | None:
        state = durable()
        if told := {partition: value for partition, value in (state or {}).items() if partition != COUNT}:
            story.append(("durable", told))
        return state

    it.checkpoint.save = lambda delta, epoch: tell("save", lambda s: save(s, epoch))(delta)  # type: ignore[method-assign]
    it.source.ack = tell("ack", ack)  # type: ignore[method-assign,assignment]
    it.publisher.durable = told_durable  # type: ignore[method-assign]
    it.capture.run()
    assert len(story) >= 3
    for index in range(0, len(story), 3):
        step = story[index : index + 3]
        assert [what for what, _ in step] == ["durable", "save", "ack"]
        assert step[0][1] == step[1][1] == step[2][1]


def test_a_publisher_that_stalls_is_not_acknowledged_for() -> None:
    it = bench(drain=0.0)
    it.publisher.stall()
    with pytest.raises(PublishError) as caught:
        it.capture.run()
    assert caught.value.code == "publish.drain"
    assert it.source.acknowledged == []
    assert it.checkpoint.load() == {}


def test_opens_a_lost_source_again_where_the_stream_stands() -> None:
    it = bench([EVENTS[0], EVENTS[1], Abort(LOST), EVENTS[2], EVENTS[3]])
    it.capture.run()
    assert it.source.opened == [{}, position(2)]
    assert it.published() == EVENTS
    assert it.watch.reconnects == 1
    assert "reconnecting" in it.watch.states


def test_a_lost_source_does_not_make_the_publisher_forget() -> None:
    it = bench([EVENTS[0], Abort(LOST), EVENTS[1]])
    it.publisher.stall()
    opened = it.source.open

    def open_then_flow(resume: State) -> None:
        opened(resume)
        if len(it.source.opened) == 2:
            it.publisher.go_on()

    it.source.open = open_then_flow  # type: ignore[method-assign]
    it.publisher.publish = _flowing(it.publisher)  # type: ignore[method-assign,assignment]
    it.capture.run()
    assert it.published() == EVENTS[:2]


def _flowing(publisher: MemoryPublisher) -> Callable[[EncodedBatch, State | None], None]:
    publish = publisher.publish

    def then_go_on(batch: EncodedBatch, state: State | None) -> None:
        publish(batch, state)
        if len(publisher.events) or batch.values == [EVENTS[1]]:
            publisher.go_on()

    return then_go_on


def test_a_trial_ends_with_a_lost_source() -> None:
    it = bench([EVENTS[0], Abort(LOST), EVENTS[1]], trial=True)
    with pytest.raises(SourceError):
        it.capture.run()
    assert it.published() == EVENTS[:1]


def test_an_error_that_nobody_can_wait_out_ends_the_run_with_what_was_done_saved() -> None:
    it = bench([EVENTS[0], Abort(ContractError("a row breaks its contract")), EVENTS[1]])
    with pytest.raises(ContractError):
        it.capture.run()
    assert it.checkpoint.load() == position(1)
    assert it.watch.states[-1] == "failed"
    assert it.watch.errors == ["contract.violated"]


def test_a_publisher_that_fails_for_a_moment_is_made_anew_from_what_is_saved() -> None:
    it = bench()
    it.publisher.fail(PublishError("not now", code="publish.unreachable", retryable=True))
    it.capture.run()
    assert it.published() == EVENTS
    assert it.checkpoint.load() == position(4)


def test_a_closed_pipe_is_a_clean_end() -> None:
    it = bench()
    it.publisher.fail(PublishError("the reader has left", code="publish.closed_pipe"))
    it.capture.run()
    assert it.watch.states[-1] == "stopped"
    assert it.source.acknowledged == []


def test_stands_by_while_another_session_has_the_slot() -> None:
    it = bench()
    it.source.refuse(BUSY, BUSY)
    it.capture.run()
    assert "standby" in it.watch.states
    assert it.published() == EVENTS


def test_gives_up_a_busy_slot_after_its_patience_in_a_bounded_run() -> None:
    it = bench(once=True, busy_patience=30.0)
    it.source.refuse(*[BUSY] * 100)
    with pytest.raises(PreconditionError):
        it.capture.run()
    assert it.published() == []


def test_gives_up_what_never_worked_after_a_minute_of_attempts() -> None:
    """D61: a server without a free slot is asked again, but not for ever."""
    it = bench(patience=60.0)
    it.source.refuse(*[FULL] * 100)
    with pytest.raises(PreconditionError):
        it.capture.run()
    assert it.now >= 60
    assert 2 <= it.watch.errors.count(FULL.code) < 100


def test_never_gives_up_what_once_worked() -> None:
    it = bench([EVENTS[0], Abort(LOST), *EVENTS[1:]], patience=60.0)
    opened = it.source.open

    def open_then_refuse(resume: State) -> None:
        if len(it.source.opened) == 1 and not it.watch.errors.count(FULL.code):
            it.source.refuse(*[FULL] * 100)
        opened(resume)

    it.source.open = open_then_refuse  # type: ignore[method-assign]
    it.capture.run()
    assert it.watch.errors.count(FULL.code) == 100
    assert it.published() == EVENTS


@pytest.mark.parametrize("once", [True, False])
def test_a_bounded_run_gives_up_a_source_that_fails_at_one_place_each_time(once: bool) -> None:
    """As PostgreSQL does with WAL that it can't decode: it lets itself be connected to, and fails again."""
    it = bench([EVENTS[0], *[Abort(LOST)] * 20, *EVENTS[1:]], once=once, patience=60.0)
    if once:
        with pytest.raises(SourceError):
            it.capture.run()
        assert it.checkpoint.load() == position(1)
    else:
        it.capture.run()
        assert it.published() == EVENTS


class FullDisk(MemoryPublisher):
    """Takes one batch of a session, which is not durable when the next one does not fit. failures: until there is room."""

    def __init__(self, failures: int) -> None:
        super().__init__()
        self.failures = failures

    def publish(self, batch: EncodedBatch, state: State | None) -> None:
        if self.failures and self._accepted:
            self.failures -= 1
            raise PublishError("no room", code="publish.file_full", retryable=True)
        self._stalled = self.failures > 0
        super().publish(batch, state)


@pytest.mark.parametrize("once", [True, False])
def test_a_bounded_run_gives_up_a_disk_that_stays_full_after_its_patience(once: bool) -> None:
    """Each attempt is given the events in front of the ones that do not fit: accepted is not durable."""
    it = bench(once=once, patience=60.0)
    it.publisher = FullDisk(failures=40)
    if once:
        with pytest.raises(PublishError) as caught:
            it.capture.run()
        assert (caught.value.code, caught.value.exit_code) == ("publish.file_full", 1)
        assert it.watch.states[-1] == "failed"
        assert it.checkpoint.load() == {}
    else:
        it.capture.run()
        assert it.published() == EVENTS
        assert it.checkpoint.load() == position(4)


def test_a_bounded_run_goes_on_while_attempts_save_something() -> None:
    script: list[bytes | Abort] = []
    for event in EVENTS:
        script += [Abort(LOST), Abort(LOST), Abort(LOST), event]
    it = bench(script, once=True, patience=200.0)
    it.capture.run()
    assert it.now > 400
    assert it.published() == EVENTS


def waits_of(it: Bench) -> list[float]:
    """The delays that come, as they were earned."""
    delays: list[float] = []
    wait = it.capture._wait

    def waited(error: LiberatorError, backoff: Backoff) -> None:
        delays.append(backoff._delay)
        wait(error, backoff)

    it.capture._wait = waited  # type: ignore[method-assign]
    return delays


def test_waits_longer_each_time_while_nothing_moves_on() -> None:
    it = bench([EVENTS[0], *[Abort(LOST)] * 4, *EVENTS[1:]])
    delays = waits_of(it)
    it.capture.run()
    assert delays == sorted(set(delays))
    assert len(delays) == 4


def begin_anew_each_time(it: Bench) -> None:
    """As a snapshot: each time that the source is opened something comes first, and only then the row that fails."""
    poll, begun = it.source.poll, list[int]()

    def begin_then_poll(limit: int, timeout: float) -> Batch:
        if len(begun) < len(it.source.opened):
            begun.append(len(it.source.opened))
            return Batch([], {"snapshot": b"%d" % len(begun)})
        return poll(limit, timeout)

    it.source.poll = begin_then_poll  # type: ignore[method-assign]


def test_a_registry_that_stays_away_is_asked_less_and_less_often_though_a_snapshot_begins_each_time() -> None:
    it = bench([*[Abort(AWAY)] * 4, *EVENTS]).slowly(0.01)
    begin_anew_each_time(it)
    delays = waits_of(it)
    it.capture.run()
    assert it.published() == EVENTS
    assert delays == sorted(set(delays))
    assert len(delays) == 4


def test_a_bounded_run_gives_up_a_registry_that_stays_away_though_a_snapshot_begins_each_time() -> None:
    it = bench([*[Abort(AWAY)] * 100, *EVENTS], once=True, patience=60.0).slowly(0.1)
    begin_anew_each_time(it)
    with pytest.raises(ContractError):
        it.capture.run()
    assert it.published() == []


def test_a_registry_that_was_away_long_ago_is_patiently_waited_for_again() -> None:
    it = bench([Abort(AWAY), *EVENTS * 10, Abort(AWAY), *EVENTS]).slowly(1.0)
    delays = waits_of(it)
    it.capture.run()
    assert delays == [delays[0]] * 2


def test_a_standby_takes_over_from_what_the_other_saved_meanwhile() -> None:
    it = bench()
    it.source.refuse(BUSY)
    other = it.checkpoint.acquire()
    state = it.watch.state

    def save_while_standing_by(name: LoopState) -> None:
        if name == "standby":
            it.checkpoint.save(position(2), other)
        state(name)

    it.watch.state = save_while_standing_by  # type: ignore[method-assign]
    it.capture.run()
    assert it.source.opened == [position(2)]


def save_before_it_is_opened(it: Bench, state: State) -> None:
    """Another instance saves while this one's source is being opened for the first time."""
    open_ = it.source.open
    other = it.checkpoint.acquire()
    left = [state]

    def open_late(resume: State) -> None:
        if left:
            it.checkpoint.save(left.pop(), other)
        open_(resume)

    it.source.open = open_late  # type: ignore[method-assign]


def test_what_another_saved_until_the_source_was_ours_is_where_this_one_begins() -> None:
    it = bench()
    save_before_it_is_opened(it, position(2))
    it.capture.run()
    assert it.source.opened == [{}, position(2)]
    assert it.published() == EVENTS[2:]


def test_a_checkpoint_that_moved_on_while_the_source_refused_it_is_read_again() -> None:
    it = bench()
    it.source.refuse(CheckpointError("older than the slot", code="checkpoint.older"))
    save_before_it_is_opened(it, position(3))
    it.capture.run()
    assert it.source.opened == [position(3)]


def test_whoever_had_the_checkpoint_can_no_longer_save_when_the_first_event_leaves() -> None:
    """A standby takes over: what the other still holds may be published, but counts no more."""
    it = bench()
    other = it.checkpoint.acquire()
    publish = it.publisher.publish

    def publish_when_fenced(batch: EncodedBatch, state: State | None) -> None:
        with pytest.raises(CheckpointError, match="taken over"):
            it.checkpoint.save(position(9), other)
        publish(batch, state)

    it.publisher.publish = publish_when_fenced  # type: ignore[method-assign]
    it.capture.run()
    assert it.published() == EVENTS


def test_who_stands_by_does_not_touch_the_checkpoint() -> None:
    it = bench(once=True, busy_patience=30.0)
    it.source.refuse(*[BUSY] * 100)
    other = it.checkpoint.acquire()
    with pytest.raises(PreconditionError):
        it.capture.run()
    it.checkpoint.save(position(1), other)


@pytest.mark.parametrize("still_busy", [True, False])
def test_who_lost_its_source_to_another_ends_and_publishes_nothing_more(still_busy: bool) -> None:
    it = bench([EVENTS[0], Abort(LOST), *EVENTS[1:]])
    close = it.source.close

    def taken_over_meanwhile() -> None:
        close()
        if it.source.closed == 1:
            it.checkpoint.acquire()
            it.source.refuse(*[BUSY] * still_busy)

    it.source.close = taken_over_meanwhile  # type: ignore[method-assign]
    with pytest.raises(CheckpointError) as caught:
        it.capture.run()
    assert caught.value.code == "checkpoint.fenced"
    assert it.published() == EVENTS[:1]


def test_what_was_accepted_before_a_freeze_is_thrown_away_and_comes_again() -> None:
    it = bench([EVENTS[0], EVENTS[1], Abort(FROZEN), *EVENTS[2:]])
    it.publisher.stall()
    close = it.publisher.close

    def close_and_go_on() -> None:
        close()
        it.publisher.go_on()

    it.publisher.close = close_and_go_on  # type: ignore[method-assign]
    it.capture.run()
    assert it.source.opened == [{}, {}]
    assert it.published() == EVENTS


def test_a_refused_checkpoint_that_stays_the_same_ends_the_run() -> None:
    it = bench()
    it.source.refuse(CheckpointError("of another database", code="checkpoint.system"))
    with pytest.raises(CheckpointError):
        it.capture.run()


def test_ends_after_the_number_of_events_asked_for_without_moving_beyond_them() -> None:
    it = bench(max_events=2)
    it.capture.run()
    assert it.published() == EVENTS[:2]
    assert it.checkpoint.load() == position(2)


def test_stops_when_asked_and_saves_what_it_did() -> None:
    it = Bench(MemorySource(EVENTS, once=False))
    poll = it.source.poll

    def stop_at_the_end(limit: int, timeout: float) -> object:
        batch = poll(limit, timeout)
        if not batch.frames:
            it.capture.stop()
        return batch

    it.source.poll = stop_at_the_end  # type: ignore[method-assign,assignment]
    it.capture.run()
    assert it.published() == EVENTS
    assert it.checkpoint.load() == position(4)


class TransactionBench(Bench):
    """Its events are one transaction: only behind the last of them is a position. It is stopped behind the second. pause:
    seconds that pass with each look at the clock."""

    def __init__(self, pause: float) -> None:
        self._pause = pause
        super().__init__(MemorySource(EVENTS, once=False))
        poll = self.source.poll

        def in_parts(limit: int, timeout: float) -> Batch:
            batch = poll(limit, timeout)
            if batch.state == position(2):
                self.capture.stop()
            whole = batch.state is None or batch.state == position(4)
            return batch if whole else replace(batch, state=None)

        self.source.poll = in_parts  # type: ignore[method-assign]
        self.encoder.inside = lambda: {"part": b""} if 0 < len(self.publisher.events) < 4 else None  # type: ignore[method-assign]

    def tick(self) -> float:
        self.now += self._pause
        return self.now


def test_stops_behind_a_transaction_rather_than_in_the_middle() -> None:
    """D68: what was published of it would come again."""
    it = TransactionBench(pause=0.0)
    it.capture.run()
    assert it.published() == EVENTS
    assert it.checkpoint.load() == position(4)


def test_does_not_wait_long_for_the_end_of_a_transaction_when_it_is_to_stop() -> None:
    it = TransactionBench(pause=10.0)
    it.capture.run()
    assert it.published() == EVENTS[:2]
    assert it.checkpoint.load() == {}


def test_a_newer_instance_ends_this_one() -> None:
    it = bench()
    publish = it.publisher.publish

    def overtaken(batch: EncodedBatch, state: State | None) -> None:
        publish(batch, state)
        if len(it.publisher.events) == 2:
            it.checkpoint.acquire()

    it.publisher.publish = overtaken  # type: ignore[method-assign]
    with pytest.raises(CheckpointError) as caught:
        it.capture.run()
    assert caught.value.code == "checkpoint.fenced"
    assert len(it.published()) < len(EVENTS)


def test_a_delta_with_an_empty_value_forgets_its_partition() -> None:
    state = {"a": b"1", "b": b"2"}
    merge(state, {"a": b"", "c": b"3"})
    assert state == {"b": b"2", "c": b"3"}


def test_cutting_a_batch_says_whether_something_was_cut_off() -> None:
    events = EncodedBatch()
    for value in EVENTS:
        events.add("t", None, value, value)
    assert not cut(events, 4)
    assert cut(events, 1)
    assert events.values == EVENTS[:1]
    assert len(events) == 1


# Exactly once: the publisher owns the state.


class OwningBench(Bench):
    """A loop that publishes exactly once, into a local log. between: called when the source is open for the first time."""

    def __init__(
        self, folder: Path, source: MemorySource, between: Callable[[], object] = lambda: None
    ) -> None:
        super().__init__(source)
        self.folder = folder
        self.between = between
        self.kept = LocalCheckpoint(folder, "bench")
        self.capture = Capture(
            source,
            self.owner,
            Ledger(self.kept),
            lambda state: self.encoder,
            self.watch,
            CaptureSettings(save_interval=0.0, once=True),
            backoff=lambda: Backoff(random=lambda: 0.0, tick=self.tick),
            tick=self.tick,
        )

    def owner(self) -> LocalPublisher:
        publisher = LocalPublisher(self.folder, exactly_once="bench")
        take_over = publisher.take_over

        def after_the_other() -> State:
            between, self.between = self.between, lambda: None
            between()
            return take_over()

        publisher.take_over = after_the_other  # type: ignore[method-assign]
        return publisher

    def values(self) -> list[bytes | None]:
        with contextlib.closing(LocalLog(self.folder)) as log:
            return read(log, "memory").values


def test_a_publisher_that_owns_the_state_saves_it_with_the_events(tmp_path: Path) -> None:
    it = OwningBench(tmp_path, MemorySource(EVENTS))
    it.capture.run()
    assert it.values() == EVENTS
    assert it.kept.load() == position(4)
    assert it.source.acknowledged[-1] == position(4)
    assert it.watch.kept == 4


def test_the_source_is_opened_again_where_another_instance_has_stopped(tmp_path: Path) -> None:
    """It had a transaction under way while we opened the source."""
    other = LocalPublisher(tmp_path, exactly_once="bench")
    other.take_over()

    def go_on() -> None:
        batch = EncodedBatch()
        batch.add("memory", None, EVENTS[0], EVENTS[0])
        other.publish(batch, position(1))

    it = OwningBench(tmp_path, MemorySource(EVENTS), between=go_on)
    it.capture.run()
    assert it.source.opened == [{}, position(1)]
    assert it.values() == EVENTS


def test_a_lost_source_begins_again_from_what_is_saved(tmp_path: Path) -> None:
    it = OwningBench(tmp_path, MemorySource([*EVENTS[:2], Abort(LOST), *EVENTS[2:]]))
    it.capture.run()
    assert it.values() == EVENTS
    assert it.source.opened == [{}, position(2)]
    assert it.kept.load() == position(4)
