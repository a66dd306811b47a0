"""A group's member with librdkafka's consumer played: what it tells within a call takes no events with it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from confluent_kafka import KafkaError
from confluent_kafka import TopicPartition as Place

from liberator.change import ConsumedBatch, TopicPartition
from liberator.consume.kafka.confluent import ConfluentGroupClient
from liberator.errors import ConsumeError
from liberator.kafka.errors import KafkaFailure

ONE, TWO = TopicPartition("orders", 0), TopicPartition("orders", 1)


@dataclass
class Message:
    """An event, or an error in its place."""

    at: TopicPartition
    place: int
    failure: KafkaError | None = None

    def error(self) -> KafkaError | None:
        return self.failure

    def topic(self) -> str:
        return self.at.topic

    def partition(self) -> int:
        return self.at.partition

    def offset(self) -> int:
        return self.place

    def timestamp(self) -> tuple[int, int]:
        return 1, 0

    def key(self) -> bytes | None:
        return None

    def value(self) -> bytes | None:
        return b"{}"


Given = Message | Callable[[], None]


class Library:
    """What is in `next` comes one by one: a message, or what happens before the next one."""

    def __init__(self) -> None:
        self.next: deque[Given] = deque()
        self.calls: list[tuple[str, Any]] = []
        self.told: dict[str, Callable[..., None]] = {}

    def subscribe(self, topics: Sequence[str], **told: Callable[..., None]) -> None:
        self.told = told

    def poll(self, timeout: float) -> Message | None:
        while self.next:
            it = self.next.popleft()
            if isinstance(it, Message):
                return it
            it()
        return None

    def consume(self, limit: int, timeout: float) -> list[Message]:
        return list(iter(lambda: self.poll(0), None))

    def __getattr__(self, name: str) -> Callable[..., None]:
        def call(places: Any) -> None:
            given = places if isinstance(places, list) else [places]
            self.calls.append((name, [(place.partition, place.offset) for place in given]))

        return call

    def assign(self, *partitions: TopicPartition) -> None:
        self.told["on_assign"](self, [Place(*at) for at in partitions])

    def revoke(self, *partitions: TopicPartition) -> None:
        self.told["on_revoke"](self, [Place(*at) for at in partitions])

    def names(self) -> list[str]:
        names, self.calls = [name for name, _ in self.calls], []
        return names


class Group:
    """Hooks that fail with what is in `failures`, by their names, once."""

    def __init__(self) -> None:
        self.failures: dict[str, Exception] = {}
        self.told: list[tuple[str, set[TopicPartition]]] = []

    def _tell(self, name: str, partitions: Collection[TopicPartition]) -> None:
        if (failure := self.failures.pop(name, None)) is not None:
            raise failure
        self.told.append((name, set(partitions)))

    def begin(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        self._tell("begin", partitions)
        return dict.fromkeys(partitions, 7)

    def began(self, partitions: Collection[TopicPartition]) -> None:
        self._tell("began", partitions)

    def revoked(self, partitions: Collection[TopicPartition]) -> None:
        self._tell("revoked", partitions)

    def lost(self, partitions: Collection[TopicPartition]) -> None:
        self._tell("lost", partitions)

    def fell_behind(self, partition: TopicPartition) -> int:
        self._tell("fell_behind", [partition])
        return 20


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    made = Library()
    monkeypatch.setattr("liberator.consume.kafka.confluent.library", lambda kind, settings: made)
    return made


@pytest.fixture
def group() -> Group:
    return Group()


@pytest.fixture
def client(library: Library, group: Group) -> ConfluentGroupClient:
    """A member that reads both partitions."""
    made = ConfluentGroupClient({}, {}, "group", 1 << 20)
    made.subscribe(["orders"], group)
    library.next.append(lambda: library.assign(ONE, TWO))
    assert poll(made) == []
    group.told.clear()
    library.calls.clear()
    return made


def poll(client: ConfluentGroupClient) -> list[tuple[int, int]]:
    """(partition, offset) of what comes."""
    batch = ConsumedBatch()
    client.poll(batch, 10, 0.0)
    return list(zip(batch.partitions, batch.offsets, strict=True))


OUT_OF_RANGE = KafkaError(KafkaError._AUTO_OFFSET_RESET)


def test_a_place_that_is_gone_is_left_when_brokers_answer_and_no_event_waits_for_that(
    client: ConfluentGroupClient, library: Library, group: Group
) -> None:
    library.next.extend([Message(ONE, 7), Message(TWO, 7, OUT_OF_RANGE)])
    group.failures["fell_behind"] = KafkaFailure("timeout")
    assert poll(client) == [(0, 7)]
    with pytest.raises(KafkaFailure):
        poll(client)
    assert library.calls == []
    assert poll(client) == []
    assert ("incremental_assign", [(1, 20)]) in library.calls
    library.calls.clear()
    assert poll(client) == []
    assert library.calls == [], "once"


def test_an_event_whose_partition_goes_before_the_rest_is_here_is_the_other_member_s(
    client: ConfluentGroupClient, library: Library, group: Group
) -> None:
    library.next.extend([Message(ONE, 7), lambda: library.revoke(ONE), Message(TWO, 7)])
    assert poll(client) == [(1, 7)]
    assert group.told == [("revoked", {ONE})]
    library.next.extend([lambda: library.assign(ONE), Message(TWO, 8)])
    assert poll(client) == [(1, 8)]
    library.next.append(Message(ONE, 7))
    assert poll(client) == [(0, 7)], "it came back"


def test_what_fails_while_partitions_go_is_raised_behind_the_events(
    client: ConfluentGroupClient, library: Library, group: Group
) -> None:
    """An exception inside of the library's call would take with it what that was about to give."""
    library.next.extend([Message(TWO, 7), lambda: library.revoke(ONE), Message(TWO, 8)])
    group.failures["revoked"] = ConsumeError("no", code="consume.timeout", retryable=True)
    batch = ConsumedBatch()
    with pytest.raises(ConsumeError):
        client.poll(batch, 10, 0.0)
    assert batch.offsets == [7, 8]
    assert ("incremental_unassign", [(0, -1001)]) in library.calls, "the library waits for that"
    assert poll(client) == []


@pytest.mark.parametrize("hook", ["begin", "began"])
def test_partitions_are_told_again_if_that_failed_and_give_nothing_before(
    hook: str, client: ConfluentGroupClient, library: Library, group: Group
) -> None:
    library.next.append(lambda: library.revoke(ONE))
    assert poll(client) == []
    group.told.clear()
    library.calls.clear()
    library.next.append(lambda: library.assign(ONE))
    group.failures[hook] = ConsumeError("no", code="consume.timeout", retryable=True)
    with pytest.raises(ConsumeError):
        poll(client)
    assert "resume" not in library.names()
    assert poll(client) == []
    assert ("resume", [(0, -1001)]) in library.calls
    assert group.told[-2:] == [("begin", {ONE}), ("began", {ONE})]


def test_who_is_told_of_partitions_may_have_them_paused(
    client: ConfluentGroupClient, library: Library, group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group, "began", client.pause)
    library.next.extend([lambda: library.revoke(ONE), lambda: library.assign(ONE)])
    assert poll(client) == []
    assert [call for call in library.calls if call[0] == "resume"] == [("resume", [])]
    client.resume([ONE])
    assert library.calls[-1] == ("resume", [(0, -1001)])
