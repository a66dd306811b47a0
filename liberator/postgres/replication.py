"""A replication connection on libpq: what psycopg 3 leaves out. Knows the protocol's framing, nothing of pgoutput.

Enters: connection parameters and commands. Leaves: CopyData payloads (``w`` WAL data, ``k`` keepalives) as bytes.
Called by the stream reader and by slot creation; owned by one thread at a time. Never decodes rows.
Protocol: PostgreSQL documentation, "Streaming Replication Protocol".
"""

from __future__ import annotations

import contextlib
import select
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import pq

from liberator.errors import LiberatorError, SourceError
from liberator.postgres.lsn import format_lsn, parse_lsn
from liberator.postgres.session import parameters, source_error

POSTGRES_EPOCH = 946_684_800
"""Seconds from the Unix epoch to 2000-01-01 UTC, where Postgres' clock starts."""

_STATUS = struct.Struct(">cQQQqB")
_OK = (pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK)


@dataclass(frozen=True, slots=True)
class System:
    """Who the server is: IDENTIFY_SYSTEM plus the version number (150018 for 15.18)."""

    identifier: str
    timeline: int
    lsn: int
    database: str
    version: int


@dataclass(frozen=True, slots=True)
class NewSlot:
    """A slot just made: transactions that commit at or after `consistent_lsn` will be decoded; `snapshot`, if one was
    exported, shows exactly those before it and lives until the next command on the connection."""

    name: str
    consistent_lsn: int
    snapshot: str | None


