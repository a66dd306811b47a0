"""The ground that all sides run on: two servers, and for every lap a fresh database and fresh topics with the same rows.

Enters: servers. Leaves: `Lap`s. Called by `comparison` and `rehearsal`. Never measures.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from liberator.testing.servers import Kafka, KafkaServer, Postgres, PostgresServer
from tests.benchmark import topic
from tests.benchmark.processes import REPOSITORY, Watched, cpu_seconds_of_all, watch
from tests.benchmark.workload import CREATE, INSERTS, Workload

TABLE = "public.bench"
"""What is captured."""

# Stricter than the table, so that rows are checked: enum, pattern, range.
_CONTRACT = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "required": ["id", "customer", "status", "amount"],
    "properties": {
        "customer": {"type": "integer", "minimum": 0, "maximum": 999},
        "status": {"enum": ["new", "paid", "sent"]},
        "amount": {"type": "string", "pattern": "^[0-9]+[.][0-9]{2}$"},
    },
}


@dataclass(frozen=True)
class Ground:
    """asked: changes of every lap, as somebody asked for them. transaction: how many of them are committed at once, a
    multiple of ten. programs: PostgreSQL's."""

    postgres: Postgres
    kafka: Kafka
    programs: Path
    folder: Path
    asked: int
    transaction: int = 1000
    workload: Workload = INSERTS

    @property
    def changes(self) -> int:
        """Of every lap, as many as there really are."""
        return self.workload.changes(self.asked, self.transaction)

    @property
    def events(self) -> int:
        """That they become."""
        return self.workload.records(self.changes)

    @contextmanager
    def lap(self, name: str) -> Iterator[Lap]:
        """A fresh lap, whose database, topics and files are removed afterwards. name: of [a-z0-9]."""
        folder = self.folder / name
        folder.mkdir()
        lap = Lap(self, name, folder, self.postgres.database())
        self.postgres.execute(CREATE, lap.dsn)
        try:
            yield lap
        finally:
            self.postgres.drop(lap.dsn)
            topic.delete(self.kafka.bootstrap, lap.topics)
            shutil.rmtree(folder)

    def server_cpu(self) -> Mapping[str, float]:
        """CPU-seconds that each server has used so far; none for one that is not ours to look at."""
        used = {}
        if isinstance(self.postgres, PostgresServer):
            used["PostgreSQL"] = cpu_seconds_of_all(self.postgres.pid)
        if isinstance(self.kafka, KafkaServer):
            used["Kafka"] = cpu_seconds_of_all(self.kafka.pid)
        return used


@dataclass
class Lap:
    """One lap. folder: for whatever belongs to it. end: LSN behind its last row, as text; empty before `write`."""

    ground: Ground
    name: str
    folder: Path
    dsn: str
    end: str = ""
    topics: list[str] = field(default_factory=list)

    @property
    def events(self) -> int:
        """How many there are to be."""
        return self.ground.events

    @property
    def bootstrap(self) -> str:
        """Where Kafka's clients connect."""
        return self.ground.kafka.bootstrap

    def environ(self) -> dict[str, str]:
        """Ours without what would change the command; BENCH_DSN is the database. Python finds the benchmark's programs, and
        keeps what it has compiled, as it does wherever a package is installed."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("LIBERATE_")}
        kept.pop("PYTHONDONTWRITEBYTECODE", None)
        path = os.pathsep.join(filter(None, [str(REPOSITORY), kept.get("PYTHONPATH")]))
        return {**kept, "BENCH_DSN": self.dsn, "PYTHONPATH": path}

    def topic(self, connector: str) -> str:
        """Make the topic in which `connector` publishes the table; the settings are everybody's."""
        name = f"{connector}.{TABLE}"
        topic.create(self.bootstrap, name)
        self.topics.append(name)
        return name

    def slot(self, name: str) -> str:
        """Make a publication of the table, called `name`, and a slot, whose name is returned; before the rows."""
        slot = f"{name}_{self.name}"
        self.execute(f"CREATE PUBLICATION {name} FOR TABLE {TABLE}")
        self.execute(f"SELECT pg_create_logical_replication_slot('{slot}', 'pgoutput')")
        return slot

    def place(self, side: str, contract_for: str | None = None) -> Path:
        """A folder for a side. contract_for: a connector whose rows must keep the stored contract."""
        folder = self.folder / side
        folder.mkdir()
        if contract_for is not None:
            stored = folder / "schemas" / f"{contract_for}.{TABLE}" / "1.json"
            stored.parent.mkdir(parents=True)
            stored.write_text(json.dumps(_CONTRACT))
        return folder

    def watch(
        self,
        process: subprocess.Popen[bytes],
        folder: Path,
        progress: Callable[[], int],
        until: int | None = None,
    ) -> Watched:
        """As `processes.watch`, with an eye on the servers."""
        before = self.ground.server_cpu()
        it = watch(process, folder, progress, until)
        after = self.ground.server_cpu()
        return replace(it, servers={name: after[name] - before[name] for name in after})

    def execute(self, sql: str) -> list[tuple[object, ...]]:
        """In the lap's database."""
        return self.ground.postgres.execute(sql, self.dsn)

    def write(self) -> None:
        """Write the rows."""
        self.execute(self.ground.workload.fill(self.ground.changes, self.ground.transaction))
        self.execute("CHECKPOINT")
        [[end]] = self.execute("SELECT pg_current_wal_flush_lsn()::text")
        self.end = str(end)
