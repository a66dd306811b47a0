"""The pgoutput decoder: bytes of one logical replication message -> one message object. Sans-I/O.

Theory of operation. A message is one type byte and fields in network order; strings end with a zero byte. Protocol
version 1 (no streamed transactions): PostgreSQL documentation, "Logical Replication Message Formats".

Called by the plan's executor, which reads row data through `read_tuple` (the hot path), and by whoever wants objects.
Every field is bounds-checked: malformed bytes raise `DecodeError` and nothing else, and no count in a message makes
the decoder allocate more than the bytes that are left.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from liberator.errors import DecodeError

XLOG_HEADER: Final = 25
"""Bytes before the message in an XLogData payload: ``w``, WAL start, WAL end, send time."""


class Unchanged:
    """The type of `UNCHANGED`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "UNCHANGED"


UNCHANGED: Final = Unchanged()
"""In the place of a TOASTed value that the server did not send because it did not change."""

Value = bytes | None | Unchanged
Tuple = list[Value]


@dataclass(frozen=True, slots=True)
class Begin:
    """final_lsn: where the transaction commits. committed_us: commit time, microseconds since 2000-01-01 UTC."""

    final_lsn: int
    committed_us: int
    xid: int


@dataclass(frozen=True, slots=True)
class Commit:
    """end_lsn: first byte after the commit record; safe to resume from."""

    commit_lsn: int
    end_lsn: int
    committed_us: int


@dataclass(frozen=True, slots=True)
class Origin:
    """The transaction was replayed from elsewhere."""

    lsn: int
    name: str


@dataclass(frozen=True, slots=True)
class RelationColumn:
    """in_identity: part of the replica identity. With FULL every column is."""

    in_identity: bool
    name: str
    type_oid: int
    typmod: int


@dataclass(frozen=True, slots=True)
class Relation:
    """A table's shape from here on. identity: d default, n nothing, f full, i index. schema: "" means pg_catalog."""

    oid: int
    schema: str
    name: str
    identity: str
    columns: tuple[RelationColumn, ...]


@dataclass(frozen=True, slots=True)
class Type:
    """Names a non-built-in type, before the first relation that uses it."""

    oid: int
    schema: str
    name: str


@dataclass(frozen=True, slots=True)
class Insert:
    relation: int
    new: Tuple


@dataclass(frozen=True, slots=True)
class Update:
    """old: the old key columns (others padded with None) if `old_is_key`, the whole old row with FULL; or None."""

    relation: int
    old: Tuple | None
    old_is_key: bool
    new: Tuple


@dataclass(frozen=True, slots=True)
class Delete:
    relation: int
    old: Tuple
    old_is_key: bool


@dataclass(frozen=True, slots=True)
class Truncate:
    relations: tuple[int, ...]
    cascade: bool
    restart_identity: bool


@dataclass(frozen=True, slots=True)
class LogicalMessage:
    """What pg_logical_emit_message wrote."""

    transactional: bool
    lsn: int
    prefix: str
    content: bytes


Message = Begin | Commit | Origin | Relation | Type | Insert | Update | Delete | Truncate | LogicalMessage

_U16 = struct.Struct(">H").unpack_from
_U32 = struct.Struct(">I").unpack_from
_I32 = struct.Struct(">i").unpack_from
_U64 = struct.Struct(">Q").unpack_from
_BEGIN = struct.Struct(">QqI")
_COMMIT = struct.Struct(">BQQq")

_FIRST_US, _LAST_US = -63_082_281_600_000_000, 252_455_615_999_999_999
"""The years 1 to 9999, which events can tell."""

_TEXT, _NULL, _UNCHANGED_TOAST = b"tnu"
_KEY, _OLD, _NEW = b"KON"


def decode(data: bytes, pos: int = 0) -> Message:
    """The message that starts at `pos` and fills the rest of `data`. Raises `DecodeError`."""
    if pos >= len(data):
        raise malformed("an empty message", pos)
    reader = _READERS.get(data[pos])
    if reader is None:
        raise malformed(f"unknown message type 0x{data[pos]:02x}", pos)
    try:
        message, end = reader(data, pos + 1)
    except (struct.error, UnicodeDecodeError) as error:
        raise malformed(f"a message cut short or with broken text ({type(error).__name__})", pos) from None
    if end != len(data):
        raise malformed(f"{len(data) - end} bytes after the end of a message", end)
    return message


def read_tuple(data: bytes, pos: int) -> tuple[Tuple, int, bool]:
    """The TupleData at `pos`, the position after it, and whether every value was sent (none NULL, none unchanged).

    struct.error or `DecodeError` when bytes are missing.
    """
    (count,) = _U16(data, pos)
    pos += 2
    values: Tuple = []
    append = values.append
    size = len(data)
    whole = True
    for _ in range(count):
        if pos >= size:
            raise malformed("a row cut short", pos)
        kind = data[pos]
        if kind == _TEXT:
            start = pos + 5
            pos = start + _U32(data, pos + 1)[0]
            if pos > size:
                raise malformed("a value longer than its message", start)
            append(data[start:pos])
        elif kind == _NULL:
            append(None)
            pos += 1
            whole = False
        elif kind == _UNCHANGED_TOAST:
            append(UNCHANGED)
            pos += 1
            whole = False
        else:
            raise malformed(f"unknown kind of value 0x{kind:02x}", pos)
    return values, pos, whole


