"""What came of events and is not published yet, for a sink whose results and offsets are published in one transaction.

Enters: events that are finished, with what came of them. Leaves: what may be published now, and the offsets that go with it.
Called by the loop. No I/O.

Theory of operation: an offset says that all before it is done, so a result goes out with an offset behind its events, or
events behind a gap would be done again after a crash, and their results come twice. A result is of all events of an
invocation, so it waits for the slowest of their partitions; and while it waits, no offset may pass one of its events.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from liberator.change import EncodedBatch, Event, TopicPartition
from liberator.dispatch.offsets import offsets_of


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """Finished events. batch: what came of them, None: nothing. worked: the function has done them; else they were given up.
    spans: of each partition their first and last offset."""

    events: Sequence[Event]
    batch: EncodedBatch | None
    worked: bool
    spans: Mapping[TopicPartition, tuple[int, int]]

    def is_before(self, bounds: Mapping[TopicPartition, int]) -> bool:
        """Are all its events before an offset of their partition?"""
        return all(last < bounds[partition] for partition, (_, last) in self.spans.items())


@dataclass(slots=True)
class Ready:
    """What is published together. offsets: to be committed with it."""

    results: list[Result] = field(default_factory=list)
    offsets: dict[TopicPartition, int] = field(default_factory=dict)

    def batches(self) -> list[EncodedBatch]:
        """What there is to publish."""
        return [result.batch for result in self.results if result.batch is not None]


class Results:
    """What waits. size: bytes of it."""

    def __init__(self) -> None:
        self._waiting: list[Result] = []
        self.size = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, events: Sequence[Event], batch: EncodedBatch | None, worked: bool) -> None:
        """These are finished."""
        self._waiting.append(Result(events, batch, worked, _spans(events)))
        self.size += batch.size() if batch is not None else 0

    def ready(self, moved: Mapping[TopicPartition, int], place: Callable[[TopicPartition], int]) -> Ready:
        """What may be published now. moved: offsets that could be committed if nothing waited. place: of a partition, the
        first offset that is not finished."""
        bounds = {partition: place(partition) for result in self._waiting for partition in result.spans}
        ready, late = self._waiting, True
        while late:
            before = [result for result in ready if result.is_before(bounds)]
            late = len(before) < len(ready)
            for result in set(ready).difference(before):  # which may make others late
                for partition, (first, _) in result.spans.items():
                    bounds[partition] = min(bounds[partition], first)
            ready = before
        offsets = {partition: min(at, bounds.get(partition, at)) for partition, at in moved.items()}
        return Ready(list(ready), offsets)

    def forget(self, results: Iterable[Result]) -> None:
        """They are durable, or another's."""
        gone = set(results)
        self._keep([result for result in self._waiting if result not in gone])

    def drop(self, partitions: Collection[TopicPartition]) -> bool:
        """These partitions are another member's: what came of their events, comes of them there. False: something came of
        events of other partitions, too, so that nobody can tell what may still be published."""
        gone = set(partitions)
        touched = [result for result in self._waiting if result.spans.keys() & gone]
        self.forget(touched)
        return all(result.spans.keys() <= gone for result in touched)

    def _keep(self, results: list[Result]) -> None:
        self._waiting = results
        self.size = sum(result.batch.size() for result in results if result.batch is not None)


def _spans(events: Sequence[Event]) -> dict[TopicPartition, tuple[int, int]]:
    spans: dict[TopicPartition, tuple[int, int]] = {}
    for partition, offsets in offsets_of(events):
        first, last = spans.get(partition, (offsets[0], offsets[0]))
        spans[partition] = min(first, *offsets), max(last, *offsets)
    return spans
