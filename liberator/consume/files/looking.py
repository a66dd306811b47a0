"""Looks at a folder again and again, in a thread: a file system may hang, and the loop that reads events must not.

Enters: a folder and a pattern. Leaves: what is there, a look at a time; who does not fetch a look gets no other. Polling, as
events of the system do not come from files on other machines (NFS, SMB), nor for what was there before.
"""

from __future__ import annotations

import glob
import logging
import os
import queue
import stat
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from liberator.consume.files.changes import Version

log = logging.getLogger(__name__)

_SHARE = 10
"""A look that takes long is followed by a pause that is so many times as long."""

Look = dict[str, Version]


def look_at(folder: Path, pattern: str) -> Look:
    """Regular files below the folder that fit the pattern, by their path from there with slashes; hidden ones only where the
    pattern begins a name with a dot, links never. Raises `OSError` when the folder can't be read."""
    with os.scandir(folder):
        pass  # glob would take a folder that is not there for an empty one
    found: Look = {}
    linked: dict[str, bool] = {"": False}
    for name in glob.iglob(pattern, root_dir=folder, recursive=True):  # noqa: PTH207  # Path's takes hidden files
        try:
            name.encode()
            about = os.lstat(folder / name)
        except UnicodeEncodeError:
            log.warning("a file whose name is no UTF-8 is left out", extra={"file": repr(name)})
        except OSError:
            continue  # it has just gone
        else:
            if stat.S_ISREG(about.st_mode) and not _behind_a_link(folder, name.rpartition("/")[0], linked):
                found[name] = Version(about.st_size, about.st_mtime_ns)
    return found


def _behind_a_link(folder: Path, parent: str, known: dict[str, bool]) -> bool:
    """Is one of the folders on the way a link? It may lead anywhere."""
    if parent not in known:
        above = _behind_a_link(folder, parent.rpartition("/")[0], known)
        known[parent] = above or (folder / parent).is_symlink()
    return known[parent]


class Looking:
    """Looks once in `interval` seconds."""

    def __init__(self, look: Callable[[], Look], interval: float, where: str) -> None:
        self._look, self._interval, self._where = look, interval, where
        self._looks: queue.Queue[Look] = queue.Queue(1)
        self._ended = threading.Event()
        self._failing = False
        self._thread = threading.Thread(target=self._run, name="files", daemon=True)
        self._thread.start()

    def latest(self) -> Look | None:
        """A look that nobody has fetched yet."""
        try:
            return self._looks.get_nowait()
        except queue.Empty:
            return None

    def close(self) -> None:
        """Look no more. Idempotent; does not wait for a file system that hangs."""
        self._ended.set()

    def _run(self) -> None:
        while not self._ended.is_set():
            began = time.monotonic()
            found = self._found()
            if found is not None:
                self._hand_over(found)
            took = time.monotonic() - began
            self._ended.wait(max(self._interval, _SHARE * took))

    def _hand_over(self, found: Look) -> None:
        while not self._ended.is_set():
            with suppress(queue.Full):
                self._looks.put(found, timeout=0.2)
                break

    def _found(self) -> Look | None:
        try:
            found = self._look()
        except OSError as error:
            # A share that is not mounted is not an empty one: nothing has gone, and nothing is new.
            if not self._failing:
                log.warning("can't look at %s: %s; waiting for it", self._where, error.strerror)
            self._failing = True
            return None
        if self._failing:
            log.info("looking at %s again", self._where)
        self._failing = False
        return found
