"""Headers that tell of which events an event came, so that a chain over many functions is found by one id. Pure.

Enters: the events that a function was given for what it gave, or calls another function with. Leaves: headers, and the name
that an id is made of. Called for what functions publish, and where they call each other.

    causation      the id of the event that it came of
    correlation    the id that the whole chain has: that of the event at its beginning
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

from liberator.change import Event, Headers

CORRELATION, CAUSATION = "correlation", "causation"

MOST = 20
"""Events that one may have come of. Of a large batch nobody wants to know that any of them may be the cause, and each
output would carry all their ids."""


def lineage(causes: Sequence[Event]) -> Headers:
    """Of what came of these: one header for each cause, and for each chain. Nothing when there are too many to tell."""
    if len(causes) > MOST:
        return ()
    causation = dict.fromkeys(cause.id for cause in causes)
    correlation = dict.fromkeys(chain for cause in causes for chain in chains(cause))
    return (
        *((CORRELATION, chain.encode()) for chain in correlation),
        *((CAUSATION, id.encode()) for id in causation),
    )


def chains(event: Event) -> list[str]:
    """The chains that an event belongs to; one that says nothing is the beginning of its own."""
    told = [value for name, value in event.raw_headers if name == CORRELATION and value]
    return [value.decode("utf-8", "replace") for value in told] or [event.id]


def origin(events: Sequence[Event]) -> str:
    """What ids are made of: of one event its id; of several that of the first, with a digest of all."""
    if len(events) == 1:
        return events[0].id
    digest = blake2b("\0".join(event.id for event in events).encode(), digest_size=8).hexdigest()
    return f"{events[0].id}+{digest}"
