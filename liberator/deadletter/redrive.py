"""Letters published again, or given up; each with a mark that is written together with it.

Enters: a `Box`, a `Ledger`, which letters are meant, and a judge of what may be published. Leaves: a `Result` for each.
Called by `build.deadletter`.

Theory of operation. Whoever redrives takes the dead-letter topic over first, and learns the marks after that: so of two
at once the earlier one can't write any more. Letters go in rounds, in the order of their partition. For a round the
original topic is read from the oldest letter's time on, for events of the same keys: one that is newer refuses a letter,
the event itself makes it done without being published. Then events and marks are written as one; what came in between is
looked at while that can still be undone, and if a newer event is among it, the round begins anew.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from liberator.change import ConsumedBatch, Event, PlacedRecord, TopicPartition
from liberator.deadletter.box import Bounds, Box
from liberator.deadletter.ledger import Ledger, Wanted
from liberator.deadletter.letter import Letter, LetterId, Mark, marks_of, record_of
from liberator.deadletter.order import Place, is_newer, place_of
from liberator.errors import DeadLetterError
from liberator.kafka.partition import partition_of
from liberator.kafka.size import record_batch_bytes

log = logging.getLogger(__name__)

ROUND, ROUND_BYTES = 2_000, 8 << 20
"""Letters, and bytes of them, that are looked at and written together."""

SKEW = 60_000
"""Milliseconds by which clocks of connectors and brokers may differ."""

_ATTEMPTS = 5

Judge = Callable[[Letter], str | None]
"""Why a letter may not be published; None: it may."""

_Place = tuple[str, int, bytes | None]
"""Topic, partition, key."""

Fate = Literal["redriven", "already there", "refused", "discarded"]


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a letter, or would have. why: in words, without anything of the row. checked: what was looked at for
    newer events."""

    letter: Letter
    fate: Fate
    why: str = ""
    checked: str = ""


@dataclass(slots=True)
class _Case:
    """A letter in a round. id, place: of its event. at: where that goes. doubts: events that may be newer, by id, with their
    offsets; which is told by older letters."""

    letter: Letter
    id: str | None
    place: Place | None
    at: TopicPartition | None = None
    refused: str = ""
    there: int | None = None
    newer: int | None = None
    doubts: dict[str, int] = field(default_factory=dict)
    unknown: bool = False
    checked: str = ""


