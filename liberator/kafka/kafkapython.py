"""Kafka through kafka-python: the client that is always there.

Enters: encoded batches and options, translated from librdkafka's names. Leaves: acknowledgements and
failures. Called through `liberator.kafka.client`. Its producer works in a thread of its own: tallies
are counted down there.
"""

from __future__ import annotations

import logging
import ssl
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import kafka.errors
from kafka import KafkaAdminClient, KafkaProducer
from kafka import TopicPartition as Place
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.serializer import Serializer
from kafka.structs import OffsetAndMetadata

from liberator.change import EncodedBatch, PlacedRecord, ReadHeaders, TopicPartition
from liberator.errors import ConfigError
from liberator.kafka.client import Tally, TopicSettings, TransactionTimeouts
from liberator.kafka.errors import KafkaFailure, judge
from liberator.kafka.kafkapython_network import DIRECT, connected, failure_of
from liberator.kafka.options import Installed, for_kafka_python, largest_event
from liberator.kafka.partition import partition_of
from liberator.kafka.size import record_batch_bytes

log = logging.getLogger(__name__)

_ADMIN_TIMEOUT_MS = 5_000
_CONNECT_TIMEOUT_MS = 2_000
_END_WITHIN = 2.0
"""Seconds for the library's thread to end when it is told to drop everything."""

_METADATA_TIMEOUT_MS = 1_000
"""How long a send may block until the client has learnt a topic's partitions."""

_WRITE_METADATA_MS = 10_000
"""As long as that for a position's topic, which the start of a connector waits for anyway."""

_LARGEST = 64 << 20
"""Bytes of a whole request, so also of one event: well below a broker's socket.request.max.bytes (100 MiB)."""

_BATCH_BYTES = 256 << 10
"""Larger than the client's default of 16 KiB, which costs half of its throughput."""

_FOREVER_MS = float("inf")

_CODEC_PACKAGES = {"lz4": "lz4", "zstd": "zstandard", "snappy": "python-snappy"}


class KafkaPythonDriver:
    """kafka-python with a cluster's address and options. Raises `ConfigError` for an option it does not take."""

    name: Installed = "kafka-python"

    def __init__(self, servers: str, options: Mapping[str, str], client_id: str) -> None:
        address = {"bootstrap_servers": servers.split(","), "client_id": client_id}
        defaults = {
            "reconnect_backoff_max_ms": 1_000,
            "bootstrap_timeout_ms": _CONNECT_TIMEOUT_MS,
            "proxy_url": DIRECT,
        }
        self.base: dict[str, Any] = {**address, **defaults, **for_kafka_python(options, producer=False)}
        self.producing: dict[str, Any] = {
            "linger_ms": 2,
            "batch_size": _BATCH_BYTES,
            **self.base,
            **for_kafka_python(options, producer=True),
        }
        self.largest = largest_event(options, _LARGEST)
        self.producing["compression_type"] = _codec(self.producing.get("compression_type"))
        _tls_context(self.base)

    def cluster(self) -> KafkaPythonCluster:
        """For asking about topics."""
        return KafkaPythonCluster(self.base)

    def producer(self, batch_bytes: int, partitions: Callable[[str], int]) -> KafkaPythonProducer:
        """A new idempotent producer; it splits by itself what a broker finds too large."""
        batch_size = min(batch_bytes, self.producing["batch_size"])
        return KafkaPythonProducer({**self.producing, "batch_size": batch_size})

    def transactions(
        self, id: str, batch_bytes: int, partitions: Callable[[str], int], timeouts: TransactionTimeouts
    ) -> KafkaPythonTransactions:
        """A started transactional producer."""
        settings = {
            "transaction_timeout_ms": int(timeouts.open * 1000),
            **self.producing,
            "batch_size": min(batch_bytes, self.producing["batch_size"]),
            "transactional_id": id,
        }
        return KafkaPythonTransactions(settings, timeouts.start)


def _headers(headers: ReadHeaders) -> list[tuple[str, bytes]]:
    """As the library takes them: a value that is null becomes empty."""
    return [(name, value or b"") for name, value in headers]


def _codec(compression: str | None) -> str | None:
    """The compression asked for, or the one that needs no other package."""
    known = KafkaProducer._COMPRESSORS
    if compression not in known:
        raise ConfigError(
            f"unknown compression {compression!r}",
            code="publish.option",
            where="publish.options.compression.type",
            fix="use none, gzip, snappy, lz4 or zstd",
        )
    installed, _ = known[compression]
    if installed():
        return compression
    package = _CODEC_PACKAGES[str(compression)]
    log.info("compressing with gzip: kafka-python needs the package %s for %s", package, compression)
    return "gzip"


