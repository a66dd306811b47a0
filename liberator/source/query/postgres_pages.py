"""The queries of one pass over a PostgreSQL table, and the text of its COPY lines. No I/O.

Values of rows come back as the server's own text and go in again as literals of unknown type, which the column's type
makes sense of: nothing is rounded on the way.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from psycopg import sql

from liberator.postgres.model import Column
from liberator.postgres.sql import as_literal
from liberator.source.query.database import Place, Scan, Shape

_ESCAPES = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v", b"\\": b"\\"}
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)
_TO_ESCAPE = re.compile(rb"[\\\t\n\r]")
_ESCAPED = {b"\\": b"\\\\", b"\t": b"\\t", b"\n": b"\\n", b"\r": b"\\r"}

_AS_WRITTEN = frozenset({"text", "varchar", "citext"})
"""Types whose collation may call texts equal that are written in different ways."""

Ages = tuple[int, int]
"""A snapshot's xmax (64 bits), and the id at which this transaction counts ages from (32 bits)."""


def fields_of(line: bytes) -> list[str | None]:
    """The fields of a COPY line as text; bytes that are no UTF-8 survive the way there and back."""
    return [
        None
        if field == b"\\N"
        else _ESCAPE.sub(lambda m: _ESCAPES.get(m[1], m[1]), field).decode(errors="surrogateescape")
        for field in line[:-1].split(b"\t")
    ]


def line_of(fields: Sequence[str | None]) -> bytes:
    """Inverse of `fields_of`."""
    return b"\t".join(_field(field) for field in fields) + b"\n"


def _field(field: str | None) -> bytes:
    if field is None:
        return b"\\N"
    return _TO_ESCAPE.sub(lambda m: _ESCAPED[m[0]], field.encode(errors="surrogateescape"))


def page_query(scan: Scan, rows: int | None, ages: Ages, *, nulls: bool = False) -> sql.Composed:
    """The next `rows` rows of a scan, None: all. nulls: instead those whose leading column is NULL, from the first."""
    shape = scan.shape
    columns: list[sql.Composable] = []
    if scan.keys:
        columns = [_column(name) for name in shape.key]
    else:
        if shape.versions:
            columns.append(sql.SQL("t.xmin"))
        if shape.by_place:
            columns.append(sql.SQL("t.tableoid || ':' || t.ctid"))
        columns += [_column(column.name) for column in shape.table.columns]
    order = order_of(scan)
    conditions = _conditions(scan, order, ages, nulls=nulls)
    parts: list[sql.Composable] = [sql.SQL("SELECT {} FROM {} AS t").format(_list(columns), _from(shape))]
    if conditions:
        parts.append(sql.SQL("WHERE {}").format(sql.SQL(" AND ").join(conditions)))
    if order and shape.paged:
        parts.append(sql.SQL("ORDER BY {}").format(_list([_column(name) for name in order])))
        if rows is not None:
            parts.append(
                sql.SQL("LIMIT {}" if shape.unique else "FETCH FIRST {} ROWS WITH TIES").format(rows)
            )
    return sql.Composed(parts).join(" ")


def order_of(scan: Scan) -> tuple[str, ...]:
    """The columns by which a scan's pages follow each other."""
    return scan.shape.key if scan.odd or scan.keys else scan.shape.order


def has_nulls_behind(scan: Scan) -> bool:
    """May rows stand behind the place of a scan that no comparison with it finds, since their leading column is NULL?"""
    return scan.after is not None and scan.after[0] is not None and _any_null(scan, order_of(scan)[:1])


def mark_query(shape: Shape, cap: str | None) -> sql.Composed:
    """The greatest value of the cursor that is of use in an order, one line or none. Not every type that has an order has
    a `max` (uuid), and where it has, it may go by another order (citext)."""
    assert shape.cursor is not None
    cursor = _column(shape.cursor)
    return sql.SQL("SELECT {c} FROM {table} AS t WHERE {in_order} ORDER BY {c} DESC LIMIT 1").format(
        c=cursor, table=_from(shape), in_order=_in_order(shape, cap)
    )


def odd_query(shape: Shape, cap: str | None) -> sql.Composed:
    """Three numbers: rows whose cursor is NULL, infinite or NaN, and too far in the future."""
    assert shape.cursor is not None
    cursor = _column(shape.cursor)
    infinite = sql.SQL("false") if not shape.bounded else _infinite(shape, cursor)
    late: sql.Composable = (
        sql.SQL("false")
        if cap is None
        else sql.SQL("{} > {} AND NOT ({})").format(cursor, sql.Literal(cap), infinite)
    )
    return sql.SQL(
        "SELECT pg_catalog.count(*) FILTER (WHERE NOT {c} IS NOT NULL), pg_catalog.count(*) FILTER (WHERE {infinite}),"
        " pg_catalog.count(*) FILTER (WHERE {late}) FROM {table} AS t WHERE {odd}"
    ).format(c=cursor, infinite=infinite, late=late, table=_from(shape), odd=_odd(shape, cap))


