"""Connectors that read an outbox."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.integration.outbox.running import Running

TABLE = """
create table outbox (
    id uuid primary key default gen_random_uuid(),
    aggregatetype text not null,
    aggregateid text not null,
    type text not null,
    payload jsonb
)
"""


@pytest.fixture
def reading(tmp_path: Path, unique: str) -> Callable[..., Running]:
    """Makes the connector of a file for a database: `reading(dsn, "outbox-log.yaml", source={...})`."""

    def make(dsn: str, file: str, **changes: Any) -> Running:
        return Running(dsn, tmp_path / file, unique, file, **changes)

    return make


@pytest.fixture
def log(each_database: str, reading: Callable[..., Running]) -> Running:
    """An outbox with the default columns, read from the log, on each server version in turn; started, and empty."""
    with psycopg.connect(each_database) as connection:
        connection.execute(TABLE.encode())
    running = reading(each_database, "outbox-log.yaml")
    assert running.run() == []
    return running


@pytest.fixture
def messages(each_database: str, reading: Callable[..., Running]) -> Running:
    """An outbox without a table, on each server version in turn; started."""
    running = reading(each_database, "outbox-message.yaml")
    assert running.run() == []
    return running
