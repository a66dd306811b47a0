"""What makes a consumer: order, commits that last, partitions shared and handed over.

Enters: a `Stream`, from the fixture ``stream`` that a subclass gives. Leaves: verdicts. Subclass `ConsumerConformance`;
`DurableConformance` adds kill -9 for brokers that several processes can use.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Collection
from datetime import datetime, timezone

import pytest

from liberator.change import ConsumedBatch, TopicPartition
from liberator.errors import ConsumeError
from liberator.protocols import Consumer, Start
from liberator.testing.conformance.stream import (
    PATIENCE,
    QUIET,
    DurableStream,
    Event,
    Stream,
    Watcher,
    done,
    joined,
    numbered,
    numbers,
    read,
    turns,
)


class ConsumerConformance:
    """Every consumer."""

    @pytest.fixture
    def stream(self) -> Stream:
        """The broker under test."""
        raise NotImplementedError("give the suite a `stream` fixture")

    def join(self, stream: Stream, start: Start = "earliest", watcher: Watcher | None = None) -> Consumer:
        """A consumer of the topic, in the group that is named like it."""
        consumer = stream.open(stream.topic, start)
        consumer.subscribe([stream.topic], watcher or Watcher())
        return consumer

    # Events

    def test_gives_the_events_of_a_partition_in_order(self, stream: Stream) -> None:
        stream.create(stream.topic, 3)
        for start in range(0, 600, 60):
            stream.append(stream.topic, start // 60 % 3, numbered(range(start, start + 60)))
        consumer = self.join(stream)
        batch = read(consumer, 600, quiet=QUIET)
        consumer.close()
        for partition in range(3):
            mine = [
                (offset, number)
                for at, offset, number in zip(batch.partitions, batch.offsets, numbers(batch), strict=True)
                if at == partition
            ]
            assert mine == sorted(mine)
        assert sorted(numbers(batch)) == list(range(600))

    def test_gives_keys_values_and_headers_byte_for_byte(self, stream: Stream) -> None:
        every_byte = bytes(range(256))
        events = [
            Event(every_byte, every_byte[::-1], (("raw", every_byte), ("ünï☃", b""))),
            Event(b"", b"", ()),
            Event(None, b"no key", (("n", b"1"), ("n", b"2"), ("null", None))),
            Event(b"tombstone", None, (("id", b"7/t"),)),
            Event(None, None, ()),
            Event(b"large", b"x" * 700_000, ()),
        ]
        stream.create(stream.topic)
        stream.append(stream.topic, 0, events)
        consumer = self.join(stream)
        batch = read(consumer, len(events))
        consumer.close()
        assert list(map(Event, batch.keys, batch.values, batch.read_headers())) == events
        assert set(batch.topics) == {stream.topic}
        assert set(batch.partitions) == {0}

    def test_stamps_events_with_their_time(self, stream: Stream) -> None:
        stream.create(stream.topic)
        before = time.time_ns() // 1_000_000
        stream.append(stream.topic, 0, numbered(range(3)))
        after = time.time_ns() // 1_000_000
        consumer = self.join(stream)
        batch = read(consumer, 3)
        consumer.close()
        assert all(before <= timestamp <= after for timestamp in batch.timestamps)

    def test_a_poll_gives_no_more_than_asked_for_and_nothing_is_skipped(self, stream: Stream) -> None:
        stream.create(stream.topic)
        stream.append(stream.topic, 0, numbered(range(25)))
        consumer = self.join(stream)
        batches: list[ConsumedBatch] = []
        deadline = time.monotonic() + PATIENCE
        while sum(map(len, batches)) < 25:
            assert time.monotonic() < deadline
            batches.append(consumer.poll(7, 0.2))
        consumer.close()
        assert max(map(len, batches)) == 7
        assert numbers(joined(batches)) == list(range(25))

    def test_a_poll_returns_with_the_first_event(self, stream: Stream) -> None:
        stream.create(stream.topic)
        consumer = self.join(stream)
        turns([consumer], lambda: bool(consumer.assigned()))
        stream.append(stream.topic, 0, numbered([1]))
        started = time.monotonic()
        assert len(consumer.poll(100, PATIENCE)) == 1
        assert time.monotonic() - started < PATIENCE / 2
        consumer.close()

    def test_a_poll_without_events_ends_in_time(self, stream: Stream) -> None:
        stream.create(stream.topic)
        consumer = self.join(stream)
        turns([consumer], lambda: bool(consumer.assigned()))
        started = time.monotonic()
        assert len(consumer.poll(100, 0.2)) == 0
        assert 0.1 < time.monotonic() - started < PATIENCE
        consumer.close()

    def test_aborted_events_are_never_seen(self, stream: Stream) -> None:
        stream.create(stream.topic)
        stream.append(stream.topic, 0, numbered(range(5)))
        stream.append(stream.topic, 0, numbered(range(100, 110)), commit=False)
        stream.append(stream.topic, 0, numbered(range(5, 8)))
        stream.append(stream.topic, 0, numbered(range(200, 210)), commit=False)
        consumer = self.join(stream)
        assert numbers(read(consumer, 8, quiet=QUIET)) == list(range(8))
        consumer.close()

    # Commits

    def test_the_next_consumer_goes_on_where_the_commit_stands(self, stream: Stream) -> None:
        stream.create(stream.topic, 2)
        stream.append(stream.topic, 0, numbered(range(10)))
        stream.append(stream.topic, 1, numbered(range(10, 20)))
        first = self.join(stream)
        read(first, 20)
        first.commit({TopicPartition(stream.topic, 0): 6})
        first.commit({TopicPartition(stream.topic, 1): 9})
        first.close()
        second = self.join(stream)
        assert sorted(numbers(read(second, 5, quiet=QUIET))) == [6, 7, 8, 9, 19]
        second.close()

    def test_what_is_not_committed_comes_again(self, stream: Stream) -> None:
        stream.create(stream.topic)
        stream.append(stream.topic, 0, numbered(range(10)))
        for _ in range(2):
            consumer = self.join(stream)
            assert numbers(read(consumer, 10)) == list(range(10))
            consumer.close()

    def test_groups_do_not_know_each_other(self, stream: Stream) -> None:
        stream.create(stream.topic)
        stream.append(stream.topic, 0, numbered(range(10)))
        consumers = [stream.open(f"{stream.topic}-{name}") for name in "ab"]
        for consumer in consumers:
            consumer.subscribe([stream.topic], Watcher())
            batch = read(consumer, 10)
            consumer.commit(done(batch))
        for consumer in consumers:
            consumer.close()

    def test_closing_twice_is_closing_once_and_tells_nobody(self, stream: Stream) -> None:
        stream.create(stream.topic)
        watcher = Watcher()
        consumer = self.join(stream, watcher=watcher)
        turns([consumer], lambda: bool(consumer.assigned()))
        consumer.close()
        consumer.close()
        assert [what for what, _ in watcher.told] == ["assigned"]

    # Where reading begins

    def test_a_group_that_starts_with_the_latest_sees_what_comes_from_now_on(self, stream: Stream) -> None:
        stream.create(stream.topic, 2)
        stream.append(stream.topic, 0, numbered(range(5)))
        consumer = self.join(stream, "latest")
        turns([consumer], lambda: len(consumer.assigned()) == 2)
        consumer.close()
        stream.append(stream.topic, 0, numbered(range(5, 8)))
        stream.append(stream.topic, 1, numbered(range(8, 10)))
        again = self.join(stream, "latest")
        assert sorted(numbers(read(again, 5, quiet=QUIET))) == list(range(5, 10))
        again.close()

    def test_a_group_may_start_at_a_time(self, stream: Stream) -> None:
        stream.create(stream.topic, 2)
        stream.append(stream.topic, 0, numbered(range(5)))
        time.sleep(0.05)
        moment = datetime.now(timezone.utc)
        time.sleep(0.05)
        stream.append(stream.topic, 0, numbered(range(5, 10)))
        consumer = self.join(stream, moment)
        assert numbers(read(consumer, 5, quiet=QUIET)) == list(range(5, 10))
        consumer.close()

    def test_a_commit_is_stronger_than_the_start(self, stream: Stream) -> None:
        stream.create(stream.topic)
        stream.append(stream.topic, 0, numbered(range(10)))
        first = self.join(stream)
        first.commit(done(read(first, 10)) | {TopicPartition(stream.topic, 0): 4})
        first.close()
        second = self.join(stream, "latest")
        assert numbers(read(second, 6)) == list(range(4, 10))
        second.close()

    def test_seeks_to_an_offset_a_time_and_both_ends(self, stream: Stream) -> None:
        stream.create(stream.topic)
        stream.append(stream.topic, 0, numbered(range(5)))
        time.sleep(0.05)
        moment = datetime.now(timezone.utc)
        time.sleep(0.05)
        stream.append(stream.topic, 0, numbered(range(5, 10)))
        consumer = self.join(stream)
        batch = read(consumer, 10)
        partition = TopicPartition(stream.topic, 0)
        consumer.seek(partition, moment)
        assert numbers(read(consumer, 5, quiet=QUIET)) == list(range(5, 10))
        consumer.seek(partition, "earliest")
        assert numbers(read(consumer, 10)) == list(range(10))
        consumer.seek(partition, batch.offsets[7])
        assert numbers(read(consumer, 3, quiet=QUIET)) == [7, 8, 9]
        consumer.seek(partition, "latest")
        stream.append(stream.topic, 0, numbered([10]))
        assert numbers(read(consumer, 1, quiet=QUIET)) == [10]
        consumer.close()

    def test_may_be_placed_elsewhere_by_who_is_told_of_a_partition(self, stream: Stream) -> None:
        """Before anything is read of it, and whatever the group has committed."""
        stream.create(stream.topic)
        stream.append(stream.topic, 0, numbered(range(9)))
        first = self.join(stream)
        read(first, 9)
        first.commit({TopicPartition(stream.topic, 0): 9})
        first.close()
        watcher = Watcher()
        consumer = stream.open(stream.topic)

        def place(partitions: Collection[TopicPartition]) -> None:
            for one in partitions:
                consumer.seek(one, 4)
                consumer.commit({one: 4})

        watcher.at_assigned = place
        consumer.subscribe([stream.topic], watcher)
        assert numbers(read(consumer, 5, quiet=QUIET)) == [4, 5, 6, 7, 8]
        assert sum(consumer.lag().values()) >= 5
        consumer.close()

    def test_refuses_to_seek_in_what_it_does_not_read(self, stream: Stream) -> None:
        stream.create(stream.topic)
        consumer = self.join(stream)
        turns([consumer], lambda: bool(consumer.assigned()))
        with pytest.raises(ConsumeError) as refused:
            consumer.seek(TopicPartition(stream.topic, 1), "earliest")
        assert refused.value.code == "consume.lost"
        consumer.close()

    # Topics that appear

    def test_a_topic_may_appear_after_the_subscription(self, stream: Stream) -> None:
        consumer = self.join(stream)
        assert len(consumer.poll(100, 0.2)) == 0
        stream.create(stream.topic)
        stream.append(stream.topic, 0, numbered(range(3)))
        assert numbers(read(consumer, 3)) == [0, 1, 2]
        consumer.close()

    @pytest.mark.parametrize("start", ["earliest", "latest"])
    def test_a_pattern_picks_up_new_topics_from_their_first_event(self, stream: Stream, start: Start) -> None:
        stream.create(f"{stream.topic}.a")
        stream.create(f"{stream.topic}.dead-letters")
        pattern = re.compile(rf"^{re.escape(stream.topic)}\.(?!dead)")
        consumer = stream.open(stream.topic, start)
        consumer.subscribe(pattern.search, Watcher())
        turns([consumer], lambda: bool(consumer.assigned()))
        stream.append(f"{stream.topic}.dead-letters", 0, numbered([99]))
        stream.append(f"{stream.topic}.a", 0, numbered(range(3)))
        stream.create(f"{stream.topic}.b")
        stream.append(f"{stream.topic}.b", 0, numbered(range(3, 6)))
        assert sorted(numbers(read(consumer, 6, quiet=QUIET))) == list(range(6))
        assert {partition.topic for partition in consumer.assigned()} == {
            f"{stream.topic}.a",
            f"{stream.topic}.b",
        }
        consumer.close()

    # Lag

    def test_tells_the_lag_of_the_group(self, stream: Stream) -> None:
        stream.create(stream.topic, 2)
        stream.append(stream.topic, 0, numbered(range(10)))
        stream.append(stream.topic, 0, numbered(range(50)), commit=False)
        consumer = self.join(stream)
        batch = read(consumer, 10, quiet=QUIET)
        assert consumer.lag()[TopicPartition(stream.topic, 0)] >= 10
        assert consumer.lag()[TopicPartition(stream.topic, 1)] == 0
        consumer.commit(done(batch))
        turns([consumer], lambda: not any(consumer.lag().values()))
        stream.append(stream.topic, 1, numbered(range(4)))
        assert consumer.lag()[TopicPartition(stream.topic, 0)] == 0
        assert (
            4 <= consumer.lag()[TopicPartition(stream.topic, 1)] <= 5
        )  # Kafka counts the end of a transaction
        consumer.close()

    def test_the_ends_are_where_a_group_that_has_done_everything_stands(self, stream: Stream) -> None:
        stream.create(stream.topic, 2)
        stream.append(stream.topic, 0, numbered(range(10)))
        consumer = self.join(stream)
        ends = consumer.ends()
        assert 10 <= ends[TopicPartition(stream.topic, 0)] <= 11  # Kafka counts the end of a transaction
        assert ends[TopicPartition(stream.topic, 1)] == 0
        consumer.commit(done(read(consumer, 10, quiet=QUIET)))
        turns([consumer], lambda: not any(consumer.lag().values()))
        assert consumer.ends() == ends
        consumer.close()

    def test_whoever_asks_for_the_lag_does_not_join(self, stream: Stream) -> None:
        stream.create(stream.topic, 2)
        stream.append(stream.topic, 0, numbered(range(10)))
        onlooker = self.join(stream)
        assert sum(onlooker.lag().values()) >= 10
        consumer = self.join(stream)
        turns([consumer], lambda: len(consumer.assigned()) == 2)
        consumer.commit({TopicPartition(stream.topic, 0): 6})
        assert 4 <= sum(onlooker.lag().values()) <= 5
        assert len(consumer.assigned()) == 2
        onlooker.close()
        consumer.close()

    # Sharing

    def test_two_consumers_share_the_partitions_and_take_over_from_who_leaves(self, stream: Stream) -> None:
        stream.create(stream.topic, 4)
        watchers = Watcher(), Watcher()
        first, second = (self.join(stream, watcher=watcher) for watcher in watchers)
        turns([first], lambda: len(first.assigned()) == 4)
        turns([first, second], lambda: len(first.assigned()) == len(second.assigned()) == 2)
        assert not first.assigned() & second.assigned()
        assert watchers[0].balance() == first.assigned()
        for partition in range(4):
            stream.append(stream.topic, partition, numbered(range(partition * 10, partition * 10 + 10)))
        seen: list[int] = []
        while len(seen) < 40:
            for consumer in (first, second):
                batch = consumer.poll(100, 0.1)
                seen += numbers(batch)
                consumer.commit(done(batch))
        assert sorted(seen) == list(range(40))
        second.close()
        batch = turns([first], lambda: len(first.assigned()) == 4)
        assert len(batch) == 0, "what was committed came again"
        for partition in range(4):
            stream.append(stream.topic, partition, numbered([partition]))
        assert sorted(numbers(read(first, 4, quiet=QUIET))) == [0, 1, 2, 3]
        assert watchers[0].balance() == first.assigned()
        first.close()

    def test_who_gives_up_a_partition_may_commit_before(self, stream: Stream) -> None:
        stream.create(stream.topic, 2)
        for partition in range(2):
            stream.append(stream.topic, partition, numbered(range(partition * 10, partition * 10 + 10)))
        watcher = Watcher()
        first = self.join(stream, watcher=watcher)
        offsets = done(read(first, 20))
        watcher.at_revoked = lambda partitions: first.commit({at: offsets[at] for at in partitions})
        second = self.join(stream)
        batch = turns([first, second], lambda: len(first.assigned()) == len(second.assigned()) == 1)
        assert "revoked" in [what for what, _ in watcher.told]
        assert len(batch) == 0, "what was committed came again"
        second.close()
        first.close()

    def test_a_consumer_without_a_partition_waits_for_one(self, stream: Stream) -> None:
        stream.create(stream.topic)
        first, second = self.join(stream), self.join(stream)
        turns([first], lambda: len(first.assigned()) == 1)
        for _ in range(5):
            turns([first, second], lambda: len(first.assigned() | second.assigned()) == 1)
        (reading, waiting) = (first, second) if first.assigned() else (second, first)
        reading.close()
        turns([waiting], lambda: len(waiting.assigned()) == 1)
        stream.append(stream.topic, 0, numbered(range(5)))
        assert numbers(read(waiting, 5)) == list(range(5))
        waiting.close()

    def test_paused_partitions_stay_beyond_the_poll_interval_and_go_on_where_they_were(
        self, stream: Stream
    ) -> None:
        stream.hasten()
        stream.create(stream.topic, 2)
        for partition in range(2):
            stream.append(stream.topic, partition, numbered(range(partition * 10, partition * 10 + 10)))
        watcher = Watcher()
        consumer = self.join(stream, watcher=watcher)
        batches = [consumer.poll(3, PATIENCE), consumer.poll(3, PATIENCE)]
        owned = consumer.assigned()
        consumer.pause(owned)
        end = time.monotonic() + 1.5 * stream.poll_interval
        while time.monotonic() < end:
            assert len(consumer.poll(100, 0.2)) == 0, "a paused partition gave events"
        assert consumer.assigned() == owned == watcher.balance()
        consumer.resume(owned)
        batches.append(read(consumer, 20 - sum(map(len, batches)), quiet=QUIET))
        whole = joined(batches)
        consumer.commit(done(whole))
        consumer.close()
        for partition, first in enumerate((0, 10)):
            mine = [n for at, n in zip(whole.partitions, numbers(whole), strict=True) if at == partition]
            assert mine == list(range(first, first + 10))

    def test_pauses_one_partition_alone(self, stream: Stream) -> None:
        stream.create(stream.topic, 2)
        consumer = self.join(stream)
        turns([consumer], lambda: len(consumer.assigned()) == 2)
        consumer.pause([TopicPartition(stream.topic, 0)])
        for partition in range(2):
            stream.append(stream.topic, partition, numbered(range(partition * 10, partition * 10 + 10)))
        assert numbers(read(consumer, 10, quiet=QUIET)) == list(range(10, 20))
        consumer.resume([TopicPartition(stream.topic, 0)])
        assert numbers(read(consumer, 10, quiet=QUIET)) == list(range(10))
        consumer.close()

    def test_who_does_not_poll_loses_its_partitions_and_its_commits_are_refused(self, stream: Stream) -> None:
        stream.hasten()
        stream.create(stream.topic)
        stream.append(stream.topic, 0, numbered(range(10)))
        watcher = Watcher()
        idle = self.join(stream, watcher=watcher)
        batch = read(idle, 10)
        idle.commit({TopicPartition(stream.topic, 0): 4})
        busy = self.join(stream)
        taken_over = read(busy, 6)
        assert numbers(taken_over) == list(range(4, 10))
        with pytest.raises(ConsumeError) as refused:
            idle.commit(done(batch))
        assert refused.value.code == "consume.lost"
        assert sum(busy.lag().values()) >= 6
        busy.commit(done(taken_over))
        turns([idle, busy], lambda: watcher.told[-1][0] == "lost")
        assert watcher.balance() == idle.assigned() == frozenset()
        idle.close()
        busy.close()


_READ_UNTIL_KILLED = """
import time
from liberator.testing.conformance.stream import Watcher, done, numbers
{program}
consumer.subscribe([{topic!r}], Watcher())
told = 0
while True:
    batch = consumer.poll(5, 0.05)
    if len(consumer.assigned()) != told:
        told = len(consumer.assigned())
        print("assigned", told, flush=True)
    if len(batch):
        print(*numbers(batch), flush=True)
        consumer.commit(done(batch))
        time.sleep(0.02)
