"""Publications: which tables the server sends. Made before the slot (a slot older than its publication wedges on its
backlog), marked by a comment so that only our own are ever altered or dropped.

Tables whose updates would fail in a publication that publishes updates (no usable replica identity) go into a second
one, ``<name>_inserts``, that publishes only inserts and truncates: the application never notices us.
Called by the log source before it starts. Never touches a publication that somebody else made, another connector included.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from liberator.errors import PreconditionError
from liberator.postgres.catalogue import Published, TableInfo, list_tables, published
from liberator.postgres.session import source_error

log = logging.getLogger(__name__)

OWNER_MARK = "made by liberator for connector "
"""Beginning of the comment on publications that we made."""

_INSERTS_SUFFIX = "_inserts"


@dataclass(frozen=True, slots=True)
class Found:
    """A publication that exists. ours: made by us for this connector, so it may be altered."""

    name: str
    all_tables: bool
    ours: bool


def inserts_name(publication: str) -> str:
    """The companion for tables without identity. Kept within the 63 bytes of a name."""
    stem = publication.encode()[: 63 - len(_INSERTS_SUFFIX)].decode(errors="ignore")
    return stem + _INSERTS_SUFFIX


def find(connection: psycopg.Connection[Any], names: Sequence[str], connector: str) -> dict[str, Found]:
    """Those of `names` that exist, as `connector` may treat them."""
    rows = connection.execute(
        "SELECT p.pubname::text, p.puballtables, pg_catalog.obj_description(p.oid, 'pg_publication')"
        " FROM pg_catalog.pg_publication p WHERE p.pubname = ANY (%s)",
        (list(names),),
    ).fetchall()
    return {name: Found(name, everything, text == OWNER_MARK + connector) for name, everything, text in rows}


def ensure(
    connection: psycopg.Connection[Any],
    names: Sequence[str],
    tables: Sequence[TableInfo],
    *,
    connector: str,
    autocreate: str,
    via_root: bool,
    companion: bool,
) -> list[str]:
    """Make what is missing and bring our own up to date; returns the publications to stream from.

    autocreate: filtered | all_tables | disabled. A publication that exists and is not ours is used as it is.
    companion: make the companion even while no table needs it, so that it is older than the slot for ever.
    Raises `PreconditionError` with the SQL to run when the user may not do it.
    """
    existing = find(connection, [*names, *(inserts_name(name) for name in names)], connector)
    foreign = [name for name in names if name in existing and not existing[name].ours]
    missing = [name for name in names if name not in existing]
    if missing and (autocreate == "disabled" or len(names) > 1):
        raise PreconditionError(
            f"publication {', '.join(missing)} does not exist",
            code="source.publication_missing",
            where="source.log.publication",
            fix=f"{_creation(missing[0], tables, via_root)}; or set publication_autocreate: filtered",
        )
    if foreign or autocreate == "disabled":
        return list(names)
    name = names[0]
    if autocreate == "all_tables" or (name in existing and existing[name].all_tables):
        _refuse_unidentified(connection, via_root=via_root)
        if missing:
            _run(connection, _create_all(name, via_root), connector, name)
        return [name]
    identified = [table for table in tables if table.identified]
    others = [table for table in tables if not table.identified]
    second = inserts_name(name)
    _sync(connection, existing.get(name), name, identified, connector, via_root, "")
    if not others and not companion and second not in existing:
        return [name]
    only = "insert, truncate"
    _sync(connection, existing.get(second), second, others, connector, via_root, only)
    return [name, second]


def drop_ours(connection: psycopg.Connection[Any], names: Iterable[str], connector: str) -> list[str]:
    """Drop those of `names` (and their companions) that were made for `connector`; returns what was dropped."""
    wanted = [candidate for name in names for candidate in (name, inserts_name(name))]
    dropped = []
    for found in find(connection, wanted, connector).values():
        if found.ours:
            connection.execute(sql.SQL("DROP PUBLICATION IF EXISTS {}").format(sql.Identifier(found.name)))
            dropped.append(found.name)
    return dropped


def shown(connection: psycopg.Connection[Any], names: Sequence[str]) -> dict[int, Published]:
    """What the chosen publications together show of each table, as the server will combine them.

    Raises `PreconditionError` when they show different columns of one table: the server would fail at its first change.
    """
    combined: dict[int, Published] = {}
    for oid, views in published(connection, names).items():
        if len({view.columns for view in views}) > 1:
            row = connection.execute("SELECT %s::oid::regclass::text", (oid,)).fetchone()
            raise PreconditionError(
                f"the publications {', '.join(names)} list different columns of table {row[0] if row else oid}",
                code="source.publication_columns",
                where="source.log.publication",
                fix="give the table one column list, or use one publication: the server refuses to stream it (0A000)",
            )
        filters = [view.row_filter for view in views]
        row_filter = None if None in filters else " OR ".join(f"({text})" for text in dict.fromkeys(filters))
        combined[oid] = Published(oid, views[0].columns, row_filter)
    return combined


def _sync(
    connection: psycopg.Connection[Any],
    existing: Found | None,
    name: str,
    members: Sequence[TableInfo],
    connector: str,
    via_root: bool,
    publish: str,
) -> None:
    """Create `name` with `members`, or add those that are missing and take out those that are none (any more)."""
    if existing is None:
        _run(connection, _create(name, members, via_root, publish), connector, name)
        return
    now = _members(connection, name)
    missing = [table for table in members if table.oid not in now]
    wrong = [now[oid] for oid in now.keys() - {table.oid for table in members}]
    if wrong:
        log.info("publication %s: taking out %s", name, ", ".join(map(".".join, wrong)))
        statement = sql.SQL("ALTER PUBLICATION {} DROP TABLE {}")
        _run(connection, statement.format(sql.Identifier(name), _list(wrong)), connector, name)
    if missing:
        log.info("publication %s: adding %s", name, ", ".join(table.qualified for table in missing))
        statement = sql.SQL("ALTER PUBLICATION {} ADD TABLE {}")
        _run(connection, statement.format(sql.Identifier(name), _list(_names(missing))), connector, name)


def _members(connection: psycopg.Connection[Any], name: str) -> dict[int, tuple[str, str]]:
    """The tables that a publication lists, oid -> (schema, table): a partitioned table itself, not its partitions."""
    rows = connection.execute(
        "SELECT c.oid, n.nspname::text, c.relname::text FROM pg_catalog.pg_publication_rel r"
        " JOIN pg_catalog.pg_publication p ON p.oid = r.prpubid"
        " JOIN pg_catalog.pg_class c ON c.oid = r.prrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
        " WHERE p.pubname = %s",
        (name,),
    ).fetchall()
    return {oid: (schema, table) for oid, schema, table in rows}


def _refuse_unidentified(connection: psycopg.Connection[Any], *, via_root: bool) -> None:
    bad = [
        table.qualified
        for table in list_tables(connection)
        if not table.identified and (via_root or not table.partitioned)
    ]
    if bad:
        raise PreconditionError(
            f"a publication FOR ALL TABLES would make updates and deletes fail in: {', '.join(bad[:10])}",
            code="source.no_replica_identity",
            where="source.log.publication_autocreate",
            fix=f"ALTER TABLE {bad[0]} REPLICA IDENTITY FULL (or give it a primary key), or use publication_autocreate:"
            " filtered",
        )


def _create(name: str, tables: Sequence[TableInfo], via_root: bool, publish: str) -> sql.Composed:
    target = sql.SQL(" FOR TABLE {}").format(_list(_names(tables))) if tables else sql.SQL("")
    options = [sql.SQL("publish_via_partition_root = {}").format(sql.Literal(via_root))]
    if publish:
        options.append(sql.SQL("publish = {}").format(sql.Literal(publish)))
    return sql.SQL("CREATE PUBLICATION {}{} WITH ({})").format(
        sql.Identifier(name), target, sql.SQL(", ").join(options)
    )


def _create_all(name: str, via_root: bool) -> sql.Composed:
    return sql.SQL("CREATE PUBLICATION {} FOR ALL TABLES WITH (publish_via_partition_root = {})").format(
        sql.Identifier(name), sql.Literal(via_root)
    )


def _creation(name: str, tables: Sequence[TableInfo], via_root: bool) -> str:
    return _create(name, [table for table in tables if table.identified], via_root, "").as_string(None)


def _names(tables: Sequence[TableInfo]) -> list[tuple[str, str]]:
    return [(table.schema, table.name) for table in tables]


def _list(tables: Sequence[tuple[str, str]]) -> sql.Composed:
    return sql.SQL(", ").join(sql.SQL("ONLY {}").format(sql.Identifier(*table)) for table in tables)


def _run(connection: psycopg.Connection[Any], command: sql.Composed, connector: str, name: str) -> None:
    """Run one command on a publication and mark it as ours, both or neither."""
    mark = sql.SQL("COMMENT ON PUBLICATION {} IS {}").format(
        sql.Identifier(name), sql.Literal(OWNER_MARK + connector)
    )
    try:
        with connection.transaction():
            connection.execute(command)
            connection.execute(mark)
    except psycopg.errors.InsufficientPrivilege as error:
        raise PreconditionError(
            f"this user may not manage publication {name}: {error.diag.message_primary}",
            code="source.publication_denied",
            where="source.log.publication_autocreate",
            fix="let an owner of the tables run: "
            + command.as_string(None)
            + f"; or: GRANT CREATE ON DATABASE {sql.Identifier(connection.info.dbname).as_string(None)}"
            f" TO {sql.Identifier(connection.info.user).as_string(None)} and make it an owner of the tables",
        ) from None
    except psycopg.Error as error:
        raise source_error(error, f"managing publication {name}") from None
