"""The two ways in which PostgreSQL quotes values inside of values.

Array and hstore escape with a backslash; composite and range write quote and backslash twice. Each function takes the
whole text and where to begin, and gives the value and where to go on. Called by the families that are made of others.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from liberator.postgres.values.rules import refusal

_special = re.compile(rb'["\\]').search
_QUOTE = 0x22

Bare = Callable[[bytes, int], "re.Match[bytes] | None"]
"""Matches an unquoted value at a position; always matches, perhaps nothing."""


def backslashed(raw: bytes, at: int) -> tuple[bytes, int]:
    """The value in quotes whose first byte is at `at`: escapes are a backslash and the character."""
    end = raw.find(b'"', at)
    if end < 0:
        raise refusal("a quoted element")
    if raw.find(b"\\", at, end) < 0:
        return raw[at:end], end + 1
    end = at
    while True:
        found = _special(raw, end)
        if found is None:
            raise refusal("a quoted element")
        end = found.start()
        if raw[end] == _QUOTE:
            break
        end += 2
    # In this order: a quote always has its escape right before it, and then all backslashes left come in pairs.
    return raw[at:end].replace(b'\\"', b'"').replace(b"\\\\", b"\\"), end + 1


def doubled(raw: bytes, at: int) -> tuple[bytes, int]:
    """The value in quotes whose first byte is at `at`: quotes and backslashes are written twice."""
    end = at
    while True:
        end = raw.find(b'"', end)
        if end < 0:
            raise refusal("a quoted field")
        if raw[end + 1 : end + 2] != b'"':
            break
        end += 2
    return raw[at:end].replace(b'""', b'"').replace(b"\\\\", b"\\"), end + 1


def field(raw: bytes, at: int, bare: Bare) -> tuple[bytes | None, int]:
    """The field of a composite or bound of a range that begins at `at`; None when nothing is written, which is NULL."""
    if raw[at : at + 1] == b'"':
        return doubled(raw, at + 1)
    found = bare(raw, at)
    if found is None or found.end() == at:
        return None, at
    return found.group(), found.end()
