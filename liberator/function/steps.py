"""The function `steps`: other functions called one after the other, beside each other or by what came before; each is
given what the one before it gave.

Enters: events, each done by itself. Leaves: an `Outcome`: what the last step gave, and of a failed event which step it was.
Called in a thread, by ``threads``. Nothing is kept in between: an event that is tried again begins with the first step.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol

from liberator.change import Event
from liberator.errors import EvaluationError, FunctionError
from liberator.expression import Expression
from liberator.function.context import Context, untried
from liberator.function.threads import Callee
from liberator.lanes import Order, held_by
from liberator.protocols import Outcome, Output

VARIABLES = ("value", "key", "headers", "topic", "id")
"""What a choice speaks of."""


@dataclass(slots=True)
class Run:
    """One event on its way. deadline: monotonic seconds, None: there is none. outputs: what steps publish beside their
    result."""

    attempt: int
    deadline: float | None
    outputs: list[Output] = field(default_factory=list)

    def until(self, timeout: float | None) -> float | None:
        """The deadline of a step that has `timeout` seconds."""
        given = [self.deadline] if self.deadline is not None else []
        return min([*given, *([] if timeout is None else [time.monotonic() + timeout])], default=None)


class Step(Protocol):
    """One step, or several that act as one."""

    def run(self, event: Event, run: Run) -> Event:
        """What the next step is given. Raises `FunctionError`."""

    def close(self) -> None:
        """Give resources back."""


@dataclass(frozen=True, slots=True)
class Calling:
    """Calls a function. kind, key: what it is, and where it is said, for errors. timeout: seconds of an attempt, None: what
    is left. attempts: in all. initial, longest: seconds between two. factor: by which the delay grows. sleep: waits."""

    name: str
    function: Callee
    timeout: float | None = None
    attempts: int = 1
    initial: float = 0.2
    longest: float = 30.0
    factor: float = 2.0
    kind: str = "step"
    key: str = "function.steps"
    sleep: Callable[[float], None] = time.sleep

    def run(self, event: Event, run: Run) -> Event:
        """See `Step`. An event that the function gives nothing for goes on as it is."""
        for number in range(1, self.attempts + 1):
            try:
                return self._call(event, run)
            except FunctionError as error:
                delay = max(error.retry_after, min(self.longest, self.initial * self.factor ** (number - 1)))
                late = run.deadline is not None and time.monotonic() + delay >= run.deadline
                if not (error.retryable and error.counts) or number == self.attempts or late:
                    raise self._told(error) from error
            self.sleep(delay)
        raise AssertionError("unreachable")

    def _told(self, error: FunctionError) -> FunctionError:
        return _of(f"{self.kind} {self.name}", self.key, error)

    def _call(self, event: Event, run: Run) -> Event:
        deadline = run.until(self.timeout)
        if deadline is not None and deadline <= time.monotonic():
            raise FunctionError("no time is left", code="function.timeout", retryable=True)
        context = Context(self.name, run.attempt, deadline)
        context.given([event])
        outcome = self.function.call([event], context)
        for error in outcome.failures.values():
            raise error
        run.outputs += (output for output in outcome.outputs if output.topic is not None)
        results = [output.value for output in outcome.outputs if output.topic is None]
        if not results:
            return event
        return with_value(event, results[0] if len(results) == 1 else _list(results))

    def close(self) -> None:
        """See `Step`."""
        self.function.close()


@dataclass(frozen=True, slots=True)
class OneByOne:
    """Steps one after the other, each with what the one before it gave."""

    steps: Sequence[Step]

    def run(self, event: Event, run: Run) -> Event:
        """See `Step`."""
        for step in self.steps:
            event = step.run(event, run)
        return event

    def close(self) -> None:
        """See `Step`."""
        for step in self.steps:
            step.close()


@dataclass(frozen=True, slots=True)
class SideBySide:
    """Steps at the same time, all with the same event. The result is an object with what each gave, by its name."""

    steps: Sequence[tuple[str, Step]]

    def run(self, event: Event, run: Run) -> Event:
        """See `Step`. All have ended when it does; of several failures the first one in their order is told."""
        with ThreadPoolExecutor(len(self.steps), "steps") as threads:
            waiting = [threads.submit(step.run, event, run) for _, step in self.steps]
        results = [one.result() for one in waiting]
        members = (
            b"%b:%b" % (json.dumps(name).encode(), _json(result.payload))
            for (name, _), result in zip(self.steps, results, strict=True)
        )
        return with_value(event, b"{%b}" % b",".join(members))

    def close(self) -> None:
        """See `Step`."""
        for _, step in self.steps:
            step.close()


@dataclass(frozen=True, slots=True)
class Choosing:
    """The first branch whose condition holds; None always does. Without one the event goes on as it is."""

    name: str
    branches: Sequence[tuple[Expression | None, Step]]
    key: str = "function.steps"

    def run(self, event: Event, run: Run) -> Event:
        """See `Step`."""
        for condition, step in self.branches:
            if condition is None or self._holds(condition, event):
                return step.run(event, run)
        return event

    def _holds(self, condition: Expression, event: Event) -> bool:
        told = (event.value, event.key, dict(event.headers), event.topic, event.id)
        try:
            return condition.holds(dict(zip(VARIABLES, told, strict=True)))
        except EvaluationError as error:
            fix = "write has(value.x) where it may be missing"
            failure = FunctionError(str(error), code="function.choice", fix=fix)
            raise _of(f"step {self.name}", self.key, failure) from error

    def close(self) -> None:
        """See `Step`."""
        for _, step in self.branches:
            step.close()


@dataclass(frozen=True, slots=True)
class Catching:
    """A step, and what is done when it fails: with the event and the error, as ``{"error": {"code", "message"},
    "value"}``. What that gives is the result."""

    step: Step
    otherwise: Step

    def run(self, event: Event, run: Run) -> Event:
        """See `Step`."""
        try:
            return self.step.run(event, run)
        except FunctionError as error:
            told = json.dumps({"code": error.code, "message": str(error)}, ensure_ascii=False).encode()
            value = b'{"error":%b,"value":%b}' % (told, _json(event.payload))
            return self.otherwise.run(with_value(event, value), run)

    def close(self) -> None:
        """See `Step`."""
        self.step.close()
        self.otherwise.close()


class StepsFunction:
    """See `liberator.function.threads.Callee`. order: that is kept among the events of an invocation."""

    name = "steps"

    def __init__(self, step: Step, order: Order = "key") -> None:
        self._step = step
        self._order = order

    def call(self, events: Sequence[Event], context: Context) -> Outcome:
        """Do them one after the other. What follows a failed one in its lane waits with it."""
        failures: dict[int, FunctionError] = {}
        outputs: list[Output] = []
        for index, event in enumerate(events):
            if before := held_by(event, events, failures, self._order):
                failures[index] = before
                continue
            if index and context.remaining == 0:
                failures[index] = untried(self.name)
                continue
            run = Run(context.attempt, context.deadline)
            try:
                result = self._step.run(event, run)
            except FunctionError as error:
                failures[index] = error
                continue
            outputs += (Output(one.topic, one.key, one.value, one.headers, index) for one in run.outputs)
            if result is not event:
                outputs.append(Output(None, event.key_payload, result.payload, event=index))
        return Outcome(failures, tuple(outputs))

    def close(self) -> None:
        """Give the resources of all functions back."""
        self._step.close()


def with_value(event: Event, value: bytes | None) -> Event:
    """The same event with another value, of whose form its headers do not speak. One that no stream holds has a topic
    from now on: it has something to tell."""
    headers = tuple(
        header for header in event.raw_headers if header[0] not in ("content-type", "ce_datacontenttype")
    )
    topic = event.topic or "steps"
    return Event(topic, event.partition, event.offset, event.timestamp, event.raw_key, value, headers)


def _list(values: Sequence[bytes | None]) -> bytes:
    return b"[%b]" % b",".join(map(_json, values))


def _json(value: bytes | None) -> bytes:
    """Bytes that are no JSON become text."""
    if value is None:
        return b"null"
    try:
        json.loads(value)
    except ValueError:
        return json.dumps(value.decode("utf-8", "replace"), ensure_ascii=False).encode()
    return value


def _of(name: str, key: str, error: FunctionError) -> FunctionError:
    return FunctionError(
        f"{name}: {error}",
        code=error.code,
        where=f"{key}, {name}",
        fix=error.fix,
        retryable=error.retryable,
        retry_after=error.retry_after,
        counts=error.counts,
    )
