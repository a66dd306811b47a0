"""Configuration -> single parts: settings, planner, executor, publisher, checkpoint.

Heavy libraries are imported where they are needed, so that a connector to a file never loads a Kafka client.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from liberator.build.topics import kafka_topics, local_topics
from liberator.build.transforms import topics, transforms
from liberator.codec.cloudevents import CloudEvents
from liberator.codec.debezium import Debezium
from liberator.codec.envelope import Envelope
from liberator.codec.flat import Flat
from liberator.contract.store import ContractStore
from liberator.observe.telemetry import Telemetry
from liberator.plan.announce import Announcer
from liberator.plan.evolution import Evolution
from liberator.plan.invalid import InvalidRows
from liberator.plan.native import executor_class
from liberator.plan.outbox_wire import EventWire
from liberator.plan.planner import Planner, PlanSettings
from liberator.plan.python import PythonExecutor, StreamSettings
from liberator.plan.shaping import Left
from liberator.plan.tables import column_facts, column_schemas
from liberator.plan.wire import Wire
from liberator.postgres.replication import System
from liberator.postgres.selection import Selection
from liberator.postgres.values import TypeOptions
from liberator.protocols import Checkpoint, Publisher
from liberator.source.log import LogSettings, LogSource

if TYPE_CHECKING:
    from liberator.config import SourceConfig
    from liberator.config.patterns import TablePattern
    from liberator.config.registry import RegistryKeys


def log_settings(config: SourceConfig, *, once: bool = False, trial: bool = False) -> LogSettings:
    """What the log source is told. A pattern without a schema means the default schema, ``public``.

    The rows of an outbox that are there already are read one after the other, in the order in which they lie there.
    """
    source, options = config.source, config.source.log
    is_outbox = source.mode == "outbox"
    messages_only = is_outbox and source.outbox.capture == "message"
    exact = {
        pattern.text: (pattern.schema or "public", pattern.table)
        for pattern in table_patterns(config)
        if pattern.exact
    }
    return LogSettings(
        url=source.url,
        name=config.name,
        slot=options.slot,
        publications=tuple(options.publication),
        selection=selection(config),
        exact=exact,
        autocreate=options.publication_autocreate,
        via_root=options.publish_via_partition_root,
        via_root_asked="publish_via_partition_root" in options.model_fields_set,
        snapshot="never" if messages_only else options.snapshot,
        workers=1 if is_outbox else options.snapshot_workers,
        rows_are_events=is_outbox,
        heartbeat=options.heartbeat,
        heartbeat_query=options.heartbeat_query,
        messages=bool(options.messages) or options.context or messages_only,
        messages_only=messages_only,
        failover=options.failover,
        trial=trial,
        once=once,
        queue_bytes=max(1024 * 1024, config.limits.under_way // 8),
    )


def selection(config: SourceConfig, default_schema: str = "public") -> Selection:
    """The tables that the configuration means. default_schema: of patterns that name none."""
    source, meant = config.source, table_patterns(config)
    everything = source.mode != "outbox" and not meant

    def included(schema: str, table: str) -> bool:
        return everything or any(p.matches(schema, table, default_schema) for p in meant)

    def excluded(schema: str, table: str) -> bool:
        return any(p.matches(schema, table, default_schema) for p in source.exclude)

    globs = {p.text: partial(p.matches, default_schema=default_schema) for p in meant if not p.exact}
    return Selection(included, excluded, globs)


def table_patterns(config: SourceConfig) -> Sequence[TablePattern]:
    """What the configuration says of the tables that are meant: in an outbox its one, or none."""
    source = config.source
    if source.mode != "outbox":
        return source.tables
    return () if source.outbox.capture == "message" else (source.outbox.table,)


def make_envelope(config: SourceConfig, database: str, kind: str = "postgresql") -> Envelope:
    """The form of the events. database, kind: where the rows come from."""
    settings = config.format
    if settings.envelope == "cloudevents":
        return CloudEvents(config.name, settings.cloudevents_mode)
    return Flat() if settings.envelope == "flat" else Debezium(config.name, database, kind)


def make_planner(config: SourceConfig, database: str, envelope: Envelope, source: LogSource) -> Planner:
    """The planner, with the stored contracts."""
    settings = PlanSettings(
        topic=topics(config, database),
        selection=selection(config),
        key=config.publish.key_columns,
        types=type_options(config),
        all_meant=lambda: source.publishes_selection,
        transforms=transforms(config),
    )
    return Planner(
        settings, envelope, table_evolution(config), source.connection, make_wire(config, envelope)
    )


def table_evolution(config: SourceConfig) -> Evolution:
    """What is done when a table of PostgreSQL changes."""
    return evolution(config, rows_left(config))


def evolution(config: SourceConfig, left: Left) -> Evolution:
    """The same, of any database. left: what transforms leave of its rows."""
    rules = config.schema_
    return Evolution(
        Contracts(config), left.columns, left.certain, rules.on_change, rules.compatibility, left.naming
    )


def rows_left(config: SourceConfig) -> Left:
    """What transforms leave of tables of PostgreSQL."""
    types = type_options(config)
    return Left(
        transforms(config),
        lambda table: column_schemas(table, types),
        lambda table: column_facts(table, types),
        config.publish.key_columns,
    )


def make_wire(
    config: SourceConfig,
    envelope: Envelope,
    left: Left | None = None,
) -> Wire | None:
    """What puts schema ids in front of events; None: there is no registry. left: default: of PostgreSQL's tables."""
    rules, left = config.schema_, left or rows_left(config)
    if rules.registry is None:
        return None
    return Wire(
        schema_ids(rules), rules.subjects, left.columns, envelope.schema, config.without_stage, left.naming
    )


