"""A query connector in this process, run look by look: what each one published."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from liberator.build.query import QueryConnector
from liberator.build.running import How
from liberator.config import from_options
from liberator.testing.publisher import MemoryPublisher, Published


@dataclass(frozen=True, slots=True)
class Seen:
    """One event. op: ``tombstone`` for a null value."""

    op: str
    table: str
    key: Any
    row: Any
    before: Any
    id: str
    raw: bytes | None

    @property
    def after_bytes(self) -> bytes:
        """The row's JSON as it was published."""
        assert self.raw is not None
        start = self.raw.index(b'"after":') + len(b'"after":')
        return self.raw[start : self.raw.index(b',"source":', start)]


class Looks:
    """A connector with a checkpoint of its own. Each `look` is a run to its end, as ``--once`` does."""

    def __init__(self, url: str, folder: Path, name: str, *tables: str, **settings: Any) -> None:
        self.url, self.folder, self.name = url, folder, name
        self.tables = tables
        self.settings = settings
        self.publisher = MemoryPublisher()

    def look(self, **more: Any) -> list[Seen]:
        """What one pass over all tables publishes."""
        publisher = MemoryPublisher()
        with closing(self.connector(publisher, **more)) as connector:
            connector.capture.run()
        return [seen(event) for event in publisher.events]

    def connector(
        self,
        publisher: MemoryPublisher,
        *,
        once: bool = True,
        max_events: int | None = None,
        key: dict[str, list[str]] | None = None,
        **more: Any,
    ) -> QueryConnector:
        """One that is not running yet. key: as `publish.key`."""
        given = {f"source.query.{key}": value for key, value in {**self.settings, **more}.items()}
        given["checkpoint.url"] = f"file:{self.folder / 'positions.db'}"
        given["source.query.key_file"] = str(self.folder / "keys.db")
        given["schema.dir"] = str(self.folder / "schemas")
        if key is not None:
            given["publish.key"] = key
        options = {
            "source": self.url,
            "mode": "query",
            "name": self.name,
            "table": list(self.tables),
            "set": [f"{key}={_text(value)}" for key, value in given.items()],
        }
        config = from_options(options, {})
        return QueryConnector(config, How(lambda: publisher, once=once, max_events=max_events))


def _text(value: Any) -> str:
    return json.dumps(value) if isinstance(value, dict) else str(value)


def seen(event: Published) -> Seen:
    """As a reader sees it."""
    key = None if event.key is None else json.loads(event.key)
    table = event.topic.rsplit(".", 1)[-1]
    if event.value is None:
        return Seen("tombstone", table, key, None, None, event.id.decode(), None)
    value = json.loads(event.value)
    return Seen(value["op"], table, key, value["after"], value["before"], event.id.decode(), event.value)


def ops(events: list[Seen]) -> list[tuple[str, Any]]:
    """(op, key's only value) of each."""
    return [(event.op, next(iter(event.key.values())) if event.key else None) for event in events]


def keys(events: list[Seen]) -> list[Any]:
    """The key's only value of each."""
    return [key for _, key in ops(events)]


def session(dsn: str) -> Iterator[psycopg.Connection[Any]]:
    """An application's session, in autocommit."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        yield connection


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for it. what: went wrong if it does not come."""
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.02)


class Running:
    """A connector in a thread."""

    def __init__(self, connector: QueryConnector) -> None:
        self.connector = connector
        self._thread = threading.Thread(target=connector.capture.run)

    def __enter__(self) -> Running:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.connector.capture.stop()
        self._thread.join(120)
        self.connector.close()
        assert not self._thread.is_alive()
