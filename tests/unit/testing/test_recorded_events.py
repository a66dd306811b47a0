"""Recorded events, in every form that liberate prints them."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from liberator.change import EncodedBatch, Event
from liberator.dispatch.dead_letter import dead_letter
from liberator.dispatch.settle import GivenUp
from liberator.errors import ConfigError, FunctionError
from liberator.publish.ndjson import encode
from liberator.testing.functions import read_recorded


def read(text: str, topic: str | None = None) -> list[Event]:
    return read_recorded(text, where="events.ndjson", now_ms=7, topic=topic)


def lines(*records: Any) -> str:
    return "\n".join(map(json.dumps, records))


def test_what_is_printed_is_read_as_it_was_published() -> None:
    batch = EncodedBatch()
    batch.add("shop.orders", b'{"id":1}', b'{"after":{"id":1}}', b"e1")
    batch.add("shop.orders", b'{"id":1}', None, b"e1/t", (("__op", b"d"), ("grün", b"x")))
    batch.add("shop.orders", None, b"\0\0\0\0\x07{}", b"e2", (("type", b"OrderPaid"),))
    first, second, third = read(encode(batch).decode())
    assert (first.topic, first.raw_key, first.raw_value, first.id) == (
        "shop.orders",
        b'{"id":1}',
        b'{"after":{"id":1}}',
        "e1",
    )
    assert (second.raw_value, dict(second.headers)) == (None, {"id": "e1/t", "__op": "d", "grün": "x"})
    assert (third.raw_key, third.raw_value) == (None, b"\0\0\0\0\x07{}")
    assert [event.offset for event in (first, second, third)] == [0, 1, 2]


def test_a_key_that_is_text_stays_plain_text() -> None:
    batch = EncodedBatch(string_keys=True)
    batch.add("orders", b"order-17", b"{}", b"e1")
    [event] = read(encode(batch).decode())
    assert event.raw_key == b"order-17"


def test_a_dead_letter_is_the_event_that_it_is_about() -> None:
    event = Event("orders", 3, 17, 5, b"k", b"cut \xff", (("a", b"b"),))
    letter = dead_letter(GivenUp(event, FunctionError("no"), 2), "dead", "sink", 9)
    [found] = read(encode(letter).decode())
    assert (found.topic, found.partition, found.offset) == ("orders", 3, 17)
    assert (found.raw_key, found.raw_value) == (b"k", b"cut \xff")
    assert found.raw_headers == (("a", b"b"),)


def test_lines_of_a_program_s_input_keep_place_time_and_id() -> None:
    line = {"topic": "t", "partition": 2, "offset": 9, "timestamp": 5, "id": "e9", "key": None, "value": 1}
    [event] = read(lines(line))
    assert (event.place, event.offset, event.timestamp, event.id) == (("t", 2), 9, 5, "e9")


@pytest.mark.parametrize("batch", [False, True], ids=["one", "array"])
def test_cloud_events_are_structured_ones_of_the_only_topic(batch: bool) -> None:
    given = {
        "specversion": "1.0",
        "id": "c1",
        "type": "paid",
        "source": "/x",
        "subject": "7",
        "data": {"n": 1},
    }
    [event] = read(json.dumps([given] if batch else given, indent=2), topic="orders")
    assert (event.topic, event.id, event.raw_key, event.value) == ("orders", "c1", b"7", given)
    assert event.headers["content-type"].startswith("application/cloudevents+json")
    with pytest.raises(ConfigError, match="names no topic"):
        read(json.dumps(given))


def test_events_that_come_twice_get_places_of_their_own_and_keep_their_ids() -> None:
    line = {"topic": "t", "partition": 1, "offset": 4, "key": None, "value": 1}
    events = read(lines(line, line))
    assert [event.offset for event in events] == [0, 1]
    assert {event.id for event in events} == {"t/1/4"}


def test_the_time_is_that_of_the_commit_where_it_is_told() -> None:
    told, untold = read(
        lines(
            {"topic": "t", "key": None, "value": {"source": {"ts_ms": 5}}},
            {"topic": "t", "key": None, "value": 1},
        )
    )
    assert (told.timestamp, untold.timestamp) == (5, 7)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ('{"topic": "t", "value": 1}\n{"topic": "t"', "events.ndjson:2"),
        ('{"topic": "t", "value": 1}\n[1]', "events.ndjson:2"),
        ('{"id": 1}', "events.ndjson, event 1"),
        ('{"topic": "t", "value": null, "value_base64": "#"}', "events.ndjson, event 1"),
    ],
    ids=["cut", "array", "bare-row", "base64"],
)
def test_what_is_no_event_is_refused_with_its_line(text: str, where: str) -> None:
    with pytest.raises(ConfigError) as refused:
        read(text)
    assert (refused.value.code, refused.value.where) == ("events.malformed", where)


def test_an_empty_file_holds_no_events() -> None:
    assert read("") == read("\n\n") == []


def test_base64_that_is_printed_for_bytes_is_bytes_again() -> None:
    [event] = read(
        lines({"topic": "t", "key": None, "value": None, "value_base64": base64.b64encode(b"\xff").decode()})
    )
    assert event.raw_value == b"\xff"
