"""A connector from one table into a local log, by the command `liberate`, with contracts beside it.

Enters: SQL, options, contracts. Leaves: events, whatever topic they are in. Called by the acceptance tests about contracts.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg

from liberator.change import ConsumedBatch, TopicPartition
from liberator.locallog import LocalLog

PATIENCE = 120.0
NAME = "shop"
TOPIC = "shop.public.orders"
CHANGES = "shop.schema-changes"
DEAD_LETTERS = "shop.dead-letters"

Row = dict[str, Any]


class Shop:
    """A connector from a table `orders` into a local log, by the command `liberate`."""

    def __init__(self, dsn: str, folder: Path) -> None:
        self.folder = folder
        self.path = [Path.cwd()]
        """Where its processes look for modules."""
        self._dsn = dsn
        self.execute("create table orders (id int primary key, quantity int not null, note text)")

    def execute(self, *statements: str) -> None:
        with psycopg.connect(self._dsn, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def command(self, *words: str) -> list[str]:
        target = ["--source", self._dsn, "--name", NAME, "--publish", "local:events"]
        return [sys.executable, "-m", "liberator", *words, *target]

    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("LIBERATE_")}
        return {**kept, "PYTHONPATH": os.pathsep.join(map(str, self.path))}

    def run(self, *options: str, code: int = 0, mode: str = "log") -> str:
        """Publish what was committed; what it said."""
        settings = [word for option in options for word in ("--set", option)]
        return self._done([*self.command("--mode", mode, "--once"), *settings], code)

    def derive(self, *options: str) -> None:
        self._done([*self.command("schema", "derive"), *options], 0)

    def _done(self, command: list[str], code: int) -> str:
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment(), capture_output=True, text=True, timeout=PATIENCE
        )
        assert done.returncode == code, done.stderr
        return done.stderr

    def start(self, *options: str) -> subprocess.Popen[bytes]:
        settings = [word for option in options for word in ("--set", option)]
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                [*self.command("--mode", "log"), *settings],
                cwd=self.folder,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stderr=log,
            )

    def versions(self) -> dict[int, Row]:
        """The stored contracts."""
        files = (self.folder / "schemas" / TOPIC).glob("*.json")
        return {int(file.stem): json.loads(file.read_text()) for file in files}

    def write(self, version: int, contract: Row) -> None:
        """Store one, whole, as a deployment does it."""
        folder = self.folder / "schemas" / TOPIC
        folder.mkdir(parents=True, exist_ok=True)
        draft = folder / ".draft"
        draft.write_text(json.dumps(contract))
        draft.rename(folder / f"{version}.json")

    def values(self, topic: str) -> list[Any]:
        """What the topic holds, in order: of one partition where it matters, of few events else."""
        return [json.loads(value) for _, value in self.events(topic) if value is not None]

    def rows(self, topic: str = TOPIC) -> list[Row]:
        """The rows in its events, by id."""
        return sorted((value["after"] for value in self.values(topic)), key=lambda row: int(row["id"]))

    def ids(self, topic: str) -> list[str]:
        return [id for id, _ in self.events(topic)]

    def events(self, topic: str) -> list[tuple[str, bytes | None]]:
        """(id, value) of all of them, read at once: nothing here waits for anything."""
        batch = ConsumedBatch()
        with closing(LocalLog(self.folder / "events")) as log:
            known = log.topic(topic)
            for number in range(len(known.partitions) if known else 0):
                log.read(TopicPartition(topic, number), 0, 1_000_000, 1 << 30, batch)
        ids = [(dict(headers).get("id") or b"").decode() for headers in batch.headers]
        return list(zip(ids, batch.values, strict=True))

    def wait_for_rows(self, topic: str, count: int) -> list[Row]:
        end = time.monotonic() + PATIENCE
        while len(rows := self.rows(topic)) < count:
            assert time.monotonic() < end, (self.folder / "log").read_text()
        return rows
