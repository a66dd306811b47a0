"""Which results may be published, and the offsets that go with them."""

from __future__ import annotations

import random

from liberator.change import EncodedBatch, Event, TopicPartition
from liberator.dispatch.offsets import Offsets
from liberator.dispatch.results import Results

A, B = TopicPartition("t", 0), TopicPartition("t", 1)


def events(partition: TopicPartition, *offsets: int) -> list[Event]:
    return [Event(*partition, offset, 0, None, None) for offset in offsets]


def batch(name: str) -> EncodedBatch:
    it = EncodedBatch()
    it.add("out", None, b"{}", name.encode())
    return it


class Bench:
    """Two partitions with so many events read of each."""

    def __init__(self, count: int) -> None:
        self.offsets = Offsets()
        self.results = Results()
        for partition in (A, B):
            self.offsets.read(partition, range(count))

    def finish(self, name: str, *finished: Event) -> None:
        self.results.add(finished, batch(name), True)
        for event in finished:
            self.offsets.done(event.place, [event.offset])

    def publish(self) -> tuple[list[str], dict[TopicPartition, int]]:
        ready = self.results.ready(self.offsets.to_commit(), self.offsets.place)
        offsets = self.offsets.further(ready.offsets)
        self.offsets.committed(offsets)
        self.results.forget(ready.results)
        return [id.decode() for batch in ready.batches() for id in batch.ids], offsets


def test_a_result_waits_until_all_events_before_its_own_are_finished() -> None:
    it = Bench(3)
    it.finish("second", *events(A, 1))
    assert it.publish() == ([], {})
    it.finish("first", *events(A, 0))
    assert it.publish() == (["second", "first"], {A: 2})


def test_no_offset_passes_an_event_whose_result_waits_for_another_partition() -> None:
    it = Bench(3)
    it.finish("both", *events(A, 0), *events(B, 1))
    it.finish("behind", *events(A, 1))
    assert it.publish() == ([], {})
    it.finish("gap", *events(B, 0))
    assert it.publish() == (["both", "behind", "gap"], {A: 2, B: 2})


def test_results_of_a_partition_that_went_are_forgotten_if_they_are_of_it_alone() -> None:
    it = Bench(2)
    it.finish("a", *events(A, 1))
    it.finish("b", *events(B, 1))
    assert it.results.size > 0
    assert it.results.drop([A])
    assert len(it.results) == 1
    it.finish("both", *events(A, 0), *events(B, 0))
    assert not it.results.drop([A]), "nobody knows what of it came of which event"


def test_whatever_the_order_a_result_is_published_once_and_never_after_its_offsets() -> None:
    chance = random.Random(7)
    count = 200
    it = Bench(count)
    left = [*events(A, *range(count)), *events(B, *range(count))]
    chance.shuffle(left)
    spans: dict[str, list[Event]] = {}
    published: set[str] = set()
    committed = {A: 0, B: 0}
    while left:
        mine, left = left[:3], left[3:]
        name = str(len(spans))
        spans[name] = mine
        it.finish(name, *mine)
        names, offsets = it.publish()
        assert not published & set(names)
        published |= set(names)
        committed.update(offsets)
        for name, of in spans.items():
            assert all((event.offset < committed[event.place]) == (name in published) for event in of)
    assert published == set(spans)
    assert committed == {A: count, B: count}
