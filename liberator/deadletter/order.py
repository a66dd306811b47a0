"""Which of two events of one key is the newer one, told by their ids. Pure.

Ids of the log and of snapshots hold places in the log of one server; what has other ids (queries, an outbox) is not told
apart here. See docs/reference/events.md.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_STREAM = re.compile(r"(\d+)/([^/]+)/([0-9A-F]+)/([0-9A-F]+)/(\d+)(?:/([tc]))?")
_SNAPSHOT = re.compile(r"(\d+)/[^/]+/snapshot/([0-9A-F]+)/([0-9A-F]+)/.*", re.DOTALL)

_PARTS = {None: 0, "t": 1, "c": 2}
"""A change of the key is a delete, its tombstone, and a create."""


class Place(NamedTuple):
    """Where an event stands. system: the server. at: LSN, number in its transaction, part of a change of the key. A snapshot
    shows what was committed before its place."""

    system: str
    at: tuple[int, int, int]


def place_of(id: str | None) -> Place | None:
    """Where the event of this id stands; None: the id does not tell."""
    if found := _STREAM.fullmatch(id or ""):
        return Place(found[1], (_lsn(found[3], found[4]), int(found[5]), _PARTS[found[6]]))
    if found := _SNAPSHOT.fullmatch(id or ""):
        return Place(found[1], (_lsn(found[2], found[3]), -1, 0))
    return None


def is_newer(one: Place | None, than: Place | None) -> bool | None:
    """Is the event at `one` newer? None: their places do not tell."""
    if one is None or than is None or one.system != than.system:
        return None
    return one.at > than.at


def _lsn(high: str, low: str) -> int:
    return int(high, 16) << 32 | int(low, 16)
