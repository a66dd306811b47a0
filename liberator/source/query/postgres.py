"""PostgreSQL as the passes of a query source read it: pages by COPY in the pinned session, so that every value comes as the
text that the log and the snapshot have, and goes through the same converters (Invariant 9).

What is new is told by the id of the transaction that wrote a row and by the snapshot of the pass before: a row that an
earlier snapshot did not show is new, whatever its cursor says and however late it was committed. The cursor only bounds
what has to be looked at. Never writes: every page is read in a read-only transaction.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, TypeVar

import psycopg
from psycopg import sql

from liberator.errors import CheckpointError, LiberatorError, PreconditionError
from liberator.postgres.copying import Lines, copy_chunks
from liberator.postgres.replication import identifier
from liberator.postgres.session import as_stored, connect, hang_up, impatient, source_error
from liberator.postgres.sql import as_literal, statement
from liberator.source.query.advice import TableSeen
from liberator.source.query.claim import PATIENCE, in_use, lock_name
from liberator.source.query.database import Chunk, Mark, Place, Relation, Scan, Shape, View
from liberator.source.query.postgres_pages import (
    fields_of,
    has_nulls_behind,
    line_of,
    mark_query,
    odd_query,
    order_of,
    page_query,
    present_query,
    xid_reference,
)
from liberator.source.query.postgres_shape import Catalogue
from liberator.source.query.settings import TableSettings
from liberator.source.start import grants

log = logging.getLogger(__name__)

_Answer = TypeVar("_Answer")

_NOTICE = (
    "SET tcp_keepalives_idle = 15",
    "SET tcp_keepalives_interval = 5",
    "SET tcp_keepalives_count = 3",
    "SET tcp_user_timeout = 30000",
)
"""So that the server soon ends the session of a machine that is gone, and its lock. Over a local socket it ignores them."""

_CHUNK_LINES = 1000
_CHUNK_BYTES = 512 * 1024


class PostgresDatabase:
    """See `Database`. wants: (schema, table) -> is it meant? stop: ends a read that is under way."""

    def __init__(
        self,
        url: str,
        name: str,
        *,
        statement_timeout: float,
        wants: Callable[[str, str], bool],
        stop: threading.Event,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._url, self._application = url, name
        self._timeout = round(statement_timeout * 1000)
        self._wants = wants
        self._stop = stop
        self._now = now
        self._connection: psycopg.Connection[Any] | None = None
        self._catalogue: Catalogue | None = None
        self._ages: tuple[int, int] = (0, 0)
        self._is_standby = self._warned = False

    def open(self) -> None:
        """See `Database.open`."""
        self._connection = connect(self._url, self._application)
        self._catalogue = Catalogue(self._connection)
        try:
            self._connection.execute(f"SET statement_timeout = {self._timeout}".encode())
            self._connection.execute("SET default_transaction_read_only = on")
            row = self._connection.execute("SELECT pg_catalog.pg_is_in_recovery()").fetchone()
        except psycopg.Error as error:
            raise source_error(error, "connecting to the source database") from None
        self._is_standby = row is not None and bool(row[0])

    @property
    def connection(self) -> psycopg.Connection[Any]:
        """The connection, for questions about types. Only while nothing is being read."""
        return self._live

    @property
    def version(self) -> str:
        """See `Database.version`."""
        number = self._live.info.server_version
        return f"PostgreSQL {number // 10000}.{number % 10000}"

    @property
    def kind(self) -> str:
        """See `Database.kind`."""
        return "postgresql"

    @property
    def name(self) -> str:
        """See `Database.name`."""
        return self._live.info.dbname

    def identity(self) -> str:
        """See `Database.identity`."""
        rows = self._ask(
            "SELECT s.system_identifier::text || '/' || pg_catalog.current_database()"
            " FROM pg_catalog.pg_control_system() s"
        )
        return str(rows[0][0])

    def claim(self, name: str) -> None:
        """See `Database.claim`: an advisory lock."""
        key = int.from_bytes(lock_name(name), "big", signed=True)
        try:
            for setting in _NOTICE:
                self._live.execute(setting)
            with impatient(self._live, PATIENCE):
                self._live.execute("SELECT pg_catalog.pg_advisory_lock(%s)", (key,))
        except psycopg.errors.LockNotAvailable:
            raise in_use(name, self.name, self._holder(key)) from None
        except psycopg.Error as error:
            raise self._failure(error, "looking for another instance") from None

    def _holder(self, key: int) -> int | None:
        try:
            row = self._live.execute(statement("advisory_holder"), {"key": key}).fetchone()
        except psycopg.Error as error:
            raise self._failure(error, "looking for another instance") from None
        return None if row is None else int(row[0])

    def require_past(self, seen: str | None) -> None:
        """See `Database.require_past`: the database was set back to an earlier time."""
        if seen is None:
            return
        [(xmax,)] = self._ask(
            "SELECT pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::text::numeric::bigint"
        )
        if int(seen.split(":")[0]) > xmax:
            raise CheckpointError(
                "the checkpoint knows transactions that this database has not had: it was restored to an earlier time",
                code="checkpoint.future",
                where=f"database {self.name}",
                fix="`liberate checkpoint reset` reads all tables anew",
            )

    def completed(self, settings: TableSettings) -> TableSettings:
        """See `Database.completed`."""
        return settings.completed("xmin")

    def relations(self) -> list[Relation]:
        """See `Database.relations`. Of a partitioned table the root, unless only some of its partitions are meant."""
        return self._guarded(lambda: self._known().relations(self._wants), "listing the tables")

    def require_readable(self, relations: Sequence[Relation]) -> None:
        """See `Database.require_readable`."""
        denied, hidden = self._known().unreadable(relations)
        user = self._live.info.user
        if denied:
            raise PreconditionError(
                f"user {user} may not read {', '.join(r.qualified for r in denied)}",
                code="source.select_denied",
                where="source.tables",
                fix=grants(denied, user),
            )
        if hidden:
            raise PreconditionError(
                f"row security would hide rows of {', '.join(r.qualified for r in hidden)} from user {user}",
                code="source.row_security",
                where="source.tables",
                fix=f"ALTER ROLE {identifier(user)} BYPASSRLS; or connect as the owner of the tables",
            )

    def shape(self, relation: Relation, settings: TableSettings) -> Shape | None:
        """See `Database.shape`."""
        return self._guarded(
            lambda: self._known().shape(relation, settings), f"looking up {relation.qualified}"
        )

    def seen(self, relation: Relation) -> TableSeen:
        """See `Database.seen`."""
        return self._guarded(lambda: self._known().seen(relation), f"looking at {relation.qualified}")

    def mark(self, shape: Shape) -> Mark:
        """See `Database.mark`. In this order: a transaction that took a value below the greatest one before that was asked
        for, and is not among the running ones afterwards, is visible to every snapshot from then on."""
        at = self._now()
        if self._is_standby and not self._warned:
            self._warned = True
            log.warning(
                "this is a standby: transactions of its primary that have not written yet can't be seen here; set"
                " source.query.delay to the longest that one takes, or use strategy xmin"
            )
        view = View(None, cap=self._cap(shape))
        greatest = self._value(mark_query(shape, view.cap))
        return Mark(greatest, tuple(sorted(self.running())), at)

    def running(self) -> frozenset[str]:
        """See `Database.running`."""
        rows = self._guarded(lambda: self._live.execute(statement("running")).fetchall(), "asking who runs")
        return frozenset(str(row[0]) for row in rows)

    def begin(self, shape: Shape) -> View:
        """See `Database.begin`: a repeatable-read transaction, whose snapshot is the view."""
        cap = self._cap(shape)
        seen = self._start()
        ceiling = self._value(mark_query(shape, cap)) if shape.cursor else None
        return View(seen, ceiling, cap)

    def renew(self) -> None:
        """See `Database.renew`."""
        self.end()
        self._start()

    def end(self) -> None:
        """See `Database.end`."""
        if self._connection is not None and not self._connection.closed:
            self._guarded(lambda: self._live.execute("ROLLBACK"), "ending a read")

    def page(self, scan: Scan, rows: int) -> Generator[Chunk, None, None]:
        """See `Database.page`."""
        limit = rows if scan.shape.paged else None
        places = _places(scan)
        last, count = None, 0
        try:
            for nulls in (False, True) if scan.shape.paged and has_nulls_behind(scan) else (False,):
                if nulls and count >= rows:
                    break
                for lines in self._copy(page_query(scan, limit, self._ages, nulls=nulls)):
                    last = _place(lines[-1], places)
                    count += len(lines)
                    yield Chunk(lines, (), last if scan.shape.unique else None, len(lines.data))
            if last is not None and not scan.shape.unique and not self._stop.is_set():
                yield Chunk((), (), last, 0)
        except psycopg.Error as error:
            raise self._failure(error, f"reading {scan.shape.relation.qualified}") from None

    def cursor_values(self, shape: Shape, chunk: Chunk) -> list[str | None]:
        """See `Database.cursor_values`."""
        assert shape.cursor is not None
        return _column(shape, shape.cursor, chunk)

    def at_least(self, shape: Shape, value: Any, bound: Any) -> bool:
        """See `Database.at_least`: of numbers as numbers, of times as text of one form."""
        try:
            return Decimal(value) >= Decimal(bound)
        except InvalidOperation:
            return bool(value >= bound)

    def numbers(self, shape: Shape, column: str, chunk: Chunk) -> list[int | None]:
        """See `Database.numbers`."""
        return [
            int(value) if value is not None and value.removeprefix("-").isdecimal() else None
            for value in _column(shape, column, chunk)
        ]

    def settled(self, view: View, chunk: Chunk) -> set[bytes]:
        """See `Database.settled`."""
        assert view.seen is not None
        xmin, xmax, running = view.seen.split(":")
        if not running:
            return set()
        here = xid_reference(self._ages)
        narrow = {int(line.partition(b"\t")[0]) for line in chunk.lines}
        wide = {here - (here - xid) % (1 << 32) for xid in narrow}
        return {xid.to_bytes(8, "big") for xid in wide if int(xmin) <= xid < int(xmax)}

    def unsettled(self, view: View, known: frozenset[bytes]) -> set[bytes]:
        """See `Database.unsettled`."""
        assert view.seen is not None
        xmin = int(view.seen.split(":")[0]).to_bytes(8, "big")
        return {xid for xid in known if xid >= xmin}

    def odd(self, shape: Shape, view: View) -> dict[str, int]:
        """See `Database.odd`."""
        query = odd_query(shape, view.cap)
        [line] = self._lines(query, "counting odd rows")
        names = ("NULL", "infinite", "in the future")
        return {
            name: int(count or 0)
            for name, count in zip(names, fields_of(line), strict=True)
            if int(count or 0)
        }

    def present(self, shape: Shape, keys: Sequence[Place]) -> set[int]:
        """See `Database.present`."""
        query = present_query(shape, keys)
        lines = self._lines(query, f"looking up keys of {shape.relation.qualified}")
        return {int(line) for line in lines}

    def key_place(self, shape: Shape, chunk: Chunk) -> list[Place]:
        """See `Database.key_place`."""
        before = int(shape.versions) + int(shape.by_place)
        whole = before + len(shape.table.columns)
        places = [before + index for index in shape.places(shape.key)]
        keys = []
        for line in chunk.lines:
            fields = fields_of(line)
            keys.append([fields[i] for i in places] if len(fields) == whole else fields)
        return keys

    def key_rows(self, shape: Shape, keys: Sequence[Place]) -> Chunk:
        """See `Database.key_rows`."""
        lines = [line_of(key) for key in keys]
        return Chunk(lines, (), None, sum(map(len, lines)))

    def cancel(self) -> None:
        """See `Database.cancel`: the server is asked, and if it does not answer the line is cut."""
        connection = self._connection
        if connection is None or connection.closed:
            return
        try:
            connection.cancel_safe(timeout=2)
        except psycopg.Error:
            hang_up(connection)

    def close(self) -> None:
        """See `Database.close`."""
        if self._connection is not None:
            self._connection.close()

    # -- inside

    @property
    def _live(self) -> psycopg.Connection[Any]:
        assert self._connection is not None
        return self._connection

    def _known(self) -> Catalogue:
        assert self._catalogue is not None
        return self._catalogue

    def _start(self) -> str:
        """Begin, and remember how to tell a transaction's age: ids are 32 bits wide, a snapshot's 64."""

        def begin() -> list[tuple[Any, ...]]:
            self._live.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            return self._live.execute(
                "SELECT pg_catalog.pg_current_snapshot()::text,"
                " pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::text::numeric::bigint,"
                " pg_catalog.age('3'::pg_catalog.xid)::bigint"
            ).fetchall()

        [(snapshot, xmax, age)] = self._guarded(begin, "beginning to read")
        self._ages = (xmax, (age + 3) % (1 << 32))
        return str(snapshot)

    def _cap(self, shape: Shape) -> str | None:
        """Times further ahead than any time zone are no times of writing: 9999-12-31 would hide all that comes later."""
        if not shape.dated:
            return None
        [(cap,)] = self._ask("SELECT (pg_catalog.now() + interval '15 hours')::text")
        return str(cap)

    def _value(self, query: sql.Composed) -> str | None:
        lines = self._lines(query, "asking for the greatest cursor")
        return fields_of(lines[0])[0] if lines else None

    def _ask(self, text: str) -> list[tuple[Any, ...]]:
        return self._guarded(lambda: self._live.execute(as_literal(text)).fetchall(), "")

    def _copy(self, query: sql.Composed) -> Iterator[Lines]:
        connection = self._live
        text = sql.SQL("COPY ({}) TO STDOUT").format(query).as_bytes(connection)
        with as_stored(connection):
            yield from copy_chunks(connection, text, self._stop, lines=_CHUNK_LINES, size=_CHUNK_BYTES)

    def _lines(self, query: sql.Composed, doing: str) -> list[bytes]:
        return self._guarded(lambda: [line for lines in self._copy(query) for line in lines], doing)

    def _guarded(self, ask: Callable[[], _Answer], doing: str) -> _Answer:
        try:
            return ask()
        except psycopg.Error as error:
            raise self._failure(error, doing) from None

    def _failure(self, error: psycopg.Error, doing: str) -> LiberatorError:
        return source_error(error, doing)


def _column(shape: Shape, name: str, chunk: Chunk) -> list[str | None]:
    [place] = shape.places((name,))
    place += int(shape.versions) + int(shape.by_place)
    return [fields_of(line)[place] for line in chunk.lines]


def _places(scan: Scan) -> tuple[int, ...] | None:
    """Where in a line the values are that tell its place."""
    shape = scan.shape
    if not shape.paged:
        return None
    if scan.keys:
        return tuple(range(len(shape.key)))
    before = int(shape.versions) + int(shape.by_place)
    columns = order_of(scan) or shape.order
    return tuple(before + index for index in shape.places(columns))


def _place(line: bytes, places: tuple[int, ...] | None) -> Place | None:
    if places is None:
        return None
    fields = fields_of(line)
    return [fields[index] for index in places]
