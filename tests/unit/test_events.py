"""An event as a function sees it: read late, exactly, and from its own bytes."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liberator.change import ConsumedBatch, Event, TopicPartition, columns_of, events_of


def value(data: bytes) -> Any:
    return Event("t", 0, 0, 0, None, data).value


NUMBERS = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False)
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(DOCUMENTS)
def test_a_value_is_what_its_json_says_to_the_last_digit(document: Any) -> None:
    assert repr(value(json.dumps(document).encode())) == repr(document)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"9223372036854775808", 2**63),
        (b"-9223372036854775809", -(2**63) - 1),
        (b"[18446744073709551616]", [2**64]),
        (b"1e400", float("inf")),
        (b'"\\ud800"', "\ud800"),
        (b"no", "no"),
        (b"\xff\xfe\xfd", b"\xff\xfe\xfd"),
    ],
)
def test_what_a_faster_reader_refuses_or_rounds_is_read_as_before(data: bytes, expected: object) -> None:
    assert value(data) == expected
    assert type(value(data)) is type(expected)


class Record:
    """What a client has of an event. asked: how often its headers were wanted."""

    def __init__(self, *headers: tuple[str, bytes | None]) -> None:
        self.asked = 0
        self._headers = list(headers)

    def headers(self) -> Iterable[tuple[str, bytes | None]] | None:
        self.asked += 1
        return self._headers or None


def read(*records: Record) -> ConsumedBatch:
    count = len(records)
    nothing: list[bytes | None] = [None] * count
    return ConsumedBatch(
        ["t"] * count, [0] * count, list(range(count)), [7] * count, nothing, nothing, unread=list(records)
    )


def test_headers_are_read_when_somebody_wants_them_and_once() -> None:
    known, bare = Record(("id", b"e1"), ("null", None)), Record()
    first, second = events_of(read(known, bare))
    assert known.asked == 0
    assert (first.id, first.id, first.raw_headers) == ("e1", "e1", (("id", b"e1"), ("null", None)))
    assert known.asked == 1
    assert (second.id, second.raw_headers) == ("t/0/1", ())


def test_batches_are_put_together_with_their_headers_read_or_not() -> None:
    unread, known = read(Record(("id", b"e1"))), read(Record(("id", b"e2")))
    known.headers, known.unread = known.read_headers(), []
    both = ConsumedBatch()
    both.extend(unread)
    assert both.unread == unread.unread
    both.extend(known)
    both.extend(read(Record(("id", b"e3"))))
    assert [event.id for event in events_of(both)] == ["e1", "e2", "e3"]


def test_events_travel_as_columns_with_their_headers() -> None:
    events = events_of(read(Record(("id", b"e1")), Record()))
    columns = pickle.loads(pickle.dumps(columns_of(events)))
    assert columns == ConsumedBatch(
        ["t"] * 2, [0] * 2, [0, 1], [7] * 2, [None] * 2, [None] * 2, [(("id", b"e1"),), ()]
    )
    assert [event.id for event in events_of(columns)] == ["e1", "t/0/1"]


def test_runs_are_events_of_one_partition_that_follow_each_other() -> None:
    batch = ConsumedBatch(["a", "a", "b", "a"], [0, 0, 0, 0], [5, 6, 0, 7])
    a, b = TopicPartition("a", 0), TopicPartition("b", 0)
    assert list(batch.runs()) == [(a, 0, 2), (b, 2, 3), (a, 3, 4)]
