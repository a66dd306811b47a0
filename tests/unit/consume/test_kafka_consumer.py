"""What a consumer of Kafka makes of a client's news: no event is lost with what fails beside it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Mapping

import pytest

from liberator.change import ConsumedBatch, TopicPartition
from liberator.consume.kafka import KafkaConsumer
from liberator.consume.kafka.client import Hooks
from liberator.errors import ConsumeError, PublishError
from liberator.kafka.errors import KafkaFailure

ONE, TWO = TopicPartition("orders", 0), TopicPartition("orders", 1)

Step = Callable[[ConsumedBatch], None]


class Client:
    """Does in each poll what comes next in `steps`. commits: what was committed; the next one fails with `refusal`."""

    def __init__(self) -> None:
        self.steps: deque[Step] = deque()
        self.commits: list[Mapping[TopicPartition, int]] = []
        self.refusal: KafkaFailure | None = None
        self.ends: dict[TopicPartition, int] = {}

    def subscribe(self, topics: Collection[str], hooks: Hooks) -> None:
        hooks.begin([ONE, TWO])
        hooks.began([ONE, TWO])

    def poll(self, batch: ConsumedBatch, limit: int, timeout: float) -> None:
        if self.steps:
            self.steps.popleft()(batch)

    def passed(self, partition: TopicPartition) -> int:
        return self.ends.get(partition, 0)

    def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        failure, self.refusal = self.refusal, None
        if failure is not None:
            raise failure
        self.commits.append(dict(offsets))

    def member(self) -> object:
        return None

    def committed(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, 0)

    def offsets(self, times: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        return dict.fromkeys(times, 0)

    def topics(self) -> dict[str, int]:
        return {"orders": 2}

    def seek(self, partition: TopicPartition, offset: int) -> None: ...

    def pause(self, partitions: Collection[TopicPartition]) -> None: ...

    resume = pause

    def close(self) -> None: ...


class Nobody:
    def assigned(self, partitions: Collection[TopicPartition]) -> None: ...

    revoked = lost = assigned


@pytest.fixture
def client() -> Client:
    return Client()


@pytest.fixture
def consumer(client: Client) -> KafkaConsumer:
    made = KafkaConsumer(client, "earliest", refresh=60.0, where="kafka://broker")
    made.subscribe(["orders"], Nobody())
    return made


def gives(partition: TopicPartition, offset: int, failure: Exception | None = None) -> Step:
    """One event, and then it fails."""

    def step(batch: ConsumedBatch) -> None:
        batch.topics.append(partition.topic)
        batch.partitions.append(partition.partition)
        batch.offsets.append(offset)
        batch.timestamps.append(0)
        batch.keys.append(None)
        batch.values.append(b"{}")
        batch.headers.append(())
        if failure is not None:
            raise failure

    return step


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        pytest.param(KafkaFailure("timeout"), "consume.unreachable", id="of the client"),
        pytest.param(ConsumeError("asked", code="consume.timeout"), "consume.timeout", id="of a hook"),
        pytest.param(
            PublishError("going", code="publish.rearranged"), "publish.rearranged", id="of a publisher"
        ),
    ],
)
def test_events_are_given_before_what_failed_behind_them(
    failure: Exception, code: str, client: Client, consumer: KafkaConsumer
) -> None:
    client.steps.extend([gives(ONE, 0, failure), gives(ONE, 1)])
    assert consumer.poll(10, 0.0).offsets == [0]
    with pytest.raises((ConsumeError, PublishError)) as raised:
        consumer.poll(10, 0.0)
    assert raised.value.code == code
    assert consumer.poll(10, 0.0).offsets == [1], "told once"


def test_what_fails_with_no_events_is_raised_at_once(client: Client, consumer: KafkaConsumer) -> None:
    def fails(batch: ConsumedBatch) -> None:
        raise KafkaFailure("timeout")

    client.steps.append(fails)
    with pytest.raises(ConsumeError):
        consumer.poll(10, 0.0)


def test_events_are_not_lost_with_a_commit_beyond_what_nobody_sees_elsewhere(
    client: Client, consumer: KafkaConsumer
) -> None:
    """The end of a transaction in one partition, events in another, and a broker that goes away in between."""
    client.steps.append(gives(ONE, 0))
    client.ends[TWO] = 1
    client.refusal = KafkaFailure("timeout")
    assert consumer.poll(10, 0.0).offsets == [0]
    with pytest.raises(ConsumeError):
        consumer.poll(10, 0.0)
    assert len(consumer.poll(10, 0.0)) == 0
    assert client.commits == [{TWO: 1}], "and that is made up for"
    consumer.commit({ONE: 1})
