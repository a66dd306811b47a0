"""Whether the process of a group's member lives: a lock that the kernel gives back when it ends, however it ends.

Enters: a folder, a member. Leaves: the lock, or whether somebody holds it. Called by `group`. A process that hangs or was
suspended holds its lock: of that one nobody can say more than that it gives no signs of life.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path


class Life:
    """The lock of a member of this process, until `end`."""

    def __init__(self, folder: Path, member: str) -> None:
        self._path = _path(folder, member)
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def end(self) -> None:
        """Let it go."""
        self._path.unlink(missing_ok=True)
        os.close(self._descriptor)


def has_ended(folder: Path, member: str) -> bool:
    """Is it certain that this member's process is gone? Not of one without a lock: earlier versions made none."""
    try:
        descriptor = os.open(_path(folder, member), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    else:
        return True
    finally:
        os.close(descriptor)


def forget(folder: Path, member: str) -> None:
    """Remove what is left of a member that is gone, if we may."""
    with suppress(OSError):
        _path(folder, member).unlink(missing_ok=True)


def _path(folder: Path, member: str) -> Path:
    return folder / f"member-{member}.lock"