def make_event_wire(config: SourceConfig) -> EventWire | None:
    """The same for the events of an outbox. A topic holds several types of them, so each has a subject of its own unless
    the configuration says otherwise."""
    rules = config.schema_
    if rules.registry is None:
        return None
    strategy = rules.subjects if "subjects" in rules.model_fields_set else "topic_record_name"
    return EventWire(schema_ids(rules), strategy, config.source.outbox.envelope)


ASK_SECONDS = 8.0
"""For a registry's answer, while nothing else is done: a connector that is told to stop is gone after 10, and asks again
when it is not."""


def schema_ids(keys: RegistryKeys, timeout: float | None = None) -> Callable[[str, dict[str, Any]], int]:
    """(subject, schema) -> its id, from the registry of these keys, which must name one. timeout: seconds for one request,
    and no second one; None: some requests within `ASK_SECONDS`. Not for several threads at once."""
    from liberator.contract.registry.client import RegistryClient
    from liberator.contract.registry.http import RegistrySettings

    assert keys.registry is not None
    settings = RegistrySettings(
        keys.registry,
        token=keys.registry_token,
        ca=keys.registry_ca,
        certificate=keys.registry_certificate,
        key=keys.registry_key,
        within=ASK_SECONDS,
    )
    if timeout is not None:
        settings = replace(settings, timeout=timeout, attempts=1, within=timeout)
    client = RegistryClient(settings, keys.registry_cache)
    return client.register if keys.registry_register else client.find


def make_announcer(config: SourceConfig, database: str) -> Announcer:
    """What announces changes of tables. A topic that is neither asked for nor may be made is left alone."""
    topic, asked = config.schema_.change_topic, "change_topic" in config.schema_.model_fields_set
    if topic is None or (config.publish.create_topics is None and not asked):
        return Announcer()
    return Announcer(topic.render(name=config.name, db=database), config.name, database)


class Contracts:
    """Stored contracts by topic; the same ones in every stage."""

    def __init__(self, config: SourceConfig) -> None:
        self._config = config
        self._store = ContractStore(config.schema_.dir)

    def load(self, topic: str) -> tuple[int, dict[str, Any]] | None:
        """See `plan.tables.Contracts`, as for the others."""
        return self._store.load(self._config.without_stage(topic))

    def newest(self, topic: str) -> int | None:
        return self._store.newest(self._config.without_stage(topic))

    def versions(self, topic: str) -> Mapping[int, dict[str, Any]]:
        return self._store.versions(self._config.without_stage(topic))

    def add(self, topic: str, contract: dict[str, Any]) -> int:
        return int(self._store.write(self._config.without_stage(topic), contract).stem)


