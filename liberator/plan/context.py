"""Why it happened: what a transaction says of itself, as headers of its events.

Enters: the content of logical messages with the prefix `PREFIX`, one JSON object each. Leaves: headers. Called by executors.
The server sends a transaction in the order in which it was written, and it may be of any size, so a message speaks for the
events that come after it in its transaction; a second one adds to the first. No I/O.
"""

from __future__ import annotations

import json
import logging
from typing import Any

import orjson

from liberator.change import EncodedBatch, Headers

log = logging.getLogger(__name__)

PREFIX = "liberator.context"

_TAKEN = ("id", "type", "content-type")
_TAKEN_BEGINNINGS = ("__", "ce_")
"""Headers that say something else already."""

_LIMIT = 8192
"""Bytes of one message: every event of the transaction carries it."""


class TransactionContext:
    """The headers of the transaction under way."""

    def __init__(self) -> None:
        self._headers: dict[str, bytes] = {}
        self._from = 0

    @property
    def empty(self) -> bool:
        """Has the transaction said nothing of itself?"""
        return not self._headers

    def forget(self) -> None:
        """Another transaction begins."""
        self._headers = {}

    def next_batch(self) -> None:
        """What follows goes into another batch."""
        self._from = 0

    def said(self, content: bytes, out: EncodedBatch) -> None:
        """A message of the transaction, behind the events that are in `out` already."""
        self.apply(out)
        self._headers.update(_headers_of(content))

    def apply(self, out: EncodedBatch) -> None:
        """Give the events that came since their headers. What an event says itself stands."""
        if self._headers:
            for index in range(self._from, len(out)):
                own = out.headers[index] or ()
                names = {name for name, _ in own}
                out.headers[index] = (*own, *((n, v) for n, v in self._headers.items() if n not in names))
        self._from = len(out)


def _headers_of(content: bytes) -> Headers:
    if len(content) > _LIMIT:
        log.warning("a message with prefix %s has more than %d bytes, and is ignored", PREFIX, _LIMIT)
        return ()
    try:
        fields = orjson.loads(content)
    except orjson.JSONDecodeError:
        fields = None
    if not isinstance(fields, dict):
        log.warning("a message with prefix %s is no JSON object, and is ignored", PREFIX)
        return ()
    if any(map(_is_taken, fields)):
        log.warning(
            "a message with prefix %s names headers that say something else; they are left out", PREFIX
        )
    return tuple(
        (name, header_text(value))
        for name, value in fields.items()
        if value is not None and not _is_taken(name)
    )


def _is_taken(name: str) -> bool:
    return not name or name in _TAKEN or name.startswith(_TAKEN_BEGINNINGS)


def header_text(value: Any) -> bytes:
    """Text as it is, everything else as JSON."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace")
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
