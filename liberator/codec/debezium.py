"""The Debezium-shaped envelope, spliced from JSON that is already bytes. Field by field: docs/reference/events.md.

Enters and leaves: see `envelope`. Called by the plan's executors, once per event: THE HOT PATH. What is the same for a
table, a transaction or a batch is put together once. Never parses, never reads a clock.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from liberator import __version__
from liberator.change import Headers
from liberator.codec.debezium_schema import value_schema
from liberator.codec.envelope import NO_ROW, Transaction, names_array

_OPS = ("c", "u", "d", "r", "t", "m")


class Debezium:
    """The envelope of a connector. name: its name. connector: the kind of database."""

    def __init__(self, name: str, database: str, connector: str = "postgresql") -> None:
        head = b',"source":{"version":%b,"connector":%b,"name":%b,"ts_ms":'
        self._head = head % (_text(__version__), _text(connector), _text(name))
        self._database = b',"db":%b,"sequence":' % _text(database)
        self._ends: dict[bytes, bytes] = {}
        self.now(0)

    def now(self, now_us: int) -> None:
        """See `Envelope.now`."""
        times = b'"ts_ms":%d,"ts_us":%d,"ts_ns":%d' % (now_us // 1000, now_us, now_us * 1000)
        for op in _OPS:
            self._ends[op.encode()] = b'},"op":"%b",%b,"transaction":' % (op.encode(), times)

    def table(self, schema: str, table: str, contract: str | None = None) -> DebeziumTable:
        """See `Envelope.table`."""
        tail = b',"schema":%b,"table":%b,"txId":' % (_text(schema), _text(table))
        return DebeziumTable(self._head, self._database, tail, self._ends)

    def schema(self, topic: str, row: Mapping[str, Any]) -> dict[str, Any]:
        """See `Envelope.schema`."""
        return value_schema(topic, row)


class DebeziumTable:
    """What ``source`` begins and ends with. ends: of values, by op; they change with the processing time."""

    __slots__ = ("_ends", "_logged", "_parts", "_queried")

    def __init__(self, head: bytes, database: bytes, tail: bytes, ends: Mapping[bytes, bytes]) -> None:
        self._parts = {"head": head, "database": database, "tail": tail}
        head, database, tail = (_no_format(_no_format(part)) for part in (head, database, tail))
        head += b'%d,"ts_us":%d,"ts_ns":%d,"snapshot":"%b"' + database
        self._logged = head + b'"[%b,\\"%%d\\"]"' + tail + b'%b,"lsn":%%d,"xmin":null'
        self._queried = head + b"null" + tail + b'%%b,"lsn":null,"xmin":null'
        self._ends = ends

    def logged(self, transaction: Transaction, mark: bytes = b"false") -> DebeziumLog:
        """See `TableForm.logged`."""
        us, last_commit, xid = transaction.committed_us, transaction.last_commit, transaction.xid
        last = b"null" if last_commit is None else b'\\"%d\\"' % last_commit
        told = b"null" if xid is None else b"%d" % xid
        source = self._logged % (us // 1000, us, us * 1000, mark, last, told)
        return DebeziumLog(source, transaction.number, self._ends)

    def described(self) -> Mapping[str, Any]:
        """See `TableForm.described`. Between the parts stand times, places and the transaction."""
        return {"kind": "debezium", **{name: part.decode() for name, part in self._parts.items()}}

    def queried(self, read_us: int, mark: bytes) -> DebeziumQuery:
        """See `TableForm.queried`. A query knows no place in a log."""
        return DebeziumQuery(self._queried % (read_us // 1000, read_us, read_us * 1000, mark), self._ends)


class DebeziumLog:
    """See `LogForm`. source: with two places left for the LSN of a change."""

    __slots__ = ("_ends", "_source", "number")

    def __init__(self, source: bytes, number: int, ends: Mapping[bytes, bytes]) -> None:
        self._source = source
        self._ends = ends
        self.number = number

    def row(
        self,
        op: bytes,
        before: bytes,
        after: bytes,
        lsn: int,
        key: bytes | None,
        id: bytes,
        unchanged: tuple[bytes, ...] = (),
        metadata: bytes = NO_ROW,
    ) -> tuple[bytes, Headers | None]:
        """See `LogForm.row`."""
        source = self._source % (lsn, lsn)
        if unchanged:
            source += b',"unchanged":%b' % names_array(unchanged)
        return b'{"before":%b,"after":%b%b%b%b}' % (before, after, source, self._ends[op], metadata), None

    def removed(
        self, before: bytes, lsn: int, key: bytes | None, id: bytes, forget: bool, metadata: bytes = NO_ROW
    ) -> tuple[bytes, Headers | None]:
        """See `LogForm.removed`."""
        parts = (before, self._source % (lsn, lsn), self._ends[b"d"], metadata)
        return b'{"before":%b,"after":null%b%b%b}' % parts, None

    def tombstone(self, lsn: int, key: bytes | None, id: bytes) -> Headers | None:
        """See `LogForm.tombstone`."""
        return None

    def truncated(
        self, options: Sequence[str], lsn: int, id: bytes, metadata: bytes = NO_ROW
    ) -> tuple[bytes, Headers | None]:
        """See `LogForm.truncated`."""
        named = b",".join(map(_text, options))
        source = b'%b,"truncate":[%b]' % (self._source % (lsn, lsn), named)
        return self._value(b"t", NO_ROW, source, metadata), None

    def message(
        self, prefix: bytes, content: bytes, lsn: int, key: bytes, id: bytes
    ) -> tuple[bytes, Headers | None]:
        """See `LogForm.message`."""
        body = b'null,"message":{"prefix":%b,"content":%b}' % (prefix, content)
        return self._value(b"m", NO_ROW, self._source % (lsn, lsn), body), None

    def _value(self, op: bytes, before: bytes, source: bytes, end: bytes) -> bytes:
        return b'{"before":%b,"after":null%b%b%b}' % (before, source, self._ends[op], end)


class DebeziumQuery:
    """See `QueryForm`. source: with a place left for the transaction that wrote a row."""

    __slots__ = ("_ends", "_source")

    def __init__(self, source: bytes, ends: Mapping[bytes, bytes]) -> None:
        self._source = source
        self._ends = ends

    def row(
        self, op: bytes, after: bytes, key: bytes | None, id: bytes, version: bytes = NO_ROW
    ) -> tuple[bytes, Headers | None]:
        """See `QueryForm.row`."""
        return b'{"before":null,"after":%b%b%bnull}' % (after, self._source % version, self._ends[op]), None

    def rows(
        self,
        ops: Sequence[bytes],
        template: bytes,
        cells: Iterable[tuple[bytes, ...]],
        keys: Sequence[bytes | None],
        ids: Sequence[bytes],
        *,
        versions: bool,
    ) -> tuple[list[bytes], list[Headers | None]]:
        """See `QueryForm.rows`."""
        source = self._source if versions else _no_format(self._source % b"null")
        parts = {op: (template, source, self._ends[op]) for op in set(ops)}
        values = {op: b'{"before":null,"after":%b%b%bnull}' % each for op, each in parts.items()}
        if len(values) == 1:
            [only] = values.values()
            made = list(map(only.__mod__, cells))
        else:
            made = [values[op] % row for op, row in zip(ops, cells, strict=True)]
        return made, [None] * len(made)

    def removed(
        self, before: bytes, key: bytes | None, id: bytes, forget: bool, version: bytes = NO_ROW
    ) -> tuple[bytes, Headers | None]:
        """See `QueryForm.removed`."""
        parts = (before, self._source % version, self._ends[b"d"])
        return b'{"before":%b,"after":null%b%bnull}' % parts, None

    def tombstone(self, key: bytes | None, id: bytes, version: bytes = NO_ROW) -> Headers | None:
        """See `QueryForm.tombstone`."""
        return None


def _text(value: str) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def _no_format(value: bytes) -> bytes:
    return value.replace(b"%", b"%%")