def _failure_of(error: BaseException) -> KafkaFailure:
    """As `failure_of`, for a producer. It answers every call after its first failure, and what shared a request with a
    record that is refused, with the library's plainest error, which may have the reason in it."""
    if type(error) is not kafka.errors.KafkaError:
        return failure_of(error)
    reason = next((it for it in error.args if isinstance(it, BaseException)), None)
    if reason is not None:
        return _failure_of(reason)
    failure = failure_of(error)
    return KafkaFailure("sequence", failure.detail) if failure.key == "KafkaError" else failure


class _Nullable(Serializer):  # type: ignore[misc]  # the library has no type hints
    """Lets an event have neither key nor value, which the library's own check refuses and brokers take."""

    NOTHING = object()

    def serialize(self, topic: str, headers: object, data: Any) -> bytes | None:
        return None if data is self.NOTHING else data


class LibraryProducer(KafkaProducer):  # type: ignore[misc]  # the library has no type hints
    """The library's producer, with a `close(timeout=0)` that does what it says while events are under way."""

    def flush(self, timeout: float | None = None) -> None:
        if timeout != 0:
            super().flush(timeout)

    def init_within(self, timeout: float) -> None:
        """As `init_transactions`, which waits for ``max_block_ms``: that is short here, for other calls."""
        result = self._transaction_manager.initialize_transactions()
        self._sender.wakeup()
        if not result.wait(timeout * 1000):
            raise kafka.errors.KafkaTimeoutError(f"no broker has started the producer within {timeout:.0f} s")

    def await_topic(self, topic: str, timeout_ms: int) -> None:
        """Learn the partitions of a topic, waiting longer than a `send` may."""
        self._wait_on_metadata(topic, timeout_ms)

    def add_offsets(self, offsets: Mapping[Any, Any], member: object, timeout: float) -> None:
        """As `send_offsets_to_transaction`, which waits for ever while no broker answers."""
        result = self._transaction_manager.send_offsets_to_transaction(offsets, member)
        self._sender.wakeup()
        if not result.wait(timeout * 1000):
            raise kafka.errors.KafkaTimeoutError(f"no broker has taken the offsets within {timeout:.0f} s")

    def begin_commit(self) -> Any:
        """As `commit_transaction`, which waits for ever while no broker answers; the result can be waited for."""
        return self._ended(self._transaction_manager.begin_commit())

    def begin_abort(self) -> Any:
        """As `abort_transaction`; the result can be waited for."""
        return self._ended(self._transaction_manager.begin_abort())

    def _ended(self, result: Any) -> Any:
        self._sender.wakeup()
        return result

    def abandon(self) -> None:
        """Close now, and see the library's thread end; for any thread but that one."""
        self.close(timeout=0)
        self._sender.join(_END_WITHIN)


