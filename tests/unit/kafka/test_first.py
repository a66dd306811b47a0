"""What a producer has to send alone, because the partition does not know it yet."""

from __future__ import annotations

import pytest

from liberator.change import EncodedBatch
from liberator.kafka.first import First
from liberator.kafka.partition import partition_of

PARTITIONS = 3


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def first(clock: Clock) -> First:
    return First(lambda topic: PARTITIONS, clock)


def batch_of(*keys: bytes | None, topic: str = "t") -> EncodedBatch:
    batch = EncodedBatch()
    for number, key in enumerate(keys):
        batch.add(topic, key, b"v", b"%d" % number)
    return batch


def keys_of(partition: int, count: int) -> list[bytes]:
    keys = (b"%d" % number for number in range(1_000))
    return [key for key in keys if partition_of(key, PARTITIONS) == partition][:count]


def let_arrive(first: First, batch: EncodedBatch) -> dict[int, int]:
    found = first.of_batch(batch, 0, ())
    for index, partition in found.items():
        first.went((batch.topics[index], partition))
    first.arrived()
    return found


def test_the_first_event_of_each_partition_goes_alone(first: First) -> None:
    a, b = keys_of(0, 2), keys_of(2, 2)
    assert first.of_batch(batch_of(a[0], a[1], b[0], a[0], b[1]), 0, ()) == {0: 0, 2: 2}


def test_what_arrived_is_known(first: First) -> None:
    a, b = keys_of(0, 2), keys_of(1, 1)
    let_arrive(first, batch_of(a[0]))
    assert first.of_batch(batch_of(a[1], b[0]), 0, ()) == {1: 1}
    assert let_arrive(first, batch_of(a[0], a[1])) == {}


def test_what_is_under_way_is_not_known_yet(first: First) -> None:
    (a,) = keys_of(0, 1)
    first.went(("t", 0))
    assert first.waits
    assert first.of_batch(batch_of(a), 0, ()) == {0: 0}


def test_a_topic_is_complete_when_all_its_partitions_know_us(first: First) -> None:
    keys = [keys_of(partition, 1)[0] for partition in range(PARTITIONS)]
    let_arrive(first, batch_of(*keys[:2]))
    assert not first.complete(["t"])
    let_arrive(first, batch_of(keys[2]))
    assert first.complete(["t", "t"])
    assert not first.complete(["t", "other"])


def test_events_without_a_key_reach_the_partitions_one_after_the_other(first: First) -> None:
    assert let_arrive(first, batch_of(None, None)) == {0: 0, 1: 1}
    assert let_arrive(first, batch_of(None, None, None)) == {0: 2}
    assert first.complete(["t"])


def test_events_that_went_and_those_before_the_start_are_left_out(first: First) -> None:
    a, b, c = (keys_of(partition, 1)[0] for partition in range(PARTITIONS))
    assert first.of_batch(batch_of(a, b, c), 1, {2}) == {1: 1}


def test_an_hour_later_nothing_is_known(first: First, clock: Clock) -> None:
    keys = [keys_of(partition, 1)[0] for partition in range(PARTITIONS)]
    let_arrive(first, batch_of(*keys))
    assert first.complete(["t"])
    clock.now += 3_601
    assert not first.complete(["t"])
    assert let_arrive(first, batch_of(*keys)) == {0: 0, 1: 1, 2: 2}


def test_of_records_for_given_partitions_the_first_of_each_goes_alone(first: First) -> None:
    lanes = [("t", 5), ("t", 5), ("u", 0)]
    assert first.of_lanes(lanes) == {0, 2}
    first.went(("t", 5))
    first.arrived()
    assert first.of_lanes(lanes) == {2}
