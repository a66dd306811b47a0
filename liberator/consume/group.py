"""A consumer group seen from outside, by who is no member of it: where it stands, and moved to another place.

Two implementations: `local_group` and `kafka.group`. Called by what replays a stream.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple, Protocol

from liberator.change import TopicPartition
from liberator.errors import PreconditionError


class Bounds(NamedTuple):
    """first: offset of the oldest event that is left. end: the one that the next event will have."""

    first: int
    end: int


class Group(Protocol):
    """One consumer group. Raises `ConsumeError`."""

    def bounds(self, topics: Collection[str] | Callable[[str], object]) -> dict[TopicPartition, Bounds]:
        """Where the partitions of these topics, or of those whose name is accepted, begin and end; nothing for a topic that
        does not exist."""

    def offsets_at(self, partitions: Collection[TopicPartition], time_ms: int) -> dict[TopicPartition, int]:
        """Of each partition the first event of that time (milliseconds since the Unix epoch) or later; the end if there is
        none."""

    def committed(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        """What the group has committed, where it has."""

    def move(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Let the group go on there. Raises `PreconditionError` (precondition.active_group) while it has a member: then
        nothing is moved."""

    def close(self) -> None:
        """Give back what was opened. Idempotent."""


def active(group: str) -> PreconditionError:
    """The group has a member."""
    return PreconditionError(
        f"group {group} has a member that is at work, and can't be moved",
        code="precondition.active_group",
        where=f"group {group}",
        fix="stop its connector, replay, start it again (one that was killed is a member until its session time-out is "
        "over); or replay beside it, into another group: --new-group NAME",
    )
