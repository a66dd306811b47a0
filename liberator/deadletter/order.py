"""Which of two events of one key is the newer one, told by their ids. Pure.

Ids of the log and of snapshots hold places in the log of one server; what has other ids (queries, an outbox) is not told
apart here. See docs/reference/events.md.
"""

from __future__ import annotations

import re

_STREAM = re.compile(r"(\d+)/([^/]+)/([0-9A-F]+)/([0-9A-F]+)/(\d+)(?:/([tc]))?")
_SNAPSHOT = re.compile(r"(\d+)/[^/]+/snapshot/([0-9A-F]+)/([0-9A-F]+)/.*", re.DOTALL)

_PARTS = {None: 0, "t": 1, "c": 2}
"""A change of the key is a delete, its tombstone, and a create."""


def is_newer(one: str | None, than: str | None) -> bool | None:
    """Is event `one` newer? None: the ids do not tell."""
    first, second = _place(one or ""), _place(than or "")
    if first is None or second is None or first[0] != second[0]:
        return None
    return first[1] > second[1]


def _place(id: str) -> tuple[str, tuple[int, int, int]] | None:
    """The server, and a place that can be compared: a snapshot shows what was committed before its place."""
    if found := _STREAM.fullmatch(id):
        return found[1], (_lsn(found[3], found[4]), int(found[5]), _PARTS[found[6]])
    if found := _SNAPSHOT.fullmatch(id):
        return found[1], (_lsn(found[2], found[3]), -1, 0)
    return None


def _lsn(high: str, low: str) -> int:
    return int(high, 16) << 32 | int(low, 16)
