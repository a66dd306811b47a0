"""Which offsets may be committed (Invariant 10)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from liberator.change import TopicPartition
from liberator.dispatch.offsets import Offsets

ONE, OTHER = TopicPartition("t", 0), TopicPartition("t", 1)


def read(*offsets: int, partition: TopicPartition = ONE) -> Offsets:
    it = Offsets()
    for offset in offsets:
        it.read(partition, [offset])
    return it


def test_nothing_is_committed_before_the_first_event_is_done() -> None:
    it = read(5, 6, 7)
    it.done(ONE, [6])
    assert it.to_commit() == {}


def test_an_offset_moves_up_to_the_first_event_that_is_not_done() -> None:
    it = read(5, 6, 7)
    it.done(ONE, [6])
    it.done(ONE, [5])
    assert it.to_commit() == {ONE: 7}


def test_the_offset_behind_the_last_event_is_committed_when_all_are_done() -> None:
    it = read(5, 9)
    it.done(ONE, [9])
    it.done(ONE, [5])
    assert it.to_commit() == {ONE: 10}


def test_what_was_committed_is_not_committed_again() -> None:
    it = read(5, 6)
    it.done(ONE, [5])
    it.committed(it.to_commit())
    assert it.to_commit() == {}
    it.done(ONE, [6])
    assert it.to_commit() == {ONE: 7}


def test_partitions_do_not_wait_for_each_other() -> None:
    it = read(5)
    it.read(OTHER, [0])
    it.done(OTHER, [0])
    assert it.to_commit() == {OTHER: 1}


def test_a_partition_that_is_gone_is_not_committed() -> None:
    it = read(5)
    it.drop([ONE])
    it.done(ONE, [5])
    assert it.to_commit() == {}


def test_what_was_done_before_a_partition_went_and_came_back_counts_for_what_it_was() -> None:
    it = read(5, 6)
    it.drop([ONE])
    it.read(ONE, [6])
    it.done(ONE, [5])
    assert it.to_commit() == {}
    assert it.outstanding() == 1


@given(st.sets(st.integers(0, 60), min_size=1), st.randoms())
def test_the_committed_offset_is_always_that_of_the_first_event_not_done(offsets: set[int], chance) -> None:  # type: ignore[no-untyped-def]
    """Whatever offsets exist, and in whatever order they are done."""
    it = read(*sorted(offsets))
    left, order = set(offsets), list(offsets)
    chance.shuffle(order)
    for offset in order:
        it.done(ONE, [offset])
        left.discard(offset)
        place = it.to_commit().get(ONE, min(offsets))
        assert place == (min(left) if left else max(offsets) + 1)
    assert it.outstanding() == 0


def test_what_was_read_behind_the_last_event_done_or_begun_can_be_forgotten() -> None:
    it = read(5, 6, 7, 9, 11)
    it.done(ONE, [7])
    assert it.cut(ONE, 6) == 7
    assert it.left([ONE])
    it.done(ONE, [5])
    it.done(ONE, [6])
    assert not it.left([ONE])
    assert it.to_commit() == {ONE: 9}
    begun = read(5, 6, 7)
    assert begun.cut(ONE, 6) == 6
    begun.done(ONE, [5])
    begun.done(ONE, [6])
    assert begun.to_commit() == {ONE: 7}