class KafkaPythonProducer:
    """See `liberator.kafka.client.Producer`."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._failure: KafkaFailure | None = None
        self._news = threading.Event()
        self._counting = threading.Lock()
        self._client, self._network = connected(
            LibraryProducer,
            {
                **settings,
                "acks": "all",
                "enable_idempotence": True,
                "delivery_timeout_ms": _FOREVER_MS,
                "max_block_ms": _METADATA_TIMEOUT_MS,
                "max_request_size": _LARGEST,
                "allow_auto_create_topics": False,
                "value_serializer": _Nullable(),
                "metrics_enabled": False,
            },
        )

    @property
    def failure(self) -> KafkaFailure | None:
        """What has broken this producer: a delivery that failed, or brokers that do not let us in any more."""
        return self._failure or self._network.refusal

    def send(self, batch: EncodedBatch, start: int, tally: Tally) -> int:
        """Hand over events from index `start`; returns the index of the first there is no room for."""
        # Events of a partition are acknowledged in order, so counting at the last of each is enough; but a failure
        # must be noticed wherever it happens, before the library goes on with what follows.
        newest: dict[tuple[str, int | None], tuple[Any, int]] = {}
        index = start
        try:
            for index in range(start, len(batch)):
                if self.failure is not None:
                    return index
                lane = self._lane(batch.topics[index], batch.keys[index])
                future = self._send_event(batch, index, lane[1])
                future.add_errback(self._refused, batch, index)
                if lane[1] is None:
                    future.add_callback(self._acknowledged, tally, 1)
                else:
                    newest[lane] = (future, newest[lane][1] + 1 if lane in newest else 1)
        except kafka.errors.KafkaTimeoutError:
            return index  # the topic's partitions are not known yet
        except kafka.errors.KafkaError as error:
            self._refused(batch, index, error)
            return index
        finally:
            for future, count in newest.values():
                future.add_callback(self._acknowledged, tally, count)
        return len(batch)

    def serve(self, timeout: float, hurry: bool = False) -> None:
        """Wait at most `timeout` seconds for the library's thread to finish a batch."""
        self._news.wait(timeout)
        self._news.clear()

    def abandon(self) -> None:
        """End it now: the library's thread drops what it holds."""
        self._client.abandon()
        self._network.end()

    def _lane(self, topic: str, key: bytes | None) -> tuple[str, int | None]:
        """The partition of a key, hashed several times faster than the library does it; None without a key."""
        if key is None:
            return topic, None
        return topic, partition_of(key, len(self._client.partitions_for(topic)))

    def _send_event(self, batch: EncodedBatch, index: int, partition: int | None) -> Any:
        key, value, more = batch.keys[index], batch.values[index], batch.headers[index]
        return self._client.send(
            batch.topics[index],
            _Nullable.NOTHING if key is None and value is None else value,
            key,
            [("id", batch.ids[index]), *_headers(more or ())],
            partition,
            None if batch.timestamps is None else batch.timestamps[index],
        )

    def _broken(self, failure: KafkaFailure) -> KafkaFailure:
        """Note a failure; the first one that says why is what counts."""
        if self._failure is None or self._failure.key == "sequence":
            self._failure = failure
        return self._failure

    # Called in the library's thread.

    def _acknowledged(self, tally: Tally, count: int, _: object) -> None:
        with self._counting:
            tally.left -= count
        if tally.left == 0:
            self._news.set()

    def _refused(self, batch: EncodedBatch, index: int, error: BaseException) -> None:
        failure = _failure_of(error)
        failure.topic = batch.topics[index]
        failure.size = record_batch_bytes(
            batch.keys[index], batch.values[index], batch.ids[index], batch.headers[index]
        )
        failure.alone = True  # what is too large the library splits until one event is left
        self._broken(failure)
        # At once, and from the library's own thread: else it goes on with the next batch of the partition.
        self._client.close(timeout=0)
        self._news.set()


