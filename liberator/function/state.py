"""`context.state`: what a function remembers from one invocation to the next, by key.

Enters: keys, JSON values. Leaves: what the store holds, as of the last invocation that was committed, and what the function
changes; `stateful` saves that together with the offsets. Made for each invocation, where the function runs.

Every value has a number that changes with it. An invocation tells the numbers of what it has read, so that two members
that change one key at the same time can't overwrite each other unseen.
"""

from __future__ import annotations

import json
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


class Reader(Protocol):
    """The store, as a function sees it."""

    def read(self, key: str) -> tuple[str, int] | None:
        """A value as JSON and its number; None: there is none. Raises `LiberatorError`."""

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
                self._known[key], self._read[key] = (None, None) if found is None else found
            value = self._known[key]
        return default if value is None else json.loads(value)

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
