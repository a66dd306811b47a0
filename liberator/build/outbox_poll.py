"""A connector that polls an outbox, wired: the loop with its source, plan, publisher, checkpoint and telemetry.

Enters: a checked `SourceConfig` of mode outbox with capture poll. Leaves: a connector to run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from liberator.build.outbox_rules import outbox_label, outbox_settings
from liberator.build.parts import invalid_rows, make_event_wire, now_ms, type_options
from liberator.build.query import QueryConnector, default_schema, is_postgres
from liberator.build.running import How, Running, Watching
from liberator.change import Batch, State
from liberator.codec.debezium import Debezium
from liberator.config.patterns import TablePattern
from liberator.observe.telemetry import Telemetry
from liberator.plan.compile import TablePlan, compile_plan
from liberator.plan.driver_values import value_converter
from liberator.plan.outbox import Router
from liberator.plan.outbox_poll import OutboxRowsExecutor
from liberator.postgres.model import Table
from liberator.protocols import Encoder
from liberator.source.outbox.source import OutboxPollSource, PollingSettings
from liberator.source.outbox.table import PolledSettings, PolledTable
from liberator.source.query.database import Database, Shape

if TYPE_CHECKING:
    from liberator.config import SourceConfig


class OutboxPollConnector(Running):
    """As `Connector`, for an outbox that is polled."""

    source: OutboxPollSource

    def __init__(self, config: SourceConfig, how: How) -> None:
        super().__init__(config, how)
        self._executor: OutboxRowsExecutor | None = None
        polling = polling_settings(config, once=how.once)
        self.source = OutboxPollSource(
            polling, lambda: make_table(config, polling.polled), approve=self._approve
        )
        self._wire(_Watcher(self.telemetry, dict))

    def _approve(self, table: PolledTable, shape: Table) -> None:
        if self._executor is None:
            self._executor = rows_executor(self.config, table.database, table.raw, self.telemetry)
        self._executor.prepare(shape)

    def _opened(self, state: State) -> Encoder:
        assert self._executor is not None
        self.telemetry.version("server", self.source.table.server)
        return self._executor


class OutboxKeepConnector(QueryConnector):
    """As `Connector`, for an outbox whose rows are kept: a query source reads what is new of its one table."""

    def __init__(self, config: SourceConfig, how: How) -> None:
        self._rows: OutboxRowsExecutor | None = None
        super().__init__(_as_query(config), how)

    def _approve(self, database: Database, shapes: Sequence[Shape]) -> None:
        if self._rows is None:
            raw = is_postgres(self.config)
            self._rows = rows_executor(self.config, database.name, raw, self.telemetry)
        for shape in shapes:
            self._rows.prepare(shape.table)

    def _opened(self, state: State) -> Encoder:
        assert self._rows is not None
        self.telemetry.version("server", self.source.database.version)
        return self._rows


def _as_query(config: SourceConfig) -> SourceConfig:
    """How the query source is told to read the outbox."""
    source, outbox = config.source, config.source.outbox
    query = source.query.model_copy(
        update={
            "strategy": "incrementing",
            "incrementing_column": outbox.order_column,
            "poll_interval": outbox.poll_interval,
            "tables": {},
        }
    )
    table = outbox.table
    if table.schema == "public" and not is_postgres(config):
        quoted = table.table.replace('"', '""')
        table = TablePattern.parse(f'"{quoted}"')  # in whatever the database calls its own schema
    asked = {"query": query, "outbox": outbox.model_copy(update={"table": table})}
    return config.model_copy(update={"source": source.model_copy(update=asked)})


def rows_executor(config: SourceConfig, database: str, raw: bool, telemetry: Telemetry) -> OutboxRowsExecutor:
    """The executor of this connector's rows. raw: they are PostgreSQL's text."""
    settings = outbox_settings(config, database)
    wire = make_event_wire(config)
    prefix = None if wire is None else wire.prefix
    router = Router(settings, invalid_rows(config, database, telemetry), outbox_label(config), now_ms, prefix)
    return OutboxRowsExecutor(settings, router, lambda shape: _plan(config, shape, raw))


def polling_settings(config: SourceConfig, *, once: bool = False) -> PollingSettings:
    """What the source is told."""
    outbox = config.source.outbox
    after, _, column = outbox.after_publish.partition(":")
    polled = PolledSettings(
        url=config.source.url,
        name=config.name,
        schema=outbox.table.schema or "public",
        table=outbox.table.table,
        id=outbox.columns.id,
        aggregate_type=outbox.columns.aggregate_type,
        aggregate_id=outbox.columns.aggregate_id,
        order=outbox.order_column,
        mark=column if after == "mark" else None,
    )
    memory = max(1024 * 1024, config.limits.under_way // 8)
    return PollingSettings(polled, interval=outbox.poll_interval, memory=memory, once=once)


def make_table(config: SourceConfig, settings: PolledSettings) -> PolledTable:
    """The connection of one session."""
    if is_postgres(config):
        from liberator.source.outbox.postgres import PostgresTable

        return PostgresTable(settings)
    from liberator.source.outbox.sql_alchemy import SqlAlchemyTable

    own = settings.schema in ("public", default_schema(config))
    return SqlAlchemyTable(settings, None if own else settings.schema)


def _plan(config: SourceConfig, table: Table, raw: bool) -> TablePlan:
    """How its columns become JSON; topic and key are each event's own."""
    types = type_options(config)
    return compile_plan(
        table,
        topic="",
        key=None,
        options=types,
        gate=None,
        form=Debezium(config.name, "").table(table.schema, table.name),
        convert=None if raw else lambda column: value_converter(column, types),
    )


class _Watcher(Watching):
    """What a polled outbox received. There is no log to be behind of."""

    def received(self, batch: Batch, committed_us: int) -> None:
        """See `Watch.received`."""
        self._telemetry.state("streaming")
