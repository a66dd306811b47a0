"""Which events may start a function: the order of every key is kept."""

from __future__ import annotations

import random
from collections import defaultdict

import pytest

from liberator.change import Event, TopicPartition
from liberator.dispatch.backlog import Backlog, weight
from liberator.lanes import Order

MANY = 1 << 30


def event(offset: int, key: bytes | None = b"k", partition: int = 0, value: bytes = b"{}") -> Event:
    return Event("t", partition, offset, 0, key, value)


def backlog(*events: Event, order: Order = "key") -> Backlog:
    it = Backlog(order)
    for number, one in enumerate(events):
        it.add([one], float(number))
    return it


def offsets(events: list[Event]) -> list[int]:
    return [one.offset for one in events]


def test_a_key_with_a_function_is_not_given_to_another() -> None:
    it = backlog(event(0, b"a"), event(1, b"b"), event(2, b"a"), event(3, b"a"))
    first = it.take(1, MANY)
    assert offsets(first) == [0]
    assert offsets(it.take(9, MANY)) == [1]
    assert it.take(9, MANY) == []
    it.release(first)
    assert offsets(it.take(9, MANY)) == [2, 3]


def test_events_are_taken_in_the_order_in_which_they_were_read() -> None:
    """So that few gaps are left in front of what is done."""
    it = backlog(*(event(number, b"%d" % (number % 3)) for number in range(9)))
    assert offsets(it.take(5, MANY)) == [0, 1, 2, 3, 4]
    assert it.take(9, MANY) == []


def test_what_is_not_behind_the_offset_stays() -> None:
    it = backlog(event(0, b"a"), event(1, b"b"), event(2, b"a"))
    it.drop({TopicPartition("t", 0): 1})
    assert offsets(it.take(9, MANY)) == [0, 1]


def test_an_event_that_is_still_tried_holds_its_key() -> None:
    it = backlog(event(0, b"a"), event(1, b"b"), event(2, b"a"), event(3, b"b"))
    both = it.take(4, MANY)
    it.add([event(4, b"a")], 9.0)
    it.release(both, still=[both[0]])
    assert it.take(9, MANY) == []
    it.release([both[0]])
    assert offsets(it.take(9, MANY)) == [4]


def test_partitions_can_be_the_lanes() -> None:
    it = backlog(event(0, b"a"), event(0, b"b", 1), event(1, b"c"), order="partition")
    assert offsets(it.take(1, MANY)) == [0]
    assert [one.partition for one in it.take(9, MANY)] == [1]
    assert it.take(9, MANY) == []


def test_without_order_nothing_waits_for_anything() -> None:
    it = backlog(event(0), event(1), event(2), order="none")
    assert [offsets(it.take(1, MANY)) for _ in range(3)] == [[0], [1], [2]]


def test_events_without_a_key_keep_the_order_of_their_partition() -> None:
    it = backlog(event(0, None), event(1, None))
    assert offsets(it.take(1, MANY)) == [0]
    assert it.take(9, MANY) == []


def test_a_batch_ends_when_its_bytes_are_full_but_has_one_event_at_least() -> None:
    big = b"x" * 1_000
    it = backlog(event(0, b"a", value=big), event(1, b"b", value=big), event(2, b"c", value=big))
    assert offsets(it.take(9, 10)) == [0]
    assert offsets(it.take(9, 1_500)) == [1, 2]


def test_tells_how_much_could_be_taken_and_since_when() -> None:
    it = backlog(event(0, b"a"), event(1, b"b"), event(2, b"a"))
    assert (it.ready, it.ready_size, it.oldest()) == (3, it.size, 0.0)
    it.take(1, MANY)
    assert (it.ready, it.oldest()) == (1, 1.0)
    assert it.size == 2 * weight(event(1))


def test_events_of_partitions_that_went_are_forgotten() -> None:
    it = backlog(event(0, b"a"), event(0, b"a", 1), event(1, b"b"), event(1, b"c", 1))
    it.drop({TopicPartition("t", 0): -1})
    assert [(one.partition, one.offset) for one in it.take(9, MANY)] == [(1, 0), (1, 1)]
    assert (it.size, it.ready, it.ready_size) == (0, 0, 0)


@pytest.mark.parametrize("order", ["key", "partition", "none"])
def test_whatever_happens_counts_stay_right_and_lanes_in_order(order: Order) -> None:
    chance = random.Random(order)
    it = Backlog(order)
    under_way: list[list[Event]] = []
    waiting: set[Event] = set()
    seen: dict[object, int] = defaultdict(lambda: -1)
    number = 0
    for _ in range(3_000):
        match chance.choice(["add", "add", "take", "take", "end", "end part", "go"]):
            case "add":
                piece = [
                    event(at, chance.choice([None, b"a", b"b", b"c", b"d"]), chance.randint(0, 2))
                    for at in range(number, number + chance.randint(1, 6))
                ]
                number += len(piece)
                it.add(piece, float(number))
                waiting.update(piece)
            case "take":
                taken = it.take(chance.randint(1, 5), chance.randint(1, 5_000))
                for one in taken:
                    lane = it.lane_of(one)
                    assert lane is None or one.offset > seen[lane], "out of order"
                    assert lane is None or all(
                        it.lane_of(other) != lane for others in under_way for other in others
                    ), "the lane is with another function"
                    seen[lane] = one.offset
                waiting -= set(taken)
                if taken:
                    under_way.append(taken)
            case "end" if under_way:
                it.release(under_way.pop(chance.randrange(len(under_way))))
            case "end part" if under_way:
                events = under_way.pop(chance.randrange(len(under_way)))
                still = chance.sample(events, chance.randint(0, len(events)))
                it.release(events, still)
                if still:
                    under_way.append(still)
            case "go" if chance.random() < 0.1:
                went = {TopicPartition("t", chance.randint(0, 2)): chance.randint(0, number)}
                it.drop(went)
                waiting = {one for one in waiting if one.offset <= went.get(one.place, one.offset)}
        assert (it.count, it.size) == (len(waiting), sum(map(weight, waiting)))
        held = {it.lane_of(one) for others in under_way for one in others} - {None}
        ready = [one for one in waiting if it.lane_of(one) not in held]
        if under_way and chance.random() < 0.5:
            continue  # nobody asks: lanes are made as late as can be
        assert (it.ready, it.ready_size) == (len(ready), sum(map(weight, ready)))
        assert (it.oldest() is None) == (not ready)
