"""How SQLAlchemy's view of a table becomes a `Shape`: columns by the kind of their values, the key, the index.

The kinds are few, and named for what their values are in JSON; `plan.driver_values` makes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.types import TypeEngine

from liberator.errors import PreconditionError
from liberator.postgres.model import Column, PgType, Table
from liberator.source.query.database import Relation, Shape
from liberator.source.query.postgres_shape import require_columns
from liberator.source.query.settings import TableSettings

KINDS = "sqlalchemy"
"""The schema of the types of columns: their name is a kind."""

_BY_NAME = {
    "DATETIMEOFFSET": "instant",
    "YEAR": "integer",
    "ROWVERSION": "bytes",
    "UNIQUEIDENTIFIER": "uuid",
    "MONEY": "decimal",
    "SMALLMONEY": "decimal",
    "INTERVAL": "interval",
}
_BY_CLASS: tuple[tuple[type[TypeEngine[Any]], str], ...] = (
    (sa.Boolean, "boolean"),
    (sa.BigInteger, "bigint"),
    (sa.Integer, "integer"),
    (sa.Float, "float"),
    (sa.Numeric, "decimal"),
    (sa.Enum, "text"),
    (sa.JSON, "json"),
    (sa.Uuid, "uuid"),
    (sa.String, "text"),
    (sa.LargeBinary, "bytes"),
    (sa.types._Binary, "bytes"),
    (sa.DateTime, "datetime"),
    (sa.Date, "date"),
    (sa.Time, "time"),
    (sa.Interval, "interval"),
)


def kind_of(type: TypeEngine[Any]) -> str:
    """The kind of a column's values."""
    name = type.__class__.__name__.upper()
    if name in _BY_NAME:
        return _BY_NAME[name]
    if name == "NUMBER":  # Oracle's, which is both to SQLAlchemy
        return "bigint" if getattr(type, "scale", None) == 0 else "decimal"
    if name == "BIT" and not isinstance(type, sa.Boolean):  # SQL Server's is true or false
        return "bits"
    kind = next((kind for known, kind in _BY_CLASS if isinstance(type, known)), "other")
    if kind == "datetime" and (getattr(type, "timezone", False) or getattr(type, "local_timezone", False)):
        return "instant"
    return "instant" if name == "TIMESTAMP" and type.__class__.__module__.endswith("mysql.types") else kind


def shape_of(
    connection: sa.Connection, relation: Relation, schema: str | None, settings: TableSettings, kind: str
) -> Shape | None:
    """See `Database.shape`."""
    if settings.sql is not None:
        columns = _described(connection, relation, settings.sql)
        asked: dict[str, TypeEngine[Any]] = {}
        unique: tuple[str, ...] = ()
        shared = True
        indexed = settings.cursor
    else:
        inspector = sa.inspect(connection)
        try:
            found = inspector.get_columns(relation.name, schema)
        except exc.NoSuchTableError:
            return None
        columns = tuple(
            Column(
                column["name"],
                PgType(0, KINDS, kind_of(column["type"])),
                typmod=getattr(column["type"], "length", None) or -1,
                not_null=not column["nullable"],
            )
            for column in found
            if column.get("computed") is None
        )
        if not columns:
            return None
        asked = {column["name"]: column["type"] for column in found}
        unique = _key(inspector, relation, schema, columns)
        shared = not unique or (kind == "sqlite" and _may_share_key(connection, relation, columns, unique))
        indexed = _indexed(inspector, relation, schema) + unique[:1]
    names = [column.name for column in columns]
    key = settings.key or ()
    soft = (settings.soft_column,) if settings.soft_column else ()
    require_columns(relation, names, (*settings.cursor, *key, *soft))
    cursor = settings.cursor[0] if settings.cursor else None
    last = unique or key or ((settings.incrementing_column,) if settings.incrementing_column else ())
    kinds = {column.name: column.type.name for column in columns}
    order = tuple(dict.fromkeys((*settings.cursor, *last)))
    for name in settings.cursor:
        if not _has_places(kind, kinds[name], asked.get(name)) and not isinstance(asked[name], sa.Double):
            raise _no_cursor(relation, name, asked[name])
    known = settings.sql is None or not key  # of a query's columns the order of their type is not known
    leading = next((column.type.name for column in columns if column.name == cursor), "")
    return Shape(
        relation=relation,
        table=Table(0, relation.schema, relation.name, columns, unique or key, identity_of(settings)),
        key=unique or key,
        order=order,
        paged=bool(last) and known and all(_has_places(kind, kinds[name], asked.get(name)) for name in order),
        cursor=cursor,
        dated=leading in ("datetime", "instant", "date"),
        indexed=cursor is None or cursor in indexed,
        sql=settings.sql,
        unique=not shared,
    )