class Redrive:
    """Publishes the letters that are meant again. judge: see `Judge`. force: also where a newer event of the key is on the
    topic, or nobody can know. dry_run: writes nothing."""

    def __init__(
        self, box: Box, ledger: Ledger, judge: Judge, *, force: bool = False, dry_run: bool = False
    ) -> None:
        self._box = box
        self._ledger = ledger
        self._judge = judge
        self._force = force
        self._dry_run = dry_run
        self._counts: dict[str, int] = {}

    def run(self, wanted: Wanted) -> Iterator[Result]:
        """One result a letter, when it is durable."""
        _begin(self._box, self._ledger, self._dry_run)
        for letters in _rounds(self._ledger.letters(wanted)):
            yield from self._round(letters, wanted)

    def _round(self, letters: list[Letter], wanted: Wanted) -> list[Result]:
        for _ in range(_ATTEMPTS):
            if not self._dry_run:
                self._ledger.look()
            letters = [it for it in letters if wanted.ids is not None or self._ledger.state(it.id) is None]
            cases = [self._case(letter) for letter in letters]
            seen = self._ledger.seen() | self._look(cases)
            results = self._results(cases)
            if self._dry_run or self._write(cases, results, seen):
                return results
            log.info("something came meanwhile: looking again")
        raise DeadLetterError(
            "newer events of the same keys keep coming",
            code="dead_letter.overtaken",
            where=f"topic {self._ledger.topic}",
            fix="nothing of this round was written; try again, with fewer dead letters at once",
        )

    # One letter by itself

    def _case(self, letter: Letter) -> _Case:
        case = _Case(letter, letter.event_id, place_of(letter.event_id))
        if self._ledger.state(letter.id) == "redriven":
            case.refused = "it was redriven already"
            return case
        if letter.lacks is not None:
            case.refused = (
                f"its {letter.lacks} did not fit into the dead letter, so there is nothing to publish"
            )
            return case
        case.refused = self._judge(letter) or ""
        if case.refused:
            return case
        count = self._count(letter.topic)
        case.at = TopicPartition(letter.topic, _partition(letter, count))
        return case

    def _count(self, topic: str) -> int:
        """Partitions of the original topic; a dry run makes none."""
        if topic not in self._counts:
            found = len(self._box.bounds(topic)) or 1 if self._dry_run else self._box.ensure(topic)
            self._counts[topic] = found
        return self._counts[topic]

    def _results(self, cases: Sequence[_Case]) -> list[Result]:
        """An event of which there are several letters is published once."""
        published: dict[tuple[str, str], LetterId] = {}
        results = []
        for case in cases:
            result = self._result(case)
            event = (case.letter.topic, case.letter.event_id or str(case.letter.id))
            if result.fate == "redriven" and event in published:
                why = f"it is the same event as {published[event]}"
                result = Result(case.letter, "already there", why, case.checked)
            elif result.fate == "redriven":
                published[event] = case.letter.id
            results.append(result)
        return results

    def _result(self, case: _Case) -> Result:
        letter = case.letter
        if not case.refused and case.there is None and not self._force:
            if case.newer is not None:
                case.refused = f"a newer event of its key is on its topic, at offset {case.newer}"
            elif case.unknown:
                case.refused = (
                    "its topic no longer reaches back to its time: a newer event may have been there"
                )
        if not case.refused and case.there is None and not self._dry_run:
            case.refused = self._too_large(letter)
        if case.refused:
            return Result(letter, "refused", case.refused, case.checked)
        if case.there is not None:
            why = f"the event is on its topic, at offset {case.there}"
            return Result(letter, "already there", why, case.checked)
        return Result(letter, "redriven", "", case.checked)

    def _too_large(self, letter: Letter) -> str:
        headers = tuple((name, value or b"") for name, value in letter.headers)
        size = record_batch_bytes(letter.key, letter.value, b"", headers)
        limit = self._box.limit(letter.topic)
        return f"it has {size} bytes, and its topic takes {limit} (max.message.bytes)" if size > limit else ""

    # What is on the original topics

    def _look(self, cases: Sequence[_Case]) -> dict[TopicPartition, int]:
        """Look for newer events of the keys. Up to where each partition was looked at."""
        groups: dict[TopicPartition, list[_Case]] = {}
        for case in cases:
            if case.at is not None and case.letter.key is not None:
                groups.setdefault(case.at, []).append(case)
        seen = {}
        found = {topic: self._box.bounds(topic) for topic in {at.topic for at in groups}}
        for at, group in groups.items():
            bounds = found[at.topic].get(at.partition, Bounds(0, 0))
            self._read(at, group, bounds)
            seen[at] = bounds.end
        self._settle_doubts(cases)
        return seen

    def _read(self, at: TopicPartition, group: Sequence[_Case], bounds: Bounds) -> None:
        start = self._start(at, [case.letter for case in group], bounds)
        keys: dict[bytes | None, list[_Case]] = {}
        for case in group:
            keys.setdefault(case.letter.key, []).append(case)
        oldest = {key: _oldest(cases) for key, cases in keys.items()}
        first_ms, count = None, 0
        if start < bounds.end:
            log.info("looking for newer events in %s/%d, offsets %d to %d", *at, start, bounds.end - 1)
            for batch in self._box.read(at, start, bounds.end):
                first_ms = batch.timestamps[0] if first_ms is None and len(batch) else first_ms
                count += len(batch)
                for index, key in enumerate(batch.keys):
                    if key in keys:
                        _compare(keys[key], oldest[key], _event(batch, index))
        for case in group:
            case.unknown = start == bounds.first > 0 and _reaches_no_further(case.letter, at, start, first_ms)
            case.checked = f"{count} events of {at.topic}/{at.partition} from offset {start} on"

    def _start(self, at: TopicPartition, group: Sequence[Letter], bounds: Bounds) -> int:
        """The first offset at which an event may be that is newer than one of the letters."""
        starts = []
        times = []
        for letter in group:
            origin = letter.origin
            if origin is not None and origin[0] == at:
                starts.append(min(max(bounds.first, origin[1] + 1), bounds.end))
            else:
                times.append(letter.timestamp)
        if times and bounds.first < bounds.end:
            starts.append(max(bounds.first, self._box.offset_at(at, min(times) - SKEW)))
        return min(starts, default=bounds.end)

    def _settle_doubts(self, cases: Sequence[_Case]) -> None:
        """An event that came after the letter may be an older letter that was redriven: then it is not newer."""
        doubtful = [case for case in cases if case.doubts]
        for partition in {case.letter.id.partition for case in doubtful}:
            here = [case for case in doubtful if case.letter.id.partition == partition]
            ids = {id for case in here for id in case.doubts}
            last = max(case.letter.id for case in here)
            for older in self._ledger.earlier(last, ids):
                for case in here:
                    if older.id < case.letter.id and older.topic == case.letter.topic:
                        case.doubts.pop(older.event_id or "", None)
        for case in doubtful:
            if case.doubts and case.newer is None:
                case.newer = min(case.doubts.values())

    # Writing

    def _write(
        self, cases: Sequence[_Case], results: Sequence[Result], seen: dict[TopicPartition, int]
    ) -> bool:
        events = []
        marks = []
        for case, result in zip(cases, results, strict=True):
            if result.fate == "redriven" and case.at is not None:
                events.append(_record(case.letter, case.at))
            if result.fate != "refused":
                mark = Mark(case.letter.id, "redriven", result.why)
                marks.append(record_of(mark, self._ledger.topic, case.letter))
        if not marks:
            return True
        keys: set[_Place] = {(it.topic, it.partition, it.key) for it in events if it.key is not None}
        watch = _Watch(self._ledger.topic, {case.letter.id for case in cases}, events, keys, self._force)
        return self._box.write(events, marks, seen, watch)


