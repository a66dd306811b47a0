"""An in-memory source and its encoder: the beginning of a connector under test.

Enters: a script of events and of things that go wrong. Leaves: batches, one per event, each a transaction of its own. The
state is the number of events handed on, so a test sees at a glance where a connector resumes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from liberator.change import Batch, EncodedBatch, State
from liberator.errors import LiberatorError

PARTITION = "memory"


@dataclass(frozen=True, slots=True)
class Abort:
    """A marker in a script: here `error` is raised, once."""

    error: LiberatorError


def position(number: int) -> dict[str, bytes]:
    """The state after `number` events."""
    return {PARTITION: b"%d" % number}


class MemorySource:
    """Plays a script: bytes are events, `Abort`s are raised when they are reached.

    once: a bounded run that ends with the script; else the source idles at its end. `refuse` makes the next calls of
    `open` raise. What happened is told by `opened` (states), `acknowledged` (states) and `closed`.
    """

    def __init__(self, script: Sequence[bytes | Abort], *, once: bool = True) -> None:
        self._script = list(script)
        self._once = once
        self._at = 0
        self._open = False
        self._refusals: list[LiberatorError] = []
        self.opened: list[dict[str, bytes]] = []
        self.acknowledged: list[dict[str, bytes]] = []
        self.closed = 0

    def refuse(self, *errors: LiberatorError) -> None:
        """The next calls of `open` raise these, one each."""
        self._refusals += errors

    def open(self, resume: State) -> None:
        """Stand behind the event that `resume` counts."""
        if self._refusals:
            raise self._refusals.pop(0)
        self.opened.append(dict(resume))
        self._at = int(resume.get(PARTITION, b"0"))
        self._open = True

    def poll(self, limit: int, timeout: float) -> Batch:
        """The next event as a batch of its own; an empty batch at the end."""
        assert self._open, "poll of a closed source"
        events = [step for step in self._script if isinstance(step, bytes)]
        self._raise_marker()
        if self._at >= len(events):
            return Batch([], None, final=self._once)
        self._at += 1
        event = events[self._at - 1]
        return Batch(
            [event], position(self._at), final=self._once and self._at == len(events), size=len(event)
        )

    def ack(self, state: State) -> None:
        """Remember it."""
        self.acknowledged.append(dict(state))

    def close(self) -> None:
        """Remember it."""
        self._open = False
        self.closed += 1

    def _raise_marker(self) -> None:
        """Is there a marker in front of the next event? It fires once."""
        events = 0
        for index, step in enumerate(self._script):
            if isinstance(step, Abort):
                if events == self._at:
                    del self._script[index]
                    raise step.error
            else:
                events += 1


class MemoryEncoder:
    """Every frame is an event: topic ``memory``, no key, the frame as its value and its id."""

    committed_us = 0

    def encode(self, batch: Batch) -> EncodedBatch:
        """See `Encoder.encode`."""
        events = EncodedBatch()
        for frame in batch.frames:
            events.add("memory", None, frame, frame)
        return events

    def history(self) -> State:
        """Nothing to remember."""
        return {}

    def inside(self) -> State | None:
        """Every frame is a transaction of its own."""
        return None