class KafkaPythonTransactions(KafkaPythonProducer):
    """See `liberator.kafka.client.Transactions`."""

    def __init__(self, settings: dict[str, Any], start_within: float) -> None:
        super().__init__(settings)
        self._ending: Any = None
        self._pending = Tally(0)
        try:
            self._call(lambda: self._client.init_within(start_within))
        except KafkaFailure:
            self.abandon()
            raise

    def begin(self) -> None:
        """What is sent from now on belongs together."""
        self._call(self._client.begin_transaction)

    def write(self, topic: str, records: Mapping[bytes, bytes | None]) -> None:
        """Hand over records for partition 0 of `topic`."""
        if records:
            self._call(lambda: self._client.await_topic(topic, _WRITE_METADATA_MS))
        for key, value in records.items():
            self._call(partial(self._client.send, topic, value, key, None, 0))

    def place(self, records: Sequence[PlacedRecord]) -> None:
        """Hand over records as they are."""
        for topic in {it.topic for it in records}:
            self._call(partial(self._client.await_topic, topic, _WRITE_METADATA_MS))
        for it in records:
            value = _Nullable.NOTHING if it.key is None and it.value is None else it.value
            send = partial(self._client.send, it.topic, value, it.key, _headers(it.headers), it.partition)
            self._call(send).add_errback(self._lost)

    def send(self, batch: EncodedBatch, start: int, tally: Tally) -> int:
        """Hand over events, all of them counted in one tally."""
        self._count(len(batch) - start)
        end = super().send(batch, start, self._pending)
        self._count(end - len(batch))
        return end

    def pending(self) -> int:
        """Those whose futures are open."""
        return self._pending.left

    def _count(self, events: int) -> None:
        with self._counting:
            self._pending.left += events

    def arrived(self, timeout: float) -> bool:
        """Are they in their partitions?"""
        try:
            self._client.flush(timeout)
        except kafka.errors.KafkaTimeoutError:
            return False
        if self.failure is not None:
            raise self.failure
        return True

    def commit_offsets(self, offsets: Mapping[TopicPartition, int], member: object, timeout: float) -> None:
        """Offsets of a group."""
        places = {
            Place(*partition): OffsetAndMetadata(offset, "", -1) for partition, offset in offsets.items()
        }
        self._call(lambda: self._client.add_offsets(places, member, timeout))

    def commit(self, timeout: float) -> bool:
        """All or nothing; False: not known yet."""
        if self._ending is None:
            self._call(self._begin_commit)
        done = self._call(lambda: self._ending.wait(timeout * 1000))
        if done:
            self._ending = None
        return bool(done)

    def abort(self, timeout: float) -> None:
        """Nothing of it."""
        with suppress(kafka.errors.KafkaError):
            self._client.begin_abort().wait(timeout * 1000)

    def _lost(self, error: BaseException) -> None:
        """In the library's thread."""
        self._broken(_failure_of(error))

    def _begin_commit(self) -> None:
        self._ending = self._client.begin_commit()

    def _call(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except kafka.errors.KafkaError as error:
            raise self._broken(self._network.refusal or _failure_of(error)) from error


class KafkaPythonCluster:
    """See `liberator.kafka.client.Cluster`."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._settings = settings
        self._client: Any = None

    def check(self, timeout: float) -> None:
        """Does a broker answer a new connection, and let us in?"""
        self.close()
        self._connect(timeout)

    def describe(self, topics: Collection[str]) -> dict[str, int]:
        """The number of partitions of those topics that exist."""
        found = {}
        for topic in self._ask(lambda admin: admin.describe_topics(list(topics))):
            if topic["error_code"] == 0:
                found[topic["name"]] = len(topic["partitions"])
            elif judge(topic["error_code"]).action != "create":
                raise KafkaFailure(topic["error_code"], topic=topic["name"])
        return found

    def create(self, topic: str, settings: TopicSettings) -> None:
        """Ask for the topic to be made."""
        wanted = {
            "num_partitions": settings.partitions,
            "replication_factor": settings.replication,
            "configs": dict(settings.config),
        }
        answer = self._ask(lambda admin: admin.create_topics({topic: wanted}, raise_errors=False))
        (result,) = answer["topics"]
        if result["error_code"] not in (0, kafka.errors.TopicAlreadyExistsError.errno):
            raise KafkaFailure(result["error_code"], result.get("error_message") or "", topic=topic)

    def settings(self, topics: Collection[str], name: str) -> dict[str, str]:
        """Setting `name` of those topics whose settings we may read."""
        if not topics:
            return {}
        resources = [ConfigResource(ConfigResourceType.TOPIC, topic, {name: None}) for topic in topics]
        answer = self._ask(lambda admin: admin.describe_configs(resources, config_filter="all"))
        described = answer.get("topic", {})
        return {topic: str(found[name]["value"]) for topic, found in described.items() if name in found}

    def close(self) -> None:
        """Give back connections and threads."""
        client, self._client = self._client, None
        if client is not None:
            client.close()
            self._network.end()

    def _ask(self, question: Callable[[Any], Any]) -> Any:
        if self._client is not None:
            try:
                return self._answer(question)
            except KafkaFailure as failure:
                if failure.key != "unreachable":
                    raise
                # What was connected before a broker's restart knows no broker for a moment: a new connection tells.
        self._connect(_CONNECT_TIMEOUT_MS / 1000)
        return self._answer(question)

    def _answer(self, question: Callable[[Any], Any]) -> Any:
        try:
            return question(self._client)
        except (kafka.errors.KafkaError, RuntimeError, OSError) as error:
            self.close()
            raise failure_of(error) from error

    def _connect(self, timeout: float) -> None:
        settings = {
            **self._settings,
            "bootstrap_timeout_ms": timeout * 1000,
            "request_timeout_ms": _ADMIN_TIMEOUT_MS,
        }
        self._client, self._network = connected(KafkaAdminClient, settings)


def _tls_context(settings: Mapping[str, Any]) -> ssl.SSLContext | None:
    if settings.get("security_protocol", "PLAINTEXT") not in ("SSL", "SASL_SSL"):
        return None
    try:
        context = ssl.create_default_context(cafile=settings.get("ssl_cafile"))
        context.check_hostname = settings.get("ssl_check_hostname", True)
        if settings.get("ssl_certfile"):
            context.load_cert_chain(
                settings["ssl_certfile"], settings.get("ssl_keyfile"), settings.get("ssl_password")
            )
    except (ssl.SSLError, OSError) as error:
        raise ConfigError(
            f"a TLS file of publish.options can't be used: {error}",
            code="publish.option",
            where="publish.options",
            fix="check ssl.ca.location, ssl.certificate.location, ssl.key.location and ssl.key.password",
        ) from error
    return context
