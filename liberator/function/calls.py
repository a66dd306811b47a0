"""`context.call`: functions that are called by their names, by other functions.

Theory of operation. A call is an event: the one that is passed on, or one that is made of a value, with an id of its own and
headers that tell what it came of, as what is published has them. The function that is called is the connector's (`named`),
never in the worker of its caller (`calls_over`): its secrets stay there, and its circuit is one for all callers. Who calls
whom is said in the configuration and has no circles there; what goes round over a network is counted in a header, and ends.

Enters: what a function calls with. Leaves: the event that another one is given. Called by `context`, where a function runs.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from liberator.change import Event
from liberator.lineage import lineage, origin
from liberator.protocols import Output

DEPTH = "calldepth"
"""Header, and attribute of CloudEvents: how many calls are around this one."""

DEEPEST = 16
"""Calls within calls."""


@dataclass(frozen=True, slots=True)
class Answer:
    """value: as a record carries it, None: nothing was given. outputs: what is to be published beside it."""

    value: bytes | None
    outputs: Sequence[Output] = ()


class Calls(Protocol):
    """What can be called."""

    def call(self, name: str, event: Event, left: float | None) -> Answer:
        """Do it. left: seconds, None: there is no end. Raises `FunctionError`."""


def event_of_call(name: str, number: int, causes: Sequence[Event], given: Output) -> Event:
    """The event that a function is called with. number: of the call, among those for the same causes. causes: events that
    it came of; none: a schedule's call, which comes again as another one. given: key, value, headers."""
    said = {header for header, _ in given.headers}
    told = tuple(header for header in lineage(causes) if header[0] not in said)
    now = time.time_ns()
    source = origin(causes) if causes else f"{now:x}"
    own = () if "id" in said else (("id", f"{source}/call/{name}/{number}".encode()),)
    headers = (*own, *given.headers, *told)
    place = (causes[0].partition, causes[0].offset) if causes else (0, number)
    return Event(name, *place, now // 1_000_000, given.key, given.value, headers)


def deeper(event: Event, causes: Sequence[Event]) -> Event:
    """The event with one more call around it."""
    depth = 1 + max(map(depth_of, (event, *causes)), default=0)
    headers = tuple(header for header in event.raw_headers if header[0] != DEPTH)
    made = (*headers, (DEPTH, b"%d" % depth))
    place = (event.topic, event.partition, event.offset, event.timestamp)
    return Event(*place, event.raw_key, event.raw_value, made)


def depth_of(event: Event) -> int:
    """Calls that are around it. As a request of HTTP has it, too."""
    for name, value in event.raw_headers:
        if name in (DEPTH, f"ce-{DEPTH}", f"ce_{DEPTH}") and value and value.isdigit():
            return min(int(value[:4]), DEEPEST + 1)
    return 0
