"""``stream.options``: librdkafka's names, for whichever client is used.

Enters: options as a user writes them. Leaves: what every client of a cluster needs (checked by `liberator.kafka`),
and a consumer's own settings. Never lets an option weaken a promise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from liberator.errors import ConfigError

_OURS = {
    "group.id": "the connector's name is its group",
    "group.protocol": "members share partitions as both clients can",
    "partition.assignment.strategy": "members share partitions as both clients can",
    "enable.auto.commit": "an offset is committed when its events are done",
    "enable.auto.offset.store": "an offset is committed when its events are done",
    "auto.commit.interval.ms": "an offset is committed when its events are done",
    "auto.offset.reset": "stream.start says where reading begins",
    "isolation.level": "only what is committed is read",
    "allow.auto.create.topics": "reading makes no topics",
}


class _Setting(NamedTuple):
    """As kafka-python calls it."""

    name: str
    convert: Callable[[str], Any]


_CONSUMER = {
    "session.timeout.ms": _Setting("session_timeout_ms", int),
    "heartbeat.interval.ms": _Setting("heartbeat_interval_ms", int),
    "max.poll.interval.ms": _Setting("max_poll_interval_ms", int),
    "group.instance.id": _Setting("group_instance_id", str),
    "client.rack": _Setting("client_rack", str),
    "fetch.wait.max.ms": _Setting("fetch_max_wait_ms", int),
    "fetch.min.bytes": _Setting("fetch_min_bytes", int),
    "fetch.max.bytes": _Setting("fetch_max_bytes", int),
    "fetch.message.max.bytes": _Setting("max_partition_fetch_bytes", int),
    "max.partition.fetch.bytes": _Setting("max_partition_fetch_bytes", int),
}


def split(options: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """(what is every client's, what is a consumer's own). Raises `ConfigError`."""
    for name in options:
        if name in _OURS:
            raise ConfigError(
                f"the option {name} can't be set: {_OURS[name]}",
                code="consume.option",
                where=f"stream.options.{name}",
                fix="remove it",
            )
    own = {name: value for name, value in options.items() if name in _CONSUMER}
    return {name: value for name, value in options.items() if name not in own}, own


def for_kafka_python(own: Mapping[str, str]) -> dict[str, Any]:
    """A consumer's own settings, by kafka-python's names. Raises `ConfigError`."""
    settings = {}
    for name, value in own.items():
        setting = _CONSUMER[name]
        try:
            settings[setting.name] = setting.convert(value)
        except ValueError:
            raise ConfigError(
                f"the option {name} is not a number",
                code="consume.option",
                where=f"stream.options.{name}",
                fix="write a whole number",
            ) from None
    return settings
