"""Where positions are kept: a SQLite file, a compacted Kafka topic, or a local log.

Enters: ``checkpoint:`` of a connector. Leaves: an implementation of `liberator.protocols.Checkpoint`. Called by what
wires a connector, and by `liberate checkpoint`. Never parses a position: only its source can.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from liberator.errors import ConfigError

if TYPE_CHECKING:
    from liberator.checkpoint.kafka import KafkaCheckpoint
    from liberator.checkpoint.local import LocalCheckpoint
    from liberator.checkpoint.sqlite import SqliteCheckpoint


def open_checkpoint(
    url: str,
    name: str,
    *,
    kafka_url: str | None = None,
    local_folder: Path | None = None,
    options: Mapping[str, str] | None = None,
) -> SqliteCheckpoint | KafkaCheckpoint | LocalCheckpoint:
    """The checkpoint of connector `name`. Raises `ConfigError`; connects to nothing yet.

    url: ``file:PATH``; ``kafka``: in the Kafka at `kafka_url`, where the events go; ``kafka://HOST:PORT``: in another;
    ``local``: in the local log in `local_folder`, where the events go. options: of the Kafka client, in librdkafka's
    names.
    """
    if url.startswith("file:"):
        from liberator.checkpoint.sqlite import SqliteCheckpoint

        return SqliteCheckpoint(url.removeprefix("file:"), name)
    if url == "local" and local_folder is not None:
        from liberator.checkpoint.local import LocalCheckpoint

        return LocalCheckpoint(local_folder, name)
    if url == "kafka":
        if kafka_url is None:
            raise ConfigError(
                "the position can't be kept in Kafka when events go elsewhere",
                code="checkpoint.url",
                where="checkpoint.url",
                fix="write file:PATH, or the URL of a Kafka cluster",
            )
        url = kafka_url
    if url.startswith("kafka://"):
        from liberator.checkpoint.kafka import KafkaCheckpoint

        return KafkaCheckpoint(url, name, options=options or {})
    raise ConfigError(
        f"no checkpoint can be kept in {url!r}",
        code="checkpoint.url",
        where="checkpoint.url",
        fix="write kafka, kafka://HOST:PORT, local or file:PATH",
    )
