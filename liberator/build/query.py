"""A connector that queries tables, wired: the loop with its source, plan, publisher, checkpoint and telemetry.

Enters: a checked `SourceConfig` of mode query. Leaves: a connector to run. SQLAlchemy is imported only where it is needed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from liberator.build.parts import (
    evolution,
    invalid_rows,
    make_announcer,
    make_envelope,
    make_wire,
    selection,
    table_evolution,
    type_options,
)
from liberator.build.running import How, Running, Watching
from liberator.build.transforms import topics, transforms
from liberator.change import Batch, State
from liberator.config.values import POSTGRES_SCHEMES
from liberator.observe.telemetry import Telemetry
from liberator.plan.driver_values import value_converter, value_facts, value_schemas
from liberator.plan.query import QueryExecutor, QueryPlanSettings
from liberator.plan.shaping import Left
from liberator.protocols import Encoder
from liberator.source.query.database import Database, Shape
from liberator.source.query.postgres import PostgresDatabase
from liberator.source.query.settings import QuerySettings, TableSettings
from liberator.source.query.source import QuerySource

if TYPE_CHECKING:
    from liberator.config import SourceConfig


class QueryConnector(Running):
    """As `Connector`, for mode query."""

    source: QuerySource

    def __init__(self, config: SourceConfig, how: How) -> None:
        super().__init__(config, how)
        transforms(config)  # a function that is not there is told before anything is connected to
        self._executor: QueryExecutor | None = None
        self.source = QuerySource(
            query_settings(config, once=how.once, trial=how.trial),
            lambda stop: make_database(config, stop),
            progress=self.telemetry,
            approve=self._approve,
        )
        self._wire(QueryWatcher(self.telemetry, self.source, self._topics, config.limits.under_way))

    def _approve(self, database: Database, shapes: Sequence[Shape]) -> None:
        if self._executor is None:
            self._executor = make_query_executor(self.config, database, self.telemetry)
        self._executor.prepare(shape.table for shape in shapes)
        for shape in shapes:
            columns = (*shape.key, *shape.order, *((shape.cursor,) if shape.cursor else ()))
            self._executor.refuse_to_hide(shape.table, columns, "the position keeps its values")

    def _opened(self, state: State) -> Encoder:
        assert self._executor is not None
        self._executor.restore(state)
        self.telemetry.version("server", self.source.database.version)
        return self._executor

    def _topics(self) -> Mapping[str, str]:
        return {} if self._executor is None else self._executor.topics()


def query_settings(config: SourceConfig, *, once: bool = False, trial: bool = False) -> QuerySettings:
    """What the source is told."""
    source, query = config.source, config.source.query
    default = default_schema(config)

    def of(schema: str, table: str) -> TableSettings:
        options = query.of(schema, table, default)
        deletes, _, column = (options.deletes or "ignore").partition(":")
        return TableSettings(
            strategy=options.strategy,
            timestamp_column=options.timestamp_column,
            incrementing_column=options.incrementing_column,
            poll_interval=options.poll_interval or query.poll_interval,
            delay=query.delay if options.delay is None else options.delay,
            batch_rows=options.batch_rows or query.batch_rows,
            deletes="soft" if deletes == "soft" else "reconcile" if deletes == "reconcile" else "ignore",
            soft_column=column or None,
            reconcile_interval=options.reconcile_interval or query.reconcile_interval,
            sql=options.sql,
            key=config.publish.key_columns(schema, table, default),
        )

    return QuerySettings(
        url=source.url,
        name=config.name,
        selection=selection(config, default),
        table=of,
        keys=None if trial else query.key_file,
        exact={p.text: (p.schema or default, p.table) for p in source.tables if p.exact},
        queried=[
            (pattern.schema or default, pattern.table)
            for pattern, own in query.tables.items()
            if pattern.exact and own.sql is not None
        ],
        once=once,
        alone=not trial,
        queue_bytes=max(1024 * 1024, config.limits.under_way // 8),
        statement_timeout=query.statement_timeout,
        look_around=query.discovery_interval,
        rows_per_second=query.rows_per_second,
    )


def default_schema(config: SourceConfig) -> str:
    """The schema of a pattern that names none: what the database takes as its own."""
    if is_postgres(config):
        return "public"
    from sqlalchemy import make_url

    url = make_url(config.source.url)
    defaults = {"sqlite": "main", "mssql": "dbo", "oracle": (url.username or "").lower()}
    return defaults.get(url.get_backend_name(), url.database or "")


def is_postgres(config: SourceConfig) -> bool:
    """Does the URL name PostgreSQL, by whatever driver?"""
    return config.source.url.partition("://")[0].partition("+")[0] in POSTGRES_SCHEMES


def make_database(config: SourceConfig, stop: threading.Event) -> Database:
    """The connection of one session."""
    default = default_schema(config)
    timeout, wants = config.source.query.statement_timeout, selection(config, default).wants
    if is_postgres(config):
        return PostgresDatabase(
            config.source.url, config.name, statement_timeout=timeout, wants=wants, stop=stop
        )
    from liberator.source.query.sql_alchemy import SqlAlchemyDatabase

    return SqlAlchemyDatabase(
        config.source.url,
        statement_timeout=timeout,
        wants=wants,
        default_schema=default,
        default_only=not config.source.tables,
        stop=stop,
    )


def make_query_executor(config: SourceConfig, database: Database, telemetry: Telemetry) -> QueryExecutor:
    """The executor of this connector's plans."""
    name, types = config.name, type_options(config)
    default = default_schema(config)
    convert = None if is_postgres(config) else lambda column: value_converter(column, types)
    settings = QueryPlanSettings(
        name=name,
        topic=topics(config, database.name),
        key=lambda schema, table: config.publish.key_columns(schema, table, default),
        convert=convert,
        types=types,
        tombstones=config.format.tombstones,
        transforms=transforms(config, default),
    )
    invalid = invalid_rows(config, database.name, telemetry)
    envelope = make_envelope(config, database.name, database.kind)
    contracts = evolution(config, values_left(config)) if convert else table_evolution(config)
    announcer = make_announcer(config, database.name)
    wire = make_wire(config, envelope, values_left(config) if convert else None)
    return QueryExecutor(
        settings, envelope, contracts, invalid, lambda: time.time_ns() // 1000, announcer, wire
    )


def values_left(config: SourceConfig) -> Left:
    """As `rows_left`, where a driver may give anything."""
    types, default = type_options(config), default_schema(config)
    return Left(
        transforms(config, default),
        lambda table: value_schemas(table, types),
        value_facts,
        lambda schema, table: config.publish.key_columns(schema, table, default),
    )


class QueryWatcher(Watching):
    """What a query source received. There is no log to be behind of."""

    def __init__(
        self, telemetry: Telemetry, source: QuerySource, topics: Callable[[], Mapping[str, str]], memory: int
    ) -> None:
        super().__init__(telemetry, topics)
        self._source = source
        self._memory = memory

    def received(self, batch: Batch, committed_us: int) -> None:
        """See `Watch.received`."""
        self._telemetry.state("snapshot" if self._source.reading_tables else "streaming")
        self._telemetry.queue(self._source.queued(), self._memory)
