"""Brokers for the fault tests, and what a consumer finds in them.

Enters: topics that a connector under test writes. Leaves: their records, in the order in which a reader of all partitions
may apply them. Called by the fault tests. Never goes through the code under test.
"""

from __future__ import annotations

import heapq
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # re-exported without saying so
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    NewTopic,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from kafka.admin import KafkaAdminClient

from liberator.testing.certificates import Authority, Certificate
from liberator.testing.oracle import Replay
from liberator.testing.proxy import Proxy
from liberator.testing.servers import KafkaServer, ServerError
from liberator.testing.servers.kafka import new_cluster
from liberator.testing.servers.process import free_port

_PLACE = re.compile(rb".*/([0-9A-F]+)/([0-9A-F]+)/(\d+)(?:/[tc])?")


@dataclass(frozen=True, slots=True)
class Record:
    """One record as a consumer gets it."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Mapping[str, bytes]

    @property
    def id(self) -> bytes:
        """The event id."""
        return self.headers["id"]

    @property
    def place(self) -> tuple[int, int, int, bool]:
        """Where its transaction stands in the log, and it in that; what is not of the stream stands in front. A change of
        key deletes first and creates then."""
        found = _PLACE.fullmatch(self.id)
        if found is None or b"/snapshot/" in self.id:
            return (0, 0, 0, False)
        return (int(found[1], 16), int(found[2], 16), int(found[3]) + 1, self.id.endswith(b"/c"))


class Topics:
    """Everything in the topics whose names begin with `prefix`; what is aborted left out."""

    def __init__(self, bootstrap: str, prefix: str) -> None:
        self._bootstrap = bootstrap
        self._prefix = prefix

    def names(self) -> dict[str, int]:
        """The topics and how many partitions they have."""
        known = AdminClient({"bootstrap.servers": self._bootstrap}).list_topics(timeout=120).topics
        return {name: len(known[name].partitions) for name in sorted(known) if name.startswith(self._prefix)}

    def create(self, name: str, partitions: int = 1, **config: str) -> str:
        """Make the topic `prefix` + `name`; settings with _ for the dots. Its whole name."""
        admin = AdminClient({"bootstrap.servers": self._bootstrap})
        settings = {key.replace("_", "."): value for key, value in config.items()}
        topic = self._prefix + name
        admin.create_topics([NewTopic(topic, partitions, 1, config=settings)])[topic].result(120)
        return topic

    def records(self) -> list[Record]:
        """All records: those of a partition in its order, and partitions merged by the log's order where that leaves a
        choice. So what is out of order in a partition stays so."""
        lanes: dict[tuple[str, int], list[Record]] = {}
        for record in self._read():
            lanes.setdefault((record.topic, record.partition), []).append(record)
        return list(heapq.merge(*lanes.values(), key=lambda record: record.place))

    def replay(self) -> Replay:
        """What a consumer of all of them knows."""
        replay = Replay()
        for record in self.records():
            replay.add_record(record.topic, record.key, record.value, record.headers.items())
        return replay

    def _read(self) -> Iterator[Record]:
        consumer = Consumer(
            {
                "bootstrap.servers": self._bootstrap,
                "group.id": "fault-tests",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "isolation.level": "read_committed",
                "fetch.wait.max.ms": 10,
            }
        )
        places = [TopicPartition(name, p, 0) for name, count in self.names().items() for p in range(count)]
        try:
            consumer.assign(places)
            left = len(places)
            while left:
                message = consumer.poll(120)
                assert message is not None, "the broker does not answer"
                error = message.error()
                if error is None:
                    yield _record(message)
                else:
                    assert error.code() == KafkaError._PARTITION_EOF, error
                    left -= 1
        finally:
            consumer.close()


def _record(message: Message) -> Record:
    topic, partition, offset = message.topic(), message.partition(), message.offset()
    assert topic is not None
    assert partition is not None
    assert offset is not None
    headers = message.headers() or []
    assert isinstance(headers, list)
    return Record(
        topic,
        partition,
        offset,
        message.key(),
        message.value(),
        {name: value for name, value in headers if isinstance(value, bytes)},
    )


class FarBroker:
    """A broker that connectors reach through a proxy. server: itself, and the near way to it, for tests.

    far: the address through the proxy, under which the broker sends clients to itself. between: the port that something
    else between the proxy and the broker listens on, made with the broker's.
    """

    def __init__(self, between: Callable[[int], int] = int) -> None:
        self.server = KafkaServer()
        target, controller = free_port(), free_port()
        self.proxy = Proxy("127.0.0.1", between(target))
        self.far = f"127.0.0.1:{self.proxy.port}"
        near = f"PLAINTEXT://127.0.0.1:{self.server.port}"
        self.server.properties.update(
            {
                "controller.quorum.voters": f"1@127.0.0.1:{controller}",
                "listeners": f"{near},FAR://127.0.0.1:{target},CONTROLLER://127.0.0.1:{controller}",
                "advertised.listeners": f"{near},FAR://{self.far}",
                "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,FAR:PLAINTEXT,CONTROLLER:PLAINTEXT",
            }
        )

    def __enter__(self) -> FarBroker:
        self.server.start()
        self.proxy.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.proxy.close()
        self.server.close()


class Cluster:
    """Three brokers, each of which may become the controller. Every topic is on all of them, and needs two, as a controller
    does: one can be killed at a time.

    Ports are fixed before it starts: all have to know each other's.
    """

    def __init__(self) -> None:
        self._asking: AdminClient | None = None
        cluster, controllers = new_cluster(), [free_port() for _ in range(3)]
        voters = ",".join(f"{number}@127.0.0.1:{port}" for number, port in enumerate(controllers, 1))
        self.nodes = [KafkaServer(cluster=cluster, heap="192m") for _ in range(3)]
        for number, (node, controller) in enumerate(zip(self.nodes, controllers, strict=True), 1):
            address = f"PLAINTEXT://127.0.0.1:{node.port}"
            node.properties.update(
                {
                    "node.id": number,
                    "controller.quorum.voters": voters,
                    "listeners": f"{address},CONTROLLER://127.0.0.1:{controller}",
                    "advertised.listeners": address,
                    "default.replication.factor": 3,
                    "min.insync.replicas": 2,
                    "transaction.state.log.replication.factor": 3,
                    "transaction.state.log.min.isr": 2,
                    "replica.lag.time.max.ms": 5_000,
                    # Three of them on a busy machine must not take each other for dead.
                    "broker.session.timeout.ms": 6_000,
                    "controller.quorum.fetch.timeout.ms": 4_000,
                    "controller.quorum.election.timeout.ms": 2_000,
                }
            )

    @property
    def bootstrap(self) -> str:
        """All of them."""
        return ",".join(node.bootstrap for node in self.nodes)

    def leaders(self, prefix: str) -> Counter[int]:
        """How many partitions of the topics whose names begin with `prefix` each node leads, by the node's number."""
        self._asking = self._asking or AdminClient({"bootstrap.servers": self.bootstrap})
        known = self._asking.list_topics(timeout=120).topics
        topics = [topic for name, topic in known.items() if name.startswith(prefix)]
        return Counter(partition.leader for topic in topics for partition in topic.partitions.values())

    def controller(self) -> int:
        """The number of the node that is the active controller now. While all of them live: the client leaves sockets open
        that it could not connect."""
        admin = KafkaAdminClient(bootstrap_servers=self.bootstrap.split(","))
        try:
            quorum = admin.describe_metadata_quorum()
            return int(quorum["topics"][0]["partitions"][0]["leader_id"])
        finally:
            admin.close()

    def __enter__(self) -> Cluster:
        with ThreadPoolExecutor() as together:
            for started in [together.submit(node.start) for node in self.nodes]:
                started.result()
        return self

    def __exit__(self, *_: object) -> None:
        self._asking = None
        for node in reversed(self.nodes):
            with suppress(ServerError):  # one that a test has left dead
                node.kill()
            node.close()


