"""A checked connector: every key that a YAML file may have, with its type, default and meaning.

Enters: plain data. Leaves: frozen objects whose values are ready to use (seconds, bytes, patterns, absolute paths) and
whose text never shows a password. The docstrings below are what an editor and the reference show. Never reads a file
or an environment; that is `load`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Field,
    PrivateAttr,
    model_validator,
)

from liberator.config.patterns import TablePattern, TopicTemplate
from liberator.config.registry import RegistryKeys
from liberator.config.section import (
    MIB,
    ConnectorConfig,
    ObserveSettings,
    Section,
    TopicSettings,
    for_producers,
    or_boolean,
    without_default,
)
from liberator.config.transform import TransformStep
from liberator.config.urls import Url
from liberator.config.values import (
    FALSE_IS_OFF,
    OUTBOX_TOPIC,
    AfterPublish,
    CheckpointUrl,
    ConnectorName,
    ConnectorTopic,
    DatabaseUrl,
    Delay,
    DeletePolicy,
    Duration,
    FolderPath,
    Identifier,
    Names,
    OneTablePattern,
    PublishUrl,
    Setting,
    Size,
    SlotName,
    SnapshotMode,
    TablePatterns,
    TableTopic,
    Texts,
    WholeNumber,
    default_slot_name,
    file_of,
    folder_of,
    kind_of_place,
    refusal,
)


class LogSettings(Section):
    """How the write-ahead log is read."""

    slot: SlotName = Field(default="", validate_default=False, json_schema_extra=without_default)
    """Replication slot that keeps this connector's place on the server. Default: `name` lower-cased, other characters
    as _."""
    publication: Names = Field(default=(), validate_default=False, json_schema_extra=without_default)
    """Publication to read; several as a list or separated by commas. Default: `name` lower-cased, other characters
    as _."""
    publication_autocreate: Literal["filtered", "all_tables", "disabled"] = "filtered"
    """Who makes the publication when it is missing: `filtered` makes one of the captured tables, `all_tables` one of
    every table, `disabled` refuses to start."""
    publish_via_partition_root: bool = True
    """Changes of partitions come under the name of the partitioned table (true) or of the partition (false)."""
    snapshot: SnapshotMode = "initial"
    """When existing rows are read: `initial` at the first start, `initial_only` and then stop, `always` at every
    start, `never`, `when_needed` at the first start and again when slot or checkpoint is gone."""
    snapshot_workers: WholeNumber = Field(default=2, ge=1, le=64)
    """Tables that a snapshot reads at the same time."""
    heartbeat: Duration = Field(default=10.0, json_schema_extra={"default": "10s"})
    """How often an idle database is told that its WAL is not needed any more. Writes nothing to it."""
    heartbeat_query: str | None = Field(default=None, min_length=1)
    """SQL that is run in the source at every heartbeat, for databases whose neighbours write all the WAL."""
    transaction_topic: bool = False
    """Publish the begin and end of each transaction to `{name}.transaction`."""
    messages: Texts = Field(default=(), validate_default=False, json_schema_extra=without_default)
    """Prefixes of logical messages (`pg_logical_emit_message`) to publish. Default: none."""
    message_topic: ConnectorTopic = Field(
        default=TopicTemplate("{name}.messages"), json_schema_extra={"default": "{name}.messages"}
    )
    """Topic of logical messages. Knows {name}."""
    context: bool = True
    """Take the fields of transactional logical messages with the prefix `liberator.context` as headers of all events that
    follow in the transaction: who did it, and why."""
    failover: bool = False
    """Make the slot a failover slot, which standbys keep in step (PostgreSQL 17 and newer)."""


Strategy = Literal["bulk", "incrementing", "timestamp", "timestamp+incrementing", "xmin", "custom"]


class QueryTableSettings(Section):
    """How one table is queried, where it differs from the others."""

    strategy: Strategy | None = None
    """How new rows are found in this table."""
    timestamp_column: Identifier | None = None
    """Column that holds when a row was written last."""
    incrementing_column: Identifier | None = None
    """Column whose value grows with every new row."""
    poll_interval: Duration | None = None
    """Time between two looks at this table."""
    delay: Delay | None = None
    """How late a row may appear behind others."""
    batch_rows: WholeNumber | None = Field(default=None, ge=1, le=1_000_000)
    """Rows of one query."""
    deletes: DeletePolicy | None = None
    """How deleted rows are found."""
    reconcile_interval: Duration | None = None
    """Time between two comparisons of keys."""
    sql: str | None = Field(default=None, min_length=1)
    """Query whose rows are read as those of this table. Columns that tell what is new are named beside it; those for all do
    not count."""


class QuerySettings(Section):
    """How tables are queried."""

    strategy: Strategy | None = Field(default=None, json_schema_extra=without_default)
    """How new rows are found: `bulk` reads everything each time; `incrementing` and `timestamp` what lies behind the
    greatest value so far, `timestamp+incrementing` both; `xmin` (PostgreSQL) every row version that the last look did not
    see; `custom` reads `sql`. Default: what the columns given say; without any `xmin` on PostgreSQL, else `bulk`."""
    timestamp_column: Identifier | None = None
    """Column that holds when a row was written last."""
    incrementing_column: Identifier | None = None
    """Column whose value grows with every new row."""
    poll_interval: Duration = Field(default=5.0, json_schema_extra={"default": "5s"})
    """Time between two looks at a table, a tenth more or less."""
    delay: Delay = Field(default=0.0, json_schema_extra={"default": "0s"})
    """How late a row may appear behind others with greater values: rows as new as that are looked at again, and those
    published already are left out. PostgreSQL needs it for clocks that differ only."""
    batch_rows: WholeNumber = Field(default=10_000, ge=1, le=1_000_000)
    """Rows of one query."""
    deletes: DeletePolicy = "ignore"
    """How deleted rows are found: `ignore`; `soft:COLUMN` takes a row in which that column is neither null nor false nor 0
    as deleted; `reconcile` compares all keys every `reconcile_interval` with those published."""
    reconcile_interval: Duration = Field(default=3600.0, json_schema_extra={"default": "1h"})
    """Time between two comparisons of keys."""
    key_file: FolderPath = Field(default=Path(), validate_default=False, json_schema_extra=without_default)
    """SQLite file that remembers the published keys for `reconcile`. Default: .liberator/<name>.keys.db."""
    sql: str | None = Field(default=None, min_length=1)
    """With strategy custom: query whose rows are read. `source.tables` names the one table that they are published as."""
    discovery_interval: Duration = Field(default=10.0, json_schema_extra={"default": "10s"})
    """Time between two looks for tables that are new."""
    statement_timeout: Duration = Field(default=600.0, json_schema_extra={"default": "10m"})
    """What a query may take. After one that took longer, the queries of its table ask for fewer rows."""
    rows_per_second: WholeNumber | None = Field(default=None, ge=1)
    """Read no faster than this. Default: no limit."""
    tables: dict[OneTablePattern, QueryTableSettings] = Field(default={})
    """Other settings for single tables, by pattern; the first pattern that matches counts."""

    def of(self, schema: str, table: str, default_schema: str = "public") -> QueryTableSettings:
        """The settings of one table: its own where it has them, else those of all."""
        own = next(
            (
                found
                for pattern, found in self.tables.items()
                if pattern.matches(schema, table, default_schema)
            ),
            QueryTableSettings(),
        )
        return self._merged(own)

    def _merged(self, own: QueryTableSettings) -> QueryTableSettings:
        values = {name: getattr(own, name) for name in QueryTableSettings.model_fields}
        alone = () if own.sql is None else ("strategy", "timestamp_column", "incrementing_column")
        filled = {
            name: getattr(self, name) if value is None and name not in alone else value
            for name, value in values.items()
        }
        return QueryTableSettings.model_construct(None, **filled)

    @model_validator(mode="after")
    def _strategies_have_what_they_need(self) -> QuerySettings:
        for own in self.tables.values() or [QueryTableSettings()]:
            table = self._merged(own)
            needed = {
                "timestamp_column": table.strategy in ("timestamp", "timestamp+incrementing"),
                "incrementing_column": table.strategy in ("incrementing", "timestamp+incrementing"),
                "sql": table.strategy == "custom",
            }
            for key, is_needed in needed.items():
                if is_needed and getattr(table, key) is None:
                    raise refusal(
                        "config.query", f"strategy {table.strategy} needs {key}", f"add {key}", quotes=True
                    )
            if table.sql is not None and table.strategy not in (None, "custom"):
                raise refusal(
                    "config.query", "sql is read with strategy custom only", "write strategy: custom"
                )
        return self


class OutboxColumns(Section):
    """What the parts of an event are called: columns of the table, or members of the message."""

    id: Identifier = "id"
    """The event's id, unique."""
    aggregate_type: Identifier = "aggregatetype"
    """What kind of thing the event is about; it chooses the topic."""
    aggregate_id: Identifier = "aggregateid"
    """Which one; it becomes the key, so events about one thing keep their order."""
    type: Identifier = "type"
    """What happened: header `type`, and which contract holds."""
    payload: Identifier = "payload"
    """The event's value: json, jsonb, text that holds JSON, or bytea."""
    timestamp: Identifier | None = None
    """When it happened: the time of the record in the stream. A time with a date, or milliseconds since 1970. Default: the
    commit time with capture log or message, the time of publishing with poll."""


