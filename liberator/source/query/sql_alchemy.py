"""Every database that SQLAlchemy speaks to, as the passes of a query source read it.

Values come as the driver makes them, without SQLAlchemy's conversions: what Python has no word for (a time of more than 24
hours, a date of zeros) then comes as the driver's text instead of ending the pass. The plan makes JSON of them by the kind
of their column. Never writes: the session is read-only where the database has such a thing.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import exc

from liberator.errors import LiberatorError, PreconditionError, SourceError
from liberator.source.query import dialects
from liberator.source.query.advice import TableSeen
from liberator.source.query.claim import PATIENCE, in_use, lock_name
from liberator.source.query.database import Chunk, Mark, Place, Relation, Scan, Shape, View
from liberator.source.query.engine import Undecoded, make_engine
from liberator.source.query.packing import at_least, pack, unpack
from liberator.source.query.settings import TableSettings
from liberator.source.query.sql_alchemy_seen import seen_of
from liberator.source.query.sql_alchemy_shape import plain_text, shape_of

log = logging.getLogger(__name__)

_FIRST_ROWS, _CHUNK_ROWS = 4, 500
_CHUNK_BYTES = 512 * 1024
"""Rows are fetched few at first, then as many as this, about, since nobody knows beforehand how large they are."""

_AHEAD = timedelta(hours=15)
"""Times further ahead than any time zone are no times of writing."""

_NULLS_LAST = frozenset({"oracle", "postgresql"})

_Answer = TypeVar("_Answer")


class SqlAlchemyDatabase:
    """See `Database`. default_only: nothing but the default schema is meant. wants: (schema, table) -> is it meant?"""

    def __init__(
        self,
        url: str,
        *,
        statement_timeout: float,
        wants: Callable[[str, str], bool],
        default_schema: str,
        default_only: bool,
        stop: threading.Event,
        now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ) -> None:
        self._url = url
        self._timeout = statement_timeout
        self._wants = wants
        self._default_schema = default_schema
        self._default_only = default_only
        self._stop = stop
        self._now = now
        self._engine: sa.Engine | None = None
        self._connection: sa.Connection | None = None
        self._session: str | None = None
        self._warned: set[str] = set()

    # -- the connection

    def open(self) -> None:
        """See `Database.open`."""
        self._engine = make_engine(self._url, dialects.isolation)
        self._connection = self._guarded(self._engine.connect, "connecting to the source database")
        for statement in dialects.session(self.kind, self._is_mariadb, self._timeout):
            self._guarded(lambda text=statement: self._live.exec_driver_sql(text), "preparing the session")  # type: ignore[misc]  # bound now
        identify = dialects.session_id(self.kind)
        if identify is not None:
            self._session = str(self._guarded(lambda: self._live.exec_driver_sql(identify).scalar(), ""))

    @property
    def kind(self) -> str:
        """See `Database.kind`."""
        return self._made.dialect.name

    @property
    def name(self) -> str:
        """See `Database.name`. Of a file its name without folder and ending."""
        database = sa.make_url(self._url).database or ""
        return Path(database).stem if self.kind == "sqlite" else database

    @property
    def version(self) -> str:
        """See `Database.version`."""
        product = "mariadb" if self._is_mariadb else self.kind
        numbers = ".".join(map(str, self._made.dialect.server_version_info or ()))
        return f"{product} {numbers}".strip()

    def identity(self) -> str:
        """See `Database.identity`."""
        question = dialects.identity(self.kind)
        answers: list[str] = []
        if question is not None:
            rows = self._guarded(lambda: self._live.exec_driver_sql(question).fetchall(), "asking who it is")
            answers = [str(row[-1]) for row in rows]
        place = sa.make_url(self._url).database or ""
        return "/".join(
            [self.kind, *sorted(answers), str(Path(place).resolve()) if self.kind == "sqlite" else place]
        )

    def claim(self, name: str) -> None:
        """See `Database.claim`: a lock of the session, where the database has such a thing."""
        questions = dialects.claim(self.kind, lock_name(self.name, name).hex(), PATIENCE)
        if questions is None:
            return
        take, holder = questions

        def ask(question: str) -> Any:
            return self._guarded(
                lambda: self._live.exec_driver_sql(question).scalar(), "looking for another instance"
            )

        if ask(take) != 1:
            raise in_use(name, self.name, ask(holder))

    def require_past(self, seen: str | None) -> None:
        """See `Database.require_past`: nobody can tell."""

    def cancel(self) -> None:
        """See `Database.cancel`."""
        if self._connection is None or self._engine is None:
            return
        with contextlib.suppress(Exception):  # whatever it is: who is asked to stop is waited for anyway
            dialects.cancel(self.kind, self._engine, self._connection, self._session)

    def close(self) -> None:
        """See `Database.close`."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(exc.SQLAlchemyError):
                connection.invalidate()
                connection.close()
        if self._engine is not None:
            self._engine.dispose()

    # -- the catalogue

    def completed(self, settings: TableSettings) -> TableSettings:
        """See `Database.completed`."""
        if settings.strategy == "xmin":
            raise PreconditionError(
                "strategy xmin is PostgreSQL's",
                code="source.query_strategy",
                where="source.query.strategy",
                fix="choose timestamp, incrementing or bulk",
            )
        return settings.completed("bulk")

    def relations(self) -> list[Relation]:
        """See `Database.relations`."""

        def ask() -> list[Relation]:
            inspector = sa.inspect(self._live)
            schemas = [self._default_schema]
            if not self._default_only:
                schemas = [name for name in inspector.get_schema_names() if not dialects.is_system(name)]
            found = []
            for schema in schemas:
                for names, view in (
                    (inspector.get_table_names(self._at(schema)), False),
                    (inspector.get_view_names(self._at(schema)), True),
                ):
                    found += [
                        Relation(schema, name, view=view) for name in names if self._wants(schema, name)
                    ]
            return sorted(found, key=lambda relation: (relation.schema, relation.name))

        return self._guarded(ask, "listing the tables")

    def require_readable(self, relations: Sequence[Relation]) -> None:
        """See `Database.require_readable`: whoever may not read is told so by the first page."""

    def shape(self, relation: Relation, settings: TableSettings) -> Shape | None:
        """See `Database.shape`."""
        doing = f"looking up {relation.qualified}"
        shape = self._guarded(
            lambda: shape_of(self._live, relation, self._at(relation.schema), settings, self.kind), doing
        )
        if shape is not None and shape.table.key and not settings.key and not shape.unique:
            self._warn_of_shared_keys(shape)
        return shape

    def seen(self, relation: Relation) -> TableSeen:
        """See `Database.seen`."""
        schema = self._at(relation.schema)
        return self._guarded(
            lambda: seen_of(self._live, relation, schema), f"looking at {relation.qualified}"
        )

    # -- reading

    def mark(self, shape: Shape) -> Mark:
        """See `Database.mark`."""
        at = self._now()
        return Mark(self._greatest(shape, self._cap(shape, at)), (), at.timestamp())

    def running(self) -> frozenset[str]:
        """See `Database.running`: `delay` takes the place of knowing."""
        return frozenset()

    def begin(self, shape: Shape) -> View:
        """See `Database.begin`. Every page is a read of its own."""
        cap = self._cap(shape, self._now())
        return View(None, self._greatest(shape, cap) if shape.cursor else None, cap)

    def renew(self) -> None:
        """See `Database.renew`."""

    def end(self) -> None:
        """See `Database.end`."""

    def page(self, scan: Scan, rows: int) -> Generator[Chunk, None, None]:
        """See `Database.page`."""
        shape = scan.shape
        order = shape.key if scan.odd or scan.keys else shape.order
        names = shape.key if scan.keys else [column.name for column in shape.table.columns]
        query = self._query(shape, names).where(*self._conditions(scan, order))
        if not order or not shape.paged:
            yield from self._chunks(query, shape)
            return
        places = [names.index(name) for name in order]
        doing = f"reading {shape.relation.qualified}"
        read: Counter[int] = Counter()
        after: Place = []
        for chunk in self._chunks(query.order_by(*map(sa.column, order)).limit(rows), shape):
            after = [pack(_to_go_on(chunk.rows[-1][place], doing)) for place in places]
            yield replace(chunk, after=after if shape.unique else None)
            if not shape.unique:
                read.update(_fingerprints(chunk.rows))
        if read.total() >= rows:
            here = [sa.column(name) == unpack(value) for name, value in zip(order, after, strict=True)]
            yield from self._ties(query.where(*here), shape, read)
        if read and not self._stop.is_set():
            yield Chunk((), (), after, 0)

    def _ties(self, query: sa.Select[Any], shape: Shape, read: Counter[int]) -> Generator[Chunk, None, None]:
        """The rows of a query that are not among those that were `read`."""
        for chunk in self._chunks(query, shape):
            new = []
            for row, fingerprint in zip(chunk.rows, _fingerprints(chunk.rows), strict=True):
                if read[fingerprint] > 0:
                    read[fingerprint] -= 1
                else:
                    new.append(row)
            if new:
                yield replace(chunk, rows=new)

    def _chunks(self, query: sa.Select[Any], shape: Shape) -> Generator[Chunk, None, None]:
        """The rows of a query as they arrive, without places."""
        doing = f"reading {shape.relation.qualified}"
        streaming = self._live.execution_options(stream_results=True, max_row_buffer=_CHUNK_ROWS)
        result = self._guarded(lambda: streaming.execute(query), doing)
        rows = _FIRST_ROWS
        with contextlib.closing(result):
            while not self._stop.is_set():
                got = self._guarded(lambda size=rows: result.fetchmany(size), doing)  # type: ignore[misc]  # bound now
                if not got:
                    return
                made = [tuple(row) for row in got]
                size = _size(made)
                yield Chunk((), made, None, size)
                rows = max(1, min(_CHUNK_ROWS, 4 * rows, _CHUNK_BYTES * len(made) // max(1, size)))

    def cursor_values(self, shape: Shape, chunk: Chunk) -> list[Any]:
        """See `Database.cursor_values`."""
        assert shape.cursor is not None
        [place] = shape.places((shape.cursor,))
        return [pack(row[place]) for row in chunk.rows]

    def at_least(self, shape: Shape, value: Any, bound: Any) -> bool:
        """See `Database.at_least`."""
        return at_least(unpack(value), unpack(bound))

    def numbers(self, shape: Shape, column: str, chunk: Chunk) -> list[int | None]:
        """See `Database.numbers`."""
        [place] = shape.places((column,))
        return [row[place] if isinstance(row[place], int) else None for row in chunk.rows]

    def settled(self, view: View, chunk: Chunk) -> set[bytes]:
        """See `Database.settled`: there are no snapshots here."""
        return set()

    def unsettled(self, view: View, known: frozenset[bytes]) -> set[bytes]:
        """See `Database.unsettled`."""
        return set()

    def odd(self, shape: Shape, view: View) -> dict[str, int]:
        """See `Database.odd`."""
        assert shape.cursor is not None
        cursor: sa.ColumnClause[Any] = sa.column(shape.cursor)
        kinds = {"NULL": cursor.is_(None)}
        if view.cap is not None:
            kinds["in the future"] = cursor > unpack(view.cap)
        counts = {}
        for name, condition in kinds.items():
            query = self._query(shape, [sa.func.count()]).where(condition)
            counts[name] = self._guarded(lambda q=query: self._live.execute(q).scalar(), "counting odd rows")  # type: ignore[misc]  # bound now
        return {name: count for name, count in counts.items() if count}

    def present(self, shape: Shape, keys: Sequence[Place]) -> set[int]:
        """See `Database.present`."""
        columns = [shape.table.columns[place] for place in shape.places(shape.key)]
        equal = dialects.equal_in_mysql if self.kind in ("mysql", "mariadb") else dialects.equal
        wanted = [
            sa.and_(
                *(
                    equal(column.type.name, sa.column(column.name), unpack(value))
                    for column, value in zip(columns, key, strict=True)
                )
            )
            for key in keys
        ]
        query = self._query(shape, shape.key).where(sa.or_(*wanted))
        rows = self._guarded(
            lambda: self._live.execute(query).fetchall(), f"looking up keys of {shape.relation.qualified}"
        )
        there = {repr([pack(value) for value in row]) for row in rows}
        return {index for index, key in enumerate(keys) if repr(list(key)) in there}

    def key_place(self, shape: Shape, chunk: Chunk) -> list[Place]:
        """See `Database.key_place`."""
        whole = len(shape.table.columns)
        places = shape.places(shape.key)
        return [
            [pack(row[i]) for i in places] if len(row) == whole else [pack(value) for value in row]
            for row in chunk.rows
        ]

    def key_rows(self, shape: Shape, keys: Sequence[Place]) -> Chunk:
        """See `Database.key_rows`."""
        rows = [tuple(unpack(value) for value in key) for key in keys]
        return Chunk((), rows, None, _size(rows))

    # -- inside

    def _warn_of_shared_keys(self, shape: Shape) -> None:
        """Once: who reads the events may take rows that share a key for one."""
        name = shape.relation.qualified
        if name in self._warned:
            return
        self._warned.add(name)
        null = sa.or_(*(sa.column(column).is_(None) for column in shape.key))
        query = self._query(shape, [sa.func.count()]).where(null)
        count = self._guarded(lambda: self._live.execute(query).scalar(), f"counting keys of {name}")
        if count:
            log.warning(
                "%s: %d rows have NULL in their primary key, so several may share one; all are published, but whoever tells"
                " rows by their key takes those that share one for the same row; give them keys of their own",
                name,
                count,
            )

    @property
    def _made(self) -> sa.Engine:
        assert self._engine is not None
        return self._engine

    @property
    def _live(self) -> sa.Connection:
        if self._connection is None:
            raise SourceError("the connection is closed", code="source.closed")
        return self._connection

    @property
    def _is_mariadb(self) -> bool:
        return bool(getattr(self._made.dialect, "is_mariadb", False))

    def _at(self, schema: str) -> str | None:
        """A schema as SQLAlchemy wants it: none for the default one."""
        return None if schema == self._default_schema else schema

    def _query(self, shape: Shape, columns: Sequence[Any]) -> sa.Select[Any]:
        """Columns without a type: the driver's values as they are."""
        made = [sa.column(column) if isinstance(column, str) else column for column in columns]
        if shape.sql is not None:
            return sa.select(*made).select_from(plain_text(f"({shape.sql}\n) t"))
        return sa.select(*made).select_from(
            sa.table(shape.relation.name, schema=self._at(shape.relation.schema))
        )

    def _conditions(self, scan: Scan, order: Sequence[str]) -> list[sa.ColumnElement[bool]]:
        shape, view = scan.shape, scan.view
        conditions: list[sa.ColumnElement[bool]] = []
        if shape.cursor is not None and not scan.keys:
            cursor: sa.ColumnClause[Any] = sa.column(shape.cursor)
            if scan.odd:
                odd = [cursor.is_(None)]
                if view.cap is not None:
                    odd.append(cursor > unpack(view.cap))
                conditions.append(sa.or_(*odd))
            else:
                conditions.append(cursor.is_not(None))
                if scan.low is not None:
                    conditions.append(cursor >= unpack(scan.low))
                if view.ceiling is not None:
                    conditions.append(cursor <= unpack(view.ceiling))
                elif view.cap is not None:
                    conditions.append(cursor <= unpack(view.cap))
        if scan.after is not None:
            nulls_first = self.kind not in _NULLS_LAST
            conditions.append(behind(order, [unpack(value) for value in scan.after], nulls_first=nulls_first))
        return conditions

    def _greatest(self, shape: Shape, cap: Any) -> Any:
        assert shape.cursor is not None
        cursor: sa.ColumnClause[Any] = sa.column(shape.cursor)
        query = self._query(shape, [sa.func.max(cursor, type_=sa.types.NullType())])
        if cap is not None:
            query = query.where(cursor <= unpack(cap))
        return pack(
            self._guarded(lambda: self._live.execute(query).scalar(), "asking for the greatest cursor")
        )

    def _cap(self, shape: Shape, now: datetime) -> Any:
        if not shape.dated:
            return None
        ahead = (now + _AHEAD).replace(tzinfo=None, microsecond=0)
        # SQLite compares text, and " " stands in front of "T", whichever of them a row has.
        return pack(ahead.isoformat("T") if self.kind == "sqlite" else ahead)

    def _guarded(self, ask: Callable[[], _Answer], doing: str) -> _Answer:
        try:
            return ask()
        except exc.SQLAlchemyError as error:
            raise failure(error, doing) from None


def failure(error: exc.SQLAlchemyError, doing: str) -> LiberatorError:
    """What a driver's error means to the operator."""
    original = getattr(error, "orig", None)
    words = str(original or error).strip().splitlines() or [type(error).__name__]
    what = f"{doing}: {words[0]}" if doing else words[0]
    number = original.args[0] if original is not None and original.args else None
    if number in dialects.TIMED_OUT:
        return SourceError(what, code="source.timeout", retryable=True)
    refused = isinstance(error, exc.ProgrammingError | exc.NotSupportedError | exc.NoSuchTableError)
    if number in dialects.REFUSED or (refused and number not in dialects.RETRYABLE):
        return PreconditionError(
            what, code="source.refused", fix="look at source.url, the user's rights, and source.query"
        )
    fix = "does the server run, where source.url says?" if doing.startswith("connecting") else None
    return SourceError(what, code="source.connection", fix=fix, retryable=True)


def behind(order: Sequence[str], values: Sequence[Any], *, nulls_first: bool) -> sa.ColumnElement[bool]:
    """Rows behind a place of an order. Spelled out, so that an index on the first column serves: not every database
    finds that in a comparison of rows. nulls_first: where this database sorts NULL."""
    (name, *names), (value, *rest) = order, values
    column: sa.ColumnClause[Any] = sa.column(name)
    greater: sa.ColumnElement[bool]
    if value is None:
        greater = column.is_not(None) if nulls_first else sa.false()
        equal = column.is_(None)
    else:
        greater = column > value if nulls_first else sa.or_(column > value, column.is_(None))
        equal = column == value
    if not names:
        return greater
    spelled = sa.or_(greater, sa.and_(equal, behind(names, rest, nulls_first=nulls_first)))
    return spelled if value is None or not nulls_first else sa.and_(column >= value, spelled)


def _fingerprints(rows: Sequence[Sequence[Any]]) -> list[int]:
    """A number for all the values of each row, of use in this process only."""
    return [hash(repr(row)) for row in rows]


def _size(rows: Sequence[Sequence[Any]]) -> int:
    """Bytes, about: text and bytes are what grows."""
    return sum(sum(len(value) if isinstance(value, str | bytes) else 16 for value in row) for row in rows)


def _to_go_on(value: Any, doing: str) -> Any:
    """`value` as the place behind which the next page begins."""
    if isinstance(value, Undecoded):
        raise SourceError(
            f"{doing}: the key {bytes(value)!r} is text that is not UTF-8, behind which SQLite can't be asked to go on",
            code="source.key",
            fix="correct the value, or leave the table out",
        )
    return value
