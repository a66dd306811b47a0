"""Messages as a server sends them, for tests of what reads them."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from liberator.postgres.pgoutput import Value


def text(value: str) -> bytes:
    """A string with its end."""
    return value.encode() + b"\0"


def row(*values: Value) -> bytes:
    """TupleData: bytes are values, None is NULL, `UNCHANGED` an unchanged TOAST value."""
    out = struct.pack(">H", len(values))
    for value in values:
        if isinstance(value, bytes):
            out += b"t" + struct.pack(">I", len(value)) + value
        else:
            out += b"n" if value is None else b"u"
    return out


def begin(lsn: int, xid: int = 7, committed_us: int = 1_000_000) -> bytes:
    """A transaction that commits at `lsn`."""
    return b"B" + struct.pack(">QqI", lsn, committed_us, xid)


def commit(lsn: int, end: int) -> bytes:
    """The end of the transaction that commits at `lsn`."""
    return b"C" + struct.pack(">BQQq", 0, lsn, end, 1_000_000)


def relation(
    oid: int, name: str, columns: Sequence[tuple[str, int, bool]], identity: str = "d", schema: str = "public"
) -> bytes:
    """columns: (name, type oid, in the replica identity)."""
    out = b"R" + struct.pack(">I", oid) + text(schema) + text(name) + identity.encode()
    out += struct.pack(">H", len(columns))
    for column, type_oid, in_identity in columns:
        out += bytes([in_identity]) + text(column) + struct.pack(">Ii", type_oid, -1)
    return out


def insert(oid: int, *values: Value) -> bytes:
    """A new row."""
    return b"I" + struct.pack(">I", oid) + b"N" + row(*values)


def update(oid: int, new: Sequence[Value], old: Sequence[Value] | None = None, kind: str = "K") -> bytes:
    """A changed row; `old` is its key (kind K) or all of it (kind O)."""
    before = b"" if old is None else kind.encode() + row(*old)
    return b"U" + struct.pack(">I", oid) + before + b"N" + row(*new)


def delete(oid: int, *old: Value, kind: str = "K") -> bytes:
    """A removed row."""
    return b"D" + struct.pack(">I", oid) + kind.encode() + row(*old)


def truncate(*oids: int, flags: int = 0) -> bytes:
    """flags: 1 cascade, 2 restart identity."""
    return b"T" + struct.pack(">IB", len(oids), flags) + struct.pack(f">{len(oids)}I", *oids)


def message(prefix: str, content: bytes, lsn: int = 99, *, transactional: bool = True) -> bytes:
    """What pg_logical_emit_message wrote."""
    return (
        b"M"
        + struct.pack(">BQ", transactional, lsn)
        + text(prefix)
        + struct.pack(">I", len(content))
        + content
    )


def xlog(data: bytes, lsn: int = 50) -> bytes:
    """The XLogData payload around a message."""
    return b"w" + struct.pack(">QQq", lsn, lsn, 0) + data
