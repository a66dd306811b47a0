"""The dead letter of an event that a function could not do: the event as it was read, and why it was given up.

Enters: a `GivenUp`. Leaves: an `EncodedBatch` of one event. Called by the loop. Pure.

An event's first header is its id, since a publisher writes it there. Of an event that came without one, or with it
elsewhere, the headers follow as they were, and one more says that the first was added.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import cast

from liberator.change import EncodedBatch, Headers
from liberator.dispatch.settle import GivenUp
from liberator.letters import ID_ADDED, diagnostics

_MESSAGE, _STACKTRACE = 4_000, 12_000
"""Characters that are kept: whatever a function says, its dead letter can be published."""


def dead_letters_of(
    connector: str, now_ms: Callable[[], int], redact: Callable[[str], str]
) -> Callable[[GivenUp, str], EncodedBatch]:
    """What makes the record of an event that is given up, for a topic. connector: its name. now_ms: milliseconds since the
    Unix epoch. redact: strikes secrets out of what a function says."""
    return lambda entry, topic: dead_letter(entry, topic, connector, now_ms(), redact)


def dead_letter(
    entry: GivenUp, topic: str, connector: str, now_ms: int, redact: Callable[[str], str] = str
) -> EncodedBatch:
    """The event itself, to `topic`, with the reason."""
    event, error = entry.event, entry.error
    why = diagnostics(
        topic=event.topic,
        partition=event.partition,
        offset=event.offset,
        connector=connector,
        stage="TASK_PUT",
        error=f"liberator.{type(error).__name__}",
        message=redact(f"{error} ({error.code})")[:_MESSAGE],
        stacktrace=redact("".join(traceback.format_exception(error)))[-_STACKTRACE:],
        attempts=entry.attempts,
        now_ms=now_ms,
    )
    own = cast(Headers, event.raw_headers)  # a null value stays null: publishers write it as it is
    if own and own[0] == ("id", event.id.encode()):
        own = own[1:]
    else:
        why = (*why, (ID_ADDED, b"1"))
    batch = EncodedBatch()
    batch.add(topic, event.raw_key, event.raw_value, event.id.encode(), (*own, *why))
    return batch
