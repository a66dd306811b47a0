"""Our connector: `liberate run` of a YAML file as a user writes it, to /dev/null and to Kafka.

What goes to Kafka is read back, row by row. What goes to /dev/null nobody can read back: there the process must have written
no fewer bytes than in the rehearsal, where every line was looked at. Positions take more digits as the log goes on, so there
the loss of less than a hundredth can hide.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Literal

from liberator.plan.native import installed
from tests.benchmark import topic
from tests.benchmark.ground import TABLE, Lap
from tests.benchmark.processes import errors_of, start, written
from tests.benchmark.sides import Measured, Side

LIBERATE = [sys.executable, "-m", "liberator"]
"""The command."""

_YAML = """\
connector: source
name: {name}
source: {{url: "${{BENCH_DSN}}", mode: log, tables: [{table}], log: {{snapshot: {snapshot}}}}}
schema: {{dir: schemas}}
publish: {publish}
"""

Delivery = Literal["at_least_once", "exactly_once"]
"""A value of ``publish.delivery``."""

Snapshot = Literal["never", "initial_only"]
"""A value of ``source.log.snapshot``: the rows come through the slot, or all of them were there before."""


Executor = Literal["python", "native"]
"""A value of LIBERATOR_IMPL."""


def refused(executor: Executor) -> str | None:
    """Why this executor can't be had here; None: it can."""
    return None if executor == "python" or installed() else "liberator-native is not installed"


class Connector:
    """One connector in one lap."""

    def __init__(
        self,
        lap: Lap,
        side: str,
        publish: dict[str, object],
        snapshot: Snapshot = "never",
        executor: Executor | None = None,
    ) -> None:
        self.name = f"{side}-{lap.name}"
        self.folder = lap.place(side, contract_for=self.name)
        self.environ = {**lap.environ(), **({"LIBERATOR_IMPL": executor} if executor else {})}
        write_yaml(self.folder, self.name, publish, snapshot)
        if snapshot == "never":
            subprocess.run(
                [*LIBERATE, "slot", "create", "connector.yaml"],
                cwd=self.folder, env=self.environ, check=True, capture_output=True,
            )  # fmt: skip

    def start(self, stdout: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        """Run it until it has published what there is."""
        command = [*LIBERATE, "run", "connector.yaml", "--once", "--log-level", "warning"]
        return start(command, self.folder, self.environ, stdout)


def write_yaml(folder: Path, name: str, publish: dict[str, object], snapshot: Snapshot = "never") -> Path:
    """The connector's file."""
    file = folder / "connector.yaml"
    file.write_text(_YAML.format(name=name, table=TABLE, publish=json.dumps(publish), snapshot=snapshot))
    return file


class ToDevNull(Side):
    """Lines of JSON into /dev/null: all of the connector's work, and no broker. least: bytes that these lines have."""

    limits = ("pg_recvlogical",)
    peer = "Debezium embedded"

    def __init__(self, least: int, executor: Executor) -> None:
        self.name = f"liberate {executor} > /dev/null"
        self._least = least
        self._executor: Executor = executor
        self._connector: Connector | None = None

    def refusal(self) -> str | None:
        """Without its executor there is none."""
        return refused(self._executor)

    def prepare(self, lap: Lap) -> None:
        """A slot of its own."""
        self._connector = self.connector(lap)

    def connector(self, lap: Lap) -> Connector:
        """One that writes lines."""
        return Connector(lap, f"stdout-{self._executor}", {"url": "-"}, executor=self._executor)

    def measure(self, lap: Lap) -> Measured:
        """Run it; events are reckoned from bytes."""
        assert self._connector is not None
        process, folder = self._connector.start(), self._connector.folder
        it = lap.watch(process, folder, lambda: written(process.pid))
        bytes_written = it.done - errors_of(folder).stat().st_size
        return Measured.of(it, lap.events, min(lap.events, bytes_written * lap.events // self._least))


class SnapshotToDevNull(ToDevNull):
    """Rows that were there before, read by COPY. least: as of `ToDevNull`, of these lines."""

    limits = ("psql COPY",)
    peer = "Debezium embedded, snapshot"

    def __init__(self, least: int, executor: Executor) -> None:
        super().__init__(least, executor)
        self.name = f"liberate {executor}, snapshot"

    def connector(self, lap: Lap) -> Connector:
        """One that reads the table and ends."""
        return Connector(lap, f"snapshot-{self._executor}", {"url": "-"}, "initial_only", self._executor)


class ToKafka(Side):
    """Into a real Kafka, and its checkpoint too."""

    limits = ("pg_recvlogical", "bare producer")
    peer = "Debezium on Connect, tuned"

    def __init__(self, delivery: Delivery, executor: Executor) -> None:
        self.name = f"liberate {executor} -> Kafka" + (", exactly once" if delivery == "exactly_once" else "")
        self._delivery = delivery
        self._executor: Executor = executor
        self._connector: Connector | None = None
        self._topic = ""

    def refusal(self) -> str | None:
        """What `liberate validate` has to say against the delivery."""
        if (why := refused(self._executor)) is not None:
            return why
        with tempfile.TemporaryDirectory() as folder:
            file = write_yaml(Path(folder), "bench", self._publish("127.0.0.1:9092"))
            answer = subprocess.run(
                [*LIBERATE, "validate", "--json", str(file)],
                env={"BENCH_DSN": "postgresql://127.0.0.1/bench"}, cwd=Path.cwd(),
                stdout=subprocess.PIPE, text=True, check=False,
            )  # fmt: skip
        lines = [json.loads(line) for line in answer.stdout.splitlines()]
        if answer.returncode == 0:
            return None
        if [line.get("code") for line in lines] == ["config.not_supported"]:
            return str(lines[0]["what"])
        raise RuntimeError(f"liberate validate refuses the benchmark's own file: {answer.stdout}")

    def prepare(self, lap: Lap) -> None:
        """A slot and a topic of its own."""
        self._connector = Connector(
            lap, f"{self._delivery}-{self._executor}", self._publish(lap.bootstrap), executor=self._executor
        )
        self._topic = lap.topic(self._connector.name)

    def measure(self, lap: Lap) -> Measured:
        """Run it, and read everything back."""
        readable = topic.progress(lap.bootstrap, self._topic)
        assert self._connector is not None
        it = lap.watch(self._connector.start(), self._connector.folder, readable)
        arrived = topic.read_back(lap.bootstrap, self._topic)
        if self._delivery == "exactly_once" and it.done == arrived.events + arrived.repeated:
            raise RuntimeError("no transaction has left its marker in the topic: this is not exactly once")
        return Measured.of(it, lap.events, arrived.events, arrived.repeated)

    def _publish(self, bootstrap: str) -> dict[str, object]:
        return {
            "url": f"kafka://{bootstrap}",
            "delivery": self._delivery,
            "options": {"compression.type": "lz4"},
        }
