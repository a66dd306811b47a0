"""What a function is given besides its events.

Enters: an attempt's number, its deadline. Leaves: what the function publishes. Made for each invocation, where the function
runs.
"""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from liberator.change import Event
from liberator.errors import FunctionError
from liberator.function.calls import Calls, deeper, event_of_call
from liberator.function.state import NO_STATE, NoState, State
from liberator.lineage import origin
from liberator.protocols import Output, StateChanges

UNTRIED = "function.untried"
"""Code of an event that was not tried, as those before it took all the time of their invocation."""


def untried(where: str) -> FunctionError:
    """Why an event is not done that nobody can be blamed for."""
    what = "the time of its invocation was over before it was tried"
    return FunctionError(what, code=UNTRIED, where=where, retryable=True, counts=False)


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
        self._calls: Calls | None = None
        self._called: Counter[tuple[str, str]] = Counter()

    def connect(self, calls: Calls | None) -> None:
        """These are what the function may call; None: nothing."""
        self._calls = calls

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
            made = replace(made, event=self._place(cause))
        self._outputs.append(made)

    def call(
        self,
        name: str,
        given: Any,
        *,
        key: Any = None,
        headers: Mapping[str, str | bytes] | None = None,
        cause: Event | str | None = None,
        timeout: float | None = None,
    ) -> Any:
        """Call another function of the connector (`functions`), and wait for what it gives: a JSON value, a list of several,
        None for nothing. given: an event, as it is, or a value, of which one is made with `key` and `headers`. cause: the
        event that the call comes of, or its id; default: all that the function was given. timeout: seconds; never more than
        are left. Raises `FunctionError` when it failed after its own attempts: what is not caught fails the invocation, for
        good if the other function says so."""
        if self._calls is None:
            raise _no_calls(name)
        places = [place for place, event in enumerate(self._events) if event.topic]
        if cause is not None:
            places = [self._place(cause)]
        causes = [self._events[place] for place in places]
        event = given if isinstance(given, Event) else self._event(name, given, causes, key, headers)
        ends = [seconds for seconds in (self.remaining, timeout) if seconds is not None]
        answer = self._calls.call(name, deeper(event, causes), min(ends, default=None))
        whose = places[0] if len(places) == 1 else None
        self._outputs += (replace(one, event=whose) for one in answer.outputs)
        return Event(name, 0, 0, 0, None, answer.value).value

    def _event(
        self,
        name: str,
        given: Any,
        causes: Sequence[Event],
        key: Any,
        headers: Mapping[str, str | bytes] | None,
    ) -> Event:
        made = output(given, key=key, headers=headers)
        whose = name, origin(causes) if causes else ""
        number = self._called[whose]
        self._called[whose] += 1
        return event_of_call(name, number, causes, made)

    def _place(self, cause: Event | str) -> int:
        """Where an event is among those that the function was given. Few ask, so their ids are read when one does."""
        id = cause if isinstance(cause, str) else cause.id
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
    """An event to publish, see `Context.publish`. Raises `TypeError` for what JSON does not know, and for topics and headers
    that are no text."""
    if topic is not None and not isinstance(topic, str):
        raise TypeError(f"the topic of an output is text, not {type(topic).__name__}")
    pairs = tuple(_header(name, text) for name, text in (headers or {}).items())
    return Output(topic, _encoded(key), _encoded(value), pairs)


def _header(name: str, text: str | bytes) -> tuple[str, bytes]:
    if not isinstance(name, str) or not isinstance(text, (str, bytes)):
        raise TypeError(f"names and values of an output's headers are text: {type(text).__name__} for {name}")
    return name, text.encode() if isinstance(text, str) else text


def _no_calls(name: str) -> FunctionError:
    return FunctionError(
        f"the function calls {name}, and may call none",
        code="function.unknown_call",
        where="functions",
        fix=f"add functions: [{{name: {name}, ...}}]; one of these that calls another names it: calls: [{name}]",
    )


def _encoded(value: Any) -> bytes | None:
    if value is None or isinstance(value, bytes):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
