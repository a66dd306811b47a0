"""`context.state`: what a function remembers from one invocation to the next, by key.

Enters: keys, JSON values. Leaves: what the store holds, as of the last invocation that was committed, and what the function
changes; `stateful` saves that together with the offsets. Made for each invocation, where the function runs.

Every value has a number that changes with it. An invocation tells the numbers of what it has read, so that two members
that change one key at the same time can't overwrite each other unseen.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from liberator.errors import FunctionError
from liberator.protocols import StateChanges


@dataclass(frozen=True, slots=True)
class StateSettings:
    """url: sqlite:PATH or postgresql://... connector: whose state. timeout: seconds of a statement."""

    url: str
    connector: str
    timeout: float = 30.0


@dataclass(frozen=True, slots=True)
class Bounds:
    """Keys that begin with `prefix` and come behind `after`; None: all of them do."""

    prefix: str = ""
    after: str | None = None

    def has(self, key: str) -> bool:
        """Is it one of them?"""
        return (self.after is None or key > self.after) and key.startswith(self.prefix)

    @property
    def end(self) -> str | None:
        """The first key behind all that begin so; None: there is none."""
        prefix = self.prefix.rstrip(_LAST)
        if not prefix:
            return None
        following = ord(prefix[-1]) + 1
        return prefix[:-1] + chr(0xE000 if following == 0xD800 else following)  # no text has surrogates


_LAST = chr(0x10FFFF)

MOST = 10_000
"""Keys of a page."""

_PAGE = 500
"""Keys that are read at a time where somebody wants all."""


class Reader(Protocol):
    """The store, as a function sees it."""

    def read(self, key: str) -> tuple[str, int] | None:
        """A value as JSON and its number; None: there is none. Raises `LiberatorError`."""

    def scan(self, bounds: Bounds, limit: int) -> Sequence[tuple[str, str, int]]:
        """Keys with values and numbers, in the order of the keys' code points, `limit` at most. Raises `LiberatorError`."""

    def close(self) -> None:
        """Give the connections back."""


def open_store(settings: StateSettings) -> Reader:
    """The store, to read from; connected to when it is asked. Raises `LiberatorError`."""
    from liberator.function.state_store import StateStore

    return StateStore(settings)


class State:
    """`context.state`: values by key, for one invocation. A value is anything that JSON knows. What is changed is seen
    by the next invocation if this one ends well, and forgotten if not."""

    def __init__(self, store: Reader) -> None:
        self._store = store
        self._read: dict[str, int | None] = {}
        self._known: dict[str, str | None] = {}
        self._written: dict[str, str | None] = {}

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a key, `default` if there is none. A copy: what is done to it has to be `put`."""
        _require_text(key)
        if key in self._written:
            value = self._written[key]
        else:
            if key not in self._known:
                found = self._store.read(key)
                self._known[key], number = (None, None) if found is None else found
                self._read.setdefault(key, number)
            value = self._known[key]
        return default if value is None else json.loads(value)

    def scan(self, prefix: str = "", *, after: str | None = None, limit: int = 100) -> list[tuple[str, Any]]:
        """Keys that begin with `prefix`, with their values, in the order of their code points, as this invocation sees them:
        `limit` at most, from the first behind `after` on. Fewer than `limit` mean that these are the last. Raises
        `ValueError` for a limit that is not within 1 and 10,000."""
        _require_text(prefix)
        _require_text("" if after is None else after)
        if not 1 <= limit <= MOST:
            raise ValueError(f"a page has 1 to {MOST} keys, not {limit}")
        found: dict[str, str] = {}
        rest: Bounds | None = Bounds(prefix, after)
        while rest is not None and len(found) < limit:
            rows = self._store.scan(rest, limit)
            for key, value, number in rows:
                self._read.setdefault(key, number)
                found[key] = value
            end = rows[-1][0] if len(rows) == limit else None
            self._change(found, rest, end)
            rest = None if end is None else Bounds(prefix, end)
        return [(key, json.loads(found[key])) for key in sorted(found)[:limit]]

    def _change(self, found: dict[str, str], bounds: Bounds, end: str | None) -> None:
        """What this invocation knows better than the store, up to the key `end`."""
        for changes in (self._known, self._written):
            for key, value in changes.items():
                if not bounds.has(key) or (end is not None and key > end):
                    continue
                if value is None:
                    found.pop(key, None)
                else:
                    found[key] = value

    def items(self, prefix: str = "") -> Iterator[tuple[str, Any]]:
        """All keys that begin with `prefix`, with their values, in order; read page by page."""
        after = None
        while True:
            page = self.scan(prefix, after=after, limit=_PAGE)
            yield from page
            if len(page) < _PAGE:
                return
            after = page[-1][0]

    def put(self, key: str, value: Any) -> None:
        """Set the value of a key."""
        _require_text(key)
        self._written[key] = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)

    def delete(self, key: str) -> None:
        """Forget a key."""
        _require_text(key)
        self._written[key] = None

    @property
    def changes(self) -> StateChanges:
        """What was read, and what is changed."""
        return StateChanges(dict(self._read), dict(self._written))


class NoState:
    """`context.state` of a connector that has none configured."""

    def scan(self, prefix: str = "", *, after: str | None = None, limit: int = 100) -> list[tuple[str, Any]]:
        """Raises `FunctionError` (function.no_state)."""
        raise _no_state()

    def items(self, prefix: str = "") -> Iterator[tuple[str, Any]]:
        """Raises `FunctionError` (function.no_state)."""
        raise _no_state()

    def get(self, key: str, default: Any = None) -> Any:
        """Raises `FunctionError` (function.no_state)."""
        raise _no_state()

    def put(self, key: str, value: Any) -> None:
        """Raises `FunctionError` (function.no_state)."""
        raise _no_state()

    def delete(self, key: str) -> None:
        """Raises `FunctionError` (function.no_state)."""
        raise _no_state()


NO_STATE = NoState()


def _require_text(key: Any) -> None:
    if not isinstance(key, str):
        raise TypeError(f"a key of the state is text, not {type(key).__name__}")


def _no_state() -> FunctionError:
    return FunctionError(
        "the function asks for state, and none is configured",
        code="function.no_state",
        where="state",
        fix="add state: {url: sqlite:PATH}, or postgresql://...",
    )
