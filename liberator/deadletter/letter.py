"""A dead letter, and the mark that says what became of one. Pure.

Enters: records of a dead-letter topic. Leaves: `Letter`s and `Mark`s, and records of marks.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

from liberator import letters
from liberator.change import ConsumedBatch, PlacedRecord, ReadHeaders, TopicPartition

Outcome = Literal["redriven", "discarded"]

OUTCOMES: tuple[Outcome, ...] = ("redriven", "discarded")

_ID = re.compile(r"(\d{1,9}):(\d{1,18})")
_RULE = re.compile(
    r"(?P<path>/.*?|the row|the payload): .*\((?P<rule>[A-Za-z$_]+), at (?P<at>/.*|the root)\)", re.DOTALL
)
"""How a violation is written (`contract.violation`). Names of columns hold anything: blanks, brackets."""


class LetterId(NamedTuple):
    """Where a letter is in its topic: what it is called by. It never changes and is never used again."""

    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.partition}:{self.offset}"

    @classmethod
    def parse(cls, text: str) -> LetterId:
        """``<partition>:<offset>``. Raises `ValueError`."""
        found = _ID.fullmatch(text)
        if found is None:
            raise ValueError(f"{text!r} is no id of a dead letter: write PARTITION:OFFSET, as 0:17")
        return cls(int(found[1]), int(found[2]))


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter. timestamp: of its record, milliseconds. headers: the event's own, as they were. said: the others."""

    id: LetterId
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: ReadHeaders
    said: dict[str, str]

    @property
    def topic(self) -> str:
        """Where the event was meant to be."""
        return self.said[letters.TOPIC]

    @property
    def connector(self) -> str:
        """Whose it is."""
        return self.said.get(letters.CONNECTOR, "")

    @property
    def error(self) -> str:
        """The class of what went wrong."""
        return self.said.get(letters.CLASS, "")

    @property
    def stage(self) -> str:
        """What was being done."""
        return self.said.get(letters.STAGE, "")

    @property
    def message(self) -> str:
        """What went wrong, in words. Those of a function may hold data."""
        return self.said.get(letters.MESSAGE, "")

    @property
    def rule(self) -> str | None:
        """The rule of the contract that is broken."""
        return self._violation("rule")

    @property
    def path(self) -> str | None:
        """Where in the row."""
        return self._violation("path")

    @property
    def event_id(self) -> str | None:
        """The event's own id; None: it has none."""
        found = [value for name, value in self.headers if name == "id" and value]
        return found[-1].decode("utf-8", "replace") if found else None

    @property
    def given_up_ms(self) -> int:
        """When the event was given up, milliseconds since the Unix epoch."""
        text = self.said.get(letters.TIMESTAMP, "")
        return int(text) if text.isdigit() else self.timestamp

    @property
    def origin(self) -> tuple[TopicPartition, int] | None:
        """Where the event was read; None: it never was in a topic."""
        partition, offset = self.said.get(letters.PARTITION, ""), self.said.get(letters.OFFSET, "")
        if not (partition.isdigit() and offset.isdigit()):
            return None
        return TopicPartition(self.topic, int(partition)), int(offset)

    @property
    def lacks(self) -> str | None:
        """What of the event did not fit into the letter."""
        for header, part in (
            (letters.HEADERS_GONE, "key, value and headers"),
            (letters.KEY_BYTES, "key and value"),
            (letters.VALUE_BYTES, "value"),
        ):
            if header in self.said:
                return part
        return None

    @property
    def size(self) -> int:
        """Bytes of key and value."""
        return len(self.key or b"") + len(self.value or b"")

    def _violation(self, part: str) -> str | None:
        found = _RULE.fullmatch(self.message)
        return found[part] if found else None


@dataclass(frozen=True, slots=True)
class Mark:
    """What became of a letter. note: why, or what was found. at: milliseconds since the Unix epoch, as its record says."""

    letter: LetterId
    outcome: Outcome
    note: str
    at: int = 0


def letters_of(batch: ConsumedBatch) -> Iterator[Letter]:
    """The dead letters among records of a dead-letter topic, in their order."""
    for index, headers in enumerate(batch.headers):
        found = letters.split(headers)
        if found is not None:
            yield Letter(
                LetterId(batch.partitions[index], batch.offsets[index]),
                batch.timestamps[index],
                batch.keys[index],
                batch.values[index],
                found.own,
                found.said,
            )


def marks_of(batch: ConsumedBatch) -> Iterator[Mark]:
    """The marks among records of a dead-letter topic, in their order."""
    for index, headers in enumerate(batch.headers):
        outcome = next((value for name, value in headers if name == letters.MARK), None)
        if outcome is not None and (mark := _mark(outcome, batch.values[index], batch.timestamps[index])):
            yield mark


def record_of(mark: Mark, topic: str, letter: Letter) -> PlacedRecord:
    """The record of a mark: in the partition of its letter, behind it."""
    said = {
        "letter": str(mark.letter),
        "outcome": mark.outcome,
        "note": mark.note,
        "topic": letter.topic,
        "event": letter.event_id,
    }
    return PlacedRecord(
        topic,
        mark.letter.partition,
        f"{letters.MARK} {mark.letter}".encode(),
        json.dumps(said, ensure_ascii=False).encode(),
        ((letters.MARK, mark.outcome.encode()),),
    )


def _mark(outcome: bytes, value: bytes | None, timestamp: int) -> Mark | None:
    try:
        said = json.loads(value or b"")
        known = next(each for each in OUTCOMES if each.encode() == outcome)
        return Mark(LetterId.parse(said["letter"]), known, str(said["note"]), timestamp)
    except (ValueError, KeyError, TypeError, StopIteration):
        return None  # somebody else's record: it says nothing about a letter
