"""A topic's settings, by Kafka's names.

Enters: text values as in ``publish.create_topics.config``. Leaves: numbers for cleaning. What means nothing on one
machine (replicas, segments) is kept and has no effect, so that a file that was written for Kafka works here too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from liberator.locallog.failure import LocalLogFailure

_DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class TopicSettings:
    """What cleaning does with a topic. Durations in milliseconds, sizes in bytes; -1: no limit.

    compact: of each key keep the newest record. delete: drop records older than `retention_ms`, and the oldest of a
    partition beyond `retention_bytes`. tombstone_ms: how long compaction leaves a tombstone. dirty_ratio: compact when
    so much of a partition is new.
    """

    delete: bool = True
    compact: bool = False
    retention_ms: int = 7 * _DAY_MS
    retention_bytes: int = -1
    tombstone_ms: int = _DAY_MS
    dirty_ratio: float = 0.5

    @classmethod
    def parse(cls, config: Mapping[str, str]) -> TopicSettings:
        """Raises `LocalLogFailure` (topic_settings) for a value that Kafka would refuse too."""
        policies = [policy.strip() for policy in config.get("cleanup.policy", "delete").split(",")]
        unknown = [policy for policy in policies if policy not in ("delete", "compact")]
        if unknown:
            raise _refused("cleanup.policy", "is delete, compact, or both with a comma")
        return cls(
            delete="delete" in policies,
            compact="compact" in policies,
            retention_ms=_number(config, "retention.ms", 7 * _DAY_MS, least=-1),
            retention_bytes=_number(config, "retention.bytes", -1, least=-1),
            tombstone_ms=_number(config, "delete.retention.ms", _DAY_MS, least=0),
            dirty_ratio=_ratio(config, "min.cleanable.dirty.ratio", 0.5),
        )


def _number(config: Mapping[str, str], name: str, default: int, *, least: int) -> int:
    try:
        number = int(config.get(name, default))
    except ValueError:
        number = least - 1
    if number < least:
        raise _refused(name, f"is a whole number, {least} or more")
    return number


def _ratio(config: Mapping[str, str], name: str, default: float) -> float:
    try:
        ratio = float(config.get(name, default))
    except ValueError:
        ratio = -1.0
    if not 0 <= ratio <= 1:
        raise _refused(name, "is a number from 0 to 1")
    return ratio


def _refused(name: str, rule: str) -> LocalLogFailure:
    return LocalLogFailure(
        "topic_settings",
        f"a topic setting is refused: {name} {rule}",
        "correct publish.create_topics.config",
    )
