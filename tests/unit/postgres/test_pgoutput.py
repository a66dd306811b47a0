"""The decoder: every message kind, and that broken bytes are broken in one way only."""

from __future__ import annotations

import contextlib
import struct
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liberator.errors import DecodeError
from liberator.postgres.pgoutput import (
    UNCHANGED,
    Begin,
    Commit,
    Delete,
    Insert,
    LogicalMessage,
    Origin,
    Relation,
    RelationColumn,
    Truncate,
    Type,
    Update,
    decode,
    decode_begin,
)
from tests.unit.postgres.wire import row, text

BEGIN = b"B" + struct.pack(">QqI", 0x16B374D848, 1_000_000, 759)
COMMIT = b"C" + struct.pack(">BQQq", 0, 100, 120, 1_000_000)
ORIGIN = b"O" + struct.pack(">Q", 7) + text("elsewhere")
RELATION = (
    b"R" + struct.pack(">I", 16384) + text("public") + text("We\"ird — ünï") + b"d" + struct.pack(">H", 2)
    + b"\x01" + text("id") + struct.pack(">Ii", 20, -1)
    + b"\x00" + text("n") + struct.pack(">Ii", 1700, 655366)
)  # fmt: skip
TYPE = b"Y" + struct.pack(">I", 70000) + text("") + text("numeric")
INSERT = b"I" + struct.pack(">I", 16384) + b"N" + row(b"1", None, b"")
UPDATE = b"U" + struct.pack(">I", 16384) + b"N" + row(b"1", UNCHANGED)
UPDATE_KEY = b"U" + struct.pack(">I", 16384) + b"K" + row(b"1", None) + b"N" + row(b"2", UNCHANGED)
UPDATE_FULL = b"U" + struct.pack(">I", 16384) + b"O" + row(b"1", b"x") + b"N" + row(b"2", b"y")
DELETE = b"D" + struct.pack(">I", 16384) + b"K" + row(b"1", None)
TRUNCATE = b"T" + struct.pack(">IB", 2, 3) + struct.pack(">II", 16384, 16385)
MESSAGE = b"M" + struct.pack(">BQ", 1, 99) + text("prefix") + struct.pack(">I", 3) + b"\0\xff!"
ALL = [
    BEGIN,
    COMMIT,
    ORIGIN,
    RELATION,
    TYPE,
    INSERT,
    UPDATE,
    UPDATE_KEY,
    UPDATE_FULL,
    DELETE,
    TRUNCATE,
    MESSAGE,
]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (BEGIN, Begin(0x16B374D848, 1_000_000, 759)),
        (COMMIT, Commit(100, 120, 1_000_000)),
        (ORIGIN, Origin(7, "elsewhere")),
        (
            RELATION,
            Relation(
                16384,
                "public",
                'We"ird — ünï',
                "d",
                (RelationColumn(True, "id", 20, -1), RelationColumn(False, "n", 1700, 655366)),
            ),
        ),
        (TYPE, Type(70000, "pg_catalog", "numeric")),
        (INSERT, Insert(16384, [b"1", None, b""])),
        (UPDATE, Update(16384, None, False, [b"1", UNCHANGED])),
        (UPDATE_KEY, Update(16384, [b"1", None], True, [b"2", UNCHANGED])),
        (UPDATE_FULL, Update(16384, [b"1", b"x"], False, [b"2", b"y"])),
        (DELETE, Delete(16384, [b"1", None], True)),
        (TRUNCATE, Truncate((16384, 16385), True, True)),
        (MESSAGE, LogicalMessage(True, 99, "prefix", b"\0\xff!")),
    ],
)
def test_decodes_every_kind_of_message(data: bytes, message: object) -> None:
    assert decode(data) == message


def test_decodes_at_a_position_in_a_larger_payload() -> None:
    assert decode(b"x" * 25 + INSERT, 25) == Insert(16384, [b"1", None, b""])


@pytest.mark.parametrize("data", ALL, ids=lambda data: chr(data[0]))
def test_refuses_every_message_cut_short_anywhere(data: bytes) -> None:
    for size in range(len(data)):
        with pytest.raises(DecodeError):
            decode(data[:size])


@pytest.mark.parametrize("data", ALL, ids=lambda data: chr(data[0]))
def test_refuses_bytes_after_the_end_of_a_message(data: bytes) -> None:
    with pytest.raises(DecodeError, match="after the end"):
        decode(data + b"\0")


def test_refuses_a_message_that_is_no_begin_where_one_is_needed() -> None:
    assert decode_begin(BEGIN, 0).xid == 759
    with pytest.raises(DecodeError):
        decode_begin(COMMIT, 0)


@pytest.mark.parametrize("year", [0, 10_000])
def test_refuses_a_commit_time_that_no_clock_shows(year: int) -> None:
    """Events tell it, and not every envelope has words for such years."""
    days = (year - 2000) * 365.25 + 366
    with pytest.raises(DecodeError, match="commit time"):
        decode(b"B" + struct.pack(">QqI", 1, int(days * 86_400_000_000), 7))


@given(st.binary(max_size=300))
def test_arbitrary_bytes_raise_only_decode_errors(data: bytes) -> None:
    with contextlib.suppress(DecodeError):
        decode(data)


@given(
    st.sampled_from(ALL),
    st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), min_size=1, max_size=4),
)
def test_damaged_messages_raise_only_decode_errors(data: bytes, damage: list[tuple[int, int]]) -> None:
    broken = bytearray(data)
    for place, byte in damage:
        broken[place % len(broken)] = byte
    with contextlib.suppress(DecodeError):
        decode(bytes(broken))


@pytest.mark.parametrize(
    "data",
    [
        b"T" + struct.pack(">IB", 0xFFFFFFFF, 0),
        b"M" + struct.pack(">BQ", 1, 99) + text("p") + struct.pack(">I", 0xFFFFFFFF),
        b"I" + struct.pack(">I", 1) + b"N" + struct.pack(">H", 1) + b"t" + struct.pack(">I", 0xFFFFFFFF),
        b"I" + struct.pack(">I", 1) + b"N" + struct.pack(">H", 0xFFFF),
        b"R" + struct.pack(">I", 1) + text("s") + text("t") + b"d" + struct.pack(">H", 0xFFFF),
    ],
)
def test_no_count_in_a_message_makes_it_allocate_more_than_its_bytes(data: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(DecodeError):
            decode(data)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()