def malformed(what: str, pos: int) -> DecodeError:
    """The one error of this module."""
    return DecodeError(
        f"the replication stream holds {what}",
        where=f"byte {pos} of a message",
        fix="this is a defect in liberator, in a proxy between it and the server, or in the server: report it",
    )


def _text(data: bytes, pos: int) -> tuple[str, int]:
    end = data.find(b"\0", pos)
    if end < 0:
        raise malformed("a name without an end", pos)
    return data[pos:end].decode(), end + 1


def _begin(data: bytes, pos: int) -> tuple[Message, int]:
    begin = Begin(*_BEGIN.unpack_from(data, pos))
    if not _FIRST_US <= begin.committed_us <= _LAST_US:
        raise malformed("a commit time that no clock shows", pos)
    return begin, pos + _BEGIN.size


def decode_begin(data: bytes, pos: int) -> Begin:
    """The Begin message at `pos`. Raises `DecodeError` when it is something else."""
    message = decode(data, pos)
    if not isinstance(message, Begin):
        raise malformed("something else where a transaction begins", pos)
    return message


def _commit(data: bytes, pos: int) -> tuple[Message, int]:
    _, commit_lsn, end_lsn, committed = _COMMIT.unpack_from(data, pos)
    return Commit(commit_lsn, end_lsn, committed), pos + _COMMIT.size


def _origin(data: bytes, pos: int) -> tuple[Message, int]:
    (lsn,) = _U64(data, pos)
    name, pos = _text(data, pos + 8)
    return Origin(lsn, name), pos


def _relation(data: bytes, pos: int) -> tuple[Message, int]:
    (oid,) = _U32(data, pos)
    schema, pos = _text(data, pos + 4)
    name, pos = _text(data, pos)
    identity = data[pos : pos + 1].decode("ascii")
    if identity not in ("d", "n", "f", "i"):
        raise malformed("an unknown replica identity", pos)
    (count,) = _U16(data, pos + 1)
    pos += 3
    columns = []
    for _ in range(count):
        if pos >= len(data):
            raise malformed("a relation cut short", pos)
        in_identity = bool(data[pos] & 1)
        column, pos = _text(data, pos + 1)
        (type_oid,) = _U32(data, pos)
        (typmod,) = _I32(data, pos + 4)
        pos += 8
        columns.append(RelationColumn(in_identity, column, type_oid, typmod))
    return Relation(oid, schema or "pg_catalog", name, identity, tuple(columns)), pos


def _type(data: bytes, pos: int) -> tuple[Message, int]:
    (oid,) = _U32(data, pos)
    schema, pos = _text(data, pos + 4)
    name, pos = _text(data, pos)
    return Type(oid, schema or "pg_catalog", name), pos


def _insert(data: bytes, pos: int) -> tuple[Message, int]:
    (relation,) = _U32(data, pos)
    _expect(data, pos + 4, _NEW)
    new, pos, _ = read_tuple(data, pos + 5)
    return Insert(relation, new), pos


def _update(data: bytes, pos: int) -> tuple[Message, int]:
    (relation,) = _U32(data, pos)
    pos += 4
    old: Tuple | None = None
    kind = _byte(data, pos)
    if kind in (_KEY, _OLD):
        old, pos, _ = read_tuple(data, pos + 1)
    _expect(data, pos, _NEW)
    new, pos, _ = read_tuple(data, pos + 1)
    return Update(relation, old, kind == _KEY, new), pos


def _delete(data: bytes, pos: int) -> tuple[Message, int]:
    (relation,) = _U32(data, pos)
    pos += 4
    kind = _byte(data, pos)
    if kind not in (_KEY, _OLD):
        raise malformed("a delete without the old row", pos)
    old, pos, _ = read_tuple(data, pos + 1)
    return Delete(relation, old, kind == _KEY), pos


def _truncate(data: bytes, pos: int) -> tuple[Message, int]:
    (count,) = _U32(data, pos)
    flags = _byte(data, pos + 4)
    pos += 5
    if count * 4 > len(data) - pos:
        raise malformed("a truncate of more tables than it names", pos)
    relations = struct.unpack_from(f">{count}I", data, pos)
    return Truncate(relations, bool(flags & 1), bool(flags & 2)), pos + 4 * count


def _message(data: bytes, pos: int) -> tuple[Message, int]:
    flags = _byte(data, pos)
    (lsn,) = _U64(data, pos + 1)
    prefix, pos = _text(data, pos + 9)
    (size,) = _U32(data, pos)
    pos += 4
    if size > len(data) - pos:
        raise malformed("a logical message longer than its bytes", pos)
    return LogicalMessage(bool(flags & 1), lsn, prefix, data[pos : pos + size]), pos + size


def _byte(data: bytes, pos: int) -> int:
    if pos >= len(data):
        raise malformed("a message cut short", pos)
    return data[pos]


def _expect(data: bytes, pos: int, byte: int) -> None:
    if _byte(data, pos) != byte:
        raise malformed("a row change without its new row", pos)


_READERS: dict[int, Callable[[bytes, int], tuple[Message, int]]] = {
    ord("B"): _begin,
    ord("C"): _commit,
    ord("O"): _origin,
    ord("R"): _relation,
    ord("Y"): _type,
    ord("I"): _insert,
    ord("U"): _update,
    ord("D"): _delete,
    ord("T"): _truncate,
    ord("M"): _message,
}