def make_executor(
    config: SourceConfig, system: System, planner: Planner, envelope: Envelope, telemetry: Telemetry
) -> PythonExecutor:
    """The executor of this connector's plans."""
    options, name = config.source.log, config.name
    names = {"name": name, "db": system.database}
    settings = StreamSettings(
        name=name,
        slot=options.slot,
        system=system.identifier,
        tombstones=config.format.tombstones,
        messages=tuple(options.messages),
        message_topic=options.message_topic.render(**names),
        transaction_topic=f"{name}.transaction" if options.transaction_topic else None,
        context=options.context,
    )
    invalid = invalid_rows(config, system.database, telemetry)
    announcer = make_announcer(config, system.database)
    make = executor_class(os.environ.get("LIBERATOR_IMPL", "auto"))
    return make(settings, planner, envelope, invalid, lambda: time.time_ns() // 1000, announcer)


def now_ms() -> int:
    """Milliseconds since the Unix epoch."""
    return time.time_ns() // 1_000_000


def invalid_rows(config: SourceConfig, database: str, telemetry: Telemetry) -> InvalidRows:
    """What becomes of rows that break their contract."""
    return InvalidRows(
        config.schema_.on_invalid,
        config.name,
        config.publish.dead_letter_topic.render(name=config.name, db=database),
        now_ms=now_ms,
        count=telemetry.dead_letter,
    )


def type_options(config: SourceConfig) -> TypeOptions:
    """How types become JSON."""
    types = config.types
    return TypeOptions(int64=types.int64, json=types.json_, array_bounds=types.array_bounds, char=types.char)


def publishers(config: SourceConfig, checkpoint: Checkpoint | None) -> Callable[[], Publisher]:
    """What makes the publisher of a session. checkpoint: for exactly once. It raises `PublishError`."""
    if config.publish.kind != "kafka":
        return lambda: _publisher(config)
    from liberator.checkpoint.kafka import KafkaCheckpoint
    from liberator.publish.kafka import Lessons, kafka_publisher, transactional_publisher

    settings = _kafka_settings(config)
    if config.publish.delivery != "exactly_once":
        return lambda: kafka_publisher(config.publish.url, **settings)
    assert isinstance(checkpoint, KafkaCheckpoint), "checked with the configuration"
    lessons = Lessons()
    return lambda: transactional_publisher(
        config.publish.url, positions=checkpoint, lessons=lessons, **settings
    )


def _publisher(config: SourceConfig) -> Publisher:
    publish = config.publish
    if publish.kind == "stdout":
        from liberator.publish.stdout import StdoutPublisher

        return StdoutPublisher(sys.stdout.buffer)
    if publish.kind == "file":
        from liberator.publish.file import FilePublisher

        return FilePublisher(publish.path)
    return _local_publisher(config)


def _kafka_settings(config: SourceConfig) -> dict[str, Any]:
    publish = config.publish
    return {
        "options": publish.options,
        "create_topics": kafka_topics(publish.create_topics),
        "memory": config.limits.under_way // 2,
        "name": config.name,
        "dead_letter_topic": publish.dead_letter_topic.render(name=config.name, db=""),
    }


def _local_publisher(config: SourceConfig) -> Publisher:
    from liberator.publish.local import LocalPublisher

    publish = config.publish
    return LocalPublisher(
        publish.path,
        **local_topics(publish.create_topics),
        dead_letter_topic=publish.dead_letter_topic.render(name=config.name, db=""),
        exactly_once=config.name if publish.delivery == "exactly_once" else None,
        memory=config.limits.under_way // 2,
    )


def make_checkpoint(config: SourceConfig) -> Checkpoint:
    """Where positions are kept. Raises `CheckpointError`."""
    from liberator.checkpoint import open_checkpoint

    return open_checkpoint(
        config.checkpoint.url,
        config.name,
        kafka_url=config.publish.url if config.publish.kind == "kafka" else None,
        local_folder=config.publish.path if config.publish.kind == "local" else None,
        options=config.publish.options,
    )
