"""How missing topics are made: what the configuration says, as each broker's publishers take it. Both: None refuses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from liberator.config.section import TopicSettings as Wanted
    from liberator.kafka import TopicSettings


class LocalTopics(TypedDict):
    """Parameters of the local log's parts."""

    partitions: int | None
    settings: Mapping[str, str] | None


def kafka_topics(wanted: Wanted | None) -> TopicSettings | None:
    """For Kafka."""
    from liberator.kafka import TopicSettings

    return None if wanted is None else TopicSettings(wanted.partitions, wanted.replication, wanted.config)


def local_topics(wanted: Wanted | None) -> LocalTopics:
    """For the local log, which has no default of its own for the number of partitions."""
    if wanted is None:
        return {"partitions": None, "settings": None}
    return {"partitions": max(wanted.partitions, 1), "settings": wanted.config}
