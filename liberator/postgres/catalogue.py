"""The catalogue: which tables there are, their shape now, and their shape as of a Relation message.

Enters: an ordinary connection. Leaves: `TableInfo` (for choosing tables and planning a snapshot) and `Table` (one
version of a shape). The catalogue can only be asked about now; what it was when a row was written is told by the
Relation message, completed from the history that is kept with the checkpoint. Called by source and plan.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import psycopg
from psycopg.rows import dict_row

from liberator.postgres.model import Column, Identity, PgType, Table
from liberator.postgres.pgoutput import Relation
from liberator.postgres.sql import statement
from liberator.postgres.types import load_types, type_from_json, type_to_json

_IDENTITIES: dict[str, Identity] = {"d": "default", "n": "nothing", "f": "full", "i": "index"}


@dataclass(frozen=True, slots=True)
class TableInfo:
    """What choosing and reading a table needs to know.

    key: as in `Table`. identified: updates and deletes can be published (a usable replica identity); of a partitioned
    table under its own name, so all its partitions must log at least its key.
    leaves: oids of the tables that hold the rows (itself, or the partitions below it). ancestors: oids of the
    partitioned tables above it, nearest first. rows: the planner's estimate, -1 when unknown. pages: its size, 0 until
    `with_sizes` asked for it.
    hides_rows: row security applies to this user.
    """

    oid: int
    schema: str
    name: str
    partitioned: bool
    identity: Identity
    key: tuple[str, ...]
    identified: bool
    leaves: tuple[int, ...]
    ancestors: tuple[int, ...]
    rows: int
    pages: int
    hides_rows: bool
    readable: bool

    @property
    def qualified(self) -> str:
        """``schema.table``."""
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True, slots=True)
class Published:
    """A table as the chosen publications show it. columns: names in table order, None: all that can be published.
    row_filter: SQL condition or None."""

    oid: int
    columns: tuple[str, ...] | None
    row_filter: str | None


def list_tables(connection: psycopg.Connection[Any]) -> list[TableInfo]:
    """All ordinary and partitioned user tables that write WAL, by schema and name."""
    tables = {
        row["oid"]: TableInfo(
            oid=row["oid"],
            schema=row["schema"],
            name=row["name"],
            partitioned=row["kind"] == "p",
            identity=_IDENTITIES[row["identity"]],
            key=_key(row),
            identified=row["identity"] == "f" or bool(_key(row)),
            leaves=tuple(row["leaves"]),
            ancestors=tuple(row["ancestors"]),
            rows=row["rows"],
            pages=0,
            hides_rows=row["hides_rows"],
            readable=row["readable"],
        )
        for row in _tables(connection, None)
    }
    return [_judged(table, tables) if table.partitioned else table for table in tables.values()]


def _judged(root: TableInfo, tables: Mapping[int, TableInfo]) -> TableInfo:
    """A partitioned table, `identified` by what its partitions log: the server looks at theirs, not at its own."""
    leaves = [tables[oid] for oid in root.leaves if oid in tables]
    sufficient = all(
        leaf.identity == "full" or (root.key and set(root.key) <= set(leaf.key)) for leaf in leaves
    )
    rows = sum(max(leaf.rows, 0) for leaf in leaves)
    return replace(root, identified=root.identified and sufficient, rows=rows)


def with_sizes(connection: psycopg.Connection[Any], tables: Sequence[TableInfo]) -> list[TableInfo]:
    """The tables with their size. The server locks each one to tell, so while the application holds one locked for more
    than a moment none is told."""
    try:
        with connection.transaction():
            connection.execute("SET LOCAL lock_timeout = '1s'")
            rows = connection.execute(
                "SELECT c.oid, pg_catalog.pg_relation_size(c.oid) / pg_catalog.current_setting('block_size')::bigint"
                " FROM pg_catalog.pg_class c WHERE c.oid = ANY (%s) AND c.relkind = 'r'",
                ([table.oid for table in tables],),
            ).fetchall()
    except psycopg.errors.LockNotAvailable:
        return list(tables)
    pages = {oid: size or 0 for oid, size in rows}
    return [replace(table, pages=pages.get(table.oid, 0)) for table in tables]


def load_table(
    connection: psycopg.Connection[Any], oid: int, columns: Sequence[str] | None = None
) -> Table | None:
    """The shape of a table now, with the columns that are published (`columns`, or all that can be), in table order,
    and with its key if all of that is published; None when there is no such table any more."""
    heads = _tables(connection, oid)
    if not heads:
        return None
    head = heads[0]
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(statement("columns"), {"oid": oid}).fetchall()
    chosen = [
        row for row in rows if (row["name"] in columns if columns is not None else not row["generated"])
    ]
    types = load_types(connection, {row["type"] for row in chosen})
    names = {row["name"] for row in chosen}
    key = _key(head)
    return Table(
        oid=oid,
        schema=head["schema"],
        name=head["name"],
        columns=tuple(
            Column(row["name"], types[row["type"]], row["typmod"], row["not_null"], row["can_be_toasted"])
            for row in chosen
        ),
        key=key if names.issuperset(key) else (),
        identity=_IDENTITIES[head["identity"]],
    )


def name_of(connection: psycopg.Connection[Any], oid: int) -> tuple[str, str] | None:
    """Schema and name of a table, as the connection's transaction sees it; None when it is gone, or not there yet."""
    rows: list[tuple[str, str]] = connection.execute(
        "SELECT n.nspname::text, c.relname::text"
        " FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = %s",
        (oid,),
    ).fetchall()
    return rows[0] if rows else None


