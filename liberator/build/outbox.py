"""Configuration -> what reads an outbox. Called when a connector of mode outbox is opened."""

from __future__ import annotations

from typing import TYPE_CHECKING

from liberator.build.outbox_rules import outbox_label, outbox_settings
from liberator.build.parts import invalid_rows, make_event_wire, now_ms, selection, type_options
from liberator.codec.debezium import Debezium
from liberator.observe.telemetry import Telemetry
from liberator.plan.outbox import Router
from liberator.plan.outbox_log import LogOutboxSettings, OutboxExecutor
from liberator.plan.planner import Planner, PlanSettings
from liberator.postgres.replication import System
from liberator.source.log import LogSource

if TYPE_CHECKING:
    from liberator.config import SourceConfig


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
    planner = Planner(plans, Debezium(config.name, system.database), None, source.connection)
    settings, label = outbox_settings(config, system.database), outbox_label(config)
    wire = make_event_wire(config)
    prefix = None if wire is None else wire.prefix
    router = Router(settings, invalid_rows(config, system.database, telemetry), label, now_ms, prefix)
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
