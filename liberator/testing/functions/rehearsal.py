"""A function, run on recorded events as its sink would run it, without a broker; and what became of every event.

Enters: a checked `SinkConfig`, events. Leaves: a `FunctionRun`. Called by ``liberate function test`` and by `run_function`.

It is the sink's own loop with its filter, batches, attempts, bisection and contracts. What differs: there are no pauses
between attempts, one call at a time, nothing is remembered as done or too old, an event that stops the connector there is
told of like any other that is given up, and what would be published is kept.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

from liberator.build.accepting import sift
from liberator.build.dispatching import Until, dispatch_settings, make_stateful
from liberator.build.functions import make_invocations
from liberator.build.outputs import Outputs
from liberator.change import EncodedBatch, Event, of_streams
from liberator.config.secrets import redact
from liberator.config.urls import Url
from liberator.dispatch.dead_letter import dead_letters_of
from liberator.dispatch.loop import Dispatch
from liberator.dispatch.settle import GivenUp, Retry
from liberator.dispatch.sifting import Sifted
from liberator.dispatch.trigger import OnStream, Trigger
from liberator.errors import ConfigError, FunctionError
from liberator.function.checked import CheckedInvocations
from liberator.protocols import Invocations, Outcome, Output
from liberator.testing.functions.consumer import RecordedConsumer
from liberator.testing.functions.recorded import placed
from liberator.testing.functions.stubs import stubs_of
from liberator.testing.publisher import MemoryPublisher
from liberator.testing.watch import MemoryDispatchWatch

if TYPE_CHECKING:
    from liberator.config import SinkConfig

Fate = Literal["done", "retried", "failed", "permanent", "contract", "poison", "filtered", "elsewhere"]
"""What became of an event. `done`; `retried`: done after more than one attempt; `failed`: given up after the last one;
`permanent`: the function says that it will never work; `contract`: what the function gives for it breaks its contract;
`poison`: the function never saw it, since its value is no JSON or the filter fails; `filtered`: the filter turns it down;
`elsewhere`: of a topic that the stream does not read."""

ANSWER = "(answer)"
"""In place of the topic of what a webhook's sender would get."""

GOOD = ("done", "retried", "filtered", "elsewhere")

_BY_CODE: Mapping[str, Fate] = {
    "function.output_invalid": "contract",
    "function.poison": "poison",
    "function.filter": "poison",
}


@dataclass(frozen=True, slots=True)
class EventOutcome:
    """fate: see `Fate`. attempts: calls that it was part of. error: why it was given up."""

    event: Event
    fate: Fate
    attempts: int = 0
    error: FunctionError | None = None

    @property
    def good(self) -> bool:
        """Is nothing wrong with it?"""
        return self.fate in GOOD


@dataclass(frozen=True, slots=True)
class PublishedOutput:
    """What would be published. value, key: what the JSON says. headers: as text, with the id. of: ids of the events of its
    invocation."""

    topic: str
    key: Any
    value: Any
    headers: Mapping[str, str]
    of: tuple[str, ...]

    @property
    def id(self) -> str:
        """Its id."""
        return self.headers["id"]