def present_query(shape: Shape, keys: Sequence[Place]) -> sql.Composed:
    """Positions of those keys that are there, letter by letter: a key that only counts as equal is another event key."""
    found = [
        sql.SQL("SELECT {} WHERE EXISTS (SELECT FROM {} AS t WHERE {})").format(
            position,
            _from(shape),
            sql.SQL(" AND ").join(
                _same(shape, name, value) for name, value in zip(shape.key, key, strict=True)
            ),
        )
        for position, key in enumerate(keys)
    ]
    return sql.Composed(found).join(" UNION ALL ")


def _conditions(scan: Scan, order: Sequence[str], ages: Ages, *, nulls: bool) -> list[sql.Composable]:
    shape, view = scan.shape, scan.view
    conditions: list[sql.Composable] = []
    if scan.odd:
        conditions.append(sql.SQL("({})").format(_odd(shape, view.cap)))
    elif shape.cursor is not None and not scan.keys:
        conditions.append(_in_order(shape, view.cap))
        if scan.low is not None:
            conditions.append(_compared(shape, shape.cursor, ">=", scan.low))
        if view.ceiling is not None:
            conditions.append(_compared(shape, shape.cursor, "<=", view.ceiling))
    if scan.unseen is not None and shape.versions:
        conditions.append(_unseen(scan.unseen, scan.known, ages))
    if nulls:
        conditions.append(_is_null(_column(order[0])))
    elif scan.after is not None:
        conditions.append(_behind(scan, order, scan.after))
    return conditions


def _behind(scan: Scan, order: Sequence[str], after: Place) -> sql.Composable:
    """Rows behind a place. A comparison of rows has one operator for all columns, and knows no NULL: where columns need
    more than that it is spelled out, NULL behind all else as `ORDER BY` has it. In the leading column it is not looked for
    before a page begins there: an index serves no question for either."""
    shape = scan.shape
    if after[0] is None:
        return sql.SQL("({})").format(_spelled_out(scan, order, after))
    if len(order) == 1:
        return _compared(shape, order[0], ">", after[0])
    if not any(_is_foreign(shape, name) for name in order) and not _any_null(scan, order[1:]):
        values = [sql.Literal(value) for value in after]
        return sql.SQL("({}) > ({})").format(_list([_column(name) for name in order]), _list(values))
    return sql.SQL("{} AND ({})").format(
        _compared(shape, order[0], ">=", after[0]), _spelled_out(scan, order, after)
    )


def _spelled_out(scan: Scan, order: Sequence[str], after: Place) -> sql.Composable:
    shape = scan.shape
    (name, *names), (value, *values) = order, after
    column = _column(name)
    greater = sql.SQL("false") if value is None else _compared(shape, name, ">", value)
    if value is not None and _any_null(scan, [name]):
        greater = sql.SQL("({} OR {})").format(greater, _is_null(column))
    if not names:
        return greater
    equal = _is_null(column) if value is None else _compared(shape, name, "=", value)
    return sql.SQL("{} OR ({} AND ({}))").format(greater, equal, _spelled_out(scan, names, values))


def _is_null(column: sql.Composable) -> sql.Composable:
    """`IS NULL` also holds for a composite value of nothing but NULLs."""
    return sql.SQL("{} IS NOT DISTINCT FROM NULL").format(column)


def _any_null(scan: Scan, names: Sequence[str]) -> bool:
    """May one be NULL? The rows of a scan in the cursor's order have one."""
    filled = None if scan.odd or scan.keys else scan.shape.cursor
    return any(name != filled and not _table_column(scan.shape, name).not_null for name in names)


def _compared(shape: Shape, name: str, operator: str, value: Any) -> sql.Composable:
    """A column and a value. The search path is empty, and without a schema the operators of an extension's type are not
    found; citext would then be compared as text, in another order than the one it is sorted by. The order of hstore has
    operators of its own names, since `>` would be read as one of its questions."""
    if not _is_foreign(shape, name):
        return sql.SQL("{} {} {}").format(_column(name), sql.SQL(as_literal(operator)), sql.Literal(value))
    type = _table_column(shape, name).type.base
    if type.name == "hstore" and operator != "=":
        operator = f"#{operator}#"
    schema = "pg_catalog" if type.kind == "composite" else type.schema
    return sql.SQL("{} OPERATOR({}.{}) {}::{}").format(
        _column(name),
        sql.Identifier(schema),
        sql.SQL(as_literal(operator)),
        sql.Literal(value),
        sql.Identifier(type.schema, type.name),
    )


