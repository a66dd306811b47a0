"""What is needed of a broker to go through dead letters. Two implementations: `kafka` and `local`; one suite tests both.

Every method raises `DeadLetterError`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from liberator.change import ConsumedBatch, PlacedRecord, TopicPartition

Seen = Mapping[TopicPartition, int]
"""Partitions, and the offset up to which somebody has looked at what is in them."""


class Bounds(NamedTuple):
    """first: offset of the oldest record that is left. end: the one that the next record will have."""

    first: int
    end: int


class Box(Protocol):
    """One broker."""

    def bounds(self, topic: str, *, complete: bool = True) -> dict[int, Bounds]:
        """Where the partitions of a topic begin and end; nothing for a topic that does not exist.

        complete: with what is not committed yet, which `read` then waits for; else to where all is committed.
        """

    def offset_at(self, at: TopicPartition, time_ms: int) -> int:
        """Offset of the first record of that time (milliseconds since the Unix epoch) or later; the end if there is none."""

    def read(self, at: TopicPartition, start: int, end: int) -> Iterator[ConsumedBatch]:
        """The committed records of a partition from offset `start` to before `end`, in pieces of a few MB."""

    def ensure(self, topic: str) -> int:
        """Make a topic that is missing, if the configuration lets us; the number of its partitions."""

    def limit(self, topic: str) -> int:
        """The largest record that a topic takes, in bytes. It was ensured."""

    def take_over(self, topic: str) -> None:
        """From now on nobody else who has taken this dead-letter topic over can write; what they left open is ended."""

    def write(
        self,
        events: Sequence[PlacedRecord],
        marks: Sequence[PlacedRecord],
        seen: Seen,
        overtaken: Callable[[ConsumedBatch], bool],
    ) -> bool:
        """Write all of it, or nothing; durable when this returns True.

        overtaken: is asked about what came since `seen`, up to our own events, these included where they can be seen
        already; when it says yes, nothing is written, and False returned.
        """

    def close(self) -> None:
        """Give back what was opened. Idempotent."""
