"""Log sequence numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liberator.postgres.lsn import format_lsn, parse_lsn


@given(st.integers(0, 2**64 - 1))
def test_text_and_number_are_one(lsn: int) -> None:
    assert parse_lsn(format_lsn(lsn)) == lsn


def test_is_written_as_postgres_writes_it() -> None:
    assert format_lsn(0x16B374D848) == "16/B374D848"
    assert format_lsn(1 << 32) == "1/0"


def test_is_compared_as_a_number_not_as_text() -> None:
    assert parse_lsn("9/0") < parse_lsn("10/0")


@pytest.mark.parametrize("text", ["", "16", "16/", "/B", "G/0", "16/B374D8480", "16/B374D848 ", "-1/0"])
def test_refuses_what_is_no_lsn(text: str) -> None:
    with pytest.raises(ValueError, match="not a log sequence number"):
        parse_lsn(text)