class OutboxSettings(Section):
    """The events that an application writes down itself."""

    table: OneTablePattern = Field(
        default=TablePattern.parse("public.outbox"), json_schema_extra={"default": "public.outbox"}
    )
    """The table, as schema.table."""
    capture: Literal["log", "poll", "message"] = "log"
    """How events are found: `log` reads the rows inserted into the table from the write-ahead log, `poll` asks the table
    (of any database), `message` reads logical messages (`pg_logical_emit_message`), without any table."""
    prefix: str = Field(default="outbox", min_length=1)
    """With capture message: the prefix of the messages that are events."""
    columns: OutboxColumns = OutboxColumns()
    """What the parts of an event are called: columns of the table, or members of the message."""
    headers: Names = Field(default=(), validate_default=False, json_schema_extra=without_default)
    """Further columns or members that become headers, under their own names. Default: none."""
    envelope: Names = Field(default=(), validate_default=False, json_schema_extra=without_default)
    """Further columns or members to put beside the payload: with some, the value is {"payload": ..., NAME: ...}.
    Default: none, the value is the payload alone."""
    tombstones: bool = False
    """Publish a null (or empty) payload as a null value, which makes compacted topics forget the key. Otherwise NULL is
    published as the JSON null."""
    on_update: Literal["warn", "stop", "ignore"] = "warn"
    """With capture log: what happens when a row of the table is updated, which is no event: warn, stop, or nothing."""
    after_publish: AfterPublish = "delete"
    """With capture poll: what becomes of a published row: `delete`, `mark:COLUMN`, which sets a time to now or a boolean to
    true, or `keep`, which remembers the order_column of the last one."""
    order_column: Identifier | None = None
    """With capture poll: the column that tells the order of rows. Default: the serial or identity column, else the key."""
    poll_interval: Duration = Field(default=1.0, json_schema_extra={"default": "1s"})
    """With capture poll: time between two looks at an empty table."""