@dataclass(slots=True)
class Fortress:
    """A broker that speaks TLS and asks for passwords and rights, one listener for each way to do so.

    urls: by listener. ``plain`` is the administrator's. ``tls`` shows a right certificate; ``misnamed``, ``expired`` and
    ``unknown`` show wrong ones. ``login`` takes SCRAM passwords over TLS, of the users that `user` made.
    """

    folder: Path
    server: KafkaServer = field(init=False)
    authority: Authority = field(init=False)
    urls: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.server = KafkaServer()
        self.authority = Authority(self.folder / "ours")
        unknown = Authority(self.folder / "theirs", "somebody else")
        shown = {
            "tls": self.authority.issue("127.0.0.1"),
            "login": self.authority.issue("127.0.0.1", file="login"),
            "misnamed": self.authority.issue("elsewhere.example"),
            "expired": self.authority.issue("127.0.0.1", file="expired", expired=True),
            "unknown": unknown.issue("127.0.0.1"),
        }
        ports = {name: free_port() for name in shown}
        self.urls = {name: f"kafka://127.0.0.1:{port}" for name, port in ports.items()}
        self.urls["plain"] = f"kafka://{self.server.bootstrap}"
        self.server.properties.update(_listeners({**ports, "plaintext": self.server.port}, shown))

    def options(self, listener: str, **more: str) -> list[str]:
        """A connector's options for publishing through `listener`, as one that trusts our authority."""
        protocol = "sasl_ssl" if listener == "login" else "ssl"
        settings = {"security.protocol": protocol, "ssl.ca.location": str(self.authority.file)}
        settings |= {name.replace("_", "."): value for name, value in more.items()}
        options = ["--publish", self.urls[listener]]
        for name, value in settings.items():
            options += ["--set", f"publish.options.{name}={value}"]
        return options

    def user(self, name: str, password: str) -> None:
        """Make a user who may do nothing."""
        admin = AdminClient({"bootstrap.servers": self.server.bootstrap})
        scram = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
        made = UserScramCredentialUpsertion(name, scram, password.encode())
        admin.alter_user_scram_credentials([made])[name].result(120)

    def allow(
        self, user: str, prefix: str, *operations: AclOperation, kind: ResourceType = ResourceType.TOPIC
    ) -> None:
        """Grant operations on everything of a kind whose name begins with `prefix`."""
        admin = AdminClient({"bootstrap.servers": self.server.bootstrap})
        prefixed, allow = ResourcePatternType.PREFIXED, AclPermissionType.ALLOW
        bindings = [
            AclBinding(kind, prefix, prefixed, f"User:{user}", "*", operation, allow)
            for operation in operations
        ]
        for answer in admin.create_acls(bindings).values():
            answer.result(120)

    def allow_publishing(self, user: str, name: str) -> None:
        """Grant what the connector `name` needs, and no more."""
        write = (AclOperation.CREATE, AclOperation.WRITE, AclOperation.DESCRIBE)
        self.allow(user, f"{name}.", *write, AclOperation.DESCRIBE_CONFIGS)
        self.allow(user, "__liberator.checkpoints", *write, AclOperation.READ)
        transactional = (AclOperation.WRITE, AclOperation.DESCRIBE)
        self.allow(user, f"liberator.checkpoint.{name}", *transactional, kind=ResourceType.TRANSACTIONAL_ID)


def _listeners(ports: Mapping[str, int], shown: Mapping[str, Certificate]) -> dict[str, object]:
    listeners = ",".join(f"{name.upper()}://127.0.0.1:{port}" for name, port in ports.items())
    protocols = {"plaintext": "PLAINTEXT", "controller": "PLAINTEXT", "login": "SASL_SSL"}
    protocols |= {name: "SSL" for name in shown if name not in protocols}
    controller = free_port()
    properties: dict[str, object] = {
        "controller.quorum.voters": f"1@127.0.0.1:{controller}",
        "listeners": f"{listeners},CONTROLLER://127.0.0.1:{controller}",
        "advertised.listeners": listeners,
        "listener.security.protocol.map": ",".join(f"{n.upper()}:{p}" for n, p in protocols.items()),
        "listener.name.login.sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "listener.name.login.scram-sha-512.sasl.jaas.config": (
            "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        ),
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
    }
    for name, certificate in shown.items():
        properties[f"listener.name.{name}.ssl.keystore.type"] = "PEM"
        properties[f"listener.name.{name}.ssl.keystore.location"] = certificate.both
    return properties
