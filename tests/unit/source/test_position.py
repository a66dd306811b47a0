"""Positions as they stand in a checkpoint."""

from __future__ import annotations

import json

import pytest

from liberator.errors import CheckpointError
from liberator.source.position import (
    PUBLICATIONS,
    SLOT,
    SlotPosition,
    TablePosition,
    encode_publications,
    publications_of,
    table_partition,
    tables_of,
)

HERE = SlotPosition("7001", 1, "shop", "shop", ("shop",), 0x16B374D848)


def test_a_position_is_read_back_as_it_was_saved() -> None:
    assert SlotPosition.decode(HERE.encode()) == HERE
    assert SlotPosition.decode(HERE.at(7).encode()).lsn == 7


def test_a_table_is_read_back_as_it_was_saved() -> None:
    for table in (
        TablePosition(None),
        TablePosition(99),
        TablePosition(None, 16384, True),
        TablePosition(5, 7),
    ):
        assert TablePosition.decode(table.encode(), "table:public.t") == table


def test_publications_are_read_back_as_they_were_saved() -> None:
    assert publications_of({PUBLICATIONS: encode_publications({"shop": 7, "shop_inserts": 8})}) == {
        "shop": 7,
        "shop_inserts": 8,
    }
    assert publications_of({SLOT: HERE.encode()}) == {}
    for data in (b"", b'{"v":1}', b'{"v":1,"oids":[]}', b'{"v":1,"oids":{"a":"x"}}'):
        with pytest.raises(CheckpointError):
            publications_of({PUBLICATIONS: data})


def test_finds_the_tables_of_a_state() -> None:
    state = {
        SLOT: HERE.encode(),
        table_partition("public.a.b"): TablePosition(5).encode(),
        "relation:1": b"{}",
    }
    assert tables_of(state) == {"public.a.b": TablePosition(5)}


@pytest.mark.parametrize(
    "data", [b"", b"\xff", b"[]", b"7", b"{}", b'{"v":1}', b'{"v":1,"lsn":"x"}', HERE.encode()[:-1], b"null"]
)
def test_a_half_written_position_is_refused_with_the_way_out(data: bytes) -> None:
    with pytest.raises(CheckpointError) as caught:
        SlotPosition.decode(data)
    assert caught.value.code == "checkpoint.corrupt"
    assert "checkpoint reset" in str(caught.value.fix)


def test_a_position_of_a_later_format_is_refused_as_such() -> None:
    later = json.dumps({**json.loads(HERE.encode()), "v": 2}).encode()
    with pytest.raises(CheckpointError) as caught:
        SlotPosition.decode(later)
    assert caught.value.code == "checkpoint.version"
