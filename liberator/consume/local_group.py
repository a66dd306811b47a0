"""A consumer group of a local log, from outside. See `liberator.consume.group`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from liberator.change import TopicPartition
from liberator.consume.group import Bounds, active
from liberator.errors import ConsumeError
from liberator.locallog import LocalLog
from liberator.locallog.failure import told_as


class LocalGroup:
    """`group` of the local log in `folder`."""

    def __init__(self, folder: str | Path, group: str) -> None:
        self._where = f"local:{folder}"
        self._group = group
        with self._errors():
            self._log = LocalLog(folder)

    def bounds(self, topics: Collection[str] | Callable[[str], object]) -> dict[TopicPartition, Bounds]:
        """Where partitions begin and end."""
        with self._errors():
            known = self._log.topics()
            meant = [name for name in known if (topics(name) if callable(topics) else name in topics)]
            return {at: Bounds(*found) for at, found in self._log.bounds(meant).items()}

    def offsets_at(self, partitions: Collection[TopicPartition], time_ms: int) -> dict[TopicPartition, int]:
        """The first events of that time or later."""
        with self._errors():
            return {at: self._log.offset_at(at, time_ms) for at in partitions}

    def committed(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        """What the group has committed."""
        with self._errors():
            known = self._log.committed(self._group)
            return {at: known[at] for at in partitions if at in known}

    def move(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Let the group go on there."""
        with self._errors(), self._log.transaction() as transaction:
            if transaction.has_members(self._group):
                raise active(self._group)
            transaction.commit_offsets(self._group, offsets)

    def close(self) -> None:
        """Give back the file."""
        self._log.close()

    def _errors(self) -> AbstractContextManager[None]:
        return told_as(ConsumeError, "consume", self._where)
