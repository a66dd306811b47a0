"""The streams of a connector as they are now: its tables, the contracts derived from them, and what is stored.

Enters: a checked `SourceConfig` of mode log or query. Leaves: `Stream`s. Called by the commands about contracts. Connects,
looks, and gives the connection back.
"""

from __future__ import annotations

import logging
import threading
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from liberator.build.parts import rows_left, selection
from liberator.build.query import is_postgres, make_database, query_settings, values_left
from liberator.build.transforms import topics
from liberator.contract.derive import ColumnSchema, derive
from liberator.contract.gate import ColumnFacts
from liberator.contract.migration import Contract
from liberator.contract.store import ContractStore
from liberator.plan.shaping import Left
from liberator.postgres.catalogue import list_tables, load_table
from liberator.postgres.model import Table
from liberator.postgres.session import connect
from liberator.source.query.source import meant
from liberator.source.tables import choose

if TYPE_CHECKING:
    from liberator.config import SourceConfig

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Stream:
    """A captured table as it is now, and the stored versions of its contract.

    published: the topic in this stage. key: what its events are keyed by. naming: what names a row. derived: what a first
    contract says. following: what holds without a stored one. types, columns: what its columns' types say, and guarantee.
    """

    topic: str
    published: str
    key: tuple[str, ...]
    naming: tuple[str, ...]
    derived: Contract
    following: Contract
    types: tuple[ColumnSchema, ...]
    columns: tuple[ColumnFacts, ...]
    versions: dict[int, Contract]

    @property
    def held(self) -> Contract:
        """The contract that holds."""
        return self.versions[max(self.versions)]


def streams_of(config: SourceConfig, store: ContractStore) -> list[Stream]:
    """The captured tables, with their contracts."""
    database, tables = _queried(config) if config.source.mode == "query" else _captured(config)
    left = _left(config)
    return [_stream(config, store, table, left, database) for table in tables]


def _captured(config: SourceConfig) -> tuple[str, list[Table]]:
    with closing(connect(config.source.url, config.name)) as connection:
        via_root = config.source.log.publish_via_partition_root
        chosen = choose(list_tables(connection), selection(config), via_root=via_root)
        tables = [table for info in chosen if (table := load_table(connection, info.oid)) is not None]
        return connection.info.dbname, tables


def _queried(config: SourceConfig) -> tuple[str, list[Table]]:
    settings = query_settings(config, once=True)
    with closing(make_database(config, threading.Event())) as database:
        database.open()
        tables = []
        for relation in meant(settings, database.relations()):
            read = database.completed(settings.table(relation.schema, relation.name))
            shape = database.shape(relation, read)
            if shape is not None:
                tables.append(shape.table)
        return database.name, tables


def _left(config: SourceConfig) -> Left:
    """A query's rows are always whole; of the log an update may leave large values out."""
    if not is_postgres(config):
        return values_left(config)
    left = rows_left(config)
    if config.source.mode != "query":
        return left
    return replace(
        left,
        schemas=lambda table: [
            replace(each, can_be_toasted=False) for each in rows_left(config).schemas(table)
        ],
    )


def _stream(config: SourceConfig, store: ContractStore, table: Table, left: Left, database: str) -> Stream:
    published = topics(config, database)(table.schema, table.name)
    topic = config.without_stage(published)
    if left.transforms.calls(table.schema, table.name):
        log.warning(
            "%s is given to a function, whose work no schema tells: complete its contract by hand",
            table.qualified,
        )
    columns = left.columns(table)
    facts = tuple(
        ColumnFacts(column.name, {**column.schema, "$defs": column.defs}, not column.not_null)
        for column in columns
    )
    naming = left.naming(table)
    return Stream(
        topic,
        published,
        left.key(table),
        naming,
        derive(topic, columns, naming, strict=True),
        derive(topic, columns, naming, strict=False),
        tuple(columns),
        facts,
        store.versions(topic),
    )
