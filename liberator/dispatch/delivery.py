"""Finished events: what came of them is published, and their offsets are committed.

Enters: events that are finished, with what came of them. Leaves: records at a publisher, commits at a consumer. Called by
the loop, in its thread. One class for each delivery: at least once, where an offset follows what is durable; exactly once,
where both are in one transaction.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence

from liberator.change import EncodedBatch, Event, TopicPartition
from liberator.dispatch.offsets import Offsets, offsets_of
from liberator.dispatch.results import Results
from liberator.errors import ConsumeError, PublishError
from liberator.protocols import Consumer, DispatchWatch, Publisher, ResultsPublisher

log = logging.getLogger(__name__)

_ROOM = 0.2
"""Seconds between two looks whether the publisher has room."""


class AtLeastOnce:
    """Events are done when what came of them is durable, or, where nothing did, at once.

    remember: called with events that the function has done, before they count as done. wanted: is anybody still waiting for
    the broker to have room?
    """

    size = 0
    """Bytes of what came of events and waits here."""

    def __init__(
        self,
        consumer: Consumer,
        publisher: Publisher,
        offsets: Offsets,
        watch: DispatchWatch,
        remember: Callable[[Sequence[Event]], None],
        wanted: Callable[[], bool],
    ) -> None:
        self._consumer = consumer
        self._publisher = publisher
        self._offsets = offsets
        self._watch = watch
        self._remember = remember
        self._wanted = wanted
        self._publishing: dict[str, tuple[Sequence[Event], bool]] = {}
        self._number = 0

    @property
    def busy(self) -> bool:
        """Is something not durable yet?"""
        return bool(self._publishing)

    def finish(
        self, events: Sequence[Event], batch: EncodedBatch | None = None, *, worked: bool = False
    ) -> None:
        """These are finished. batch: what came of them. worked: the function has done them; else they are given up, or it
        was not asked."""
        if batch is None:
            self._done(events, worked)
            return
        while not self._publisher.ready(_ROOM) and self._wanted():
            log.debug("waiting for the broker")
        self._number += 1
        name = str(self._number)
        self._publishing[name] = events, worked
        self._publisher.publish(batch, {name: b"1"})

    def look(self) -> None:
        """See what is durable."""
        for name in self._publisher.durable() or {}:
            self._done(*self._publishing.pop(name))

    def flush(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds until everything is durable."""
        return self._publisher.flush(timeout)

    def commit(self) -> None:
        """Commit what is done."""
        self._commit(self._offsets.to_commit())

    def drop(self, partitions: Collection[TopicPartition]) -> None:
        """These partitions are another member's. What is on its way to the broker arrives all the same."""

    def close(self) -> None:
        """Give the publisher's resources back."""
        self._publisher.close()

    def _done(self, events: Sequence[Event], worked: bool) -> None:
        if not events:
            return
        if worked:
            self._remember(events)
        for partition, offsets in offsets_of(events):
            self._offsets.done(partition, offsets)
        self._watch.done(len(events))

    def _commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        if not offsets:
            return
        try:
            self._consumer.commit(offsets)
        except ConsumeError as error:
            if not error.retryable and error.code != "consume.lost":
                raise
            self._watch.error(error.code)
            log.info("%s; what was not committed comes again", error)
        else:
            self._committed(offsets)

    def _committed(self, offsets: Mapping[TopicPartition, int]) -> None:
        self._offsets.committed(offsets)
        self._watch.committed()


class ExactlyOnce(AtLeastOnce):
    """What came of events waits until an offset may stand behind them, and is published in one transaction with it. So each
    result is seen once by those who read committed events. What fails ends the session, with nothing left in between."""

    def __init__(
        self,
        consumer: Consumer,
        publisher: Publisher,
        results: ResultsPublisher,
        offsets: Offsets,
        watch: DispatchWatch,
        remember: Callable[[Sequence[Event]], None],
    ) -> None:
        super().__init__(consumer, publisher, offsets, watch, lambda events: None, lambda: False)
        self._together = results
        self._remember_later = remember
        self._results = Results()
        self._in_doubt = False

    @property
    def size(self) -> int:  # type: ignore[override]  # here something waits
        """Bytes of what came of events and waits here."""
        return self._results.size

    @property
    def busy(self) -> bool:
        """Is something not published yet?"""
        return bool(len(self._results))

    def finish(
        self, events: Sequence[Event], batch: EncodedBatch | None = None, *, worked: bool = False
    ) -> None:
        """See `AtLeastOnce.finish`. Their offsets wait here with what came of them."""
        if events or batch is not None:
            self._results.add(events, batch, worked)
        self._done(events, worked)

    def look(self) -> None:
        """Raises `PublishError` when a partition went with half of what came of an invocation."""
        if self._in_doubt:
            raise PublishError(
                "partitions went to another member before what came of their events was published",
                code="publish.rearranged",
                fix="nothing to do: the connector begins again behind what was committed",
                retryable=True,
            )

    def flush(self, timeout: float) -> bool:
        """Everything that may be published is."""
        self.commit()
        return not self.busy

    def commit(self) -> None:
        """Publish what may be published, with the offsets. Raises `PublishError`, after which nothing more is published."""
        if self._in_doubt:
            return
        ready = self._results.ready(self._offsets.to_commit(), self._offsets.place)
        offsets = self._offsets.further(ready.offsets)
        batches = ready.batches()
        if batches:
            self._in_doubt = True  # until we know
            self._together.publish(batches, offsets)
            self._in_doubt = False
            self._committed(offsets)
        else:
            self._commit(offsets)
        for result in ready.results:
            if result.worked:
                self._remember_later(result.events)
        self._results.forget(ready.results)

    def drop(self, partitions: Collection[TopicPartition]) -> None:
        """These partitions are another member's, and what came of their events comes of them there."""
        if not self._results.drop(partitions):
            self._in_doubt = True

    def close(self) -> None:
        """Give the publishers' resources back."""
        self._together.close()
        super().close()