class SourceSettings(Section):
    """The database that is read."""

    mode: Literal["log", "query", "outbox"] = "log"
    """How changes are found: `log` reads the write-ahead log, `query` asks the tables again and again, `outbox` takes the
    events that the application itself writes down."""
    url: DatabaseUrl
    """The database: postgresql://USER:PASSWORD@HOST:PORT/DATABASE, with mode query any SQLAlchemy URL. Keep the password
    out of the file with ${SHOP_DSN} or ${file:PATH}."""
    tables: TablePatterns = Field(default=(), validate_default=False, json_schema_extra=without_default)
    """Tables to capture: schema.table, globs such as public.audit_*, odd names in double quotes. Without a schema the
    default schema is meant. Default: all user tables."""
    exclude: TablePatterns = Field(default=(), validate_default=False, json_schema_extra=without_default)
    """Tables to leave out of `tables`, written the same way."""
    log: LogSettings = LogSettings()
    """How the write-ahead log is read."""
    query: QuerySettings = QuerySettings()
    """How tables are queried."""
    outbox: OutboxSettings = OutboxSettings()
    """The events that an application writes down itself."""

    @property
    def reads_log(self) -> bool:
        """Is there a slot?"""
        return self.mode == "log" or (self.mode == "outbox" and self.outbox.capture != "poll")


class TypeSettings(Section):
    """How PostgreSQL's types become JSON, where there is a choice."""

    int64: Literal["number", "string"] = "number"
    """bigint as a JSON number, or as text for readers whose numbers end at 2^53, as JavaScript's do."""
    json_: Literal["string", "embed"] = Field(default="string", alias="json")
    """json and jsonb as text that holds JSON, which loses nothing, or embedded as they are."""
    array_bounds: Literal["drop", "fail", "text"] = "drop"
    """Arrays whose first index is not 1: drop the bounds, treat the row as invalid, or write the array as
    PostgreSQL's text."""
    char: Literal["keep", "trim"] = "keep"
    """The blanks that PostgreSQL pads char(n) with: keep or trim them."""


