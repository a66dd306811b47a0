"""How a record lies in the file: its place and its headers. Pure.

A place orders records by partition and, in it, by offset: ``(partition's id << 40) | offset``. That is room for 8
million partitions and a million million records in each. Headers are one after the other ``<2 bytes: length of the
name><name><4 bytes: length of the value, -1 for null><value>``, numbers big-endian.
"""

from __future__ import annotations

from liberator.change import ReadHeaders

OFFSET_BITS = 40
OFFSET_MASK = (1 << OFFSET_BITS) - 1

_NULL = b"\xff\xff\xff\xff"


def place(partition: int, offset: int) -> int:
    """Where a record is."""
    return partition << OFFSET_BITS | offset


def pack(headers: ReadHeaders) -> bytes | None:
    """Headers as bytes; None: there are none. Raises `OverflowError` for a name above 64 KiB."""
    if not headers:
        return None
    parts: list[bytes] = []
    for name, value in headers:
        encoded = name.encode()
        parts += (len(encoded).to_bytes(2, "big"), encoded)
        parts += (_NULL,) if value is None else (len(value).to_bytes(4, "big"), value)
    return b"".join(parts)


def unpack(packed: bytes | None) -> ReadHeaders:
    """What `pack` packed."""
    if packed is None:
        return ()
    headers: list[tuple[str, bytes | None]] = []
    at, end = 0, len(packed)
    while at < end:
        value_at = at + 2 + int.from_bytes(packed[at : at + 2], "big")
        name = packed[at + 2 : value_at].decode()
        length = packed[value_at : value_at + 4]
        at = value_at + 4
        if length == _NULL:
            headers.append((name, None))
            continue
        start, at = at, at + int.from_bytes(length, "big")
        headers.append((name, packed[start:at]))
    return tuple(headers)
