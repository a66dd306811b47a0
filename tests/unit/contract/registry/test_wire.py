"""The five bytes in front of a message, and the name of its schema."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liberator.contract.registry.subjects import STRATEGIES, subject
from liberator.contract.registry.wire import decode, encode
from liberator.errors import DecodeError


@given(st.integers(0, 2**32 - 1), st.binary())
def test_what_is_encoded_is_decoded(schema_id: int, payload: bytes) -> None:
    assert decode(encode(schema_id, payload)) == (schema_id, payload)


def test_the_id_is_written_big_endian_behind_a_zero_byte() -> None:
    assert encode(0x01020304, b"{}") == b"\x00\x01\x02\x03\x04{}"


@pytest.mark.parametrize("schema_id", [-1, 2**32])
def test_an_id_that_does_not_fit_is_refused(schema_id: int) -> None:
    with pytest.raises(ValueError, match="four bytes"):
        encode(schema_id, b"{}")


@given(st.binary().filter(lambda message: len(message) < 5 or message[0] != 0))
def test_other_bytes_are_malformed_and_nothing_else(message: bytes) -> None:
    with pytest.raises(DecodeError) as caught:
        decode(message)
    assert caught.value.code == "decode.no_schema_id"


def test_a_subject_is_named_as_its_strategy_says() -> None:
    names = [
        subject(strategy, "orders", "Order", part) for strategy in STRATEGIES for part in ("key", "value")
    ]
    assert names == ["orders-key", "orders-value", "Order", "Order", "orders-Order", "orders-Order"]