def _topic_or_boolean(schema: dict[str, Any]) -> None:
    schema["default"] = "{name}.schema-changes"
    or_boolean(schema)


class SchemaSettings(RegistryKeys):
    """The contract that every row is held to."""

    dir: FolderPath = Path("schemas")
    """Folder of stored contracts, <dir>/<topic>/<n>.json; the highest n holds. Without a stored one the contract is
    derived from the table."""
    compatibility: Literal[
        "backward",
        "backward_transitive",
        "forward",
        "forward_transitive",
        "full",
        "full_transitive",
        "none",
    ] = "backward"
    """What a new version of a contract owes to the one before, or with `_transitive` to all: readers with the new one read
    old events (`backward`), readers with the old one new events (`forward`), both (`full`), nothing (`none`)."""
    on_invalid: Literal["dead_letter", "stop", "warn"] = "dead_letter"
    """A row that breaks its contract goes to the dead letters, stops the connector, or is published with a warning."""
    on_change: Literal["compatible", "any", "stop", "dead_letter"] = "compatible"
    """When a table changes so that no stored contract is for it any more: write the next version and go on if that is
    `compatible`, else stop; do so whatever it breaks (`any`); `stop`; or send its rows to the dead letters until a version
    for it is written (`dead_letter`). Streams without a stored contract follow their tables."""
    subjects: Literal["topic_name", "record_name", "topic_record_name"] = "topic_name"
    """Under which subjects schemas are registered: `<topic>-value` and `<topic>-key`, or by the schemas' own names, which of
    an outbox's events are their types. Default: `topic_name`, for an outbox `topic_record_name`."""
    change_topic: Annotated[ConnectorTopic | None, FALSE_IS_OFF] = Field(
        default=TopicTemplate("{name}.schema-changes"), json_schema_extra=_topic_or_boolean
    )
    """Where changes of tables are announced, in order with their rows; false: nowhere. It never goes to a file or to
    standard output. Where `publish.create_topics` is false, changes are announced only if this is set."""


class FormatSettings(Section):
    """The form of an event."""

    envelope: Literal["debezium", "cloudevents", "flat"] = "debezium"
    """Shape of an event: `debezium` has before, after, source and op in its value, `cloudevents` before and after as the
    data of a CloudEvent 1.0, `flat` the row alone, with everything else in headers."""
    cloudevents_mode: Literal["binary", "structured"] = "binary"
    """Where the attributes of a CloudEvent are: `binary` in headers, `structured` in the value, around the data."""
    tombstones: bool = True
    """After a delete, publish a null value under the same key, so that compacted topics forget the row."""


class PublishSettings(Section):
    """Where events go."""

    url: PublishUrl = Field(default_factory=lambda: Url("-"), json_schema_extra={"default": "-"})
    """kafka://HOST:PORT[,HOST:PORT], local:DIR (a local log in that folder), file:PATH, or - for standard output."""
    topic: TableTopic = Field(
        default=TopicTemplate("{name}.{schema}.{table}"),
        json_schema_extra={"default": "{name}.{schema}.{table}"},
    )
    """Topic of each table. Knows {name}, {schema}, {table} and {db}; with mode outbox also {aggregatetype} and {type}, and
    the default is outbox.event.{aggregatetype}."""
    create_topics: Annotated[TopicSettings | None, FALSE_IS_OFF] = Field(
        default=TopicSettings(), json_schema_extra=or_boolean
    )
    """How missing topics are made; false: refuse to start without them."""
    key: dict[OneTablePattern, Names] = Field(default={})
    """Columns that make an event's key, by table pattern; the first pattern that matches counts. Default: the primary
    key."""
    delivery: Literal["at_least_once", "exactly_once"] = "at_least_once"
    """at_least_once: after a crash events may come again, with the same ids; none is lost. exactly_once: they come once to
    those who read committed events (`isolation.level=read_committed`); the position is kept in their transactions."""
    dead_letter_topic: ConnectorTopic = Field(
        default=TopicTemplate("{name}.dead-letters"), json_schema_extra={"default": "{name}.dead-letters"}
    )
    """Where events go that could not be published as they are. Knows {name}."""
    options: Annotated[dict[str, Setting], AfterValidator(for_producers)] = Field(
        default={"compression.type": "lz4"}, repr=False
    )
    """Settings of the Kafka client, by librdkafka's names. compression.type stays lz4 unless it is given here."""

    @property
    def kind(self) -> Literal["kafka", "local", "file", "stdout"]:
        """What kind of place `url` names."""
        return "stdout" if self.url == "-" else kind_of_place(self.url)

    @property
    def path(self) -> Path:
        """File or local log: where it is, absolute."""
        return Path(folder_of(self.url) or file_of(self.url) or "")

    def key_columns(self, schema: str, table: str, default_schema: str = "public") -> tuple[str, ...] | None:
        """The configured key of a table; None: its primary key."""
        for pattern, columns in self.key.items():
            if pattern.matches(schema, table, default_schema):
                return columns
        return None


