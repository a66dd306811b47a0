"""Files that appear or change, as events of a stream: read by the dispatch loop as any other.

Enters: looks at folders. Leaves: events. A file is done when its event is committed: until then the next start brings it
again. An event tells about a file as object stores do, and has the headers of a CloudEvent; what is in the file is for the
function to read.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from urllib.parse import quote

from liberator.change import ConsumedBatch, ReadHeaders, TopicPartition
from liberator.consume.files.changes import Changes, Kind, Version
from liberator.consume.files.looking import Look, Looking, look_at
from liberator.consume.files.seen import Seen
from liberator.errors import PreconditionError
from liberator.protocols import Rebalance, Start

_TURN = 0.05


@dataclass(frozen=True, slots=True)
class Watched:
    """folder: that the pattern, a glob, begins in. kinds: that start the function. settle: seconds for which a file must be
    at rest. interval: seconds between two looks."""

    folder: Path
    pattern: str
    kinds: Collection[Kind] = ("created", "changed")
    settle: float = 1.0
    interval: float = 1.0

    @property
    def name(self) -> str:
        """What its files are remembered under."""
        return f"{self.folder}/{self.pattern}"

    def look(self) -> Look:
        """What is there. Raises `OSError`."""
        return look_at(self.folder, self.pattern)


class FileConsumer:
    """See `liberator.protocols.Consumer`. name: of the connector. seen: remembers; closed with this. once:
    only what is there now, which is waited for until it is at rest. Each of `watched` is a partition of the topic
    ``<name>.files``."""

    def __init__(
        self,
        name: str,
        watched: Sequence[Watched],
        seen: Seen,
        *,
        once: bool = False,
        tick: Callable[[], float] = time.monotonic,
        clock: Callable[[], float] = time.time,
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        self._seen, self._clock, self._wait = seen, clock, wait
        self._rebalance: Rebalance | None = None
        self._paused: frozenset[TopicPartition] = frozenset()
        self._parts = {
            TopicPartition(topic_of(name), number): _Part(name, one, seen, tick, clock)
            for number, one in enumerate(watched)
        }
        try:
            for part in self._parts.values():
                part.begin(once=once)
        except BaseException:
            self.close()
            raise

    def subscribe(self, topics: Collection[str] | Callable[[str], object], rebalance: Rebalance) -> None:
        """See `Consumer.subscribe`. What is read is known already."""
        self._rebalance = rebalance

    def poll(self, limit: int, timeout: float) -> ConsumedBatch:
        """Files that are new and at rest."""
        if self._rebalance is not None:
            self._rebalance.assigned(self._parts.keys())
            self._rebalance = None
        end = time.monotonic() + timeout
        batch = ConsumedBatch()
        while True:
            for place, part in self._parts.items():
                part.look()
                if place not in self._paused:
                    self._add(batch, place, part, limit - len(batch))
            left = end - time.monotonic()
            if len(batch) or left <= 0:
                return batch
            self._wait(min(left, _TURN))

    def _add(self, batch: ConsumedBatch, place: TopicPartition, part: _Part, limit: int) -> None:
        for key, version, kind in part.take(limit):
            batch.topics.append(place.topic)
            batch.partitions.append(place.partition)
            batch.offsets.append(part.given)
            batch.timestamps.append(int(self._clock() * 1000))
            batch.keys.append(key.encode())
            batch.values.append(part.value(key, version, kind))
            batch.headers.append(part.headers(key, version, kind))
            part.given += 1

    def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Remember what is done. Raises `PreconditionError`."""
        for place, offset in offsets.items():
            self._parts[place].commit(offset)

    def pause(self, partitions: Collection[TopicPartition]) -> None:
        """See `Consumer.pause`."""
        self._paused |= set(partitions)

    def resume(self, partitions: Collection[TopicPartition]) -> None:
        """See `Consumer.resume`."""
        self._paused -= set(partitions)

    def assigned(self) -> frozenset[TopicPartition]:
        """See `Consumer.assigned`."""
        return frozenset(self._parts)

    def seek(self, partition: TopicPartition, to: Start | int) -> None:
        """There is nothing to go back to: a file that shall come again is to be touched."""

    def lag(self) -> Mapping[TopicPartition, int]:
        """Files that are new and not done."""
        return {place: part.ends - part.behind for place, part in self._parts.items()}

    def ends(self) -> Mapping[TopicPartition, int]:
        """Files that were ever new."""
        return {place: part.ends for place, part in self._parts.items()}

    def close(self) -> None:
        """Look no more."""
        for part in self._parts.values():
            part.close()
        self._seen.close()


