"""The dispatch loop: events in, a function called, offsets committed when they are done. Knows only the protocols.

Theory of operation. One thread does everything but the function's own work: it polls all the time (a consumer that does not
loses its partitions), lets the trigger say when what waits is enough, begins invocations, and looks at those that have
ended. An event is done when the function has done it and what came of it is published and durable, or when it is durably
dead-lettered (Invariant 10); a partition's offset is committed up to the first event that is not. Events of one lane
(`backlog`) are never with two invocations at once, and never overtake each other, retries included. When a partition goes
to another member, what is under way of it gets a moment to end and is committed; what is not done by then is done again
over there.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from liberator.change import EncodedBatch, Event, TopicPartition, events_of
from liberator.dispatch.backlog import Backlog
from liberator.dispatch.delivery import AtLeastOnce, ExactlyOnce
from liberator.dispatch.offsets import Offsets
from liberator.dispatch.settle import ENDING, Attempt, GivenUp, Retry, settle, unready
from liberator.dispatch.sifting import Sifted
from liberator.dispatch.trigger import Trigger
from liberator.errors import ConsumeError, FunctionError, PublishError
from liberator.lanes import Order
from liberator.protocols import (
    Consumer,
    DispatchWatch,
    Invocations,
    Outcome,
    Output,
    Publisher,
    ResultsPublisher,
)

log = logging.getLogger(__name__)

OnFailure = Literal["dead_letter", "stop", "skip"]

_POLL_EVENTS = 1_000
_IDLE = 0.2
_BUSY = 0.005
"""Seconds to wait for events: the longer one while nothing is under way."""

_AT_WORK = 0.05
"""Seconds to wait for functions to end, while everybody is at work and the next batch is here."""

_POLL_WITHIN = 0.1
"""Seconds after which the consumer is polled at the latest, so that it keeps its partitions."""

_LOOK_WHETHER_DONE = 0.2
"""Seconds between two looks whether everything is done that was there (`once`)."""

_JOIN_WITHIN = 20.0
"""Seconds after which a member that was given nothing takes it that others have everything (`once`)."""

_REVOKED = 5.0
"""Seconds for what is under way of partitions that go to another member."""


@dataclass(frozen=True, slots=True)
class DispatchSettings:
    """What of the configuration decides here. max_age: seconds, older events are given up untried. commit_before: offsets
    are committed before the function is called: at most once. memory: bytes of events that wait. drain: seconds for the
    way out. commit_interval: seconds between two commits. until_idle: end when nothing came for so many seconds, None:
    never. once: end when everything is done that was there at the start. max_events: end when so many events are done.
    lag_interval: seconds between two looks how far behind the group is. in_turn: nothing begins while what came of earlier
    events is not durable: who keeps offsets himself needs it."""

    order: Order = "key"
    retry: Retry = Retry()  # noqa: RUF009  # frozen
    bisect: bool = True
    on_failure: OnFailure = "dead_letter"
    dead_letter_topic: str = ""
    permanent_topic: str | None = None
    max_age: float | None = None
    commit_before: bool = False
    memory: int = 64 << 20
    drain: float = 9.0
    commit_interval: float = 0.5
    until_idle: float | None = None
    once: bool = False
    max_events: int | None = None
    lag_interval: float = 10.0
    in_turn: bool = False


class Dispatch:
    """One sink connector's loop. `run` returns when it is stopped; `stop` may be called from a signal handler.

    topics: names, or which names are meant. output: records of what a function gave for these events. given_up: the record
    of an event that is not tried any more, for a topic. publisher: takes both. sift: which of the events that were read the
    function is to see.
    remember: called with events that the function has done, before they count as done. results: publishes what comes of
    events together with their offsets, in place of publisher: exactly once.
    held: is the function left alone at the moment? Then nothing is read for it. place: called with partitions that are new,
    before anything is read of them.
    """

    def __init__(
        self,
        consumer: Consumer,
        topics: Collection[str] | Callable[[str], object],
        trigger: Trigger,
        function: Invocations,
        publisher: Publisher,
        settings: DispatchSettings,
        *,
        output: Callable[[Sequence[Output], Sequence[Event]], EncodedBatch],
        given_up: Callable[[GivenUp, str], EncodedBatch],
        watch: DispatchWatch,
        sift: Callable[[Sequence[Event]], Sifted] = Sifted,
        remember: Callable[[Sequence[Event]], None] = lambda events: None,
        held: Callable[[], bool] = lambda: False,
        results: ResultsPublisher | None = None,
        place: Callable[[Collection[TopicPartition]], None] = lambda partitions: None,
        tick: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._consumer = consumer
        self._topics = topics
        self._trigger = trigger
        self._function = function
        self._settings = settings
        self._output = output
        self._given_up = given_up
        self._watch = watch
        self._sift = sift
        self._held = held
        self._place = place
        self._tick, self._now, self._chance = tick, now, chance
        self._offsets = offsets = Offsets()
        self._delivery = (
            AtLeastOnce(consumer, publisher, offsets, watch, remember, self._is_wanted)
            if results is None
            else ExactlyOnce(consumer, publisher, results, offsets, watch, remember)
        )
        self._backlog = Backlog(settings.order)
        self._assigned: set[TopicPartition] = set()
        self._paused = False
        self._draining = False
        self._running: dict[int, tuple[Attempt, float]] = {}
        self._later: list[tuple[float, Attempt]] = []
        self._number = 0
        self._polled_at = 0.0
        self._commit_due = 0.0
        self._lag_due = 0.0
        self._goal: Mapping[TopicPartition, int] | None = None
        self._goal_due = 0.0
        self._begun = 0
        self._joined = False
        self._moved_at = self._started_at = 0.0
        self._stopping = threading.Event()
        self._failure: FunctionError | None = None

    def stop(self) -> None:
        """End soon: what is under way ends, and is committed."""
        self._stopping.set()

    def _is_wanted(self) -> bool:
        return not self._stopping.is_set()

    def run(self) -> None:
        """Dispatch until stopped. Raises the `LiberatorError` that ends it."""
        self._consumer.subscribe(self._topics, self)
        self._moved_at = self._started_at = self._tick()
        self._watch.state("streaming")
        try:
            while not self._stopping.is_set() and self._failure is None and not self._is_enough():
                self._turn()
            self._drain()
            if self._failure is not None:
                raise self._failure
        finally:
            self._watch.forgotten(self._offsets.outstanding())
            self._function.close(self._settings.drain)
            self._consumer.close()
            self._delivery.close()

    def _turn(self) -> None:
        self._watch.beat()
        if self._has_enough():
            self._look(_AT_WORK)
        else:
            self._read()
            self._look()
        self._begin()
        self._commit()
        self._measure()

    def _is_enough(self) -> bool:
        settings = self._settings
        if settings.once and self._reached_the_goal():
            return True
        if self._running or self._later or self._delivery.busy:
            return False
        if settings.max_events is not None and self._begun >= settings.max_events:
            return True
        limit = settings.until_idle
        return limit is not None and not self._backlog.size and self._tick() - self._moved_at >= limit

    def _reached_the_goal(self) -> bool:
        """Is everything committed that was there at the first look?"""
        now = self._tick()
        if now < self._goal_due:
            return False
        self._goal_due = now + _LOOK_WHETHER_DONE
        busy = self._running or self._later or self._delivery.busy or self._backlog.size
        if busy and self._goal and any(self._offsets.place(one) < self._goal[one] for one in self._ours()):
            return False  # known without asking anybody
        self._commit(now=True)
        try:
            ends = self._consumer.ends()
            if self._goal is None:
                self._goal = ends
            if not (self._joined or not self._goal or now - self._started_at > _JOIN_WITHIN):
                return False
            lag = self._consumer.lag()
        except ConsumeError as error:
            self._survive(error)
            return False
        return all(ends[one] - lag.get(one, 0) >= end for one, end in self._goal.items() if one in ends)

    def _ours(self) -> list[TopicPartition]:
        return [one for one in self._goal or () if one in self._assigned]

    def _measure(self) -> None:
        """How far behind is the group?"""
        now = self._tick()
        if now < self._lag_due:
            return
        self._lag_due = now + self._settings.lag_interval
        try:
            lag = self._consumer.lag()
        except ConsumeError as error:
            self._survive(error)
        else:
            behind = sum(lag.values())
            self._watch.lag(behind, sum(lag.get(partition, 0) for partition in self._assigned))
            self._trigger.lag(behind)

    def _survive(self, error: ConsumeError) -> None:
        """It may pass. Raises what does not."""
        self._watch.error(error.code)
        if not error.retryable:
            raise error
        log.warning("%s%s", error, f" ({error.fix})" if error.fix else "")

    # Reading

    def _read(self) -> None:
        self._breathe()
        self._polled_at = self._tick()
        busy = self._running or self._later or self._delivery.busy or self._backlog.ready
        try:
            batch = self._consumer.poll(_POLL_EVENTS, _BUSY if busy else _IDLE)
        except ConsumeError as error:
            self._survive(error)
            self._stopping.wait(_IDLE)
            return
        now = self._tick()
        if len(batch):
            self._moved_at = now
            self._watch.received(batch)
        for partition, start, end in batch.runs():
            self._offsets.read(partition, batch.offsets[start:end])
        sifted = self._sift(events_of(batch))
        self._backlog.add(sifted.wanted, now)
        self._delivery.finish(sifted.unwanted)
        for event, why in sifted.refused:
            self._give_up(GivenUp(event, why, 0))

    def _has_enough(self) -> bool:
        """Is everybody at work, and the next batch here? Then nothing is gained by reading on just now."""
        waiting = self._backlog.count >= max(self._trigger.count, _POLL_EVENTS)
        return waiting and self._function.free() <= 0 and self._tick() - self._polled_at < _POLL_WITHIN

    def _breathe(self) -> None:
        """Read no more than the memory holds, and nothing that the function may not have."""
        full = self._settings.memory // 2 if self._paused else self._settings.memory
        rest = self._held() or self._backlog.size + self._delivery.size >= full
        if rest and not self._paused:
            self._consumer.pause(self._assigned)
        elif self._paused and not rest:
            self._consumer.resume(self._assigned)
        self._paused = rest

    # Invocations

    def _begin(self, *, urgent: bool = False) -> None:
        """Begin what may begin: what is to be tried again first. urgent: however little it is."""
        while self._function.free() > 0 and self._failure is None and not self._has_to_wait():
            attempt = self._next(urgent)
            if attempt is None:
                return
            events = self._young_enough(attempt)
            if not events:
                self._settle(attempt, Outcome())
                continue
            if self._has_to_wait():
                self._later.insert(0, (self._tick(), attempt))
                return
            if self._settings.commit_before and attempt.number == 1:
                self._delivery.finish(events)
                self._commit(now=True)
            self._number += 1
            self._running[self._number] = attempt, self._tick()
            self._watch.begun(len(events), attempt.number)
            self._function.begin(self._number, events, attempt.number)

    def _has_to_wait(self) -> bool:
        return self._settings.in_turn and self._delivery.busy

    def _next(self, urgent: bool) -> Attempt | None:
        now = self._tick()
        for index, (due, attempt) in enumerate(self._later):
            if due <= now:
                del self._later[index]
                return attempt
        if not (self._trigger.due(self._backlog, now) or (urgent and self._backlog.ready)):
            return None
        count = self._trigger.share(self._backlog.ready, self._function.free())
        most = self._settings.max_events
        if most is not None:
            if self._begun >= most and not urgent:
                return None
            count = min(count, max(1, most - self._begun))
        events = self._backlog.take(count, self._trigger.size)
        self._begun += len(events)
        return Attempt(events)

    def _young_enough(self, attempt: Attempt) -> Sequence[Event]:
        """The events of an attempt; those that are too old for a first one are given up."""
        limit = self._settings.max_age
        if limit is None or attempt.number > 1:
            return attempt.events
        oldest = (self._now() - limit) * 1000
        old = [event for event in attempt.events if event.timestamp < oldest]
        if old:
            too_old = FunctionError(f"older than {limit:g} s (policy.max_age)", code="function.too_old")
            for event in old:
                self._give_up(GivenUp(event, too_old, 0))
            self._backlog.release(old, [event for event in attempt.events if event.timestamp >= oldest])
            attempt.events = [event for event in attempt.events if event.timestamp >= oldest]
        return attempt.events

    def _look(self, wait: float = 0.0) -> None:
        """See what has ended, and what is durable."""
        for number, outcome in self._function.finished(wait):
            self._moved_at = self._tick()
            attempt, begun = self._running.pop(number)
            self._watch.ended(self._moved_at - begun, outcome.failures)
            if error := unready(outcome.failures):
                self._failure = self._failure or error
            else:
                self._settle(attempt, outcome)
        self._delivery.look()

    def _settle(self, attempt: Attempt, outcome: Outcome) -> None:
        settings = self._settings
        settlement = settle(
            attempt, outcome.failures, settings.retry, bisect=settings.bisect, random=self._chance
        )
        batch = self._output(outcome.outputs, attempt.events) if outcome.outputs else None
        self._delivery.finish(settlement.done, batch, worked=True)
        for entry in settlement.given_up:
            self._give_up(entry)
        again = settlement.again
        if again is not None:
            self._keep_ours(again)
            if again.all_events():
                self._later.append((self._tick() + settlement.delay, again))
        self._backlog.release(attempt.all_events(), again.all_events() if again else ())

    def _give_up(self, entry: GivenUp) -> None:
        settings, event = self._settings, entry.event
        what = f"{event.id} ({event.topic}/{event.partition} at {event.offset}): {entry.error}"
        if entry.error.code in ENDING:
            self._end_with(entry)
            return
        self._watch.given_up(event.topic)
        if settings.permanent_topic is not None and not entry.error.retryable and entry.attempts:
            log.warning("rejected after %d attempts: %s", entry.attempts, what)
            self._delivery.finish([event], self._given_up(entry, settings.permanent_topic))
        elif settings.on_failure == "dead_letter":
            log.warning("dead letter after %d attempts: %s", entry.attempts, what)
            self._delivery.finish([event], self._given_up(entry, settings.dead_letter_topic))
        elif settings.on_failure == "skip":
            log.warning("skipped after %d attempts: %s", entry.attempts, what)
            self._delivery.finish([event])
        else:
            self._end_with(entry)

    def _end_with(self, entry: GivenUp) -> None:
        """The loop ends, and the event stands in front of it."""
        event = entry.event
        if self._failure is None:
            self._failure = FunctionError(
                f"the function failed {entry.attempts} times: {entry.error}"
                if entry.attempts
                else str(entry.error),
                code=entry.error.code,
                where=f"{event.topic}/{event.partition} at offset {event.offset}, event {event.id}",
                fix=entry.error.fix or "correct the function, then start again: it goes on with this event",
            )

    def _commit(self, now: bool = False) -> None:
        if not now and self._tick() < self._commit_due:
            return
        self._commit_due = self._tick() + self._settings.commit_interval
        self._delivery.commit()

    # Partitions that come and go: see `Rebalance`

    def assigned(self, partitions: Collection[TopicPartition]) -> None:
        """These are read from now on."""
        self._place(partitions)
        self._joined = True
        self._assigned.update(partitions)
        if self._paused or self._draining:
            self._consumer.pause(partitions)

    def revoked(self, partitions: Collection[TopicPartition]) -> None:
        """These go to another member when this returns."""
        self._finish(partitions, self._tick() + _REVOKED)
        self._forget(partitions)

    def _finish(self, partitions: Collection[TopicPartition], end: float) -> None:
        """Do what is under way of these partitions, and what was left out between events that are done: those would be done
        again. Then commit."""
        begun, read = self._under_way(), self._offsets.outstanding()
        last = {partition: self._offsets.cut(partition, begun.get(partition, -1)) for partition in partitions}
        self._watch.forgotten(read - self._offsets.outstanding())
        self._backlog.drop(last)
        while self._offsets.left(partitions) and self._failure is None and self._tick() < end:
            if self._held() and not self._running and not self._delivery.busy:
                break  # nothing comes of waiting
            self._begin(urgent=True)
            self._look(0.02)
            if self._delivery.busy and not self._running:
                self._delivery.flush(max(0.0, end - self._tick()))
        self._commit(now=True)

    def _under_way(self) -> dict[TopicPartition, int]:
        """Of each partition the last offset that a function has begun with, in whatever attempt."""
        last: dict[TopicPartition, int] = {}
        attempts = [attempt for attempt, _ in self._running.values()]
        attempts += [attempt for _, attempt in self._later]
        for event in (event for attempt in attempts for event in attempt.all_events()):
            last[event.place] = max(event.offset, last.get(event.place, -1))
        return last

    def lost(self, partitions: Collection[TopicPartition]) -> None:
        """These have gone already."""
        self._forget(partitions)

    def _forget(self, partitions: Collection[TopicPartition]) -> None:
        self._assigned -= set(partitions)
        self._delivery.drop(partitions)
        read = self._offsets.outstanding()
        self._offsets.drop(partitions)
        self._watch.forgotten(read - self._offsets.outstanding())
        self._backlog.drop(dict.fromkeys(partitions, -1))
        later, self._later = self._later, []
        for due, attempt in later:
            before = attempt.all_events()
            self._keep_ours(attempt)
            kept = attempt.all_events()
            self._backlog.release(before, kept)
            if kept:
                self._later.append((due, attempt))

    def _keep_ours(self, attempt: Attempt) -> None:
        """Leave out events of partitions that are another member's by now."""
        attempt.events = [event for event in attempt.events if event.place in self._assigned]
        for follower in attempt.rest:
            self._keep_ours(follower)

    # The way out

    def _drain(self) -> None:
        """What is under way ends; what would have to wait for another attempt comes again."""
        end = self._tick() + self._settings.drain
        self._watch.state("draining")
        self._draining = True
        self._consumer.pause(self._assigned)
        try:
            self._finish(self._assigned, end)
            while self._running and self._tick() < end:
                self._look(0.02)
            if self._delivery.flush(max(0.1, end - self._tick())):
                self._look()
        except PublishError as error:
            log.warning("%s; what it concerns comes again", error)
        self._commit(now=True)
        while self._offsets.to_commit() and self._tick() < end:
            self._tend()  # a group that is being rearranged takes no commits, and waits for us
            self._commit(now=True)

    def _tend(self) -> None:
        """Do our part of the group's life. What it gives is not looked at: it comes again."""
        try:
            self._consumer.poll(1, 0.05)
        except ConsumeError as error:
            if not error.retryable:
                raise