class CheckpointSettings(Section):
    """Where the connector's position is kept."""

    url: CheckpointUrl = Field(default="", validate_default=False, json_schema_extra=without_default)
    """`kafka` keeps it in the compacted topic __liberator.checkpoints of the brokers that events go to; `local` in the
    local log that events go to; file:PATH in an SQLite file. Default: where events go when that is Kafka or a local log,
    else file:.liberator/<name>.db."""


_PLENTY = 64 * MIB
"""What keeps a broker busy. More under way makes nothing faster, only the process larger, and the memory stays with it."""


class LimitSettings(Section):
    """What the connector may use."""

    memory: Size = Field(default=256 * MIB, ge=MIB, json_schema_extra={"default": "256MiB"})
    """Budget for what is read and not yet durable. Beyond 64 MiB, or a quarter of it where that is more, reading waits."""

    @property
    def under_way(self) -> int:
        """Bytes of the budget from which on reading waits."""
        return min(self.memory, max(_PLENTY, self.memory // 4))


class SourceConfig(ConnectorConfig):
    """A source connector: turns the changes of a database into events."""

    connector: Literal["source"] = "source"
    """The kind of connector."""
    name: ConnectorName
    """Name of the connector: in topics, in checkpoints, and the default of slot and publication. Letters, digits, '.',
    '_' and '-'."""
    source: SourceSettings
    """The database that is read."""
    types: TypeSettings = TypeSettings()
    """How PostgreSQL's types become JSON, where there is a choice."""
    transform: tuple[TransformStep, ...] = ()
    """What becomes of rows before they are events, step by step."""
    schema_: SchemaSettings = Field(default_factory=SchemaSettings, alias="schema")
    """The contract that every row is held to."""
    format: FormatSettings = FormatSettings()
    """The form of an event."""
    publish: PublishSettings = PublishSettings()
    """Where events go."""
    checkpoint: CheckpointSettings = CheckpointSettings()
    """Where the connector's position is kept."""
    observe: Annotated[ObserveSettings | None, FALSE_IS_OFF] = Field(
        default=None, json_schema_extra=or_boolean
    )
    """The connector's own endpoint with health, status and metrics. Default: off."""
    limits: LimitSettings = LimitSettings()
    """What the connector may use."""

    _trial: bool = PrivateAttr(False)

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, data: Any) -> Any:
        return _with_dependent_defaults(data) if isinstance(data, dict) else data

    @property
    def trial(self) -> bool:
        """Nobody gave the connector a name, so nothing of it may stay behind."""
        return self._trial


def _with_dependent_defaults(data: Mapping[str, Any]) -> dict[str, Any]:
    """Fill in what follows from other keys; whatever is of the wrong kind is left for its own validator."""
    filled = dict(data)
    name, source = data.get("name"), data.get("source")
    if name and isinstance(name, str) and isinstance(source, dict):
        own_name = default_slot_name(name)
        filled["source"] = {
            **source,
            "log": _filled(source.get("log"), slot=own_name, publication=own_name),
            "query": _filled(source.get("query"), key_file=f".liberator/{name}.keys.db"),
        }
    publish = data.get("publish")
    place = kind_of_place(str(publish.get("url"))) if isinstance(publish, dict) else "file"
    if isinstance(source, dict) and source.get("mode") == "outbox":
        filled["publish"] = _filled(publish, topic=OUTBOX_TOPIC)
    filled["checkpoint"] = _filled(
        data.get("checkpoint"), url=f"file:.liberator/{name}.db" if place == "file" else place
    )
    filled["schema"] = _filled(data.get("schema"))  # so that its folder is seen from the file's
    return filled


def _filled(section: Any, **defaults: str) -> Any:
    if section is None:
        return defaults
    if not isinstance(section, dict):
        return section
    return {**section, **{key: value for key, value in defaults.items() if section.get(key) is None}}
