"""Events to a file, one JSON object a line, appended.

Enters: encoded batches. Leaves: lines, and the states whose lines are on the disk. Called by the capture
loop. Never reports a state before its lines are synced, and never shares its file with another writer.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import stat
import time
from pathlib import Path

from liberator.change import EncodedBatch, State
from liberator.errors import PublishError
from liberator.publish.ndjson import encode

log = logging.getLogger(__name__)

_SYNC_INTERVAL = 0.1
"""Seconds between two syncs, so that many small transactions share one."""

_SYNC_BYTES = 8 << 20
"""A sync is not put off beyond this much data."""

_BLOCK = 64 << 10


class FilePublisher:
    """Appends to `path`, making its folders. Durable means synced to the disk.

    A last line that was torn by a crash is cut when the file is opened. Raises `PublishError`:
    publish.file_in_use while another process writes the file, publish.file_full (retryable: nothing of the
    batch stays behind), publish.file_failed, and publish.file_gone when the file was moved away or removed under us.
    """

    owns_state = False

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._descriptor = _open(self._path)
        self._regular = stat.S_ISREG(os.fstat(self._descriptor).st_mode)
        self._size = _cut_torn_line(self._descriptor, self._path) if self._regular else 0
        self._written: dict[str, bytes] = {}
        self._durable: dict[str, bytes] = {}
        self._unsynced = 0
        self._synced_at = time.monotonic()
        self._failure: PublishError | None = None

    def ready(self, timeout: float) -> bool:
        """Always: a disk takes what it is given, or fails."""
        return True

    def publish(self, batch: EncodedBatch, state: State | None) -> None:
        """Append the batch; it is synced later, together with others."""
        if self._failure is not None:
            raise self._failure
        self._append(encode(batch))
        if state:
            self._written.update(state)

    def durable(self) -> State | None:
        """The merged states synced since the last call; syncs when that is due."""
        if self._due():
            self._sync()
        durable, self._durable = self._durable, {}
        return durable or None

    def flush(self, timeout: float) -> bool:
        """Sync now. A disk can't be hurried: `timeout` is not looked at."""
        self._sync()
        return True

    def close(self) -> None:
        """Close the file and let others write it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _append(self, lines: bytes) -> None:
        unwritten = memoryview(lines)
        try:
            while unwritten:
                unwritten = unwritten[os.write(self._descriptor, unwritten) :]
        except OSError as error:
            self._undo()
            failure = _not_written(self._path, error)
            if not failure.retryable:
                self._failure = failure
            raise failure from error
        self._size += len(lines)
        self._unsynced += len(lines)

    def _undo(self) -> None:
        if self._regular:
            os.ftruncate(self._descriptor, self._size)

    def _due(self) -> bool:
        return (
            not self._unsynced
            or self._unsynced >= _SYNC_BYTES
            or time.monotonic() - self._synced_at >= _SYNC_INTERVAL
        )

    def _sync(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._unsynced and self._regular:
            try:
                os.fdatasync(self._descriptor)
            except OSError as error:
                # The kernel may have dropped the pages: a second sync would succeed without them.
                self._failure = _not_synced(self._path, error)
                raise self._failure from error
            self._still_there()
        self._unsynced = 0
        self._synced_at = time.monotonic()
        self._durable.update(self._written)
        self._written.clear()

    def _still_there(self) -> None:
        try:
            there = os.path.samestat(self._path.stat(), os.fstat(self._descriptor))
        except FileNotFoundError:
            there = False
        if not there:
            self._failure = PublishError(
                "the file was moved away or removed while it was written",
                code="publish.file_gone",
                where=str(self._path),
                fix="stop the connector before the file is rotated; the next start publishes what was not saved",
            )
            raise self._failure


def _open(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        new = not path.exists()
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise PublishError(
            f"the file can't be opened for writing: {error.strerror}",
            code="publish.file_failed",
            where=str(path),
            fix="check the path in publish.url and the rights of the user that runs liberate",
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise PublishError(
            "another process writes this file",
            code="publish.file_in_use",
            where=str(path),
            fix="give every connector a file of its own, or stop the other process",
        ) from None
    if new:
        _sync_folder(path.parent)
    return descriptor


def _sync_folder(folder: Path) -> None:
    """Make the new file's name durable too."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _cut_torn_line(descriptor: int, path: Path) -> int:
    """Cut what follows the last newline; returns the size that is left."""
    size = os.fstat(descriptor).st_size
    whole = size
    while whole:
        start = max(0, whole - _BLOCK)
        newline = os.pread(descriptor, whole - start, start).rfind(b"\n")
        if newline >= 0:
            whole = start + newline + 1
            break
        whole = start
    if whole != size:
        log.warning("cut a torn last line of %d bytes from %s", size - whole, path)
        os.ftruncate(descriptor, whole)
    return whole


def _not_written(path: Path, error: OSError) -> PublishError:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return PublishError(
        f"the file could not be written: {error.strerror}",
        code="publish.file_full" if full else "publish.file_failed",
        where=str(path),
        fix="make room on the disk (or raise the quota); the connector goes on by itself"
        if full
        else "check the disk; the next start publishes what was not saved",
        retryable=full,
    )


def _not_synced(path: Path, error: OSError) -> PublishError:
    return PublishError(
        f"the file could not be synced to the disk: {error.strerror}",
        code="publish.file_failed",
        where=str(path),
        fix="check the disk; the next start publishes what was not saved",
    )
