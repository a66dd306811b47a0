"""What every failure of a Kafka client means: wait, stop, dead letter or create, each with its remedy.

Theory of operation: both clients' errors are brought to one key (the protocol's number for what a broker
answers, a word for what a client notices by itself), and the one table below decides. What is not in the
table stops the connector: an error nobody has thought about is not a reason to go on.

wait         nothing is wrong with the event: it is sent again, in its place, for as long as it takes
stop         somebody has to act first; the error says who and how
dead_letter  this event can never be accepted as it is; its neighbours can
create       the topic is missing: it is created if the configuration allows that, else the connector stops
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from liberator.errors import CheckpointError, PublishError

Action = Literal["wait", "stop", "dead_letter", "create"]
Key = int | str


@dataclass(frozen=True, slots=True)
class Verdict:
    """A row of the table. code: the `PublishError`'s; what: completes "Kafka: ..."; fix: what the operator does."""

    action: Action
    code: str
    what: str
    fix: str | None = None


_ACL = "grant the user of publish.options {}: kafka-acls --add --allow-principal User:... {}"
_LOGIN = "check sasl.username, sasl.password and sasl.mechanism in publish.options against the broker's users"
_WAIT_FIX = "nothing to do: the connector goes on by itself; look at the brokers if it lasts"


def _wait(code: str, what: str, fix: str = _WAIT_FIX) -> Verdict:
    return Verdict("wait", code, what, fix)


def _stop(code: str, what: str, fix: str | None = None) -> Verdict:
    return Verdict("stop", code, what, fix)


_TOO_LARGE = Verdict(
    "dead_letter",
    "publish.too_large",
    "the event is larger than its topic takes",
    "raise max.message.bytes of the topic, or drop the large column",
)
_MISSING = Verdict(
    "create",
    "publish.unknown_topic",
    "the topic does not exist",
    "create the topic, or let publish.create_topics make it",
)
_UNREACHABLE = _wait(
    "publish.unreachable",
    "no broker answers",
    "check that the brokers run and that publish.url leads to them",
)
_LEADER = _wait("publish.leader_change", "a partition has no leader at the moment")
_COORDINATOR = _wait("publish.coordinator", "the coordinator is not available at the moment")
_SEQUENCE = _wait(
    "publish.sequence", "the broker lost track of the producer; what is not acknowledged is sent again"
)
_REPLICAS = _wait(
    "publish.replicas", "fewer replicas are in sync than the topic asks for", "bring the missing brokers back"
)
_FENCED = _stop(
    "publish.fenced",
    "another instance of this connector has taken over its transactional id",
    "nothing is lost: the other goes on, and this one stops; started again it stands by",
)