class Discard:
    """Gives letters up. reason: is kept with the mark."""

    def __init__(self, box: Box, ledger: Ledger, reason: str, *, dry_run: bool = False) -> None:
        self._box = box
        self._ledger = ledger
        self._reason = reason
        self._dry_run = dry_run

    def run(self, wanted: Wanted) -> Iterator[Result]:
        """One result a letter, when it is durable."""
        _begin(self._box, self._ledger, self._dry_run)
        for letters in _rounds(self._ledger.letters(wanted)):
            marks = [
                record_of(Mark(letter.id, "discarded", self._reason), self._ledger.topic, letter)
                for letter in letters
            ]
            if not self._dry_run:
                self._write(letters, marks)
            for letter in letters:
                yield Result(letter, "discarded", self._reason)

    def _write(self, letters: list[Letter], marks: list[PlacedRecord]) -> None:
        watch = _Watch(self._ledger.topic, {letter.id for letter in letters}, [], set(), False)
        if not self._box.write([], marks, self._ledger.seen(), watch):
            raise DeadLetterError(
                "somebody else has redriven or discarded one of these dead letters meanwhile",
                code="dead_letter.overtaken",
                where=f"topic {self._ledger.topic}",
                fix="nothing of this round was written; look at the list, and try again",
            )


class _Watch:
    """Looks at what came while a round was being decided: is there a mark of one of its letters, or, before the last of our
    own events of a key, another event of that key?"""

    def __init__(
        self,
        topic: str,
        letters: set[LetterId],
        events: Sequence[PlacedRecord],
        keys: set[_Place],
        force: bool,
    ) -> None:
        self._topic = topic
        self._letters = letters
        self._keys = set() if force else keys
        self._ours = Counter(map(_comparable, events))
        self._left = Counter((event.topic, event.partition, event.key) for event in events)

    def __call__(self, batch: ConsumedBatch) -> bool:
        """Has somebody been faster?"""
        for index, topic in enumerate(batch.topics):
            if topic != self._topic:
                place = (topic, batch.partitions[index], batch.keys[index])
                if place in self._keys and not self._is_ours(batch, index) and self._left[place]:
                    return True
        return any(mark.letter in self._letters for mark in marks_of(batch))

    def _is_ours(self, batch: ConsumedBatch, index: int) -> bool:
        record = _comparable(
            PlacedRecord(
                batch.topics[index],
                batch.partitions[index],
                batch.keys[index],
                batch.values[index],
                batch.headers[index],
            )
        )
        if not self._ours.get(record):
            return False
        self._ours[record] -= 1
        self._left[record.topic, record.partition, record.key] -= 1
        return True


