"""Positions in a compacted Kafka topic: atomic by transactions, guarded by fencing.

Enters: deltas and epochs. Leaves: states. Called by the capture loop and by `liberate checkpoint`. Never answers from
memory: what is loaded has been read from the topic, up to its end.

Theory of operation: one topic with one partition holds all connectors of a cluster. The record ``<name>/<partition>``
is a sealed position, a null value forgets it; the record ``<name>`` is the epoch. A save is one transaction of the
producer ``liberator.checkpoint.<name>``. Whoever acquires starts that producer anew, and with that the broker refuses
every older one. A producer that broke is started anew too; as that would fence a successor, the epoch is read before
and after: only who still holds it goes on.
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
from liberator.kafka.client import Driver
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

TRANSACTION_TIMEOUT_MS = 5_000
"""After that a broker aborts what a killed writer left open."""


class Journal(Protocol):
    """The topic through one client library. Every call is bounded in time and raises `KafkaFailure`."""

    def read(self, *, complete: bool) -> list[tuple[bytes | None, bytes | None]]:
        """Committed records (key, value) from the beginning on.

        complete: to the end of the topic as it is now, waiting for transactions that are under way; else to the first
        of those.
        """

    def fence(self) -> None:
        """Start the transactional producer anew: the broker refuses all earlier ones, and aborts what they left."""

    def write(self, records: Mapping[bytes, bytes | None]) -> None:
        """All or nothing, durable when it returns; `fence` must have come before. After a failure fence again."""

    @property
    def writable(self) -> bool:
        """Is there a producer, started and unbroken?"""

    def close(self) -> None:
        """Give back connections and threads. Idempotent."""


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
        library = driver(url, options or {}, client=client, client_id=f"liberator-checkpoint-{name}")
        self._cluster = library.cluster()
        self._topics = Topics(self._cluster, _SETTINGS, None)
        self._journal = _journal(library, topic, f"liberator.checkpoint.{name}")

    def acquire(self) -> int:
        """Become the writer: a new epoch, greater than all before."""
        with self._errors():
            return self._acquire(self._last_epoch)

    def load(self) -> State:
        """All partitions as last saved; none when the topic does not exist."""
        return {partition: value for partition, value, _ in self.describe()}

    def save(self, delta: State, epoch: int) -> None:
        """Merge `delta` in one transaction, unless a newer epoch was acquired."""
        if epoch != self._epoch:
            raise fenced(self._name, self._where)
        now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        records = {
            self._key(partition): seal(self._name, partition, Saved(value, now)) if value else None
            for partition, value in delta.items()
        }
        with self._errors():
            if records:
                self._write(records)

    def describe(self) -> Sequence[tuple[str, bytes, str]]:
        """(partition, value, when it was saved); no writer notices."""
        with self._errors():
            records = self._records()
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
        self._journal.close()
        self._cluster.close()

    # Writing

    def _acquire(self, last_epoch: Callable[[], int]) -> int:
        self._make_topic()
        self._journal.fence()
        epoch = last_epoch() + 1
        now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        self._journal.write({self._epoch_key: seal(self._name, "", Saved(b"%d" % epoch, now))})
        self._epoch = epoch
        return epoch

    def _write(self, records: Mapping[bytes, bytes | None]) -> None:
        if not self._journal.writable:
            self._start_anew()
        try:
            self._journal.write(records)
        except KafkaFailure as failure:
            if failure.verdict.code not in _PRODUCER_IS_USELESS:
                raise
            self._start_anew()
            self._journal.write(records)

    def _start_anew(self) -> None:
        self._require_our_epoch(complete=False)  # before: starting a producer would fence a successor
        self._journal.fence()
        self._require_our_epoch(complete=True)  # after: there may be one since we looked

    def _require_our_epoch(self, *, complete: bool) -> None:
        if self._last_epoch(complete=complete) != self._epoch:
            self._journal.close()
            raise fenced(self._name, self._where)

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
        for key, value in self._journal.read(complete=complete):
            if key is not None and value is not None:
                newest[key] = value
            elif key is not None:
                newest.pop(key, None)
        return newest

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


def _journal(library: Driver, topic: str, transactional_id: str) -> Journal:
    if library.name == "confluent":
        from liberator.checkpoint.kafka_confluent import ConfluentJournal

        return ConfluentJournal(library.base, topic, transactional_id)
    from liberator.checkpoint.kafka_python import KafkaPythonJournal

    return KafkaPythonJournal(library.base, topic, transactional_id)
