"""Events as CloudEvents 1.0, as the Kafka protocol binding has them: binary (attributes in headers) or structured (the
whole event as the value). Field by field: docs/reference/events.md.

Enters and leaves: see `envelope`. Called by the plan's executors, once per event. The data is ``{"before", "after"}``. A
tombstone has no data, so it is binary in both modes: a null value holds no event.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any, Final, Literal

import orjson

from liberator.change import Headers
from liberator.codec.cloudevents_schema import data_schema, event_schema
from liberator.codec.envelope import NO_ROW, Transaction, names_array, rows_of

Mode = Literal["binary", "structured"]

STRUCTURED: Final = b"application/cloudevents+json; charset=UTF-8"
KINDS: Final = {b"c": "created", b"u": "updated", b"d": "deleted", b"r": "read", b"t": "truncated"}

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_JSON = b"application/json"

Attributes = tuple[tuple[str, bytes], ...]
"""Name and text."""


class CloudEvents:
    """The envelope of a connector. name: its name."""

    def __init__(self, name: str, mode: Mode = "binary") -> None:
        self._name = name
        self._mode: Mode = mode

    def now(self, now_us: int) -> None:
        """See `Envelope.now`. A CloudEvent tells when it happened, not when it was processed."""

    def table(self, schema: str, table: str, contract: str | None = None) -> CloudEventsTable:
        """See `Envelope.table`."""
        prefix = f"{self._name}.{schema}.{table}" if table else self._name
        types = {op: f"{prefix}.{kind}".encode() for op, kind in KINDS.items()}
        types[b"m"] = f"{prefix}.message".encode()
        fixed: Attributes = (("specversion", b"1.0"), ("source", f"/liberator/{self._name}".encode()))
        if contract is not None:
            fixed += (("dataschema", contract.encode()),)
        return CloudEventsTable(types, fixed, self._mode)

    def schema(self, topic: str, row: Mapping[str, Any]) -> dict[str, Any]:
        """See `Envelope.schema`."""
        return event_schema(topic, row) if self._mode == "structured" else data_schema(topic, row)


class CloudEventsTable:
    """types: by op."""

    __slots__ = ("_fixed", "_mode", "_types")

    def __init__(self, types: Mapping[bytes, bytes], fixed: Attributes, mode: Mode) -> None:
        self._types = types
        self._fixed = fixed
        self._mode: Mode = mode

    def logged(self, transaction: Transaction, mark: bytes = b"false") -> CloudEventsLog:
        """See `TableForm.logged`."""
        fixed = self._at(transaction.committed_us, mark)
        if transaction.xid is not None:
            fixed += (("txid", b"%d" % transaction.xid),)
        return CloudEventsLog(_Writer(self._types, fixed, self._mode), transaction.number)

    def described(self) -> Mapping[str, Any]:
        """See `TableForm.described`. types: by op; fixed: attributes."""
        return {
            "kind": "cloudevents",
            "structured": self._mode == "structured",
            "types": {op.decode(): type.decode() for op, type in self._types.items()},
            "fixed": [(name, text.decode()) for name, text in self._fixed],
        }

    def queried(self, read_us: int, mark: bytes) -> CloudEventsQuery:
        """See `TableForm.queried`."""
        return CloudEventsQuery(_Writer(self._types, self._at(read_us, mark), self._mode))

    def _at(self, us: int, mark: bytes) -> Attributes:
        moment = (_EPOCH + timedelta(microseconds=us)).isoformat(timespec="microseconds")
        fixed = (*self._fixed, ("time", moment.replace("+00:00", "Z").encode()))
        return fixed if mark == b"false" else (*fixed, ("snapshot", mark))


class _Writer:
    """Writes events with some fixed attributes, in one of the two modes."""

    __slots__ = ("_headers", "_is_structured", "_members", "_types")

    def __init__(self, types: Mapping[bytes, bytes], fixed: Attributes, mode: Mode) -> None:
        self._types = types
        self._is_structured = mode == "structured"
        self._headers = _headers(fixed)
        self._members = _members(fixed)

    def event(
        self,
        op: bytes,
        data: bytes,
        key: bytes | None,
        id: bytes,
        more: Attributes,
        further: Headers = (),
    ) -> tuple[bytes, Headers]:
        """Value and headers. more: attributes. further: headers that are none."""
        own = self._own(op, key, id) + more
        if not self._is_structured:
            return data, (*self._headers, *_headers(own), ("content-type", _JSON), *further)
        members = b"".join((b"{", self._members, _members(own)))
        value = b'%b"datacontenttype":"application/json","data":%b}' % (members, data)
        return value, (("content-type", STRUCTURED), *further)

    def without_data(self, op: bytes, key: bytes | None, id: bytes, more: Attributes) -> Headers:
        """The headers of an event of which nothing but the attributes is left."""
        return (*self._headers, *_headers(self._own(op, key, id)), *_headers(more))

    def _own(self, op: bytes, key: bytes | None, id: bytes) -> Attributes:
        own: Attributes = (("id", id), ("type", self._types[op]))
        return own if key is None else (*own, ("subject", key))


class CloudEventsLog:
    """See `LogForm`."""

    __slots__ = ("_write", "number")

    def __init__(self, writer: _Writer, number: int) -> None:
        self._write = writer
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
        further = (("__unchanged", names_array(unchanged)),) if unchanged else ()
        return self._write.event(op, _data(before, after), key, id, _place(lsn, metadata), further)

    def removed(
        self, before: bytes, lsn: int, key: bytes | None, id: bytes, forget: bool, metadata: bytes = NO_ROW
    ) -> tuple[bytes, Headers | None]:
        """See `LogForm.removed`."""
        return self._write.event(b"d", _data(before, NO_ROW), key, id, _place(lsn, metadata))

    def tombstone(self, lsn: int, key: bytes | None, id: bytes) -> Headers | None:
        """See `LogForm.tombstone`."""
        return self._write.without_data(b"d", key, id, _place(lsn, NO_ROW))

    def truncated(
        self, options: Sequence[str], lsn: int, id: bytes, metadata: bytes = NO_ROW
    ) -> tuple[bytes, Headers | None]:
        """See `LogForm.truncated`."""
        more = _place(lsn, metadata)
        if options:
            more += (("truncate", ",".join(options).encode()),)
        return self._write.event(b"t", _data(NO_ROW, NO_ROW), None, id, more)

    def message(
        self, prefix: bytes, content: bytes, lsn: int, key: bytes, id: bytes
    ) -> tuple[bytes, Headers | None]:
        """See `LogForm.message`."""
        data = b'{"prefix":%b,"content":%b}' % (prefix, content)
        return self._write.event(b"m", data, key, id, _place(lsn, NO_ROW))


class CloudEventsQuery:
    """See `QueryForm`."""

    __slots__ = ("_write",)

    def __init__(self, writer: _Writer) -> None:
        self._write = writer

    def row(
        self, op: bytes, after: bytes, key: bytes | None, id: bytes, version: bytes = NO_ROW
    ) -> tuple[bytes, Headers | None]:
        """See `QueryForm.row`."""
        return self._write.event(op, _data(NO_ROW, after), key, id, _writer_of(version))

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
        values: list[bytes] = []
        headers: list[Headers | None] = []
        rows = rows_of(template, cells, versions=versions)
        for op, (after, version), key, id in zip(ops, rows, keys, ids, strict=True):
            value, own = self.row(op, after, key, id, version)
            values.append(value)
            headers.append(own)
        return values, headers

    def removed(
        self, before: bytes, key: bytes | None, id: bytes, forget: bool, version: bytes = NO_ROW
    ) -> tuple[bytes, Headers | None]:
        """See `QueryForm.removed`."""
        return self._write.event(b"d", _data(before, NO_ROW), key, id, _writer_of(version))

    def tombstone(self, key: bytes | None, id: bytes, version: bytes = NO_ROW) -> Headers | None:
        """See `QueryForm.tombstone`."""
        return self._write.without_data(b"d", key, id, _writer_of(version))


def _data(before: bytes, after: bytes) -> bytes:
    return b'{"before":%b,"after":%b}' % (before, after)


def _place(lsn: int, metadata: bytes) -> Attributes:
    """Extensions. As text: integers of CloudEvents have 32 bits."""
    place = (("lsn", b"%d" % lsn),)
    return place if metadata is NO_ROW else (*place, ("transaction", metadata))


def _writer_of(version: bytes) -> Attributes:
    return () if version == NO_ROW else (("txid", version),)


def _headers(attributes: Attributes) -> Headers:
    return tuple([(f"ce_{name}", text) for name, text in attributes])


def _members(attributes: Attributes) -> bytes:
    return b"".join([b'"%b":%b,' % (name.encode(), _string(text)) for name, text in attributes])


def _string(text: bytes) -> bytes:
    """As a JSON string."""
    try:
        return orjson.dumps(text.decode())
    except UnicodeDecodeError:
        return json.dumps(text.decode(errors="replace")).encode()
