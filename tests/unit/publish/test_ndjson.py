"""Lines of JSON: what stands in them, and that nothing in an event can break a line."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liberator.change import EncodedBatch, Record
from liberator.publish import ndjson
from liberator.publish.ndjson import encode
from liberator.rust import fits, liberator_native

WRITERS = ["python", "native"] if fits(liberator_native) else ["python"]


@pytest.fixture(autouse=True, params=WRITERS)
def implementation(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test runs with each writer that is installed here."""
    monkeypatch.setattr(ndjson, "in_use", request.param == "native")


def lines_of(batch: EncodedBatch) -> list[dict[str, Any]]:
    encoded = encode(batch)
    assert encoded.endswith(b"\n") or not encoded
    return [json.loads(line) for line in encoded.split(b"\n")[:-1]]


def one_event(
    value: bytes | None, *, key: bytes | None = b'{"id":1}', id: bytes = b"1/s/A/0"
) -> EncodedBatch:
    batch = EncodedBatch()
    batch.add("shop.public.orders", key, value, id)
    return batch


def test_all_five_members_are_always_there() -> None:
    assert encode(one_event(b'{"a":1}')) == (
        b'{"topic":"shop.public.orders","key":{"id":1},"value":{"a":1},"headers":{"id":"1/s/A/0"},'
        b'"position":"1/s/A/0"}\n'
    )


def test_a_tombstone_without_key_has_nulls() -> None:
    (line,) = lines_of(one_event(None, key=None))
    assert (line["key"], line["value"]) == (None, None)


def test_an_empty_batch_is_no_bytes() -> None:
    assert encode(EncodedBatch()) == b""


def test_numbers_keep_every_digit() -> None:
    digits = b'{"n":123456789012345678901234567890.123456789,"e":1E400}'
    assert digits in encode(one_event(digits))


def test_pretty_printed_json_stays_on_one_line() -> None:
    (line,) = lines_of(one_event(b'{\r\n  "a": [1,\n 2]\n}'))
    assert line["value"] == {"a": [1, 2]}


def test_an_id_with_quotes_and_umlauts_is_escaped() -> None:
    (line,) = lines_of(one_event(b"1", id='x/snapshot/{"k":"ü\\"}\n'.encode()))
    assert line["position"] == line["headers"]["id"] == 'x/snapshot/{"k":"ü\\"}\n'


def test_further_headers_stand_beside_the_id() -> None:
    batch = EncodedBatch()
    batch.add("t", b"1", b"2", b"id/1", (("type", "Bestellt ☃".encode()), ("trace", b"\xff")))
    (line,) = lines_of(batch)
    assert line["headers"] == {"id": "id/1", "type": "Bestellt ☃", "trace": "�"}


def test_a_text_key_becomes_a_json_string() -> None:
    batch = EncodedBatch(string_keys=True)
    batch.add("t", 'say "ü"'.encode(), b'{"a":1}', b"id/1")
    (line,) = lines_of(batch)
    assert (line["key"], line["value"]) == ('say "ü"', {"a": 1})


def test_a_payload_that_is_no_json_becomes_base64() -> None:
    batch = EncodedBatch(string_keys=True)
    batch.add("t", b"\xff\xfe", b"\x80not json", b"id/1")
    (line,) = lines_of(batch)
    assert line["value"] is None
    assert base64.b64decode(line["value_base64"]) == b"\x80not json"
    assert line["key"] is None
    assert base64.b64decode(line["key_base64"]) == b"\xff\xfe"


def test_a_dead_letter_may_carry_anything() -> None:
    batch = EncodedBatch()
    batch.add("t.dead", b"{broken", b"{\xc3", b"id/1", (("__connect.errors.topic", b"t"),))
    batch.add("t", b'{"id":1}', b'{"a":1}', b"id/2")
    dead, alive = lines_of(batch)
    assert base64.b64decode(dead["value_base64"]) == b"{\xc3"
    assert base64.b64decode(dead["key_base64"]) == b"{broken"
    assert alive["value"] == {"a": 1}


def test_the_wire_format_of_a_registry_becomes_base64() -> None:
    framed = b"\x00\x00\x00\x00\x07" + b'{"a":1}'
    (line,) = lines_of(one_event(framed, key=b"\x00\x00\x00\x00\x08{}"))
    assert base64.b64decode(line["value_base64"]) == framed
    assert line["key"] is None


def test_control_records_are_left_out() -> None:
    batch = one_event(b"1")
    batch.control.append(Record("__debezium-heartbeat.shop", b"{}", b"{}", b"hb"))
    assert len(lines_of(batch)) == 1


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(
    st.lists(
        st.tuples(
            st.text(min_size=1),
            json_values,
            json_values,
            st.text(),
            st.none() | st.dictionaries(st.text(), st.text()),
            st.sampled_from([None, 1]),
        ),
        max_size=5,
    )
)
def test_every_event_reads_back_as_it_was(events: list[tuple[str, Any, Any, str, Any, int | None]]) -> None:
    batch = EncodedBatch()
    for topic, key, value, id, headers, indent in events:
        given_headers = headers and tuple((name, text.encode()) for name, text in headers.items())
        encoded = [json.dumps(part, ensure_ascii=False, indent=indent).encode() for part in (key, value)]
        batch.add(topic, encoded[0], encoded[1], id.encode(), given_headers)
    read_back = lines_of(batch)
    assert len(read_back) == len(events)
    for line, (topic, key, value, id, headers, _) in zip(read_back, events, strict=True):
        assert (line["topic"], line["key"], line["value"], line["position"]) == (topic, key, value, id)
        assert line["headers"] == {"id": id, **(headers or {})}


ANYTHING = st.one_of(
    st.sampled_from(
        [b'{"id":1}', b"1", b"\n", b"\r", b"\0\0\0\0\1", b'"', b"\\", "ü".encode(), b"%", b"\x7f"]
    ),
    st.binary(max_size=4),
)
IDS = st.lists(ANYTHING, max_size=3).map(b"".join)


@given(
    st.lists(st.tuples(st.sampled_from(["a", 'b"%', "ü"]), st.none() | ANYTHING, st.none() | ANYTHING, IDS))
)
def test_both_writers_give_the_same_bytes(
    events: list[tuple[str, bytes | None, bytes | None, bytes]],
) -> None:
    batch = EncodedBatch()
    for event in events:
        batch.add(*event)
    made = []
    for in_use in (False, fits(liberator_native)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ndjson, "in_use", in_use)
            made.append(encode(batch))
    assert made[0] == made[1]
