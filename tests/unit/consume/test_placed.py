"""Partitions that begin where somebody else says."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import pytest

from liberator.change import TopicPartition
from liberator.consume.placed import placing
from liberator.errors import ConsumeError
from liberator.protocols import Start
from liberator.testing.consumer import MemoryStream

ONE = TopicPartition("orders", 0)


class Keeper:
    """Says where to begin, and remembers what it was told."""

    def __init__(self, place: int | None) -> None:
        self._place = place
        self.committed: list[Mapping[TopicPartition, int]] = []
        self.partitions: Mapping[str, int] = {}

    def places(
        self, committed: Mapping[TopicPartition, int], partitions: Mapping[str, int]
    ) -> Mapping[TopicPartition, int | None]:
        self.committed.append(committed)
        self.partitions = partitions
        return {one: self._place if one == ONE else offset for one, offset in committed.items()}


class Watcher:
    def __init__(self) -> None:
        self.place: Callable[[Collection[TopicPartition]], None] = lambda partitions: None

    def assigned(self, partitions: Collection[TopicPartition]) -> None:
        self.place(partitions)

    def revoked(self, partitions: Collection[TopicPartition]) -> None:
        """Nothing."""

    def lost(self, partitions: Collection[TopicPartition]) -> None:
        """Nothing."""


def begun(
    place: int | None, *, committed: int | None = None, start: Start = "earliest"
) -> tuple[list[int], int]:
    """The offsets that are read of ten events, and where the group stands then."""
    stream, watcher, keeper = MemoryStream(), Watcher(), Keeper(place)
    stream.create("orders", 2)
    for n in range(10):
        stream.append("orders", None, b"%d" % n)
    if committed is not None:
        before = stream.consumer("copy")
        before.subscribe(["orders"], Watcher())
        before.poll(1, 0)
        before.commit({ONE: committed})
        before.close()
    consumer = stream.consumer("copy", start)
    watcher.place = placing(consumer, keeper, start, "the table")
    consumer.subscribe(["orders"], watcher)
    read = consumer.poll(100, 0).offsets
    assert keeper.partitions == {"orders": 2}
    assert keeper.committed[0][ONE] == (committed or 0 if start == "earliest" else 10)
    return read, stream.committed("copy").get(ONE, 0)


@pytest.mark.parametrize(
    ("place", "committed", "read", "group"),
    [
        pytest.param(4, None, range(4, 10), 4, id="the group knows nothing"),
        pytest.param(4, 8, range(4, 10), 4, id="the group is further"),
        pytest.param(8, 4, range(8, 10), 8, id="the group is behind"),
        pytest.param(4, 4, range(4, 10), 4, id="both stand there"),
        pytest.param(None, None, range(10), 0, id="nobody knows anything"),
        pytest.param(None, 8, range(10), 0, id="the keeper is new"),
    ],
)
def test_begins_where_the_keeper_says_and_the_group_follows(
    place: int | None, committed: int | None, read: range, group: int
) -> None:
    assert begun(place, committed=committed) == (list(read), group)


def test_a_keeper_that_knows_nothing_leaves_a_start_with_the_latest_where_it_is() -> None:
    assert begun(None, start="latest") == ([], 10)


def test_a_place_behind_the_end_is_refused() -> None:
    with pytest.raises(ConsumeError) as caught:
        begun(11)
    assert caught.value.code == "consume.beyond"