def columns_of(connection: psycopg.Connection[Any], oids: Sequence[int]) -> dict[int, tuple[str, ...]]:
    """The names of all columns of some tables, in table order."""
    rows = connection.execute(
        "SELECT a.attrelid, pg_catalog.array_agg(a.attname::text ORDER BY a.attnum) FROM pg_catalog.pg_attribute a"
        " WHERE a.attrelid = ANY (%s) AND a.attnum > 0 AND NOT a.attisdropped GROUP BY a.attrelid",
        (list(oids),),
    ).fetchall()
    return {oid: tuple(names) for oid, names in rows}


def has_generated_columns(connection: psycopg.Connection[Any], oid: int) -> bool:
    """Does the table compute columns of its own? COPY of a table can't read those, COPY of a query can."""
    return bool(
        connection.execute(
            "SELECT FROM pg_catalog.pg_attribute WHERE attrelid = %s AND attgenerated <> '' AND NOT attisdropped",
            (oid,),
        ).fetchall()
    )


def logs_less(connection: psycopg.Connection[Any], root: int) -> bool:
    """Has a partitioned table partitions that do not log whole old rows? False for any other table."""
    rows = connection.execute(
        "WITH RECURSIVE below (oid) AS (SELECT i.inhrelid FROM pg_catalog.pg_inherits i"
        " JOIN pg_catalog.pg_class c ON c.oid = i.inhparent AND c.relkind = 'p' WHERE i.inhparent = %s"
        " UNION ALL SELECT i.inhrelid FROM below JOIN pg_catalog.pg_inherits i ON i.inhparent = below.oid)"
        " SELECT FROM below JOIN pg_catalog.pg_class c ON c.oid = below.oid"
        " WHERE c.relkind <> 'p' AND c.relreplident <> 'f' LIMIT 1",
        (root,),
    ).fetchall()
    return bool(rows)


def ancestors_of(connection: psycopg.Connection[Any], oid: int) -> list[tuple[str, str]]:
    """(schema, name) of the partitioned tables above a partition."""
    return connection.execute(
        "SELECT n.nspname::text, c.relname::text FROM pg_catalog.pg_partition_ancestors(%s) a"
        " JOIN pg_catalog.pg_class c ON c.oid = a.relid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
        " WHERE c.oid <> %s",
        (oid, oid),
    ).fetchall()


