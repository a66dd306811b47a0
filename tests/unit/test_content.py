"""What the bytes of a key or a value say, with the head of a schema registry in front and without."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liberator.change import Event
from liberator.content import payload, read, schema_id
from liberator.contract.registry.wire import encode

SAID = st.recursive(
    st.none() | st.booleans() | st.text(min_size=2),
    lambda inner: (
        st.dictionaries(st.text(), inner | st.integers(-(2**70), 2**70), min_size=1, max_size=4)
        | st.lists(inner, min_size=2, max_size=4)
    ),
)


@given(st.integers(0, 2**32 - 1), SAID)
def test_json_behind_a_head_is_what_it_says_to_the_last_digit(id: int, said: Any) -> None:
    plain = json.dumps(said).encode()
    headed = encode(id, plain)
    assert (payload(headed), schema_id(headed)) == (plain, id)
    assert repr(read(headed)) == repr(said)


@pytest.mark.parametrize("text", ['{"a":1e400}', '["\\ud800"]', ' {"a": 1}\n', "{}", '"ok"', "null", "true"])
def test_json_that_is_rare_is_json_behind_a_head_too(text: str) -> None:
    headed = encode(7, text.encode())
    assert (payload(headed), read(headed)) == (text.encode(), json.loads(text))


@pytest.mark.parametrize(
    "data",
    [
        None,
        b"",
        b"\0",
        b"\0\0\0\0\7",
        b'{"a": 1}',
        b"order-17",
        b'\1\0\0\0\7{"a": 1}',
        b"\0\0\0\0\7no",
        b'\0\0\0\0\7{"a": 1',
        b"\0\0\0\0\7" + b"[" * 100_000,
        encode(7, b"0"),  # of Avro, the long 24
        encode(7, b"\x10Berliner"),
        encode(7, b"\0\n\4{}"),
        struct.pack(">q", 0x0007_0001_025B_315D),
        '{"a": 1}'.encode("utf-16-be"),
    ],
    ids=repr,
)
def test_what_is_no_json_behind_a_head_stays_as_it_is(data: bytes | None) -> None:
    assert (payload(data), schema_id(data)) == (data, None)


@given(st.integers(-(2**63), 2**63 - 1) | st.integers(2**24, 2**32 - 1).map(lambda n: n << 24 | 0x5B315D))
def test_a_long_is_never_taken_for_a_head(number: int) -> None:
    data = struct.pack(">q", number)
    assert payload(data) == data


def test_an_event_gives_the_json_and_keeps_the_bytes() -> None:
    key, value = encode(7, b'{"id":1}'), encode(8, b'{"n":12345678901234567890.10}')
    event = Event("t", 0, 0, 0, key, value)
    assert (event.key, event.key_payload, event.raw_key) == ({"id": 1}, b'{"id":1}', key)
    assert (event.payload, event.raw_value) == (b'{"n":12345678901234567890.10}', value)


def test_a_tombstone_of_a_key_with_a_head_is_one() -> None:
    event = Event("t", 0, 0, 0, encode(7, b'{"id":1}'), None)
    assert (event.key, event.value, event.payload) == ({"id": 1}, None, None)
