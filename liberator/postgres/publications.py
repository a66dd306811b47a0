"""Publications: which tables the server sends. Made before the slot (a slot older than its publication wedges on its
backlog), marked by a comment so that only our own are ever altered or dropped.

Tables whose updates would fail in a publication that publishes updates (no usable replica identity) go into a second
one, ``<name>_inserts``, that publishes only inserts and truncates: the application never notices us.
Called by the log source before it starts. Never touches a publication that somebody else made, another connector included.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from liberator.errors import PreconditionError
from liberator.postgres.catalogue import Published, TableInfo, list_tables, published
from liberator.postgres.locks import lockers
from liberator.postgres.session import source_error

log = logging.getLogger(__name__)

OWNER_MARK = "made by liberator for connector "
"""Beginning of the comment on publications that we made."""

_INSERTS_SUFFIX = "_inserts"


@dataclass(frozen=True, slots=True)
class Found:
    """A publication that exists. ours: made by us for this connector, so it may be altered. made: by us, for some connector.
    via_root: it shows partitions
    under the name of the topmost table that it has of theirs. partitions: it has partitioned tables. leaves_out: the kinds
    of changes that it does not publish."""

    name: str
    all_tables: bool
    ours: bool
    made: bool
    via_root: bool
    partitions: bool
    leaves_out: tuple[str, ...]


def inserts_name(publication: str) -> str:
    """The companion for tables without identity. Kept within the 63 bytes of a name."""
    stem = publication.encode()[: 63 - len(_INSERTS_SUFFIX)].decode(errors="ignore")
    return stem + _INSERTS_SUFFIX


def find(connection: psycopg.Connection[Any], names: Sequence[str], connector: str) -> dict[str, Found]:
    """Those of `names` that exist, as `connector` may treat them."""
    rows = connection.execute(
        "SELECT p.pubname::text, p.puballtables, pg_catalog.obj_description(p.oid, 'pg_publication'), p.pubviaroot,"
        " EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.relkind = 'p' AND (p.puballtables OR EXISTS"
        " (SELECT FROM pg_catalog.pg_publication_rel r WHERE r.prpubid = p.oid AND r.prrelid = c.oid))),"
        " ARRAY(SELECT k.kind FROM (VALUES (p.pubinsert, 'inserts'), (p.pubupdate, 'updates'),"
        " (p.pubdelete, 'deletes'), (p.pubtruncate, 'truncates')) k (published, kind) WHERE NOT k.published)"
        " FROM pg_catalog.pg_publication p WHERE p.pubname = ANY (%s)",
        (list(names),),
    ).fetchall()
    return {
        name: Found(
            name,
            everything,
            ours=mark == OWNER_MARK + connector,
            made=(mark or "").startswith(OWNER_MARK),
            via_root=via_root,
            partitions=partitions,
            leaves_out=tuple(leaves_out),
        )
        for name, everything, mark, via_root, partitions, leaves_out in rows
    }


def present(
    connection: psycopg.Connection[Any], names: Sequence[str], known: Mapping[str, int]
) -> dict[str, int]:
    """The oids of `names`; known: what they were. PostgreSQL 18 streams on without one that is gone, and sends nothing of
    its tables; older versions fail at the first change from that time.

    Raises `PreconditionError` when one is gone or was made anew.
    """
    rows = connection.execute(
        "SELECT pubname::text, oid FROM pg_catalog.pg_publication WHERE pubname = ANY (%s)", (list(names),)
    ).fetchall()
    found: dict[str, int] = dict(rows)
    if missing := [name for name in names if name not in found]:
        raise _refusal_of_a_gap(missing)
    if anew := [name for name, oid in found.items() if known.get(name, oid) != oid]:
        raise PreconditionError(
            f"publication {', '.join(anew)} was made anew: what was committed while there was none is sent to nobody",
            code="source.publication_anew",
            where="source.log.publication",
            fix="`liberate checkpoint reset` starts again with a new snapshot; if it was made anew in one transaction,"
            " `liberate checkpoint adopt` goes on",
        )
    return found


def ensure(
    connection: psycopg.Connection[Any],
    names: Sequence[str],
    tables: Sequence[TableInfo],
    *,
    connector: str,
    autocreate: str,
    via_root: bool,
    lasting: bool,
    first: bool,
) -> list[str]:
    """Make what is missing and bring our own up to date; returns the publications to stream from.

    autocreate: filtered | all_tables | disabled. A publication that exists and is not ours is used as it is.
    lasting: not a trial's. Then the companion is made even while no table needs it, so that it is older than the slot for
    ever. first: nothing runs yet that a refusal would stop.
    Raises `PreconditionError` with the SQL to run when the user may not do it.
    """
    second = inserts_name(names[0])
    existing = find(connection, [*names, second], connector)
    missing = [name for name in names if name not in existing]
    if missing and not first:
        raise _refusal_of_a_gap(missing)
    if missing and (autocreate == "disabled" or len(names) > 1):
        raise PreconditionError(
            f"publication {', '.join(missing)} does not exist",
            code="source.publication_missing",
            where="source.log.publication",
            fix=f"{_creation(missing[0], tables, via_root)}; or set publication_autocreate: filtered",
        )
    used = [existing[name] for name in names if name in existing]
    managed = autocreate != "disabled" and all(found.ours for found in used)
    everything = [found.name for found in used if found.all_tables]
    if everything or (autocreate == "all_tables" and missing):
        _judge_all_tables(connection, everything or names, via_root, refuse=first and managed)
    if not managed:
        for found in used:
            if found.leaves_out:
                log.warning("publication %s does not publish %s", found.name, ", ".join(found.leaves_out))
        pair = second in existing and existing[second].made and used[0].name == names[0] and used[0].made
        return [*names, second] if pair and second not in names else list(names)
    for found in existing.values():
        if found.ours and found.via_root != via_root:
            _set_via_root(connection, found.name, via_root, connector)
    name = names[0]
    if everything:
        return [name]
    if autocreate == "all_tables" and missing:
        _make(connection, _create_all(name, via_root), connector, name, lasting=lasting)
        return [name]
    if autocreate == "all_tables":
        log.warning(
            "publication %s lists tables, and PostgreSQL can't make it one of all tables: new tables come from the next"
            " start on; for all of them at once name another one in source.log.publication",
            name,
        )
    identified = [table for table in tables if table.identified]
    others = [table for table in tables if not table.identified]
    if others or lasting or second in existing:
        _check_companion(existing.get(second), second, first=first)
    only = "insert, truncate"
    with connection.transaction():  # a table that changes over is at no moment in neither
        _sync(connection, existing.get(name), name, identified, connector, via_root, "", lasting=lasting)
        if not others and not lasting and second not in existing:
            return [name]
        _sync(connection, existing.get(second), second, others, connector, via_root, only, lasting=lasting)
    return [name, second]


def _check_companion(found: Found | None, name: str, *, first: bool) -> None:
    if found is None and not first:
        raise _refusal_of_a_gap([name])
    if found is not None and not found.ours:
        raise PreconditionError(
            f"publication {name} would be made for tables without replica identity, but somebody else's has this name",
            code="source.publication_foreign",
            where="source.log.publication",
            fix="choose another name in source.log.publication",
        )


def _refusal_of_a_gap(missing: Sequence[str]) -> PreconditionError:
    return PreconditionError(
        f"publication {', '.join(missing)} is gone: what was committed without it is sent to nobody",
        code="source.publication_missing",
        where="source.log.publication",
        fix="`liberate checkpoint reset` starts again with a new snapshot, and with a new publication",
    )


def require_via_root(publications: Iterable[Found], via_root: bool) -> None:
    """Refuse somebody else's publication that names partitions otherwise than was asked for. Ours are altered instead.

    Raises `PreconditionError`.
    """
    for found in publications:
        if not found.ours and found.partitions and found.via_root != via_root:
            names = "under the name of their root" if found.via_root else "under their own names"
            raise PreconditionError(
                f"publication {found.name} shows partitions {names}, and is not ours to alter",
                code="source.publication_via_root",
                where="source.log.publish_via_partition_root",
                fix=f"ALTER PUBLICATION {sql.Identifier(found.name).as_string(None)}"
                f" SET (publish_via_partition_root = {str(via_root).lower()}); or take the option out",
            )


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
    *,
    lasting: bool,
) -> None:
    """Create `name` with `members`, or add those that are missing and take out those that are none (any more)."""
    if existing is None:
        _make(connection, _create(name, members, via_root, publish), connector, name, lasting=lasting)
        return
    now = _members(connection, name)
    missing = [table for table in members if table.oid not in now]
    wrong = [now[oid] for oid in now.keys() - {table.oid for table in members}]
    if wrong:
        log.info("publication %s: taking out %s", name, ", ".join(map(".".join, wrong)))
        statement = sql.SQL("ALTER PUBLICATION {} DROP TABLE {}")
        _run(connection, statement.format(sql.Identifier(name), _list(wrong)), connector, name)
    if missing:
        log.info(
            "publication %s: adding %s; changes come from here on (rows of before: liberate checkpoint reset --read)",
            name,
            ", ".join(table.qualified for table in missing),
        )
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


def _set_via_root(connection: psycopg.Connection[Any], name: str, via_root: bool, connector: str) -> None:
    """What is in the log already still comes under the names of before."""
    log.warning(
        "publication %s: partitions come under %s from here on; rows that are there come under it only if they are read"
        " again (liberate checkpoint reset --read TABLE)",
        name,
        "the name of their root" if via_root else "their own names",
    )
    statement = sql.SQL("ALTER PUBLICATION {} SET (publish_via_partition_root = {})")
    _run(connection, statement.format(sql.Identifier(name), sql.Literal(via_root)), connector, name)


def _judge_all_tables(
    connection: psycopg.Connection[Any], names: Sequence[str], via_root: bool, *, refuse: bool
) -> None:
    """Tables whose updates fail in a publication of all tables. What runs already is not stopped for them: that would
    mend nothing, since it is the publication that makes them fail."""
    bad = [
        table.qualified
        for table in list_tables(connection)
        if not table.identified and (via_root or not table.partitioned)
    ]
    if bad and refuse:
        raise PreconditionError(
            f"a publication FOR ALL TABLES would make updates and deletes fail in: {', '.join(bad[:10])}",
            code="source.no_replica_identity",
            where="source.log.publication_autocreate",
            fix=f"ALTER TABLE {bad[0]} REPLICA IDENTITY FULL (or give it a primary key), or use publication_autocreate:"
            " filtered",
        )
    if bad:
        log.warning(
            "publication %s is of all tables, so the application's own updates and deletes fail (55000) in %s: give"
            " them a primary key, or ALTER TABLE %s REPLICA IDENTITY FULL",
            ", ".join(names),
            ", ".join(bad[:10]),
            bad[0],
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


def _make(
    connection: psycopg.Connection[Any], command: sql.Composed, connector: str, name: str, *, lasting: bool
) -> None:
    """Run the command that creates `name`. A trial's name is made up: one that lasts has another, to be given."""
    other = None if lasting else command.as_string(None).replace(f'"{name}"', '"NAME"', 1)
    _run(connection, command, connector, name, by_others=other and f"{other}; and give --publication NAME")


def _run(
    connection: psycopg.Connection[Any],
    command: sql.Composed,
    connector: str,
    name: str,
    *,
    by_others: str | None = None,
) -> None:
    """Run one command on a publication and mark it as ours, both or neither. by_others: what somebody with more rights
    should run instead."""
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
            + (by_others or command.as_string(None))
            + f"; or: GRANT CREATE ON DATABASE {sql.Identifier(connection.info.dbname).as_string(None)}"
            f" TO {sql.Identifier(connection.info.user).as_string(None)} and make it an owner of the tables",
        ) from None
    except psycopg.errors.LockNotAvailable as error:
        doing = f"managing publication {name}, held up by {lockers(connection, any_ddl=True)}"
        raise source_error(error, doing) from None
    except psycopg.Error as error:
        raise source_error(error, f"managing publication {name}") from None
