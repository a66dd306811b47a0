"""Flat events: the value is the row after the change, and everything else is in headers. Field by field:
docs/reference/events.md.

Enters and leaves: see `envelope`. Called by the plan's executors, once per event. A delete is a tombstone; where a null
value would not tell which row is gone, since its key is no single row's, it is what the server sent of that row. What an
update of a row without a key replaces is told by a header, for nothing else tells it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from liberator.change import Headers
from liberator.codec.debezium_schema import DIALECT
from liberator.codec.envelope import NO_ROW, Transaction, names_array, rows_of

_STAYS = ("__deleted", b"false")
_GONE = ("__deleted", b"true")


@dataclass(slots=True)
class _Clock:
    """The header of the processing time."""

    header: tuple[str, bytes] = ("__ts_ms", b"0")


class Flat:
    """The envelope of a connector."""

    def __init__(self) -> None:
        self._clock = _Clock()

    def now(self, now_us: int) -> None:
        """See `Envelope.now`."""
        self._clock.header = ("__ts_ms", b"%d" % (now_us // 1000))

    def table(self, schema: str, table: str, contract: str | None = None) -> FlatTable:
        """See `Envelope.table`."""
        named = (("__schema", schema.encode()), ("__table", table.encode())) if table else ()
        return FlatTable(named, self._clock)

    def schema(self, topic: str, row: Mapping[str, Any]) -> dict[str, Any]:
        """See `Envelope.schema`."""
        return {
            "$schema": DIALECT,
            "title": f"{topic}.Row",
            "$ref": "#/$defs/row",
            "$defs": {"row": dict(row)},
        }


class FlatTable:
    """named: the headers that name the table."""

    __slots__ = ("_clock", "_named")

    def __init__(self, named: Headers, clock: _Clock) -> None:
        self._named = named
        self._clock = clock

    def logged(self, transaction: Transaction, mark: bytes = b"false") -> FlatLog:
        """See `TableForm.logged`."""
        return FlatLog(self._at(transaction.committed_us), self._clock, transaction.number)

    def described(self) -> Mapping[str, Any]:
        """See `TableForm.described`. named: headers."""
        return {"kind": "flat", "named": [(name, text.decode()) for name, text in self._named]}

    def queried(self, read_us: int, mark: bytes) -> FlatQuery:
        """See `TableForm.queried`."""
        return FlatQuery(self._at(read_us), self._clock)

    def _at(self, us: int) -> Headers:
        return (*self._named, ("__source_ts_ms", b"%d" % (us // 1000)))


class FlatLog:
    """See `LogForm`. fixed: headers."""

    __slots__ = ("_clock", "_fixed", "number")

    def __init__(self, fixed: Headers, clock: _Clock, number: int) -> None:
        self._fixed = fixed
        self._clock = clock
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
        headers = self._headers(op, lsn, metadata, _STAYS)
        if unchanged:
            headers += (("__unchanged", names_array(unchanged)),)
        if key is None and before is not NO_ROW:
            headers += (("__before", before),)
        return after, headers

    def removed(
        self, before: bytes, lsn: int, key: bytes | None, id: bytes, forget: bool, metadata: bytes = NO_ROW
    ) -> tuple[bytes | None, Headers | None]:
        """See `LogForm.removed`."""
        return None if forget else before, self._headers(b"d", lsn, metadata, _GONE)

    def tombstone(self, lsn: int, key: bytes | None, id: bytes) -> Headers | None:
        """See `LogForm.tombstone`."""
        return self._headers(b"d", lsn, NO_ROW, _GONE)

    def truncated(
        self, options: Sequence[str], lsn: int, id: bytes, metadata: bytes = NO_ROW
    ) -> tuple[None, Headers | None]:
        """See `LogForm.truncated`."""
        headers = self._headers(b"t", lsn, metadata, _STAYS)
        return None, (*headers, ("__truncate", ",".join(options).encode())) if options else headers

    def message(
        self, prefix: bytes, content: bytes, lsn: int, key: bytes, id: bytes
    ) -> tuple[bytes, Headers | None]:
        """See `LogForm.message`."""
        return b'{"prefix":%b,"content":%b}' % (prefix, content), self._headers(b"m", lsn, NO_ROW, _STAYS)

    def _headers(self, op: bytes, lsn: int, metadata: bytes, deleted: tuple[str, bytes]) -> Headers:
        headers = (("__op", op), *self._fixed, ("__lsn", b"%d" % lsn), self._clock.header, deleted)
        return headers if metadata is NO_ROW else (*headers, ("__transaction", metadata))


class FlatQuery:
    """See `QueryForm`. fixed: headers."""

    __slots__ = ("_clock", "_fixed")

    def __init__(self, fixed: Headers, clock: _Clock) -> None:
        self._fixed = fixed
        self._clock = clock

    def row(
        self, op: bytes, after: bytes, key: bytes | None, id: bytes, version: bytes = NO_ROW
    ) -> tuple[bytes, Headers | None]:
        """See `QueryForm.row`."""
        return after, self._headers(op, _STAYS)

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
        headers = {op: self._headers(op, _STAYS) for op in set(ops)}
        return [after for after, _ in rows_of(template, cells, versions=versions)], [
            headers[op] for op in ops
        ]

    def removed(
        self, before: bytes, key: bytes | None, id: bytes, forget: bool, version: bytes = NO_ROW
    ) -> tuple[bytes | None, Headers | None]:
        """See `QueryForm.removed`."""
        return None if forget else before, self._headers(b"d", _GONE)

    def tombstone(self, key: bytes | None, id: bytes, version: bytes = NO_ROW) -> Headers | None:
        """See `QueryForm.tombstone`."""
        return self._headers(b"d", _GONE)

    def _headers(self, op: bytes, deleted: tuple[str, bytes]) -> Headers:
        return (("__op", op), *self._fixed, self._clock.header, deleted)
