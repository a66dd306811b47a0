"""Parts of a sink's stream, as people name them; and what is in them, read by who is no member of any group.

Enters: a checked `SinkConfig`, places. Leaves: offsets, events. Called by what replays a stream or tries a function on it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from liberator.build.deadletter import make_box
from liberator.change import Event, TopicPartition, events_of
from liberator.consume.group import Bounds, Group
from liberator.consume.ranges import ranges
from liberator.errors import ConfigError

if TYPE_CHECKING:
    from liberator.config import SinkConfig

Place = Literal["earliest", "latest"] | datetime | int | Mapping[tuple[str | None, int], int]
"""A place in a stream: an end of it, a time, an offset of every partition, or one for each that is meant, by topic (None:
every topic) and partition."""

_READER = "liberator-reader"
"""A group that commits nothing, so no broker keeps it."""


def recorded(config: SinkConfig, begin: Place, end: Place | None) -> Iterator[Event]:
    """The events of a part of the stream: partition by partition, each in its order. end: None: what is there now. Raises
    `ConfigError`, `ConsumeError`, `DeadLetterError`."""
    stream = config.stream
    assert stream is not None
    with closing(make_group(config, _READER)) as group:
        bounds = group.bounds(stream.topics or config.reads)
        stop = {} if end is None else offsets_of(group, bounds, end)
        found = ranges(bounds, offsets_of(group, bounds, begin), stop, None)
    if found:
        from liberator.config.sink import folder_of_broker

        folder = folder_of_broker(stream.url)
        with closing(make_box(stream.url, folder, connection_options(config))) as box:
            for at, part in found.items():
                for batch in box.read(at, part.start, part.end):
                    yield from events_of(batch)


def connection_options(config: SinkConfig) -> Mapping[str, str]:
    """Those of the stream's client that are about the connection."""
    from liberator.consume.kafka.options import split

    return {} if config.stream is None else split(config.stream.options)[0]


def make_group(config: SinkConfig, name: str) -> Group:
    """A group of the connector's stream, from outside. Raises `ConfigError`, `ConsumeError`."""
    from liberator.config.sink import folder_of_broker

    stream = config.stream
    assert stream is not None
    folder = folder_of_broker(stream.url)
    if folder is not None:
        from liberator.consume.local_group import LocalGroup

        return LocalGroup(folder, name)
    from liberator.consume.kafka import kafka_group

    return kafka_group(stream.url, name, options=stream.options)


def offsets_of(
    group: Group, bounds: Mapping[TopicPartition, Bounds], place: Place
) -> dict[TopicPartition, int]:
    """Where a place is in each partition that is meant. bounds: of all there are. Raises `ConfigError`, `ConsumeError`."""
    if isinstance(place, Mapping):
        return _named(bounds, place)
    if isinstance(place, datetime):
        return group.offsets_at(list(bounds), round(place.timestamp() * 1000))
    if isinstance(place, int):
        return dict.fromkeys(bounds, place)
    return {at: found.first if place == "earliest" else found.end for at, found in bounds.items()}


def _named(
    bounds: Mapping[TopicPartition, Bounds], places: Mapping[tuple[str | None, int], int]
) -> dict[TopicPartition, int]:
    found = {}
    for (topic, partition), offset in places.items():
        meant = [at for at in bounds if at.partition == partition and topic in (None, at.topic)]
        if not meant:
            name = f"partition {partition}" if topic is None else f"{topic}/{partition}"
            raise ConfigError(
                f"the stream has no {name}",
                code="config.partition",
                where="--from, --to",
                fix="`liberate replay --from earliest --dry-run` shows the partitions that there are",
            )
        found.update(dict.fromkeys(meant, offset))
    return found
