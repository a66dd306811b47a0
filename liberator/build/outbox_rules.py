"""Configuration -> by which rules an event of an outbox is judged.

Called when a connector of mode outbox is opened, by the sidecar, and by the helper for applications: all judge alike.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from liberator.config.patterns import TopicTemplate, fits_in_topic
from liberator.contract.payload import PayloadGate
from liberator.contract.store import ContractStore
from liberator.errors import ConfigError
from liberator.plan.outbox import OutboxNames, OutboxSettings

if TYPE_CHECKING:
    from liberator.config import SourceConfig
    from liberator.config.section import ConnectorConfig


_KNOWN_TYPES = 4096
"""Contracts that are remembered, also those that are not there."""


def outbox_settings(config: SourceConfig, database: str) -> OutboxSettings:
    """What of the configuration decides about the events of an outbox. database: its name, for topics."""
    outbox = config.source.outbox
    table = outbox.table
    return OutboxSettings(
        names=OutboxNames(**outbox.columns.model_dump()),
        topic=topic_of_event(
            config.publish.topic,
            name=config.name,
            schema=table.schema or "public",
            table=table.table,
            db=database,
        ),
        contract=contract_of_event(config, config.schema_.dir),
        headers=outbox.headers,
        envelope=outbox.envelope,
        tombstones=outbox.tombstones,
        on_update=outbox.on_update,
    )


def topic_of_event(template: TopicTemplate, **names: str) -> Callable[[str, str], str | None]:
    """See `OutboxSettings.topic`. names: what an event does not bring itself."""

    def topic(aggregate_type: str, type: str) -> str | None:
        event = {"aggregatetype": aggregate_type, "type": type}
        if not all(fits_in_topic(event[place]) for place in event.keys() & template.places):
            return None
        try:
            return template.render(**names, **event)
        except ConfigError:  # too long
            return None

    return topic


def contract_of_event(config: ConnectorConfig, folder: Path) -> Callable[[str, str], PayloadGate | None]:
    """See `OutboxSettings.contract`. folder: of the stored contracts."""
    store = ContractStore(folder)

    @lru_cache(maxsize=_KNOWN_TYPES)
    def contract(topic: str, type: str) -> PayloadGate | None:
        stored = store.load(config.without_stage(topic), type)
        return None if stored is None else PayloadGate(stored[1])

    return contract


def outbox_label(config: SourceConfig) -> str:
    """What the outbox is called in messages to people."""
    outbox = config.source.outbox
    if outbox.capture == "message":
        return f"messages with prefix {outbox.prefix}"
    return f"{outbox.table.schema or 'public'}.{outbox.table.table}"