TABLE: dict[Key, Verdict] = {
    # What brokers answer, by the protocol's error number.
    2: _wait("publish.corrupt", "a request was damaged on its way"),
    3: _MISSING,  # UNKNOWN_TOPIC_OR_PARTITION
    5: _LEADER,  # LEADER_NOT_AVAILABLE
    6: _LEADER,  # NOT_LEADER_OR_FOLLOWER
    7: _wait("publish.timeout", "the broker did not replicate in time"),
    8: _UNREACHABLE,  # BROKER_NOT_AVAILABLE
    9: _LEADER,  # REPLICA_NOT_AVAILABLE
    10: _TOO_LARGE,  # MESSAGE_TOO_LARGE
    13: _UNREACHABLE,  # NETWORK_EXCEPTION
    14: _COORDINATOR,  # COORDINATOR_LOAD_IN_PROGRESS
    15: _COORDINATOR,  # COORDINATOR_NOT_AVAILABLE
    16: _COORDINATOR,  # NOT_COORDINATOR
    17: _stop("publish.topic_name", "the broker refuses the topic's name", "choose another publish.topic"),
    18: _TOO_LARGE,  # RECORD_LIST_TOO_LARGE
    19: _REPLICAS,  # NOT_ENOUGH_REPLICAS
    20: _REPLICAS,  # NOT_ENOUGH_REPLICAS_AFTER_APPEND
    29: _stop(
        "publish.topic_denied",
        "the user may not write this topic (or not create it)",
        _ACL.format("Write, Describe and Create on the topic", "--producer --topic ..."),
    ),
    30: _stop("publish.group_denied", "the user may not use this consumer group"),
    31: _stop(
        "publish.cluster_denied",
        "the user may not do this on the cluster (idempotent writes, creating topics)",
        _ACL.format(
            "IdempotentWrite and Create on the cluster",
            "--operation IdempotentWrite --operation Create --cluster",
        ),
    ),
    32: _stop(
        "publish.timestamp",
        "the topic refuses the time of an event",
        "raise message.timestamp.before.max.ms of the topic, or correct the clocks",
    ),
    33: _stop("publish.sasl_mechanism", "the broker does not offer this SASL mechanism", _LOGIN),
    34: _stop("publish.sasl_failed", "the broker expects another SASL dialogue", _LOGIN),
    35: _stop("publish.broker_version", "the broker is too old for this request", "use Kafka 2.5 or newer"),
    37: _stop(
        "publish.topic_settings", "the number of partitions is refused", "correct publish.create_topics"
    ),
    38: _stop(
        "publish.topic_settings",
        "the replication factor is refused (larger than the number of brokers?)",
        "correct publish.create_topics.replication, or bring the missing brokers back",
    ),
    40: _stop("publish.topic_settings", "a topic setting is refused", "correct publish.create_topics.config"),
    41: _wait("publish.controller", "the cluster has no controller at the moment"),
    44: _stop(
        "publish.policy",
        "the cluster's policy refuses the topic or the record",
        "ask who runs the cluster, or create the topic by hand",
    ),
    45: _SEQUENCE,  # OUT_OF_ORDER_SEQUENCE_NUMBER
    47: _SEQUENCE,  # INVALID_PRODUCER_EPOCH
    48: _SEQUENCE,  # INVALID_TXN_STATE
    49: _SEQUENCE,  # INVALID_PRODUCER_ID_MAPPING
    51: _COORDINATOR,  # CONCURRENT_TRANSACTIONS
    53: _stop(
        "publish.transaction_denied",
        "the user may not use this transactional id",
        _ACL.format("Write and Describe on the transactional id", "--producer --transactional-id ..."),
    ),
    56: _wait("publish.storage", "a broker can't write to its disk", "look at that broker's disks"),
    58: _stop("publish.login_failed", "the broker refuses user or password", _LOGIN),
    59: _SEQUENCE,  # UNKNOWN_PRODUCER_ID
    72: _LEADER,  # LISTENER_NOT_FOUND
    74: _LEADER,  # FENCED_LEADER_EPOCH
    75: _LEADER,  # UNKNOWN_LEADER_EPOCH
    76: _stop(
        "publish.compression",
        "the broker does not take this compression",
        "choose another compression.type in publish.options",
    ),
    78: _LEADER,  # OFFSET_NOT_AVAILABLE: a new leader does not know yet where the partition ends
    87: _stop(
        "publish.record_refused",
        "the broker refuses the record; a compacted topic takes none without a key",
        "set cleanup.policy=delete on the topic, or give the table a key (publish.key)",
    ),
    88: _wait("publish.open_offsets", "offsets of the group are part of a transaction that is still open"),
    89: _wait("publish.throttled", "the cluster's quota for making topics is used up"),
    90: _FENCED,  # PRODUCER_FENCED
    100: _MISSING,  # UNKNOWN_TOPIC_ID
    120: _SEQUENCE,  # TRANSACTION_ABORTABLE
    # What clients notice by themselves.
    "unreachable": _UNREACHABLE,
    "timeout": _UNREACHABLE,
    "resolve": _wait(
        "publish.unreachable", "the broker's name can't be resolved", "check the names in publish.url"
    ),
    "sequence": _SEQUENCE,
    "fenced": _FENCED,
    "login": _stop("publish.login_failed", "the broker refuses user or password", _LOGIN),
    "tls": _stop(
        "publish.tls_failed",
        "the TLS handshake failed",
        "check ssl.ca.location, the broker's certificate and its name, and that publish.url leads to a TLS listener",
    ),
    "listener": _wait(
        "publish.unreachable",
        "the broker hangs up before it answers",
        "check security.protocol in publish.options: does the listener speak TLS or SASL, and which?",
    ),
}


def judge(key: Key) -> Verdict:
    """The verdict on an error; one that the table does not know stops."""
    known = TABLE.get(key)
    return known or _stop("publish.failed", f"unexpected error {key}", "report it with the log")


class KafkaFailure(Exception):
    """A client's failure, brought to a key of the table. Never leaves the rooms that speak to Kafka.

    detail: the client's own words (they name hosts and settings, never a record's content). topic, size: of
    the record that failed, where that is known. alone: it was sent by itself, so it is the one to blame.
    """

    def __init__(
        self, key: Key, detail: str = "", *, topic: str | None = None, size: int = 0, alone: bool = False
    ) -> None:
        super().__init__(key, detail)
        self.key = key
        self.detail = detail
        self.topic = topic
        self.size = size
        self.alone = alone
        self.verdict = judge(key)

    def publish_error(self, where: str | None = None) -> PublishError:
        """For the capture loop: waiting is retryable, all else is not."""
        verdict = self.verdict
        return PublishError(
            self._what(),
            code=verdict.code,
            where=self._where(where),
            fix=verdict.fix,
            retryable=verdict.action == "wait",
        )

    def checkpoint_error(self, where: str | None = None) -> CheckpointError:
        """For a checkpoint that is kept in Kafka: the same words under the code's ``checkpoint.`` name."""
        verdict = self.verdict
        return CheckpointError(
            self._what(),
            code=verdict.code.replace("publish.", "checkpoint.", 1),
            where=self._where(where),
            fix=verdict.fix,
            retryable=verdict.action == "wait",
        )

    def _what(self) -> str:
        return f"Kafka: {self.verdict.what}" + (f" ({self.detail})" if self.detail else "")

    def _where(self, where: str | None) -> str | None:
        return f"topic {self.topic}" if self.topic else where
