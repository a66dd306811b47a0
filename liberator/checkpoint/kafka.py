"""Positions in a compacted Kafka topic: atomic by transactions, guarded by fencing.

Enters: deltas and epochs. Leaves: states. Called by the capture loop and by `liberate checkpoint`. Never answers from
memory: what is loaded has been read from the topic, up to its end.

Theory of operation: one topic with one partition holds all connectors of a cluster. The record ``<name>/<partition>``
is a sealed position, a null value forgets it; the record ``<name>`` is the epoch. A save is one transaction of the
producer ``liberator.checkpoint.<name>``. Whoever acquires starts that producer anew, and with that the broker refuses
every older one. A producer that broke is started anew too; as that would fence a successor, the epoch is read before
and after: only who still holds it goes on. For exactly once a publisher starts that producer itself and writes the records,
which are made here, in the transactions of its events.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Protocol

from liberator.change import State
from liberator.checkpoint.format import Saved, corrupt, fenced, seal, unseal
from liberator.errors import CheckpointError, PublishError
from liberator.kafka import Client, TopicSettings, driver
from liberator.kafka.client import Driver, Transactions, TransactionTimeouts
from liberator.kafka.errors import KafkaFailure
from liberator.kafka.topics import Topics

TOPIC = "__liberator.checkpoints"

_SETTINGS = TopicSettings(
    partitions=1,
    config={
        "cleanup.policy": "compact",
        # Small segments: only closed ones are compacted, and every start reads the topic from its beginning.
        "segment.bytes": str(16 << 20),
        "segment.ms": str(6 * 3_600_000),
        "min.cleanable.dirty.ratio": "0.1",
        # Positions carry a table's history, which may be long.
        "max.message.bytes": str(16 << 20),
    },
)

_FENCED = "publish.fenced"
_PRODUCER_IS_USELESS = frozenset({_FENCED, "publish.sequence"})
"""The broker is there but takes nothing from this producer: a younger one was started, or it forgot about ours."""


READ_WITHIN = 30.0
"""Seconds to read the topic: a transaction that a killed writer left open ends within fifteen."""

WRITE_WITHIN = 4.0
"""Seconds for a transaction, so that a broker that does not answer never holds up the connector's end."""

_TIMEOUTS = TransactionTimeouts(start=READ_WITHIN, open=5.0)
_BATCH_BYTES = 1_000_000


class Reader(Protocol):
    """Committed records (key, value) of the topic, from its beginning on. Bounded in time; raises `KafkaFailure`.

    complete: to the end of the topic as it is now, waiting for transactions that are under way; else to the first of those.
    """

    def __call__(self, *, complete: bool) -> list[tuple[bytes | None, bytes | None]]: ...