def _tables(connection: psycopg.Connection[Any], oid: int | None) -> list[dict[str, Any]]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(statement("tables"), {"oid": oid}).fetchall()


def _key(row: Mapping[str, Any]) -> tuple[str, ...]:
    columns = {"n": None, "i": row["identity_key"], "d": row["immediate_key"], "f": row["primary_key"]}
    return tuple(columns[row["identity"]] or ())


def published(connection: psycopg.Connection[Any], publications: Sequence[str]) -> dict[int, list[Published]]:
    """Table oid -> how each of `publications` that has it shows it."""
    name = "published" if connection.info.server_version >= 150000 else "published_14"
    found: dict[int, list[Published]] = {}
    with connection.cursor(row_factory=dict_row) as cursor:
        for row in cursor.execute(statement(name), {"publications": list(publications)}):
            columns = None if row["columns"] is None else tuple(row["columns"])
            found.setdefault(row["oid"], []).append(Published(row["oid"], columns, row["row_filter"]))
    return found


def fits(table: Table, relation: Relation) -> bool:
    """Is `table` the version that `relation` describes?"""
    if (table.schema, table.name) != (relation.schema, relation.name):
        return False
    if table.identity != _IDENTITIES[relation.identity]:
        return False
    if [(c.name, c.type.oid, c.typmod) for c in table.columns] != [
        (c.name, c.type_oid, c.typmod) for c in relation.columns
    ]:
        return False
    return relation.identity == "f" or set(table.key) == {c.name for c in relation.columns if c.in_identity}


def table_of_relation(connection: psycopg.Connection[Any], relation: Relation, known: Table | None) -> Table:
    """The table version behind a Relation message that the history (`known`) does not have.

    The live catalogue's when it fits; else made from the message, with the key order of whichever of the two has the
    same key columns, types that exist no more as the history has them, or as text.
    """
    live = load_table(connection, relation.oid, [column.name for column in relation.columns])
    if live is not None and fits(live, relation):
        return live
    remembered = _types_of(known)
    types = load_types(connection, {column.type_oid for column in relation.columns})
    columns = tuple(
        Column(
            column.name,
            remembered.get(column.type_oid, types[column.type_oid])
            if types[column.type_oid].name == "unknown"
            else types[column.type_oid],
            column.typmod,
        )
        for column in relation.columns
    )
    return Table(
        oid=relation.oid,
        schema=relation.schema,
        name=relation.name,
        columns=columns,
        key=_key_of_relation(relation, [table for table in (live, known) if table is not None]),
        identity=_IDENTITIES[relation.identity],
    )


def _key_of_relation(relation: Relation, versions: Iterable[Table]) -> tuple[str, ...]:
    flagged = tuple(column.name for column in relation.columns if column.in_identity)
    if relation.identity == "n":
        return ()
    for version in versions:
        if relation.identity == "f":
            if set(version.key) <= set(flagged):
                return version.key
        elif set(version.key) == set(flagged):
            return version.key
    return () if relation.identity == "f" else flagged


def _types_of(table: Table | None) -> dict[int, PgType]:
    return {} if table is None else {column.type.oid: column.type for column in table.columns}


def table_to_json(table: Table) -> bytes:
    """One table version for the checkpoint's history."""
    document = {
        "v": 1,
        "oid": table.oid,
        "schema": table.schema,
        "name": table.name,
        "columns": [
            [c.name, type_to_json(c.type), c.typmod, c.not_null, c.can_be_toasted] for c in table.columns
        ],
        "key": table.key,
        "identity": table.identity,
    }
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def table_from_json(data: bytes) -> Table:
    """Inverse of `table_to_json`. ValueError or KeyError for anything else."""
    document = json.loads(data)
    if document["v"] != 1:
        raise ValueError("a table version in an unknown format")
    return Table(
        oid=document["oid"],
        schema=document["schema"],
        name=document["name"],
        columns=tuple(Column(name, type_from_json(type), *rest) for name, type, *rest in document["columns"]),
        key=tuple(document["key"]),
        identity=cast(Identity, document["identity"]),
    )
