"""A dead-letter topic as a list of letters, each with what became of it.

Enters: a `Box`. Leaves: letters, in the order of their places, a piece at a time. Called by `build.deadletter` and
`redrive`. However large the topic is, only a byte for each record between the first marked letter and the last stays in
memory.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from liberator.change import TopicPartition
from liberator.deadletter.box import Bounds, Box
from liberator.deadletter.letter import OUTCOMES, Letter, LetterId, Mark, Outcome, letters_of, marks_of


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which letters are meant. connector: whose. ids: these; None: all. topic, error: globs; an error is a class, with or
    without its module, or a rule. since: milliseconds since the Unix epoch. done: those too that were redriven or
    discarded."""

    connector: str
    ids: Collection[LetterId] | None = None
    topic: str = "*"
    error: str = "*"
    since: int | None = None
    done: bool = False

    def __call__(self, letter: Letter) -> bool:
        """Is it meant, whatever became of it?"""
        if self.ids is not None and letter.id not in self.ids:
            return False
        if self.since is not None and letter.given_up_ms < self.since:
            return False
        names = (letter.error, letter.error.rpartition(".")[2], letter.rule or "")
        return (
            letter.connector == self.connector
            and fnmatchcase(letter.topic, self.topic)
            and any(fnmatchcase(name, self.error) for name in names)
        )


@dataclass(slots=True)
class _Marked:
    """What became of the letters of a partition, by offset from `first` on."""

    first: int = 0
    states: bytearray = field(default_factory=bytearray)

    def set(self, offset: int, outcome: Outcome) -> None:
        if not self.states:
            self.first = offset
        elif offset < self.first:
            self.states[0:0] = bytes(self.first - offset)
            self.first = offset
        missing = offset - self.first + 1 - len(self.states)
        if missing > 0:
            self.states.extend(bytes(missing))
        self.states[offset - self.first] = 1 + OUTCOMES.index(outcome)

    def get(self, offset: int) -> Outcome | None:
        at = offset - self.first
        state = self.states[at] if 0 <= at < len(self.states) else 0
        return OUTCOMES[state - 1] if state else None


class Ledger:
    """The letters of `topic`. complete: with what is not committed yet, which is waited for."""

    def __init__(self, box: Box, topic: str, *, complete: bool) -> None:
        self.topic = topic
        self._box = box
        self._complete = complete
        self._marked: dict[int, _Marked] = {}
        self._seen: dict[int, int] = {}

    def bounds(self) -> dict[int, Bounds]:
        """Where the partitions begin and end now."""
        return self._box.bounds(self.topic, complete=self._complete)

    def look(self) -> None:
        """Learn the marks that came since the last look."""
        for partition, (first, end) in sorted(self.bounds().items()):
            start = max(first, self._seen.get(partition, first))
            for mark in self._marks(partition, start, end):
                self._marked.setdefault(mark.letter.partition, _Marked()).set(
                    mark.letter.offset, mark.outcome
                )
            self._seen[partition] = max(start, end)

    def seen(self) -> dict[TopicPartition, int]:
        """Up to where marks are known."""
        return {TopicPartition(self.topic, partition): end for partition, end in self._seen.items()}

    def state(self, id: LetterId) -> Outcome | None:
        """What became of a letter; None: nothing yet."""
        marked = self._marked.get(id.partition)
        return marked.get(id.offset) if marked else None

    def letters(self, wanted: Wanted) -> Iterator[Letter]:
        """The letters that are meant, among those that were there at the last look."""
        for partition, (first, _) in sorted(self.bounds().items()):
            start, end = self._part(partition, first, wanted)
            if start < end:
                for batch in self._box.read(TopicPartition(self.topic, partition), start, end):
                    for letter in letters_of(batch):
                        if wanted(letter) and (wanted.done or self.state(letter.id) is None):
                            yield letter

    def find(self, id: LetterId) -> tuple[Letter, Mark | None] | None:
        """One letter with its last mark; None: there is none of this id."""
        bounds = self.bounds().get(id.partition)
        if bounds is None or not bounds.first <= id.offset < bounds.end:
            return None
        at = TopicPartition(self.topic, id.partition)
        for batch in self._box.read(at, id.offset, id.offset + 1):
            for letter in letters_of(batch):
                last = None
                for mark in self._marks(id.partition, id.offset, bounds.end):
                    last = mark if mark.letter == id else last
                return letter, last
        return None

    def earlier(self, before: LetterId, events: Collection[str]) -> Iterator[Letter]:
        """Letters of these events that stand before this one, in its partition."""
        bounds = self.bounds().get(before.partition)
        if bounds is not None:
            for batch in self._box.read(
                TopicPartition(self.topic, before.partition), bounds.first, before.offset
            ):
                yield from (letter for letter in letters_of(batch) if letter.event_id in events)

    def _marks(self, partition: int, start: int, end: int) -> Iterator[Mark]:
        for batch in self._box.read(TopicPartition(self.topic, partition), start, end):
            yield from marks_of(batch)

    def _part(self, partition: int, first: int, wanted: Wanted) -> tuple[int, int]:
        """What of a partition has to be read."""
        end = self._seen.get(partition, first)
        if wanted.ids is not None:
            offsets = [id.offset for id in wanted.ids if id.partition == partition]
            if not offsets:
                return end, end
            return max(first, min(offsets)), min(end, max(offsets) + 1)
        if wanted.since is not None:
            # A letter is written when its event is given up, or later.
            first = max(
                first, self._box.offset_at(TopicPartition(self.topic, partition), wanted.since - _SKEW)
            )
        return first, end


_SKEW = 60_000
"""Milliseconds by which clocks of connectors and brokers may differ."""
