"""The Debezium-shaped envelope, spliced from JSON that is already bytes. Field by field: docs/reference/events.md.

Enters: the JSON of rows, and where a change comes from. Leaves: the JSON of the value. Called by the plan's executor, once
per event, so what is the same for a table, a transaction or a batch is put together once. Never parses, never reads a
clock.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from liberator import __version__

_OPS = ("c", "u", "d", "r", "t", "m")


@dataclass(slots=True)
class Transaction:
    """Where the changes that follow come from.

    commit_lsn: LSN of the commit record, 0 in a snapshot. committed_us: microseconds since the Unix epoch.
    last_commit: the LSN of the commit before, None for none. number: counts transactions, so that what was put together
    for one is not used for another.
    """

    commit_lsn: int
    committed_us: int
    xid: int | None
    last_commit: int | None
    number: int


@dataclass(slots=True)
class TableSource:
    """What the ``source`` object of one table begins and ends with, and the text for the current transaction: a bytes
    template with two numbers left to fill in (the change's LSN, twice)."""

    head: bytes
    tail: bytes
    template: bytes = b""
    number: int = -1


class DebeziumCodec:
    """Builds values. `now` before each batch; `source` before each event of another table or transaction."""

    def __init__(self, name: str, database: str, connector: str = "postgresql") -> None:
        self._head = b',"source":{"version":%b,"connector":%b,"name":%b,"ts_ms":' % (
            _text(__version__),
            _text(connector),
            _text(name),
        )
        self._database = _text(database)
        self._ends: dict[bytes, bytes] = {}
        self.now(0)

    def now(self, now_us: int) -> None:
        """Processing time of what follows, microseconds since the Unix epoch."""
        times = b'"ts_ms":%d,"ts_us":%d,"ts_ns":%d' % (now_us // 1000, now_us, now_us * 1000)
        self._times = times
        self._ends = {op.encode(): b'},"op":"%b",%b,"transaction":' % (op.encode(), times) for op in _OPS}

    def table(self, schema: str, table: str) -> TableSource:
        """The parts of ``source`` that are the same for all changes of a table."""
        return TableSource(
            head=_no_format(b',"db":%b,"sequence":"[' % self._database),
            tail=_no_format(b',"schema":%b,"table":%b,"txId":' % (_text(schema), _text(table))),
        )

    def template(self, table: TableSource, transaction: Transaction, mark: bytes = b'"false"') -> bytes:
        """The ``source`` of a table's changes in a transaction, LSN left open. mark: the value of ``snapshot``."""
        us = transaction.committed_us
        last = b"null" if transaction.last_commit is None else b'\\"%d\\"' % transaction.last_commit
        times = b'%d,"ts_us":%d,"ts_ns":%d,"snapshot":%b' % (us // 1000, us, us * 1000, mark)
        xid = b"null" if transaction.xid is None else b"%d" % transaction.xid
        return b"".join(
            (
                _no_format(self._head),
                times,
                table.head,
                last,
                b',\\"%d\\"]"',
                table.tail,
                xid,
                b',"lsn":%d,"xmin":null',
            )
        )

    def read(self, table: TableSource, read_us: int, mark: bytes) -> bytes:
        """The ``source`` of rows that a query read, which knows no place in a log; the transaction id (JSON) left open."""
        times = b'%d,"ts_us":%d,"ts_ns":%d,"snapshot":%b' % (read_us // 1000, read_us, read_us * 1000, mark)
        database = b',"db":%b,"sequence":null' % _no_format(self._database)
        return b"".join(
            (_no_format(self._head), times, database, table.tail, b'%b,"lsn":null,"xmin":null'),
        )

    def value(
        self,
        op: bytes,
        before: bytes,
        after: bytes,
        source: bytes,
        transaction: bytes = b"null",
    ) -> bytes:
        """The envelope. before, after: JSON. source: a filled template (plus `unchanged`, `truncate`)."""
        return b'{"before":%b,"after":%b%b%b%b}' % (before, after, source, self._ends[op], transaction)

    def message(self, source: bytes, prefix: bytes, content: bytes, transaction: bytes = b"null") -> bytes:
        """A logical message. prefix: JSON string; content: base64 as a JSON string."""
        body = b'%b,"message":{"prefix":%b,"content":%b}' % (transaction, prefix, content)
        return self.value(b"m", b"null", b"null", source, body)


def unchanged(names: Sequence[bytes]) -> bytes:
    """To follow a filled source: the columns (JSON strings) whose value the server did not send."""
    return b',"unchanged":[%b]' % b",".join(names)


def truncated(cascade: bool, restart_identity: bool) -> bytes:
    """To follow a filled source: the options of a truncate."""
    options = [
        name for name, on in ((b'"cascade"', cascade), (b'"restart_identity"', restart_identity)) if on
    ]
    return b',"truncate":[%b]' % b",".join(options)


def _text(value: str) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def _no_format(value: bytes) -> bytes:
    return value.replace(b"%", b"%%")
