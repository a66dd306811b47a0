"""Where positions are kept: a SQLite file, or a compacted Kafka topic."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from liberator.errors import ConfigError
from liberator.protocols import Checkpoint


def open_checkpoint(
    url: str, name: str, *, kafka_url: str | None = None, options: Mapping[str, str] | None = None
) -> Checkpoint:
    """The checkpoint of connector `name`: ``file:PATH``. Raises `ConfigError` for any other URL."""
    if url.startswith("file:"):
        from liberator.checkpoint.sqlite import SqliteCheckpoint

        return SqliteCheckpoint(Path(url.removeprefix("file:")), name)
    raise ConfigError(f"no checkpoint can be kept in {url}", where="checkpoint.url", fix="use file:PATH")