@dataclass(slots=True)
class FunctionRun:
    """outcomes: of each event, in order. outputs: in the order in which they would be published."""

    outcomes: list[EventOutcome] = field(default_factory=list)
    outputs: list[PublishedOutput] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Has nothing failed, and was something tried, if there were events?"""
        return all(outcome.good for outcome in self.outcomes) and not self.untried

    @property
    def untried(self) -> bool:
        """Were there events, and none of a topic that the stream reads?"""
        return bool(self.outcomes) and all(outcome.fate == "elsewhere" for outcome in self.outcomes)

    @property
    def failed(self) -> list[EventOutcome]:
        """What did."""
        return [outcome for outcome in self.outcomes if not outcome.good]

    @property
    def values(self) -> list[Any]:
        """The values of the outputs."""
        return [output.value for output in self.outputs]

    def fates(self) -> list[Fate]:
        """What became of each event, in order."""
        return [outcome.fate for outcome in self.outcomes]

    def assert_ok(self) -> None:
        """Raises `AssertionError`, which tells of every event that failed."""
        assert not self.untried, "none of the events is of a topic that the stream reads: nothing was tried"
        told = [f"{one.event.id}: {one.fate}: {one.error}" for one in self.failed]
        assert self.ok, "\n".join([f"{len(told)} of {len(self.outcomes)} events failed", *told])


class Rehearsal:
    """A function, made ready once and run as often as wanted: what it keeps in memory it keeps. function: what runs it;
    None: what the configuration says. stubs: what stands for functions that it calls by name: values, or what makes them
    of an event. Raises `ConfigError`, `FunctionError`."""

    def __init__(
        self,
        config: SinkConfig,
        function: Callable[[], Invocations] | None = None,
        stubs: Mapping[str, Any] | None = None,
    ) -> None:
        _require_known(config, stubs or {})
        if config.function.table is not None:
            raise ConfigError(
                "a table would be written to, and its offsets too: there is no function to try out",
                code="config.not_supported",
                where=config.where("function", "table"),
                fix="run the connector on a copy: with --stage NAME, and another function.table.url",
            )
        self._folder = None if config.state is None else TemporaryDirectory(prefix="liberator-state-")
        if config.state is not None and self._folder is not None:
            # What the connector remembers is its own: here it begins with nothing.
            state = config.state.model_copy(update={"url": Url(f"sqlite:{self._folder.name}/state.db")})
            config = config.model_copy(update={"state": state})
        self._config = config
        self._outputs = Outputs(config)
        run = function or (lambda: make_invocations(config, ends=True, stubs=stubs_of(stubs or {})))
        checked = CheckedInvocations(run(), self._outputs.check)
        self._stateful = None if config.state is None else make_stateful(config, checked)
        self._function: Invocations = self._stateful or checked

    def run(self, events: Iterable[Event]) -> FunctionRun:
        """Call it with these. Raises `FunctionError`, `ConfigError` for what ends a connector whatever the event."""
        given = placed(list(events))
        if not given and any(trigger.on == "schedule" for trigger in self._config.trigger):
            given = [Event("", 0, 0, _now_ms(), None, None)]  # a schedule's call, which has no events
        notes = _Notes(given)
        mine = [event for event in given if self._is_read(event.topic)]
        for event in given:
            if not self._is_read(event.topic):
                notes.fates[_name(event)] = "elsewhere"
        if mine:
            self._dispatch(mine, notes)
        return notes.told()

    def close(self) -> None:
        """End it."""
        self._function.close(1.0)
        if self._folder is not None:
            self._folder.cleanup()

    def _is_read(self, topic: str) -> bool:
        config = self._config
        return config.stream is None or config.reads(topic) or config.reads(config.stage_prefix + topic)

    def _dispatch(self, events: Sequence[Event], notes: _Notes) -> None:
        config = self._config
        settings = dispatch_settings(config, Until(once=True))
        if self._stateful is not None:
            self._stateful.forget()  # each run begins with nothing, as each event is new to it
        count = max(trigger.batch_size for trigger in config.trigger)
        size = max(trigger.batch_bytes for trigger in config.trigger)
        sifts = sift(config)

        def sifted(read: Sequence[Event]) -> Sifted:
            found = sifts(read)
            notes.fates.update((_name(event), "filtered") for event in found.unwanted)
            return found

        def encode(outputs: Sequence[Output], of: Sequence[Event]) -> EncodedBatch:
            batch = self._outputs.encode([replace(one, topic=one.topic or ANSWER) for one in outputs], of)
            notes.published(batch, of)
            return batch

        letters = dead_letters_of(config.name, _now_ms, redact)

        def given_up(entry: GivenUp, topic: str) -> EncodedBatch:
            notes.given_up(entry)
            return letters(entry, topic)

        dispatch = Dispatch(
            RecordedConsumer(events, lambda: dispatch.stop()),
            (),
            Trigger(count, size, [OnStream(count, 0.0, size)]),
            _Noting(self._function, notes),
            MemoryPublisher(),
            replace(
                settings,
                retry=Retry(config.policy.retry.attempts, 0.0, 0.0, jitter=False),
                on_failure="dead_letter",
                dead_letter_topic=config.dead_letter_topic,
                permanent_topic=None,
                max_age=None,
                commit_interval=0.0,
            ),
            output=encode,
            given_up=given_up,
            sift=sifted,
            watch=MemoryDispatchWatch(),
            remember=self._stateful.save if self._stateful is not None else lambda events: None,
        )
        dispatch.run()


def _require_known(config: SinkConfig, stubs: Mapping[str, Any]) -> None:
    """A typing error would call the function that was to be left alone."""
    known = [one.name for one in config.functions]
    for name in stubs:
        if name not in known:
            raise ConfigError(
                f"there is no function {name} to stand for",
                code="function.stub",
                where=config.where("functions"),
                fix=f"the functions are {', '.join(map(str, known)) or 'none'}",
            )


class _Noting:
    """One invocation at a time, which outlives the loop; who was called is noted. See `Invocations`."""

    def __init__(self, function: Invocations, notes: _Notes) -> None:
        self._function = function
        self._notes = notes
        self._running = False

    def free(self) -> int:
        return 0 if self._running else min(1, self._function.free())

    def begin(self, number: int, events: Sequence[Event], attempt: int) -> None:
        self._running = True
        self._notes.attempts.update(map(_name, events))
        self._function.begin(number, events, attempt)

    def finished(self, timeout: float) -> Sequence[tuple[int, Outcome]]:
        ended = self._function.finished(timeout or 0.01 if self._running else timeout)
        self._running = self._running and not ended
        return ended

    def close(self, timeout: float) -> None:
        """Somebody may want to run it again."""


_Name = tuple[str, int, int]


class _Notes:
    """What became of events so far."""

    def __init__(self, events: Sequence[Event]) -> None:
        self._events = events
        self._errors: dict[_Name, FunctionError] = {}
        self._outputs: list[PublishedOutput] = []
        self.attempts: Counter[_Name] = Counter()
        self.fates: dict[_Name, Fate] = {}

    def given_up(self, entry: GivenUp) -> None:
        name, error = _name(entry.event), entry.error
        self._errors[name] = error
        self.fates[name] = _BY_CODE.get(error.code, "failed" if error.retryable else "permanent")

    def published(self, batch: EncodedBatch, events: Sequence[Event]) -> None:
        of = tuple(event.id for event in of_streams(events))
        for topic, key, value, id, more in zip(
            batch.topics, batch.keys, batch.values, batch.ids, batch.headers, strict=True
        ):
            headers = (("id", id), *(more or ()))
            seen = Event(topic, 0, 0, 0, key, value, headers)
            self._outputs.append(PublishedOutput(topic, seen.key, seen.value, seen.headers, of))

    def told(self) -> FunctionRun:
        outcomes = []
        for event in self._events:
            name = _name(event)
            attempts = self.attempts[name]
            assert attempts or name in self.fates, "every event is told of"
            fate = self.fates.get(name, "retried" if attempts > 1 else "done")
            outcomes.append(EventOutcome(event, fate, attempts, self._errors.get(name)))
        return FunctionRun(outcomes, self._outputs)


def differences(first: FunctionRun, second: FunctionRun) -> Iterator[str]:
    """What a function did the second time otherwise than the first, with the same events: nothing, if it is idempotent as
    far as can be seen from outside."""
    for one, other in zip(first.outcomes, second.outcomes, strict=True):
        if one.good != other.good:
            yield f"{one.event.id} was {one.fate} the first time, {other.fate} the second"
    before, after = (Counter(map(_as_text, run.outputs)) for run in (first, second))
    yield from (f"only the first time: {text}" for text in (before - after).elements())
    yield from (f"only the second time: {text}" for text in (after - before).elements())


def _as_text(output: PublishedOutput) -> str:
    return f"{output.topic} " + json.dumps(
        {"key": output.key, "value": output.value, "headers": dict(output.headers)},
        ensure_ascii=False,
        default=repr,
        sort_keys=True,
    )


def _name(event: Event) -> _Name:
    return (*event.place, event.offset)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
