"""Positions of a query source: what is saved comes back, and nothing else is believed."""

from __future__ import annotations

import json
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liberator.errors import CheckpointError
from liberator.source.query.database import Mark, View
from liberator.source.query.packing import at_least, pack, unpack
from liberator.source.query.position import TablePosition, UnderWay, partition_of, positions_of

WHOLE = TablePosition(
    database="7/shop",
    strategy="timestamp",
    cursor=("at", "id"),
    passes=3,
    low="2024-01-01 00:00:00.000001+00",
    seen="700:705:701,703",
    pending=Mark("2024-01-02", ("3/12", "prepared 9"), 12.5),
    known=frozenset({b"12345678", b"abcdefgh"}),
    newest=99,
    under_way=UnderWay(
        View("710:710:", {"datetime": "2024-01-01T00:00:00"}, "2030"),
        Mark(7, (), 1.0),
        5,
        True,
        ["a", None, 7],
        ("at", "id", "n"),
    ),
    reconciled=4,
    compared=17.25,
    keys="f00",
    oid=16384,
)


@pytest.mark.parametrize("position", [WHOLE, TablePosition("7/shop", "bulk", ())])
def test_a_position_is_read_back_whole(position: TablePosition) -> None:
    partition = partition_of("public.t")
    assert positions_of({partition: position.encode(), "slot": b"x"}) == {"public.t": position}


def test_more_digests_than_a_checkpoint_should_hold_are_not_saved() -> None:
    known = frozenset(b"%08d" % number for number in range(4_001))
    position = TablePosition("d", "timestamp", ("at",), known=known)
    assert TablePosition.decode(position.encode(), "p").known == frozenset()


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"\xff", b'{"v":1}', WHOLE.encode()[:-10]])
def test_refuses_what_is_no_position(data: bytes) -> None:
    with pytest.raises(CheckpointError) as caught:
        TablePosition.decode(data, "query:public.t")
    assert (caught.value.code, caught.value.where) == ("checkpoint.corrupt", "partition query:public.t")


def test_refuses_a_newer_format() -> None:
    newer = json.dumps({**json.loads(WHOLE.encode()), "v": 2}).encode()
    with pytest.raises(CheckpointError) as caught:
        TablePosition.decode(newer, "query:public.t")
    assert caught.value.code == "checkpoint.version"


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.text(),
    st.binary(),
    st.floats(allow_nan=False),
    st.decimals(allow_nan=False),
    st.datetimes(),
    st.datetimes(timezones=st.just(timezone.utc)),
    st.dates(),
    st.times(),
    st.timedeltas(),
    st.uuids(),
)


@given(VALUES)
def test_a_driver_s_value_comes_back_from_json_as_it_was(value: Any) -> None:
    back = unpack(json.loads(json.dumps(pack(value))))
    assert (type(back), back) == (type(value), value)


@pytest.mark.parametrize(
    ("value", "bound", "expected"),
    [
        (2, 1, True),
        (1, 2, False),
        ("b", "a", True),
        ("a", 1, True),
        (Decimal("1.0"), 1, True),
        (None, 1, True),
    ],
)
def test_values_that_can_not_be_compared_count_as_new(value: Any, bound: Any, expected: bool) -> None:
    assert at_least(value, bound) is expected


def test_kinds_of_values_are_told_apart() -> None:
    values = [
        date(2024, 1, 1),
        datetime(2024, 1, 1),
        time(1),
        timedelta(1),
        Decimal(1),
        1.0,
        b"1",
        UUID(int=1),
        "1",
        1,
    ]
    packed = [json.dumps(pack(value)) for value in values]
    assert len(set(packed)) == len(packed)
