"""What the publisher needs of a Kafka client. Two clients implement it: `confluent` and `kafkapython`.

Enters: encoded batches. Leaves: acknowledgements, counted down in a `Tally`, or one `KafkaFailure`. Called by
`publisher` and `topics`. Never retries on its own account what the client has given up: the publisher does, in order.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from liberator.change import EncodedBatch, PlacedRecord, TopicPartition
from liberator.kafka.errors import KafkaFailure
from liberator.kafka.options import Installed


class Tally:
    """How many events of one batch are not acknowledged yet."""

    __slots__ = ("left",)

    def __init__(self, left: int) -> None:
        self.left = left


@dataclass(frozen=True, slots=True)
class TopicSettings:
    """How a missing topic is made. replication -1: the cluster's own default. config: the topic's settings."""

    partitions: int = 6
    replication: int = -1
    config: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TransactionTimeouts:
    """start: seconds to start the producer, the end of an earlier one's transaction included. open: seconds after which
    brokers abort what a producer has left open."""

    start: float = 30.0
    open: float = 20.0


class Producer(Protocol):
    """An idempotent producer. After a failure it sends nothing more, so that no event overtakes a failed one."""

    def send(self, batch: EncodedBatch, start: int, tally: Tally) -> int:
        """Hand over events from index `start`; returns the index of the first that it has no room for now."""

    def serve(self, timeout: float, hurry: bool = False) -> None:
        """Count acknowledgements that came in, waiting at most `timeout` seconds for one. hurry: do not linger."""

    @property
    def failure(self) -> KafkaFailure | None:
        """What has broken this producer: only `abandon` is left to do."""

    def abandon(self) -> None:
        """End it now; what is not acknowledged may or may not arrive. No tally changes any more. Idempotent."""


class Transactions(Producer, Protocol):
    """A transactional producer, started: brokers refuse all earlier ones of its id, and have ended what they left open.

    What it sends is seen by nobody who reads committed events before `commit` has said True. Its tallies mean nothing. After
    any failure only `abandon` is left to do.
    """

    def begin(self) -> None:
        """What is sent from now on belongs together. Raises `KafkaFailure`."""

    def write(self, topic: str, records: Mapping[bytes, bytes | None]) -> None:
        """Hand over records (key, value) for partition 0 of `topic`, as a part of what was begun. Raises `KafkaFailure`."""

    def place(self, records: Sequence[PlacedRecord]) -> None:
        """Hand over records as they are, as a part of what was begun. Raises `KafkaFailure`."""

    def pending(self) -> int:
        """How many events that `send` took are not known to be in their partitions; `serve` learns of them."""

    def arrived(self, timeout: float) -> bool:
        """Are all records that were handed over in their partitions? Waits at most `timeout` seconds. Who reads uncommitted
        records sees them then. Raises `KafkaFailure`."""

    def commit_offsets(self, offsets: Mapping[TopicPartition, int], member: object, timeout: float) -> None:
        """Offsets of a consumer group, as a part of what was begun. member: of the group, as the same library's consumer
        tells. Raises `KafkaFailure`, also when the group goes on without that member."""

    def commit(self, timeout: float) -> bool:
        """All that was sent since `begin`, or nothing of it; False: not known after `timeout` seconds, call again.

        Another thread may call it, while nobody else calls anything but `failure`. Raises `KafkaFailure`; whether it was
        committed may then be unknown.
        """

    def abort(self, timeout: float) -> None:
        """Nothing of what was sent since `begin`, so that readers need not wait for the brokers' time-out. It may fail."""


class Cluster(Protocol):
    """What is asked of brokers about topics. Every call is bounded in time and raises `KafkaFailure`."""

    def check(self, timeout: float) -> None:
        """Does a broker answer within `timeout` seconds, and let us in?"""

    def describe(self, topics: Collection[str]) -> dict[str, int]:
        """The number of partitions of those topics that exist. Never creates one."""

    def create(self, topic: str, settings: TopicSettings) -> None:
        """Ask for the topic to be made; it is no error if somebody else was faster."""

    def settings(self, topics: Collection[str], name: str) -> dict[str, str]:
        """Setting `name` of those topics whose settings we may read."""

    def close(self) -> None:
        """Give back connections and threads. Idempotent."""


class Driver(Protocol):
    """One client library with a cluster's address and options.

    name: which one. base: address and options in the library's own names, for any of its clients.
    """

    name: Installed
    base: dict[str, Any]
    largest: int
    """The largest event it can send, in bytes."""

    def cluster(self) -> Cluster:
        """For asking about topics."""

    def producer(self, batch_bytes: int, partitions: Callable[[str], int]) -> Producer:
        """A new producer that sends at most `batch_bytes` at once to a partition, a larger single event apart.

        partitions: how many partitions a topic has. Raises `KafkaFailure`.
        """

    def transactions(
        self, id: str, batch_bytes: int, partitions: Callable[[str], int], timeouts: TransactionTimeouts
    ) -> Transactions:
        """As `producer`, for the transactional id `id`: what was there before under that id is fenced."""
