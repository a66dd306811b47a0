"""Where recorded events come from, by one parameter: a file, a stream, dead letters.

Enters: a checked `SinkConfig`, the name of a place. Leaves: events. Called by ``liberate function test`` and `run_function`.

    events.ndjson      a file: see `recorded`; `-`: standard input
    stream             the sink's own stream; kafka://HOST:PORT, local:DIR: its topics there
    dead-letters       the events that wait in its dead letters
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from liberator.build.deadletter import Filters, dlq_events
from liberator.build.places import Place, recorded
from liberator.change import Event
from liberator.errors import ConfigError
from liberator.testing.functions.recorded import read_recorded

if TYPE_CHECKING:
    from liberator.config import SinkConfig

LIMIT = 1_000

DEAD_LETTERS = "dead-letters"


def events_from(
    config: SinkConfig,
    where: str,
    *,
    begin: Place = "earliest",
    end: Place | None = None,
    letters: Filters | None = None,
    limit: int = LIMIT,
) -> tuple[list[Event], bool]:
    """At most `limit` events of a place, and whether there are more. begin, end: of a stream. letters: which dead letters.
    Raises `ConfigError`, and what reading a broker raises."""
    found = list(islice(_all(config, where, begin, end, letters or Filters()), limit + 1))
    events = found[:limit]
    if where == DEAD_LETTERS:
        events.sort(
            key=lambda event: (*event.place, event.offset)
        )  # as they were read, not as they were given up
    return events, len(found) > limit


def _all(
    config: SinkConfig, where: str, begin: Place, end: Place | None, letters: Filters
) -> Iterator[Event]:
    if where == DEAD_LETTERS:
        return dlq_events(config, letters)
    if where == "stream" or where.startswith(("kafka://", "local:")):
        return recorded(_reading(config, where), begin, end)
    return iter(_of_file(config, where))


def _of_file(config: SinkConfig, where: str) -> list[Event]:
    topics = config.stream.topics if config.stream else [config.name]
    only = topics[0] if len(topics) == 1 else None
    try:
        text = sys.stdin.read() if where == "-" else Path(where).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no UTF-8"
        raise ConfigError(
            f"the events can't be read: {why}",
            code="events.file",
            where=where,
            fix="name a file of events, stream, dead-letters, kafka://HOST:PORT or local:DIR",
        ) from None
    return read_recorded(
        text,
        where="standard input" if where == "-" else where,
        now_ms=time.time_ns() // 1_000_000,
        topic=only,
    )


def _reading(config: SinkConfig, where: str) -> SinkConfig:
    """The connector with its stream at `where`. Raises `ConfigError`."""
    from pydantic import TypeAdapter, ValidationError

    from liberator.config.sink_values import BrokerUrl
    from liberator.config.values import FOLDER

    if config.stream is None:
        raise ConfigError(
            f"{config.name} has no stream to read events from",
            code="config.stream",
            where=config.where("name"),
            fix="name a file of events",
        )
    if where == "stream":
        return config
    try:
        url = TypeAdapter[str](BrokerUrl).validate_python(where, context={FOLDER: Path.cwd()})
    except ValidationError as error:
        raise ConfigError(
            error.errors()[0]["msg"],
            code="events.url",
            where=where,
            fix="write kafka://HOST:PORT or local:DIR",
        ) from None
    return config.model_copy(update={"stream": config.stream.model_copy(update={"url": url})})