def _comparable(record: PlacedRecord) -> PlacedRecord:
    """Not every client can write a header that is null: it may have become empty."""
    return replace(record, headers=tuple((name, value or b"") for name, value in record.headers))


def _begin(box: Box, ledger: Ledger, dry_run: bool) -> None:
    if not dry_run:
        box.take_over(ledger.topic)
    ledger.look()


def _rounds(letters: Iterator[Letter]) -> Iterator[list[Letter]]:
    """Letters in pieces that fit into memory, and into one transaction."""
    piece: list[Letter] = []
    size = 0
    for letter in letters:
        if piece and (len(piece) >= ROUND or size + letter.size > ROUND_BYTES):
            yield piece
            piece, size = [], 0
        piece.append(letter)
        size += letter.size
    if piece:
        yield piece


def _oldest(cases: Sequence[_Case]) -> Place | None:
    """The oldest place of several; None where it is not known of all, or they are not of one server."""
    places = [case.place for case in cases if case.place is not None]
    known = len(places) == len(cases) and len({place.system for place in places}) == 1
    return min(places, key=lambda place: place.at) if known else None


def _compare(cases: Sequence[_Case], oldest: Place | None, event: Event) -> None:
    """What an event says about the letters of its key. oldest: of them."""
    id = event.headers.get("id")
    place = place_of(id)
    if is_newer(oldest, place):
        return
    for case in cases:
        letter = case.letter
        newer = is_newer(place, case.place)
        if newer is False and id != case.id:
            continue
        origin = letter.origin
        if origin is not None and origin[0] == event.place and event.offset <= origin[1]:
            continue
        if id and id == case.id:
            case.there = event.offset
        elif newer:
            case.newer = event.offset
        elif origin is not None or event.timestamp >= letter.timestamp:
            if id:
                case.doubts.setdefault(id, event.offset)
            else:
                case.newer = event.offset


def _event(batch: ConsumedBatch, index: int) -> Event:
    return Event(
        batch.topics[index],
        batch.partitions[index],
        batch.offsets[index],
        batch.timestamps[index],
        None,
        None,
        batch.headers[index],
    )


def _reaches_no_further(letter: Letter, at: TopicPartition, start: int, first_ms: int | None) -> bool:
    """The oldest event that is left: is it younger than the letter, so that others may have been between?"""
    origin = letter.origin
    if origin is not None and origin[0] == at:
        return start > origin[1] + 1
    return first_ms is None or first_ms > letter.timestamp


def _partition(letter: Letter, count: int) -> int:
    """Where the event was, or where its key leads."""
    origin = letter.origin
    if origin is not None and origin[0].partition < count:
        return origin[0].partition
    key = (letter.event_id or str(letter.id)).encode() if letter.key is None else letter.key
    return partition_of(key, count)


def _record(letter: Letter, at: TopicPartition) -> PlacedRecord:
    return PlacedRecord(at.topic, at.partition, letter.key, letter.value, letter.headers)
