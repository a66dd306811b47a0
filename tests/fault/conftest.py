"""Connectors for the fault tests: those of the acceptance tests, with what it takes to hurt and to judge them."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from liberator.testing.proxy import Proxy
from tests.acceptance.connector import Connector
from tests.acceptance.events import Event, Order
from tests.fault.brokers import Fortress, Topics


class _AnyOrder(Order):
    """Events may come again after a kill: the oracle judges the whole stream instead."""

    def check(self, events: Iterable[Event]) -> None:
        """Let everything pass."""


class FaultConnector(Connector):
    """A connector that is killed, restarted and judged as a whole."""

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self._order = _AnyOrder()

    def launch(self, *more: str) -> subprocess.Popen[bytes]:
        """Start a process of it; `close` ends it with kill -9, whatever it does."""
        self._process = super().launch(*more)
        return self._process

    def lines(self) -> list[dict[str, Any]]:
        """Everything it published, as the oracle wants it; a torn last line left out."""
        data = self._path.read_bytes()
        return [json.loads(line) for line in data[: data.rfind(b"\n") + 1].splitlines()]

    def published_lines(self) -> int:
        """How many lines there are in the file now."""
        return self._path.read_bytes().count(b"\n") if self._path.exists() else 0

    def finished_tables(self) -> list[str]:
        """The tables whose snapshot the checkpoint calls done."""
        rows = [json.loads(line) for line in self._checkpoint("show", "--json").splitlines()]
        done = [row["partition"] for row in rows if str(row.get("position", "")).startswith("read at")]
        return [partition.removeprefix("table:public.") for partition in done]

    def have_read_again(self, table: str) -> None:
        """Have its rows read at the next start; its process must not run."""
        self._checkpoint("reset", "--read", table)

    def _checkpoint(self, *words: str) -> bytes:
        command = [sys.executable, "-m", "liberator", "checkpoint", *words]
        command += ["--source", self.dsn, "--name", self.name]
        return subprocess.run(command, check=True, capture_output=True, cwd=self.folder).stdout

    def close_connection(self) -> None:
        """Forget the test's own connection; the next question makes a new one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def launch_into_a_full_pipe(self) -> subprocess.Popen[bytes]:
        """Start it with its output into a pipe that nobody reads; returns when it is full."""
        command = [
            sys.executable,
            "-m",
            "liberator",
            "--source",
            self.dsn,
            "--mode",
            "log",
            "--name",
            self.name,
        ]
        with self._log.open("ab") as log:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, cwd=self.folder)
        self._process = process
        self.wait_for(lambda: "reading" in self.log and _is_blocked(process.pid), "a full pipe")
        return process

    def ended(self, patience: float) -> int:
        """The exit code of the running process, which ends within `patience` seconds."""
        assert self._process is not None
        return self._process.wait(patience)

    def memory_peak(self) -> int:
        """Bytes that the running process has had in memory at most."""
        assert self._process is not None
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024

    def has_loaded(self, library: str) -> bool:
        """Does the running process use this library?"""
        assert self._process is not None
        return library in Path(f"/proc/{self._process.pid}/maps").read_text()

    def is_quiet(self, cpu: float, seconds: float) -> None:
        """Wait for a time of `seconds` in which it uses less than `cpu` seconds of a processor: the first one, or a later
        one on a machine on which everything takes longer. What is in a hurry never has one."""
        used = [self.cpu_seconds()]

        def was_quiet() -> bool:
            time.sleep(seconds)
            used.append(self.cpu_seconds())
            return used[-1] - used[-2] < cpu

        self.wait_for(was_quiet, f"{seconds:g} s with less than {cpu:g} s of a processor")


class SlowedConnector(FaultConnector):
    """Reads its tables one after the other, and no further than the test lets it: so that it can act while it reads."""

    def __init__(self, dsn: str, folder: Path, name: str, line: Proxy, *options: str) -> None:
        one = ("--set", "source.log.snapshot_workers=1")
        super().__init__(dsn, folder, name, "--source", line.url(dsn), *one, *options)
        self._line = line

    def reads(self, size: int, rows: int, *more: str) -> subprocess.Popen[bytes]:
        """Start it, and let it have `size` bytes of its tables; returns once more than `rows` rows are published. The rest
        comes when it `goes_on`."""
        self._line.let_through(size, "to_client")
        process = self.launch(*more)
        self.wait_for(lambda: self.published_lines() > rows, "a part of the snapshot")
        return process

    def goes_on(self) -> None:
        """Let everything through."""
        self._line.calm()

    def is_killed_after(self, size: int, rows: int) -> None:
        """Start it, let it have `size` bytes of its tables, and kill it once more than `rows` rows are published."""
        process = self.reads(size, rows)
        process.kill()
        process.wait()
        self.goes_on()


