"""Positions in a local log, beside the events: what `publish.local` writes in the transaction of its events is read
here.

Enters: deltas and epochs. Leaves: states. Called by the capture loop and by `liberate checkpoint`. Every value
carries a checksum.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from liberator.change import State
from liberator.checkpoint.format import corrupt, fenced
from liberator.errors import CheckpointError
from liberator.locallog import LocalLog, LocalLogFailure


class LocalCheckpoint:
    """The positions of connector `name` in the local log in `folder`, which is made with the first write.

    Raises `CheckpointError`: checkpoint.corrupt, checkpoint.version, checkpoint.fenced, checkpoint.foreign (somebody
    else's SQLite file), checkpoint.busy and checkpoint.full (both retryable), checkpoint.unavailable.
    """

    def __init__(self, folder: str | Path, name: str) -> None:
        self._folder = Path(folder)
        self._name = name
        self._where = f"local:{folder}"
        self._epoch: int | None = None
        self._opened: LocalLog | None = None

    def acquire(self) -> int:
        """Become the writer: a new epoch, greater than all before."""
        with self._errors(), self._log().transaction() as transaction:
            self._epoch = transaction.next_epoch(self._name)
        return self._epoch

    def load(self) -> State:
        """All partitions as last saved; none when there is no log."""
        return {partition: value for partition, value, _ in self.describe()}

    def glance(self) -> State:
        """As `load`: nothing here is ever waited for."""
        return self.load()

    def save(self, delta: State, epoch: int) -> None:
        """Merge `delta`, on the disk when this returns, unless a newer epoch was acquired."""
        with self._errors(), self._log().transaction() as transaction:
            transaction.save_positions(self._name, delta, epoch)

    def describe(self) -> Sequence[tuple[str, bytes, str]]:
        """(partition, value, when it was saved); no writer notices."""
        if self._opened is None and not LocalLog.exists(self._folder):
            return []
        with self._errors():
            return self._log().positions(self._name)

    def reset(self) -> None:
        """Forget all partitions, whatever their condition. Only an epoch of this object can still save."""
        with self._errors(), self._log().transaction() as transaction:
            transaction.forget_positions(self._name, self._epoch)

    def close(self) -> None:
        """Close the file."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def _log(self) -> LocalLog:
        if self._opened is None:
            self._opened = LocalLog(self._folder)
        return self._opened

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except LocalLogFailure as failure:
            if failure.word == "corrupt":
                raise corrupt(failure.what, self._where) from failure
            if failure.word == "fenced":
                raise fenced(self._name, self._where) from failure
            raise failure.error(CheckpointError, "checkpoint", self._where) from failure
