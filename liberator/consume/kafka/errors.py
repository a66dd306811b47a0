"""What a failure of Kafka means for a consumer.

Enters: a `KafkaFailure`. Leaves: a `ConsumeError`. What only groups can answer is in the table here; the rest is judged as
for producers, in a sink connector's words.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from liberator.change import TopicPartition
from liberator.errors import ConfigError, ConsumeError
from liberator.kafka.errors import KafkaFailure, Key

REBALANCING = 27


class _Verdict(NamedTuple):
    code: str
    what: str
    fix: str | None = None
    retryable: bool = False


_LOST = _Verdict("consume.lost", "the group goes on without this consumer")

TABLE: dict[Key, _Verdict] = {
    22: _LOST,  # ILLEGAL_GENERATION
    25: _LOST,  # UNKNOWN_MEMBER_ID
    82: _LOST,  # FENCED_INSTANCE_ID
    "lost": _LOST,
    REBALANCING: _Verdict("consume.rebalancing", "the group is being rearranged", retryable=True),
    23: _Verdict(
        "consume.group_protocol",
        "the group has members that share partitions in another way",
        "give the connector a name of its own: it is the name of its group",
    ),
    24: _Verdict("consume.group_name", "the brokers refuse the name of the group", "choose another name"),
    26: _Verdict(
        "consume.session_timeout",
        "the brokers do not allow this session time-out",
        "set session.timeout.ms in stream.options between their group.min and group.max.session.timeout.ms",
    ),
    29: _Verdict(
        "consume.topic_denied",
        "the user may not read this topic",
        "grant the user Read and Describe on the topic: kafka-acls --add --allow-principal User:... --topic ...",
    ),
    30: _Verdict(
        "consume.group_denied",
        "the user may not use this consumer group",
        "grant the user Read on the group: kafka-acls --add --allow-principal User:... --group ...",
    ),
    81: _Verdict(
        "consume.group_full", "the group has as many members as the brokers allow", "run fewer workers", True
    ),
}


def consume_error(failure: KafkaFailure, where: str) -> ConsumeError:
    """For the dispatch loop: waiting is retryable, all else is not."""
    verdict = TABLE.get(failure.key) or _as_of_producers(failure)
    return ConsumeError(
        f"Kafka: {verdict.what}" + (f" ({failure.detail})" if failure.detail else ""),
        code=verdict.code,
        where=f"topic {failure.topic}" if failure.topic else where,
        fix=verdict.fix,
        retryable=verdict.retryable,
    )


@contextmanager
def consume_errors(where: str) -> Iterator[None]:
    """What fails inside is raised as `consume_error` says."""
    try:
        yield
    except KafkaFailure as failure:
        raise consume_error(failure, where) from failure


def stops(failure: KafkaFailure) -> bool:
    """Does somebody have to act before this can pass?"""
    return not consume_error(failure, "").retryable


def lost(partitions: Iterable[TopicPartition], where: str) -> ConsumeError:
    """For what is asked of partitions that are not assigned."""
    names = ", ".join(f"{topic}/{partition}" for topic, partition in sorted(partitions))
    return ConsumeError(f"not assigned to this consumer: {names}", code=_LOST.code, where=where)


def option_error(error: ConfigError) -> ConfigError:
    """A refused option, by the name that it has in a sink connector."""
    return ConfigError(
        _words(error.what), code=_code(error.code), where=_words(error.where), fix=_words(error.fix)
    )


def _as_of_producers(failure: KafkaFailure) -> _Verdict:
    verdict = failure.verdict
    return _Verdict(
        _code(verdict.code), verdict.what, _words(verdict.fix), verdict.action in ("wait", "create")
    )


def _code(code: str) -> str:
    return code.replace("publish.", "consume.", 1)


def _words(text: str | None) -> str:
    return (text or "").replace("publish.options", "stream.options").replace("publish.url", "stream.url")
