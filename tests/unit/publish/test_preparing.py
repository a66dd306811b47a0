"""What is done to a batch before it is sent."""

from __future__ import annotations

from liberator.change import EncodedBatch, Record
from liberator.publish.kafka.too_large import DeadLetters, divert


def test_control_records_behind_events_with_times_are_of_the_present() -> None:
    batch = EncodedBatch(control=[Record("t", b"k", b"v", b"id/1")])
    batch.add("t", b"k", b"v", b"id/0", None, 1_700_000_000_001)
    assert batch.with_control().timestamps == [1_700_000_000_001, None]
    assert batch.timestamps == [1_700_000_000_001]


def test_batches_whose_events_have_no_times_carry_no_column_of_them() -> None:
    batch = EncodedBatch(control=[Record("t", b"k", b"v", b"id/1")])
    batch.add("t", b"k", b"v", b"id/0")
    assert batch.with_control().timestamps is None
    assert list(batch.times()) == [None]


def test_the_first_time_fills_the_column_up_and_the_rest_follows() -> None:
    batch = EncodedBatch()
    for number, timestamp in enumerate([None, 5, None]):
        batch.add("t", None, b"v", b"id/%d" % number, None, timestamp)
    assert batch.timestamps == [None, 5, None]


def test_a_dead_letter_keeps_the_time_of_its_event() -> None:
    batch = EncodedBatch()
    batch.add("t", b"k", b"v" * 5_000, b"id/0", None, 7)
    batch.add("t", b"k", b"v", b"id/1", None, 8)
    diverted = divert(batch, lambda topic: 1_000 if topic == "t" else 1_000_000, DeadLetters("dead", "shop"))
    assert (diverted.topics, diverted.timestamps) == (["dead", "t"], [7, 8])
