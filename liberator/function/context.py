"""What a function is given besides its events.

Enters: an attempt's number, its deadline. Leaves: what the function publishes. Made for each invocation, where the function
runs.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from liberator.change import Event
from liberator.function.state import NO_STATE, NoState, State
from liberator.protocols import Output, StateChanges


class Context:
    """attempt: 1 for the first. deadline: monotonic seconds (`time.monotonic`) at which the invocation is given up, None:
    never. log: a logger, named after the function. state: what it remembers, see `liberator.function.state.State`."""

    def __init__(
        self, function: str, attempt: int, deadline: float | None = None, state: State | None = None
    ) -> None:
        self.attempt = attempt
        self.deadline = deadline
        self.log = logging.getLogger(f"liberator.function.{function}")
        self.state: State | NoState = NO_STATE if state is None else state
        self._outputs: list[Output] = []
        self._events: Sequence[Event] = ()
        self._places: dict[str, int] | None = None

    def given(self, events: Sequence[Event]) -> None:
        """These are what the function is called with."""
        self._events, self._places = events, None

    @property
    def remaining(self) -> float | None:
        """Seconds until the deadline; None: there is none."""
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())

    def publish(
        self,
        value: Any,
        *,
        key: Any = None,
        topic: str | None = None,
        headers: Mapping[str, str | bytes] | None = None,
        cause: Event | str | None = None,
    ) -> None:
        """Publish an event when the invocation has succeeded. value, key: bytes as they are, anything else as JSON, None
        for null. topic: None: the one that is configured. cause: the event that it comes of, or its id: it is named after
        that, its headers tell of it, and if it breaks a contract, that event has failed and no other. Raises `ValueError`
        for one that the function was not given."""
        made = output(value, key=key, topic=topic, headers=headers)
        if cause is not None:
            made = replace(made, event=self._place(cause if isinstance(cause, str) else cause.id))
        self._outputs.append(made)

    def _place(self, id: str) -> int:
        """Where an event is among those that the function was given. Few ask, so their ids are read when one does."""
        if self._places is None:
            self._places = {event.id: place for place, event in enumerate(self._events)}
        if id not in self._places:
            raise ValueError("the cause is no event that the function was given")
        return self._places[id]

    @property
    def outputs(self) -> tuple[Output, ...]:
        """What was published so far."""
        return tuple(self._outputs)

    @property
    def changes(self) -> StateChanges | None:
        """What was done with the state; None: there is none."""
        return self.state.changes if isinstance(self.state, State) else None


def output(
    value: Any, *, key: Any = None, topic: str | None = None, headers: Mapping[str, str | bytes] | None = None
) -> Output:
    """An event to publish, see `Context.publish`. Raises `TypeError` for what JSON does not know."""
    pairs = tuple(
        (name, text.encode() if isinstance(text, str) else text) for name, text in (headers or {}).items()
    )
    return Output(topic, _encoded(key), _encoded(value), pairs)


def _encoded(value: Any) -> bytes | None:
    if value is None or isinstance(value, bytes):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
