"""The endpoint of a real connector on a real database: what it says is what happens."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import psycopg
import pytest

Ask = Callable[[str], tuple[int, str]]


@pytest.fixture
def db(database: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("CREATE TABLE orders (id int PRIMARY KEY)")
        connection.execute("CREATE TABLE other (id int)")
        connection.execute("INSERT INTO orders SELECT generate_series(1, 3)")
        yield connection


@contextmanager
def running(database: str, folder: Path, *settings: str) -> Iterator[Ask]:
    """A connector that captures `orders` into a file."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = ["--mode", "log", "--table", "public.orders", "--publish", f"file:{folder / 'events.ndjson'}"]
    for setting in (f"observe.listen=127.0.0.1:{port}", "source.log.heartbeat=1s", *settings):
        options += ["--set", setting]
    process = subprocess.Popen(
        [sys.executable, "-m", "liberator", "--source", database, *options],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )

    def ask(page: str) -> tuple[int, str]:
        try:
            with urlopen(f"http://127.0.0.1:{port}{page}", timeout=120) as answer:
                return answer.status, answer.read().decode()
        except HTTPError as answer:
            with answer:
                return answer.code, answer.read().decode()
        except URLError:
            return 0, ""

    try:
        yield ask
    finally:
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=120)
    assert process.returncode == 0, log


def status(ask: Ask) -> dict[str, Any]:
    code, body = ask("/status")
    report: dict[str, Any] = json.loads(body) if code == 200 else {}
    return report


def wait_for(what: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.05)


def events(ask: Ask) -> int:
    report = status(ask)
    return int(report["events"]["durable"]) if report else 0


def test_a_connector_reports_what_it_published(db: psycopg.Connection, database: str, tmp_path: Path) -> None:
    with running(database, tmp_path) as ask:
        wait_for(lambda: events(ask) == 3)
        db.execute("INSERT INTO orders VALUES (4)")
        wait_for(lambda: events(ask) == 4)
        report = status(ask)
        assert report["state"] == "streaming"
        assert report["events"]["tables"] == {"public.orders": 4}
        assert report["events"]["in_flight"] == 0
        assert report["snapshot"]["tables"]["public.orders"]["rows"] == 3
        assert report["snapshot"]["tables"]["public.orders"]["done"]
        assert ask("/health/ready")[0] == 200
        assert ask("/health/live")[0] == 200
        assert 'liberator_events_total{table="public.orders"} 4.0' in ask("/metrics")[1]


def test_a_database_on_which_others_write_has_no_lasting_lag(
    db: psycopg.Connection, database: str, tmp_path: Path
) -> None:
    with running(database, tmp_path) as ask:
        wait_for(lambda: events(ask) == 3)
        wait_for(lambda: status(ask)["lag"]["seconds"] is not None)
        began = time.monotonic()

        def writes_on_and_is_close() -> bool:
            """The heartbeat is one second: what would last is more than that by now."""
            db.execute("INSERT INTO other SELECT generate_series(1, 100)")
            return status(ask)["lag"]["seconds"] < 3.0 and time.monotonic() - began > 5.0

        wait_for(writes_on_and_is_close)
        wait_for(lambda: bool(status(ask)["lag"] == {"bytes": 0, "seconds": 0.0}))
