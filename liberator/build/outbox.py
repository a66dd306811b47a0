"""Configuration -> what an outbox is read with.

Called when a connector of mode outbox is opened, and by the helper for applications, so that both judge an event alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from liberator.build.parts import invalid_rows, selection, type_options
from liberator.codec.debezium import DebeziumCodec
from liberator.config.patterns import fits_in_topic
from liberator.contract.payload import PayloadGate
from liberator.contract.store import ContractStore
from liberator.errors import ConfigError
from liberator.observe.telemetry import Telemetry
from liberator.plan.outbox import OutboxNames, OutboxSettings, Router
from liberator.plan.outbox_log import LogOutboxSettings, OutboxExecutor
from liberator.plan.planner import Planner, PlanSettings
from liberator.postgres.replication import System
from liberator.source.log import LogSource

if TYPE_CHECKING:
    from liberator.config import SourceConfig


def outbox_settings(config: SourceConfig, database: str) -> OutboxSettings:
    """What of the configuration decides about the events of an outbox. database: its name, for topics."""
    outbox, template = config.source.outbox, config.publish.topic
    store = ContractStore(config.schema_.dir)

    def topic(aggregate_type: str, type: str) -> str | None:
        event = {"aggregatetype": aggregate_type, "type": type}
        if not all(fits_in_topic(event[place]) for place in event.keys() & template.places):
            return None
        table = outbox.table
        try:
            return template.render(
                name=config.name, schema=table.schema or "public", table=table.table, db=database, **event
            )
        except ConfigError:  # too long
            return None

    def contract(topic: str, type: str) -> PayloadGate | None:
        stored = store.load(config.without_stage(topic), type)
        return None if stored is None else PayloadGate(stored[1])

    return OutboxSettings(
        names=OutboxNames(**outbox.columns.model_dump()),
        topic=topic,
        contract=contract,
        headers=outbox.headers,
        envelope=outbox.envelope,
        tombstones=outbox.tombstones,
        on_update=outbox.on_update,
    )


def outbox_label(config: SourceConfig) -> str:
    """What the outbox is called in messages to people."""
    outbox = config.source.outbox
    if outbox.capture == "message":
        return f"messages with prefix {outbox.prefix}"
    return f"{outbox.table.schema or 'public'}.{outbox.table.table}"


def log_outbox(
    config: SourceConfig, system: System, source: LogSource, telemetry: Telemetry
) -> tuple[Planner, OutboxExecutor]:
    """What reads an outbox from the log."""
    outbox = config.source.outbox
    plans = PlanSettings(
        topic=lambda schema, table: f"{schema}.{table}",
        selection=selection(config),
        types=type_options(config),
        all_meant=lambda: source.publishes_selection,
    )
    planner = Planner(plans, DebeziumCodec(config.name, system.database), None, source.connection)
    settings, label = outbox_settings(config, system.database), outbox_label(config)
    router = Router(settings, invalid_rows(config, system.database, telemetry), label)
    log_outbox_settings = LogOutboxSettings(
        slot=config.source.log.slot,
        system=system.identifier,
        label=label,
        prefix=outbox.prefix if outbox.capture == "message" else None,
    )
    executor = OutboxExecutor(
        log_outbox_settings, settings, planner, router, contexts=config.source.log.context
    )
    return planner, executor
