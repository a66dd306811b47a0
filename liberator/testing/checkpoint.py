"""An in-memory checkpoint: the positions of a connector under test.

Enters: deltas and epochs. Leaves: states. Several of them may share one `MemoryStore`, as processes share a file.
Passes the same conformance suite as the real ones.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timezone

from liberator.change import State
from liberator.checkpoint.format import Saved, fenced, seal, unseal


class MemoryStore:
    """What outlives a checkpoint object: sealed records and epochs, by connector."""

    def __init__(self) -> None:
        self.records: defaultdict[str, dict[str, bytes]] = defaultdict(dict)
        self.epochs: defaultdict[str, int] = defaultdict(int)


class MemoryCheckpoint:
    """The positions of connector `name` in `store`, by default one of its own."""

    def __init__(self, name: str, store: MemoryStore | None = None) -> None:
        self._name = name
        self._store = MemoryStore() if store is None else store
        self._epoch: int | None = None

    def acquire(self) -> int:
        """Become the writer."""
        self._store.epochs[self._name] += 1
        self._epoch = self._store.epochs[self._name]
        return self._epoch

    def load(self) -> State:
        """All partitions as last saved."""
        return {partition: value for partition, value, _ in self.describe()}

    def glance(self) -> State:
        """As `load`: nothing here is ever waited for."""
        return self.load()

    def save(self, delta: State, epoch: int) -> None:
        """Merge `delta`, unless a newer epoch was acquired."""
        if epoch != self._store.epochs[self._name]:
            raise fenced(self._name, "memory")
        now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        for partition, value in delta.items():
            if value:
                self._records[partition] = seal(self._name, partition, Saved(value, now))
            else:
                self._records.pop(partition, None)

    def describe(self) -> Sequence[tuple[str, bytes, str]]:
        """(partition, value, when it was saved)."""
        saved = {
            partition: unseal(self._name, partition, record, "memory")
            for partition, record in sorted(self._records.items())
        }
        return [(partition, value, saved_at) for partition, (value, saved_at) in saved.items()]

    def reset(self) -> None:
        """Forget all partitions. Only an epoch of this object can still save."""
        if self._epoch is None:
            self._store.epochs[self._name] += 1
        self._records.clear()

    def close(self) -> None:
        """Nothing to give back."""

    @property
    def _records(self) -> dict[str, bytes]:
        return self._store.records[self._name]