"""


class DurableConformance(ConsumerConformance):
    """A consumer of a broker that several processes use."""

    @pytest.fixture
    def stream(self) -> DurableStream:
        """The broker under test."""
        raise NotImplementedError("give the suite a `stream` fixture")

    def test_after_kill_9_the_others_take_over_and_nothing_is_lost(self, stream: DurableStream) -> None:
        stream.hasten()
        stream.create(stream.topic, 2)
        survivor = self.join(stream)
        turns([survivor], lambda: len(survivor.assigned()) == 2)
        program = _READ_UNTIL_KILLED.format(program=stream.program(stream.topic), topic=stream.topic)
        with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as other:
            assert other.stdout is not None
            turns([survivor], lambda: len(survivor.assigned()) == 1)
            assert other.stdout.readline() == "assigned 1\n"
            for partition in range(2):
                stream.append(
                    stream.topic, partition, numbered(range(partition * 200, partition * 200 + 200))
                )
            told = [int(number) for _ in range(3) for number in other.stdout.readline().split()]
            other.kill()
            told += [int(number) for line in other.stdout for number in line.split()]
        killed_at = time.monotonic()
        seen = turns([survivor], lambda: len(survivor.assigned()) == 2)
        while len({*told, *numbers(seen)}) < 400:
            assert time.monotonic() - killed_at < PATIENCE
            seen = joined([seen, survivor.poll(100, 0.2)])
        assert len(survivor.poll(100, QUIET)) == 0
        assert sorted({*told, *numbers(seen)}) == list(range(400))
        again = {*told} & {*numbers(seen)}
        assert len(again) <= 5, "more came again than was under way"
        survivor.commit(done(seen))
        survivor.close()