def _same(shape: Shape, name: str, value: Any) -> sql.Composable:
    equal = _compared(shape, name, "=", value)
    if _table_column(shape, name).type.base.name not in _AS_WRITTEN:
        return equal
    return sql.SQL('{} AND {}::pg_catalog.text = {} COLLATE pg_catalog."C"').format(
        equal, _column(name), sql.Literal(value)
    )


def _is_foreign(shape: Shape, name: str) -> bool:
    """Is it of a type with operators of its own, or one whose literals have to be named?"""
    type = _table_column(shape, name).type.base
    return type.kind in ("base", "composite") and type.schema not in ("pg_catalog", "")


def _table_column(shape: Shape, name: str) -> Column:
    return next(column for column in shape.table.columns if column.name == name)


def _unseen(snapshot: str, known: frozenset[bytes], ages: Ages) -> sql.Composable:
    """Rows of transactions that had not surely ended in `snapshot` (``xmin:xmax:xip,...``): all from its xmin on, but for
    those that are known to have been shown by it. The list of who ran does not help: it has no subtransactions. Ages grow
    backwards from this transaction's own reckoning; negative ones are of rows frozen long ago, whose ids were used again.
    """
    xmin = int(snapshot.split(":")[0])
    since = sql.SQL("pg_catalog.age(t.xmin) BETWEEN 0 AND {}").format(_age(xid_reference(ages), xmin))
    if not known:
        return since
    ids = ",".join(str(int.from_bytes(xid, "big") % (1 << 32)) for xid in sorted(known))
    return sql.SQL("({} AND NOT t.xmin = ANY ({}::pg_catalog.xid[]))").format(
        since, sql.Literal("{" + ids + "}")
    )


def xid_reference(ages: Ages) -> int:
    """The id, 64 bits wide, at which this transaction counts ages from."""
    here, reckoning = ages
    return here + ((reckoning - here + (1 << 31)) % (1 << 32)) - (1 << 31)


def _age(reference: int, xid: int) -> int:
    return min(max(reference - xid, 0), (1 << 31) - 1)


def _in_order(shape: Shape, cap: str | None) -> sql.Composable:
    """The rows that the order helps with: neither NULL nor infinite nor far ahead."""
    assert shape.cursor is not None
    cursor = _column(shape.cursor)
    conditions: list[sql.Composable] = [sql.SQL("{} IS NOT NULL").format(cursor)]
    if cap is not None:
        conditions.append(sql.SQL("{} <= {}").format(cursor, sql.Literal(cap)))
    elif shape.bounded:
        conditions.append(sql.SQL("{} < 'infinity'").format(cursor))
    if shape.bounded:
        conditions.append(sql.SQL("{} > '-infinity'").format(cursor))
    return sql.SQL(" AND ").join(conditions)


def _odd(shape: Shape, cap: str | None) -> sql.Composable:
    """All others. Of a composite type also values with a NULL in them, which are neither NULL nor NOT NULL."""
    assert shape.cursor is not None
    cursor = _column(shape.cursor)
    conditions: list[sql.Composable] = [sql.SQL("NOT {} IS NOT NULL").format(cursor)]
    if cap is not None:
        conditions.append(sql.SQL("{} > {}").format(cursor, sql.Literal(cap)))
    if shape.bounded:
        conditions.append(_infinite(shape, cursor))
    return sql.SQL(" OR ").join(conditions)


def _infinite(shape: Shape, cursor: sql.Composable) -> sql.Composable:
    """Infinity and, for numbers, NaN, which PostgreSQL orders behind it."""
    return sql.SQL("{c} >= 'infinity' OR {c} = '-infinity'").format(c=cursor)


def _from(shape: Shape) -> sql.Composable:
    if shape.sql is not None:
        return sql.SQL("({}\n)").format(sql.SQL(as_literal(shape.sql)))
    return sql.Identifier(shape.relation.schema, shape.relation.name)


def _column(name: str) -> sql.Composable:
    return sql.SQL("t.{}").format(sql.Identifier(name))


def _list(parts: Sequence[sql.Composable]) -> sql.Composed:
    return sql.SQL(", ").join(parts)