class KafkaConnector(FaultConnector):
    """A fault connector that publishes to Kafka. topics: what it has published there.

    near: where the test itself reaches the broker, when that is another way.
    """

    def __init__(
        self, dsn: str, folder: Path, name: str, bootstrap: str, *options: str, near: str | None = None
    ) -> None:
        super().__init__(dsn, folder, name, "--publish", f"kafka://{bootstrap}", *options)
        self.topics = Topics(near or bootstrap, f"{name}.")

    def settled(self) -> None:
        """Returns when all that was committed up to now is durable, saved and acknowledged, a snapshot included."""
        [[lsn]] = self.execute(
            # A transaction of its own: a new slot is confirmed up to where it was made from the beginning.
            "select pg_logical_emit_message(true, 'settled', '')",
            "select pg_current_wal_flush_lsn()",
        )
        self.wait_for(lambda: self.confirmed_up_to(lsn), f"the acknowledgement of {lsn}")

    def walsender(self) -> int | None:
        """The process of the server that serves it; None while there is none."""
        [[pid]] = self.execute(f"select active_pid from pg_replication_slots where slot_name = '{self.slot}'")
        return None if pid is None else int(pid)

    def confirmed(self) -> str:
        """The position that the server may forget everything before."""
        [[lsn]] = self.execute(
            f"select confirmed_flush_lsn from pg_replication_slots where slot_name = '{self.slot}'"
        )
        return str(lsn)


def address(url: str) -> tuple[str, int]:
    """Host and port of a URL that names both."""
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    return parts.hostname, parts.port


def _is_blocked(pid: int) -> bool:
    """Has the process written as much as a pipe takes?"""
    written = Path(f"/proc/{pid}/io").read_text().split("wchar: ")[1].split()[0]
    return int(written) >= 60_000


@pytest.fixture
def connector(tmp_path: Path, unique: str) -> Iterator[Callable[..., FaultConnector]]:
    """Makes a connector for a database: `connector(dsn, "--table", "public.t")`. It is not started."""
    numbers = itertools.count()
    with ExitStack() as stack:

        def make(dsn: str, *options: str) -> FaultConnector:
            name = f"{unique}_{next(numbers)}"
            made = FaultConnector(dsn, tmp_path / name, name, *options)
            stack.callback(made.close)
            return made

        yield make


@pytest.fixture
def slowed(tmp_path: Path, unique: str) -> Iterator[Callable[..., SlowedConnector]]:
    """Makes a connector that reads slowly: `slowed(dsn, ...)`. It is not started."""
    numbers = itertools.count()
    with ExitStack() as stack:

        def make(dsn: str, *options: str) -> SlowedConnector:
            line = stack.enter_context(Proxy(*address(dsn)))
            name = f"{unique}_{next(numbers)}"
            made = SlowedConnector(dsn, tmp_path / name, name, line, *options)
            stack.callback(made.close)
            return made

        yield make


@pytest.fixture
def publishing(tmp_path: Path, unique: str) -> Iterator[Callable[..., KafkaConnector]]:
    """Makes a connector from a database to a broker: `publishing(dsn, bootstrap, ...)`. It is not started."""
    numbers = itertools.count()
    with ExitStack() as stack:

        def make(dsn: str, bootstrap: str, *options: str, near: str | None = None) -> KafkaConnector:
            name = f"{unique}_{next(numbers)}"
            made = KafkaConnector(dsn, tmp_path / name, name, bootstrap, *options, near=near)
            stack.callback(made.close)
            return made

        yield make


@pytest.fixture(params=["confluent", "kafka-python"])
def client(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The connectors of the test use each Kafka client in turn: where confluent-kafka can't be imported, kafka-python."""
    if request.param == "kafka-python":
        hiding = tmp_path / "hiding"
        hiding.mkdir()
        (hiding / "sitecustomize.py").write_text("import sys\nsys.modules['confluent_kafka'] = None\n")
        monkeypatch.setenv("PYTHONPATH", str(hiding))
    chosen: str = request.param
    return chosen


@pytest.fixture(scope="session")
def fortress(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fortress]:
    """A broker that speaks TLS and asks for passwords and rights."""
    fortress = Fortress(tmp_path_factory.mktemp("fortress"))
    with fortress.server:
        yield fortress
