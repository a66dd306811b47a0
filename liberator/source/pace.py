"""When a reader leaves its socket alone for a moment, so that messages gather.

A walsender sends each message by itself. To a reader that waits for it this costs both sides more than the message does: a
packet, and somebody woken. To one that looks a little later it is one packet of many. Called by the stream reader.
"""

from __future__ import annotations

RUSH = 20_000
"""Messages a second from which it pays. Below, nobody waits for anything: a change is read when it arrives."""

REST = 0.001
"""Seconds of one rest: what it may cost a change."""

_EVERY = 0.003
_WINDOW = 0.01
"""Seconds over which messages are counted: long enough that the few of one small transaction are no rush."""


class Pace:
    """Counts what is read. Times are seconds of one steady clock."""

    def __init__(self) -> None:
        self._since = 0.0
        self._read = 0
        self._rush = False
        self._rested = 0.0

    def count(self, messages: int) -> None:
        """So many have been read."""
        self._read += messages

    def rest(self, now: float) -> bool:
        """Is it time to rest for `REST` seconds? True at most every three milliseconds, and only in a rush."""
        seconds = now - self._since
        if seconds >= _WINDOW:
            self._rush = self._read > seconds * RUSH
            self._since, self._read = now, 0
        if not self._rush or now - self._rested < _EVERY:
            return False
        self._rested = now
        return True
