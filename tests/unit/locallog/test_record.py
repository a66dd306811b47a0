"""Headers come back byte for byte, and places keep the order of offsets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liberator.change import ReadHeaders
from liberator.locallog.record import pack, place, unpack

_NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(st.lists(st.tuples(_NAMES, st.none() | st.binary(max_size=50)), max_size=5).map(tuple))
def test_headers_come_back_as_they_were(headers: ReadHeaders) -> None:
    assert unpack(pack(headers)) == headers


def test_no_headers_take_no_room() -> None:
    assert pack(()) is None


def test_a_header_of_64_kib_is_too_long_a_name() -> None:
    with pytest.raises(OverflowError):
        pack((("n" * 65_536, b""),))


@given(st.integers(1, 1 << 22), st.integers(0, (1 << 40) - 2))
def test_places_are_in_the_order_of_partitions_and_offsets(partition: int, offset: int) -> None:
    assert place(partition, offset) < place(partition, offset + 1) < place(partition + 1, 0) < 1 << 63