def _has_places(database: str, kind: str, type: TypeEngine[Any] | None) -> bool:
    """Does a value of a column, given back as the driver gave it, stand where the column's order has it? MySQL sorts ENUM
    and SET by number and compares them as text; FLOAT, BIT and TIME do not come back as they were."""
    if database not in ("mysql", "mariadb"):
        return True
    return kind not in ("float", "bits", "time") and type.__class__.__name__ not in ("ENUM", "SET")


def _no_cursor(relation: Relation, column: str, type: TypeEngine[Any]) -> PreconditionError:
    return PreconditionError(
        f"{column} of {relation.qualified} can't tell what is new: this database does not compare values of"
        f" {type.__class__.__name__} as it shows them",
        code="source.query_column",
        where=f"source.query.tables.{relation.qualified}",
        fix="choose a column of a whole number or a time with its date, or strategy bulk",
    )


def plain_text(text: str) -> sa.TextClause:
    """The operator's own SQL: a colon in it names no parameter."""
    return sa.text(text.replace("\\", "\\\\").replace(":", "\\:"))


def identity_of(settings: TableSettings) -> Any:
    """Only a comparison of keys knows nothing but the key of a row that is gone."""
    return "default" if settings.deletes == "reconcile" else "full"


def _described(connection: sa.Connection, relation: Relation, text: str) -> tuple[Column, ...]:
    """A query's columns. Their kind is left to the values: drivers describe it in words of their own."""
    try:
        result = connection.execute(plain_text(f"SELECT * FROM ({text}\n) t WHERE 1 = 0"))
    except exc.ProgrammingError as error:
        raise _wrong_query(relation, error) from None
    except exc.OperationalError as error:
        if connection.dialect.name != "sqlite":
            raise
        raise _wrong_query(relation, error) from None
    with result:
        return tuple(Column(name, PgType(0, KINDS, "other")) for name in result.keys())  # noqa: SIM118  # a result iterates its rows


def _wrong_query(relation: Relation, error: exc.DBAPIError) -> PreconditionError:
    return PreconditionError(
        f"the query for {relation.qualified} can't be run: {str(error.orig).splitlines()[0]}",
        code="source.query_sql",
        where="source.query.sql",
        fix="try it in the database's own client, and end it without a semicolon",
    )


def _key(
    inspector: sa.Inspector, relation: Relation, schema: str | None, columns: Sequence[Column]
) -> tuple[str, ...]:
    """The primary key, else a unique index of columns that are never NULL."""
    if relation.view:
        return ()
    primary = inspector.get_pk_constraint(relation.name, schema)["constrained_columns"]
    if primary and {column.name for column in columns} >= set(primary):
        return tuple(primary)
    never_null = {column.name for column in columns if column.not_null}
    for index in inspector.get_indexes(relation.name, schema):
        names = [name for name in index["column_names"] if name is not None]
        partial = any(option.endswith("_where") for option in index.get("dialect_options", {}))
        if (
            index["unique"]
            and not partial
            and names
            and len(names) == len(index["column_names"])
            and never_null >= set(names)
        ):
            return tuple(names)
    return ()


def _may_share_key(
    connection: sa.Connection, relation: Relation, columns: Sequence[Column], unique: Sequence[str]
) -> bool:
    """SQLite lets several rows have NULL in a primary key (https://www.sqlite.org/lang_createtable.html, 3.5), but for one
    that is the row's number itself, which has no index."""
    if not any(column.name in unique and not column.not_null for column in columns):
        return False
    question = sa.text("SELECT 1 FROM pragma_index_list(:name, :schema) WHERE origin = 'pk'")
    found = connection.execute(question, {"name": relation.name, "schema": relation.schema})
    return found.first() is not None


def _indexed(inspector: sa.Inspector, relation: Relation, schema: str | None) -> tuple[str, ...]:
    if relation.view:
        return ()
    indexes = inspector.get_indexes(relation.name, schema)
    return tuple(index["column_names"][0] or "" for index in indexes if index["column_names"])
