"""Where requests wait for their answers.

Enters: posted events, from the threads of a server; outcomes, from the dispatch loop. Leaves: events for the loop, which
reads them as it reads a stream (`protocols.Consumer`), and one answer for each. A request is answered once, whatever
happens: a loop that ends answers those that still wait.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from liberator.change import ConsumedBatch, Event, ReadHeaders, TopicPartition
from liberator.errors import FunctionError, LiberatorError
from liberator.protocols import Invocations, Outcome, Output, Rebalance, Start


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of an event. error: why it was not done; None: it was. outputs: what the function gave for it."""

    error: LiberatorError | None = None
    outputs: Sequence[Output] = ()


class Unavailable(Exception):
    """It can't be taken now, and nothing was done."""


class Office(Protocol):
    """Who decides what becomes of a request."""

    def ask(self, posted: Posted, patience: float) -> Verdict | None:
        """Have it done, or kept. patience: seconds that its sender waits. None: nothing is known by then. Raises
        `Unavailable`."""


@dataclass(slots=True)
class Posted:
    """An event that somebody waits for. headers: with its id. timestamp: milliseconds since the Unix epoch."""

    body: bytes
    headers: ReadHeaders
    timestamp: int
    verdict: Verdict | None = None
    withdrawn: bool = False
    _ended: threading.Event = field(default_factory=threading.Event)

    def wait(self, timeout: float) -> Verdict | None:
        """Seconds at most. None: nothing is known yet; it is not begun any more if it has not been."""
        if not self._ended.wait(timeout):
            self.withdrawn = True
        return self.verdict

    def end(self, verdict: Verdict) -> None:
        """Only the first verdict counts."""
        if self.verdict is None:
            self.verdict = verdict
            self._ended.set()


class Desk:
    """See `liberator.protocols.Consumer`. topic: what events say that they are of. most: requests that wait to be begun;
    further ones are refused."""

    def __init__(self, topic: str, *, most: int = 256) -> None:
        self.closing: Callable[[], None] = lambda: None
        """Called when the desk is closed, and everybody is answered."""
        self._place = TopicPartition(topic, 0)
        self._posted: queue.Queue[Posted] = queue.Queue(most)
        self._under_way: dict[int, Posted] = {}
        self._given: dict[int, Sequence[Output]] = {}
        self._lock = threading.Lock()
        self._made = self._committed = 0
        self._open = True
        self._rebalance: Rebalance | None = None

    # -- for the server

    def submit(self, posted: Posted) -> bool:
        """Have it done. False: not now."""
        with self._lock:
            if not self._open:
                return False
            try:
                self._posted.put_nowait(posted)
            except queue.Full:
                return False
            return True

    def ask(self, posted: Posted, patience: float) -> Verdict | None:
        """See `Office.ask`."""
        if not self.submit(posted):
            raise Unavailable
        return posted.wait(patience)

    # -- for the loop

    def subscribe(self, topics: Collection[str] | Callable[[str], object], rebalance: Rebalance) -> None:
        """See `Consumer.subscribe`. There is only one thing to read."""
        self._rebalance = rebalance

    def poll(self, limit: int, timeout: float) -> ConsumedBatch:
        """Events that were posted."""
        if self._rebalance is not None:
            self._rebalance.assigned({self._place})
            self._rebalance = None
        batch = ConsumedBatch()
        if not self._open:
            time.sleep(timeout)
            return batch
        try:
            self._add(batch, self._posted.get(timeout=timeout))
            while len(batch) < limit:
                self._add(batch, self._posted.get_nowait())
        except queue.Empty:
            pass
        return batch

    def _add(self, batch: ConsumedBatch, posted: Posted) -> None:
        if posted.withdrawn:
            return
        self._under_way[self._made] = posted
        batch.topics.append(self._place.topic)
        batch.partitions.append(self._place.partition)
        batch.offsets.append(self._made)
        batch.timestamps.append(posted.timestamp)
        batch.keys.append(None)
        batch.values.append(posted.body)
        batch.headers.append(posted.headers)
        self._made += 1

    def given(self, event: Event, outputs: Sequence[Output]) -> None:
        """The function has done it, and gave this; what of it is published is not durable yet."""
        self._given[event.offset] = outputs

    def done(self, events: Sequence[Event]) -> None:
        """They are done, and what came of them is durable."""
        for event in events:
            self._end(event, Verdict(outputs=self._given.pop(event.offset, ())))

    def failed(self, event: Event, error: FunctionError) -> None:
        """It is not done, and nobody tries again."""
        self._end(event, Verdict(error))

    def _end(self, event: Event, verdict: Verdict) -> None:
        posted = self._under_way.pop(event.offset, None)
        if posted is not None:
            posted.end(verdict)

    def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Nothing is kept: whoever posted them knows."""
        self._committed = offsets[self._place]

    def pause(self, partitions: Collection[TopicPartition]) -> None:
        """Take nothing for now. Those that are not begun are told so at once."""
        with self._lock:
            self._open = False
        self._turn_away()

    def resume(self, partitions: Collection[TopicPartition]) -> None:
        """Take events again."""
        self._open = True

    def assigned(self) -> frozenset[TopicPartition]:
        """See `Consumer.assigned`."""
        return frozenset({self._place})

    def seek(self, partition: TopicPartition, to: Start | int) -> None:
        """There is nothing to go back to."""

    def lag(self) -> Mapping[TopicPartition, int]:
        """Requests that wait."""
        return {self._place: self._made - self._committed + self._posted.qsize()}

    def ends(self) -> Mapping[TopicPartition, int]:
        """See `Consumer.ends`."""
        return {self._place: self._made}

    def close(self) -> None:
        """Answer everybody who still waits, then give up the address. Idempotent."""
        self.pause(())
        for posted in self._under_way.values():
            posted.end(Verdict(_stopping()))
        self._under_way.clear()
        self.closing()

    def _turn_away(self) -> None:
        while True:
            try:
                self._posted.get_nowait().end(Verdict(_stopping()))
            except queue.Empty:
                return


def _stopping() -> FunctionError:
    return FunctionError("the connector is stopping, or busy", code="function.unavailable", retryable=True)


class AnsweringInvocations:
    """See `liberator.protocols.Invocations`: tells the desk what becomes of each event. What has no topic is for the answer
    only, and goes no further."""

    def __init__(self, invocations: Invocations, desk: Desk) -> None:
        self._invocations, self._desk = invocations, desk
        self._events: dict[int, Sequence[Event]] = {}

    def free(self) -> int:
        """How many invocations could begin now."""
        return self._invocations.free()

    def begin(self, number: int, events: Sequence[Event], attempt: int) -> None:
        """Start an invocation: one event, as somebody waits for each."""
        self._events[number] = events
        self._invocations.begin(number, events, attempt)

    def finished(self, timeout: float) -> Sequence[tuple[int, Outcome]]:
        """Those that have ended since the last call."""
        return [
            (number, self._told(number, outcome)) for number, outcome in self._invocations.finished(timeout)
        ]

    def close(self, timeout: float) -> None:
        """Give the function's resources back."""
        self._invocations.close(timeout)

    def _told(self, number: int, outcome: Outcome) -> Outcome:
        [event] = self._events.pop(number)
        if 0 in outcome.failures:
            self._desk.failed(event, outcome.failures[0])
        else:
            self._desk.given(event, outcome.outputs)
        published = [output for output in outcome.outputs if output.topic is not None]
        return Outcome(outcome.failures, published)