class KafkaCheckpoint:
    """The positions of connector `name` in a topic of the Kafka at `url`.

    Raises `CheckpointError`: checkpoint.fenced, checkpoint.corrupt, checkpoint.version, checkpoint.topic (not
    compacted, or more than one partition), what `liberator.kafka.errors` says (retryable while no broker
    answers: the same object can be used again).
    """

    def __init__(
        self,
        url: str,
        name: str,
        topic: str = TOPIC,
        options: Mapping[str, str] | None = None,
        client: Client = "auto",
    ) -> None:
        self._name = name
        self._topic = topic
        self._where = f"topic {topic} of {url}"
        self._epoch: int | None = None
        self._library = driver(url, options or {}, client=client, client_id=f"liberator-checkpoint-{name}")
        self._cluster = self._library.cluster()
        self._topics = Topics(self._cluster, _SETTINGS, None)
        self._read = _reader(self._library, topic, self.transactional_id)
        self._producer: Transactions | None = None

    def acquire(self) -> int:
        """Become the writer: a new epoch, greater than all before."""
        with self._errors():
            return self._acquire(self._last_epoch)

    def load(self) -> State:
        """All partitions as last saved; none when the topic does not exist."""
        return {partition: value for partition, value, _ in self.describe()}

    def glance(self) -> State:
        """What was committed before the first transaction that is open now."""
        with self._errors():
            return {partition: value for partition, value, _ in self._described(complete=False)}

    def save(self, delta: State, epoch: int) -> None:
        """Merge `delta` in one transaction, unless a newer epoch was acquired."""
        if epoch != self._epoch:
            raise fenced(self._name, self._where)
        with self._errors():
            if delta:
                self._write(self.records(delta))

    def describe(self) -> Sequence[tuple[str, bytes, str]]:
        """(partition, value, when it was saved); no writer notices."""
        with self._errors():
            return self._described(complete=True)

    def _described(self, *, complete: bool) -> list[tuple[str, bytes, str]]:
        records = self._records(complete=complete)
        found = []
        for key, record in sorted(records.items()):
            name, slash, partition = key.decode("utf-8", "replace").partition("/")
            if slash and name == self._name:
                found.append((partition, *unseal(self._name, partition, record, self._where)))
        return found

    def reset(self) -> None:
        """Forget all partitions, whatever their condition. Only an epoch of this object can still save."""
        with self._errors():
            if self._epoch is None:
                self._acquire(self._last_epoch_or_later)
            forgotten = [key for key in self._records() if key.startswith(self._key(""))]
            self._write(dict.fromkeys(forgotten))

    def close(self) -> None:
        """Give back connections and threads."""
        self._drop_producer()
        self._cluster.close()

    # For a publisher that writes positions in the transactions of its events

    @property
    def topic(self) -> str:
        """Where the records go: partition 0."""
        return self._topic

    @property
    def transactional_id(self) -> str:
        """Whose transactions may write the records of this connector."""
        return f"liberator.checkpoint.{self._name}"

    def make_topic(self) -> None:
        """See to it that the topic exists, and is as it must be."""
        with self._errors():
            self._make_topic()

    def begin(self) -> tuple[State, dict[bytes, bytes | None]]:
        """What is saved, and the record of a new epoch, to be written first by whoever has just started the producer."""
        self._drop_producer()
        with self._errors():
            self._epoch = self._last_epoch() + 1
            return self.load(), {self._epoch_key: self._sealed("", b"%d" % self._epoch)}

    def records(self, delta: State) -> dict[bytes, bytes | None]:
        """What saves `delta`, when all of it is written in one transaction."""
        return {
            self._key(partition): self._sealed(partition, value) if value else None
            for partition, value in delta.items()
        }

    def is_ours(self, *, complete: bool) -> bool:
        """Has nobody else begun since? complete: waits for transactions that are under way, whoever's they are."""
        with self._errors():
            return self._last_epoch(complete=complete) == self._epoch

    # Writing

    def _acquire(self, last_epoch: Callable[[], int]) -> int:
        self._make_topic()
        self._start_producer()
        epoch = last_epoch() + 1
        self._commit({self._epoch_key: self._sealed("", b"%d" % epoch)})
        self._epoch = epoch
        return epoch

    def _write(self, records: Mapping[bytes, bytes | None]) -> None:
        if self._producer is None:
            self._start_anew()
        try:
            self._commit(records)
        except KafkaFailure as failure:
            if failure.verdict.code not in _PRODUCER_IS_USELESS:
                raise
            self._start_anew()
            self._commit(records)

    def _start_anew(self) -> None:
        self._require_our_epoch(complete=False)  # before: starting a producer would fence a successor
        self._start_producer()
        self._require_our_epoch(complete=True)  # after: there may be one since we looked

    def _require_our_epoch(self, *, complete: bool) -> None:
        if self._last_epoch(complete=complete) != self._epoch:
            self._drop_producer()
            raise fenced(self._name, self._where)

    def _start_producer(self) -> None:
        self._drop_producer()
        self._producer = self._library.transactions(
            self.transactional_id, _BATCH_BYTES, self._topics.partitions, _TIMEOUTS
        )

    def _commit(self, records: Mapping[bytes, bytes | None]) -> None:
        """All or nothing, durable when it returns. After a failure the producer has to be started anew."""
        assert self._producer is not None
        try:
            self._producer.begin()
            self._producer.write(self._topic, records)
            if not self._producer.commit(WRITE_WITHIN):
                raise KafkaFailure("timeout", f"no broker has committed within {WRITE_WITHIN:.0f} s")
        except KafkaFailure:
            self._drop_producer()
            raise

    def _drop_producer(self) -> None:
        if self._producer is not None:
            self._producer.abandon()
            self._producer = None

    def _sealed(self, partition: str, value: bytes) -> bytes:
        now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        return seal(self._name, partition, Saved(value, now))

    def _make_topic(self) -> None:
        if not self._topics.ensure([self._topic]):
            raise KafkaFailure("unreachable")
        policy = self._cluster.settings([self._topic], "cleanup.policy").get(self._topic, "compact")
        if policy != "compact" or self._topics.partitions(self._topic) != 1:
            raise CheckpointError(
                "the topic for positions must be compacted and have one partition",
                code="checkpoint.topic",
                where=self._where,
                fix="delete it if nothing else uses it (it is made as it must be), or set cleanup.policy=compact",
            )

    # Reading

    def _records(self, *, complete: bool = True) -> dict[bytes, bytes]:
        """The newest record of every key, also of other connectors."""
        if self._topic not in self._cluster.describe([self._topic]):
            return {}
        newest: dict[bytes, bytes] = {}
        for key, value in self._read_all(complete):
            if key is not None and value is not None:
                newest[key] = value
            elif key is not None:
                newest.pop(key, None)
        return newest

    def _read_all(self, complete: bool) -> list[tuple[bytes | None, bytes | None]]:
        try:
            return self._read(complete=complete)
        except KafkaFailure as failure:
            if failure.verdict.action != "create":
                raise
            # It is there, we have just asked: a broker that has come back does not know its partition yet.
            raise KafkaFailure("timeout", failure.detail, topic=self._topic) from failure

    def _last_epoch(self, *, complete: bool = True) -> int:
        record = self._records(complete=complete).get(self._epoch_key)
        if record is None:
            return 0
        number = unseal(self._name, "", record, self._where).value
        if not number.isdigit():
            raise corrupt(f"the epoch of {self._name} is no number", self._where)
        return int(number)

    def _last_epoch_or_later(self) -> int:
        try:
            return self._last_epoch()
        except CheckpointError:
            return int(time.time())  # epochs count from one: no earlier one is as great

    @property
    def _epoch_key(self) -> bytes:
        return self._name.encode()

    def _key(self, partition: str) -> bytes:
        return f"{self._name}/{partition}".encode()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except KafkaFailure as failure:
            if failure.verdict.code == _FENCED:
                raise fenced(self._name, self._where) from failure
            raise failure.checkpoint_error(self._where) from failure
        except PublishError as error:  # what `Topics` says about our topic
            raise CheckpointError(
                error.what,
                code=error.code.replace("publish.", "checkpoint.", 1),
                where=self._where,
                fix=error.fix,
                retryable=error.retryable,
            ) from error


def _reader(library: Driver, topic: str, group: str) -> Reader:
    if library.name == "confluent":
        from liberator.checkpoint.kafka_confluent import ConfluentReader

        return ConfluentReader(library.base, topic, group)
    from liberator.checkpoint.kafka_python import KafkaPythonReader

    return KafkaPythonReader(library.base, topic)