class _Part:
    """One pattern. given: events, so far."""

    def __init__(
        self, name: str, watched: Watched, seen: Seen, tick: Callable[[], float], clock: Callable[[], float]
    ) -> None:
        self.given = self._committed = 0
        self._name, self._watched, self._seen, self._tick, self._clock = name, watched, seen, tick, clock
        self._changes = Changes(seen.known(watched.name), watched.kinds, watched.settle)
        self._ready: deque[tuple[str, Version, Kind]] = deque()
        self._open: deque[tuple[str, str]] = deque()
        self._looking: Looking | None = None

    def begin(self, *, once: bool) -> None:
        """Look from now on. Raises `PreconditionError` where `once` finds nothing to look at."""
        watched = self._watched
        if once:
            try:
                self._see(watched.look())
            except OSError as error:
                raise PreconditionError(
                    f"can't look at the folder: {error.strerror}",
                    code="consume.no_folder",
                    where=str(watched.folder),
                    fix="correct trigger.path, or make the folder",
                ) from error
            self._changes.only_these()
        self._looking = Looking(watched.look, watched.interval, str(watched.folder))

    @property
    def ends(self) -> int:
        """Files that were ever new."""
        return self._changes.found

    @property
    def behind(self) -> int:
        """How many of them are done."""
        return self._changes.dropped + self._committed

    def look(self) -> None:
        """Take in what the last look has found."""
        assert self._looking is not None
        there = self._looking.latest()
        if there is not None:
            self._see(there)

    def _see(self, there: Look) -> None:
        news, name = self._changes.look(there, self._tick(), self._clock()), self._watched.name
        self._ready += news.events
        self._seen.went(name, news.gone)
        self._seen.came_back(name, news.back)
        self._seen.forget(name, news.forgotten)
        self._seen.done(name, [(key, version.etag) for key, version in news.passed])

    def take(self, limit: int) -> list[tuple[str, Version, Kind]]:
        """At most so many that are ready."""
        taken = [self._ready.popleft() for _ in range(min(limit, len(self._ready)))]
        self._open += [(key, version.etag) for key, version, _ in taken]
        return taken

    def commit(self, offset: int) -> None:
        """The events before this one are done."""
        done = [self._open.popleft() for _ in range(offset - self._committed)]
        self._committed = offset
        self._seen.done(self._watched.name, done)
        # A function may take its file away before that is known to be done.
        self._seen.went(self._watched.name, [key for key, _ in done if self._changes.is_gone(key)])

    def value(self, key: str, version: Version, kind: Kind) -> bytes:
        """What is told about a file: words of object stores."""
        return json.dumps(
            {
                "event": kind,
                "bucket": str(self._watched.folder),
                "key": key,
                "path": str(self._watched.folder / key),
                "size": version.size,
                "modified": _moment(version.modified / 1e9),
                "etag": version.etag,
            },
            ensure_ascii=False,
        ).encode()

    def headers(self, key: str, version: Version, kind: Kind) -> ReadHeaders:
        """Its id, which is the same after a restart, and what a CloudEvent has."""
        id = f"{self._name}/{quote(key)}/{version.etag}"
        headers = {
            "id": id,
            "content-type": "application/json",
            "ce_specversion": "1.0",
            "ce_id": id,
            "ce_type": f"liberator.file.{kind}",
            "ce_source": f"file://{quote(str(self._watched.folder))}",
            "ce_subject": key,
            "ce_time": _moment(self._clock()),
        }
        return tuple((name, text.encode()) for name, text in headers.items())

    def close(self) -> None:
        """Look no more."""
        if self._looking is not None:
            self._looking.close()


def topic_of(name: str) -> str:
    """What events say that they are of."""
    return f"{name}.files"


def _moment(seconds: float) -> str:
    moment = datetime.fromtimestamp(seconds, timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
