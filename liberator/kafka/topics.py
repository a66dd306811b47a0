"""Topics: looked up before the first event goes there, and made if the configuration says so.

Enters: the names a batch needs. Leaves: a promise that they exist, how many partitions they have, and how
large an event they take. Called by `publisher`. Never creates a topic by accident: brokers are asked without
auto-creation.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Collection
from dataclasses import replace

from liberator.errors import PublishError
from liberator.kafka.client import Cluster, TopicSettings
from liberator.kafka.errors import KafkaFailure

log = logging.getLogger(__name__)

_LEGAL = re.compile(r"[A-Za-z0-9._-]{1,249}")

_APPEAR_WITHIN = 10.0
"""Seconds in which a topic that was created becomes visible on the broker that is asked."""

_ASK_AGAIN = 1.0
"""Seconds between two questions while no broker answers: each of them may take a while."""

_FRESH = 10.0
"""Seconds for which what a broker said about a topic is good enough to refuse an event on it."""

_UNKNOWN_LIMIT = (100 << 20) - (64 << 10)
"""Where settings may not be read: a broker hangs up on requests above socket.request.max.bytes (100 MiB)."""


class _Topic:
    __slots__ = ("limit", "partitions", "read_at")

    def __init__(self, partitions: int, limit: int | None) -> None:
        self.partitions = partitions
        self.limit = limit
        self.read_at = time.monotonic()


class Topics:
    """The topics known so far. settings: how missing ones are made; None: they are refused."""

    def __init__(
        self, cluster: Cluster, settings: TopicSettings | None, dead_letter_topic: str | None
    ) -> None:
        self._cluster = cluster
        self._settings = settings
        self._dead_letter_topic = dead_letter_topic
        self._known: dict[str, _Topic] = {}
        self._ask_again_at = 0.0

    def ensure(self, names: Collection[str]) -> bool:
        """Look up, and make if need be, those not known yet; False: no broker answers now, ask again.

        Raises `PublishError`: publish.unknown_topic when a missing topic may not be made, and what the broker
        says when it refuses to make it.
        """
        missing = [name for name in names if name not in self._known]
        if not missing:
            return True
        for name in missing:
            _check_name(name)
        if time.monotonic() < self._ask_again_at:
            return False
        try:
            return self._look_up(missing)
        except KafkaFailure as failure:
            if failure.verdict.action == "wait":
                self._ask_again_at = time.monotonic() + _ASK_AGAIN
                return False
            raise failure.publish_error() from failure

    def partitions(self, name: str) -> int:
        """How many partitions the topic has, as far as we know; looked up again when that was long ago."""
        topic = self._known[name]
        if time.monotonic() - topic.read_at > _FRESH:
            self._read_again(name)
        return self._known[name].partitions

    def limit(self, name: str) -> int:
        """The largest event that the topic takes, in bytes, as far as we know."""
        known = self._known[name].limit
        return _UNKNOWN_LIMIT if known is None else known

    def fresh_limit(self, name: str) -> int:
        """As `limit`, but read again when that was long ago: somebody may have raised it."""
        if time.monotonic() - self._known[name].read_at > _FRESH:
            self._read_again(name)
        return self.limit(name)

    def reread(self, name: str) -> None:
        """A broker has contradicted what we know of the topic's limit: ask again now."""
        if name in self._known:
            self._read_again(name)

    def forget(self, name: str | None) -> None:
        """A broker says that the topic (None: one of them) is gone: look it up before the next event goes there."""
        if name is None:
            self._known.clear()
        else:
            self._known.pop(name, None)

    def gone(self, names: Collection[str]) -> str | None:
        """One of those topics that was deleted, and maybe made anew by others. Raises `KafkaFailure`."""
        known = [name for name in names if name in self._known]
        found = self._cluster.describe(known) if known else {}
        # A topic never loses partitions: one with fewer is another topic of the same name.
        return next((name for name in known if found.get(name, 0) < self._known[name].partitions), None)

    def learn_limit(self, name: str, limit: int) -> None:
        """A broker has refused an event of `limit` + 1 bytes, whatever the topic's settings say."""
        if name in self._known:
            self._known[name].limit = limit

    def _look_up(self, names: Collection[str]) -> bool:
        found = self._cluster.describe(names)
        absent = [name for name in names if name not in found]
        for name in absent:
            self._create(name)
        if absent:
            found |= self._await(absent)
        limits = self._limits(found)
        self._known.update((name, _Topic(count, limits.get(name))) for name, count in found.items())
        return len(found) == len(names)

    def _limits(self, names: Collection[str]) -> dict[str, int]:
        found = self._cluster.settings(names, "max.message.bytes")
        return {name: int(limit) for name, limit in found.items()}

    def _create(self, name: str) -> None:
        if self._settings is None:
            raise PublishError(
                "the topic does not exist, and publish.create_topics is false",
                code="publish.unknown_topic",
                where=f"topic {name}",
                fix="create the topic, or let publish.create_topics make missing ones",
            )
        settings = self._settings
        if name == self._dead_letter_topic:
            # Compaction would drop all but the last dead letter of a key, and refuse those without one.
            config = {key: value for key, value in settings.config.items() if key != "cleanup.policy"}
            settings = replace(settings, config=config)
        self._cluster.create(name, settings)
        log.info("created topic %s with %d partitions", name, settings.partitions)

    def _await(self, names: Collection[str]) -> dict[str, int]:
        deadline = time.monotonic() + _APPEAR_WITHIN
        while True:
            found = self._cluster.describe(names)
            if len(found) == len(names) or time.monotonic() > deadline:
                return found
            time.sleep(0.05)

    def _read_again(self, name: str) -> None:
        try:
            partitions = self._cluster.describe([name]).get(name)
            limit = self._limits([name]).get(name)
        except KafkaFailure as failure:
            log.debug("topic %s could not be looked up again: %s", name, failure)
            return
        if partitions is not None:
            learned = self._known[name].limit if limit is None else limit
            self._known[name] = _Topic(partitions, learned)


def _check_name(name: str) -> None:
    if not _LEGAL.fullmatch(name) or name in (".", ".."):
        raise PublishError(
            f"{name!r} is no name for a Kafka topic",
            code="publish.topic_name",
            fix="use at most 249 of A-Z a-z 0-9 . _ - in publish.topic, or route the table to another topic",
        )
