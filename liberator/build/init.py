"""A first connector file for a live database: the best mode, and how each table is best read, with the reasons.

Enters: a `SourceConfig` of mode query, as far as it is known: the database, perhaps tables and a name. Leaves: the text of a
file. Only looks: nothing is made or changed on the server.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Literal

from liberator.build.connector_file import ConnectorFile, Described, pattern_of
from liberator.build.parts import selection
from liberator.build.query import default_schema, is_postgres, make_database, query_settings
from liberator.config.secrets import redact
from liberator.config.values import default_slot_name
from liberator.errors import PreconditionError
from liberator.postgres.catalogue import TableInfo, list_tables
from liberator.postgres.log_rights import Finding, obstacles
from liberator.source.query.advice import TableSeen, advise, summary
from liberator.source.query.database import Database, Relation
from liberator.source.query.postgres import PostgresDatabase
from liberator.source.query.source import meant
from liberator.source.tables import choose, shape_notes

if TYPE_CHECKING:
    from liberator.config import SourceConfig

_NOT_SEEN = (
    "Queries see the state at each look: not what happened between two looks, nor which transaction it was, and deletes only"
    " as said below."
)
_LOG = "The log can be read: it sees every change, deletes too, in commit order, at little cost."


def connector_file(
    config: SourceConfig,
    *,
    name: str | None = None,
    publish: str | None = None,
    mode: Literal["log", "query"] | None = None,
    path: str | None = None,
) -> str:
    """The file. name: default the database's. publish: default a Kafka of this machine. mode: None: the better one. path:
    where it will stand, for the commands in it; default the connector's name.

    Raises `PreconditionError` when there is nothing to read, or the log can't be read and is asked for.
    """
    database = make_database(config, threading.Event())
    with closing(database):
        database.open()
        seen = _seen(config, database)
        readable = [(relation, table) for relation, table in seen if table.refusal is None]
        if not readable:
            raise PreconditionError(
                "there is no table that this user could read",
                code="source.no_tables",
                where="--source",
                fix="check the database, the user's rights, and --table and --exclude",
            )
        made = _Making(config, database, name or _named(database.name), publish, path, seen, readable)
        if isinstance(database, PostgresDatabase) and mode != "query":
            return made.for_postgres(database, mode).text()
        asked = "Asked for." if mode == "query" else "The log of this database is none that liberator reads."
        return made.for_queries([asked]).text()


class _Making:
    """What all files have in common."""

    def __init__(
        self,
        config: SourceConfig,
        database: Database,
        name: str,
        publish: str | None,
        path: str | None,
        seen: Sequence[tuple[Relation, TableSeen]],
        readable: Sequence[tuple[Relation, TableSeen]],
    ) -> None:
        self._config = config
        self._database = database
        self._name = name
        self._readable = readable
        refused = [(relation, table.refusal) for relation, table in seen if table.refusal is not None]
        self._excluded = [(self._pattern(relation), str(reason)) for relation, reason in refused]
        self._publish = publish
        self._path = path

    def for_postgres(self, database: PostgresDatabase, mode: Literal["log"] | None) -> ConnectorFile:
        """From the log if that can be had."""
        captured = choose(list_tables(database.connection), selection(self._config), via_root=True)
        found = obstacles(database.connection, captured, default_slot_name(self._name))
        if not captured:
            found.append(
                Finding("no table that is meant writes to the log", "unlogged and foreign ones do not")
            )
        if not found:
            return self._file([_LOG], notes=self._log_notes(captured))
        if mode == "log":
            raise PreconditionError(
                f"the log can't be read: {'; '.join(each.what for each in found)}",
                code="source.log_denied",
                where="--mode",
                fix="; ".join(each.remedy for each in found),
            )
        reasons = [f"- {each.what}: {each.remedy}" for each in found]
        first = "The log would see more, and cost less, but can't be read as it is:"
        return self.for_queries([first, *reasons])

    def for_queries(self, because: Sequence[str]) -> ConnectorFile:
        """From the tables themselves."""
        described, late = [], False
        for relation, table in self._readable:
            advice = advise(relation.name, table)
            late = late or advice.late
            described.append(Described(self._pattern(relation), summary(table), advice))
        return self._file([*because, _NOT_SEEN], queried=described, late=late)

    def _file(
        self,
        because: Sequence[str],
        *,
        queried: Sequence[Described] | None = None,
        notes: Sequence[str] = (),
        late: bool = False,
    ) -> ConnectorFile:
        return ConnectorFile(
            name=self._name,
            server=self._database.version,
            url=redact(self._config.source.url),
            publish=self._publish,
            because=because,
            queried=queried,
            tables=[pattern.text for pattern in self._config.source.tables],
            excluded=[
                *((pattern.text, "asked for") for pattern in self._config.source.exclude),
                *self._excluded,
            ],
            notes=notes,
            late=late,
            path=self._path,
        )

    def _log_notes(self, captured: Sequence[TableInfo]) -> list[str]:
        """What the log does not see of these tables."""
        there = {table.oid for table in captured}
        silent = [r.qualified for r, _ in self._readable if r.oid not in there and not r.view]
        notes = shape_notes(captured)
        if silent:
            notes.append(
                f"{', '.join(silent)}: unlogged or foreign, so not in the log; queries could read it"
            )
        return notes

    def _pattern(self, relation: Relation) -> str:
        default = default_schema(self._config)
        return pattern_of(
            None if relation.schema == default and not is_postgres(self._config) else relation.schema,
            relation.name,
        )


def _seen(config: SourceConfig, database: Database) -> list[tuple[Relation, TableSeen]]:
    """What is meant: all tables, and views that are named."""
    settings = query_settings(config, once=True)
    return [(relation, database.seen(relation)) for relation in meant(settings, database.relations())]


def _named(database: str) -> str:
    """A connector's name."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", database)[:60].strip("-") or "source"