class ReplicationConnection:
    """One walsender. Every method raises `SourceError` or `PreconditionError` when the server refuses or goes away."""

    def __init__(self, url: str, application: str) -> None:
        settings = parameters(url, application, replication="database")
        try:
            # psycopg makes the connection (hosts in turn, time-outs, notices); what is said on it is libpq's own.
            self._connection = psycopg.connect(**settings, autocommit=True)
        except psycopg.Error as error:
            raise source_error(error, "connecting for replication") from None
        self._pgconn = self._connection.pgconn
        self._get_copy_data = self._pgconn.get_copy_data
        try:
            if self._pgconn.server_version >= 170000:
                self.query("SET transaction_timeout = 0")
            if self._pgconn.parameter_status(b"server_encoding") == b"SQL_ASCII":
                self.query("SET client_encoding = 'SQL_ASCII'")  # see `session.as_stored`
        except BaseException:
            self.close()
            raise

    def identify(self) -> System:
        """IDENTIFY_SYSTEM."""
        identifier, timeline, lsn, database = self.query("IDENTIFY_SYSTEM")[0][:4]
        return System(
            identifier=str(identifier),
            timeline=int(timeline or 0),
            lsn=parse_lsn(str(lsn)),
            database=str(database),
            version=self._pgconn.server_version,
        )

    def create_slot(
        self,
        name: str,
        *,
        temporary: bool,
        export: bool,
        failover: bool = False,
        waiting: Callable[[float], None] = lambda seconds: None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> NewSlot:
        """CREATE_REPLICATION_SLOT ... LOGICAL pgoutput. Blocks until the transactions that run now have ended.

        waiting: called about every second with the seconds waited. cancelled: asked as often; True cancels, and a
        cancelled creation leaves no slot.
        """
        options = ["SNAPSHOT 'export'" if export else "SNAPSHOT 'nothing'"]
        if failover:
            options.append("FAILOVER true")
        if self._pgconn.server_version >= 150000:
            tail = f"({', '.join(options)})"
        else:
            tail = "EXPORT_SNAPSHOT" if export else "NOEXPORT_SNAPSHOT"
        kind = "TEMPORARY LOGICAL" if temporary else "LOGICAL"
        command = f"CREATE_REPLICATION_SLOT {identifier(name)} {kind} pgoutput {tail}"
        rows = self.query(command, waiting=waiting, cancelled=cancelled)
        slot, lsn, snapshot = rows[0][:3]
        return NewSlot(str(slot), parse_lsn(str(lsn)), snapshot)

    def start(self, slot: str, lsn: int, publications: Sequence[str], *, messages: bool) -> None:
        """START_REPLICATION: from now on `receive` gives what commits at or after `lsn` (or after the slot's own
        confirmed position, if that is later). Streaming of open transactions and two-phase stay off."""
        names = ",".join(identifier(name) for name in publications)
        options = {"proto_version": "1", "publication_names": names}
        if messages:
            options["messages"] = "true"
        text = ", ".join(f"{key} {_literal(value)}" for key, value in options.items())
        command = f"START_REPLICATION SLOT {identifier(slot)} LOGICAL {format_lsn(lsn)} ({text})"
        self._pgconn.send_query(command.encode())
        self._pgconn.flush()
        result = self._await_result(lambda seconds: None, lambda: False)
        if result is None or result.status != pq.ExecStatus.COPY_BOTH:
            raise self._failure(f'starting replication from slot "{slot}"', result)
        self._pgconn.nonblocking = 1

    def receive(self) -> bytes | None:
        """The next CopyData payload that has already arrived; None: nothing yet, wait for the socket and call
        `consume`. Raises `SourceError` at the stream's end."""
        size, data = self._get_copy_data(1)
        if size > 0:
            return bytes(data)
        if size == 0:
            return None
        raise self._end_of_stream()

    def consume(self) -> None:
        """Take in what the socket has. Raises `SourceError` when the connection is gone."""
        try:
            self._pgconn.consume_input()
        except psycopg.Error as error:
            raise source_error(error, "reading the replication stream") from None

    def send_status(self, received: int, flushed: int, *, reply: bool = False) -> None:
        """Standby status update: `received` and `flushed` are LSNs; the server may forget WAL before `flushed`.
        reply: ask for a keepalive now."""
        clock = int((time.time() - POSTGRES_EPOCH) * 1_000_000)
        message = _STATUS.pack(b"r", max(received, flushed), flushed, flushed, clock, int(reply))
        try:
            self._pgconn.put_copy_data(message)
            self._pgconn.flush()
        except psycopg.Error as error:
            raise source_error(error, "sending a status update") from None

    def query(
        self,
        command: str,
        *,
        waiting: Callable[[float], None] = lambda seconds: None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> list[tuple[str | None, ...]]:
        """Run a replication command or simple query; values as text."""
        self._pgconn.send_query(command.encode())
        self._pgconn.flush()
        result = self._await_result(waiting, cancelled)
        if result is None or result.status not in _OK:
            raise self._failure(f"running {command.split()[0]}", result)
        rows = [
            tuple(_text(result.get_value(row, column)) for column in range(result.nfields))
            for row in range(result.ntuples)
        ]
        while self._pgconn.get_result() is not None:
            pass
        return rows

    @property
    def pid(self) -> int:
        """The walsender's process id on the server."""
        return self._pgconn.backend_pid

    def fileno(self) -> int:
        """The socket, for select."""
        return self._pgconn.socket

    def close(self) -> None:
        """Leave. Idempotent; a temporary slot goes with the connection."""
        with contextlib.suppress(psycopg.Error):
            self._connection.close()

    def _await_result(
        self, waiting: Callable[[float], None], cancelled: Callable[[], bool]
    ) -> pq.abc.PGresult | None:
        started = time.monotonic()
        try:
            while self._pgconn.is_busy():
                ready, _, _ = select.select([self._pgconn.socket], [], [], 1.0)
                if ready:
                    self._pgconn.consume_input()
                    continue
                if cancelled():
                    self._cancel()
                waiting(time.monotonic() - started)
            return self._pgconn.get_result()
        except psycopg.Error as error:
            raise source_error(error, "talking to the walsender") from None

    def _cancel(self) -> None:
        self._pgconn.get_cancel().cancel()

    def _end_of_stream(self) -> LiberatorError:
        try:
            result = self._pgconn.get_result()
        except psycopg.Error as error:
            return source_error(error, "reading the replication stream")
        if result is not None and result.status in (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.COPY_BOTH):
            return SourceError(
                "the server ended the replication stream", code="postgres.stream_ended", retryable=True
            )
        return self._failure("reading the replication stream", result)

    def _failure(self, doing: str, result: pq.abc.PGresult | None = None) -> LiberatorError:
        if result is not None and result.status == pq.ExecStatus.FATAL_ERROR:
            error: Any = psycopg.errors.error_from_result(result)
        else:
            message = self._pgconn.get_error_message("utf-8") or "the connection was closed"
            error = psycopg.OperationalError(message)
        return source_error(error, doing)


def identifier(name: str) -> str:
    """`name` quoted as the replication grammar and publication lists want it."""
    return '"' + name.replace('"', '""') + '"'


def _literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode()
