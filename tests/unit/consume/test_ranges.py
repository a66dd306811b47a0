"""Parts of a stream: which offsets are meant, and a consumer that sees no more than those."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from liberator.change import TopicPartition
from liberator.consume.group import Bounds
from liberator.consume.ranges import Range, RangeConsumer, ranges
from liberator.errors import ConsumeError, PreconditionError
from liberator.testing.consumer import MemoryStream

ONE, TWO = TopicPartition("orders", 0), TopicPartition("orders", 1)
BOUNDS = {ONE: Bounds(5, 100), TWO: Bounds(0, 50)}


class Deaf:
    """Hears of partitions, and does nothing."""

    def assigned(self, partitions: Collection[TopicPartition]) -> None: ...

    def revoked(self, partitions: Collection[TopicPartition]) -> None: ...

    def lost(self, partitions: Collection[TopicPartition]) -> None: ...


def test_a_range_ends_where_the_group_stands() -> None:
    assert ranges(BOUNDS, {ONE: 10, TWO: 10}, {}, {ONE: 40, TWO: 20}) == {
        ONE: Range(10, 40),
        TWO: Range(10, 20),
    }


def test_a_new_group_reads_to_the_end_there_is() -> None:
    assert ranges(BOUNDS, {ONE: 10}, {}, None) == {ONE: Range(10, 100)}


def test_what_is_gone_is_counted() -> None:
    assert ranges(BOUNDS, {ONE: 0}, {ONE: 8}, {ONE: 40}) == {ONE: Range(5, 8, 5)}


def test_an_end_behind_the_partition_s_is_the_partition_s() -> None:
    assert ranges(BOUNDS, {TWO: 45}, {TWO: 999}, {TWO: 50}) == {TWO: Range(45, 50)}


def test_partitions_that_the_group_has_done_nothing_of_are_left_out() -> None:
    assert ranges(BOUNDS, {ONE: 10, TWO: 0}, {}, {ONE: 12}) == {ONE: Range(10, 12)}


def test_a_gap_is_refused_where_the_group_would_leave_it_out_for_ever() -> None:
    with pytest.raises(PreconditionError, match="stands at offset 40") as refused:
        ranges(BOUNDS, {ONE: 41}, {ONE: 60}, {ONE: 40})
    assert refused.value.code == "precondition.replay_gap"
    assert ranges(BOUNDS, {ONE: 41}, {ONE: 60}, None) == {ONE: Range(41, 60)}


def test_a_consumer_sees_its_range_and_has_nothing_left_when_that_is_committed() -> None:
    stream = MemoryStream()
    stream.create("orders", 2)
    for number in range(6):
        stream.append("orders", None, b"%d" % number, partition=number % 2)
    consumer = RangeConsumer(stream.consumer("g"), {ONE: Range(0, 2)})
    consumer.subscribe(["orders"], Deaf())
    batch = consumer.poll(100, 0.0)
    assert list(zip(batch.partitions, batch.offsets, strict=True)) == [(0, 0), (0, 1)]
    assert consumer.ends() == {ONE: 2}
    assert consumer.lag() == {ONE: 2}
    consumer.commit({ONE: 2})
    assert consumer.lag() == {ONE: 0}
    assert len(consumer.poll(100, 0.0)) == 0


def test_offsets_without_events_at_the_end_of_a_range_are_not_waited_for() -> None:
    stream = MemoryStream()
    for number in range(4):
        stream.append("orders", None, b"%d" % number)
    consumer = RangeConsumer(stream.consumer("g"), {ONE: Range(0, 3)})
    consumer.subscribe(["orders"], Deaf())
    assert consumer.poll(2, 0.0).offsets == [0, 1]
    consumer.commit({ONE: 2})
    assert consumer.lag() == {ONE: 1}, "the third may still come"
    inner = consumer._consumer
    inner.seek(ONE, 3)  # as if the third were the end of a transaction
    assert consumer.poll(2, 0.0).offsets == []
    assert consumer.lag() == {ONE: 0}


def test_what_was_read_is_not_lost_when_a_partition_can_t_be_paused_behind_its_range(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream = MemoryStream()
    for number in range(4):
        stream.append("orders", None, b"%d" % number)
    consumer = RangeConsumer(stream.consumer("g"), {ONE: Range(0, 3)})
    consumer.subscribe(["orders"], Deaf())

    def pause(partitions: Collection[TopicPartition]) -> None:
        raise ConsumeError("not now", code="consume.unreachable", retryable=True)

    with monkeypatch.context() as patched:
        patched.setattr(consumer._consumer, "pause", pause)
        assert consumer.poll(10, 0.0).offsets == [0, 1, 2]
        with pytest.raises(ConsumeError):
            consumer.poll(10, 0.0)
    stream.append("orders", None, b"4")
    assert len(consumer.poll(10, 0.0)) == 0
    assert consumer._consumer.poll(10, 0.0).offsets == [], "it is paused"
