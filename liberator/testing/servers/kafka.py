"""A real Apache Kafka (KRaft, one node) on loopback, run from its jars.

Enters: nothing but a Java runtime, and Maven the first time. Leaves: a bootstrap address. Called by tests and
by the demo. Never listens on anything but 127.0.0.1, and needs no client library.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import uuid
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path

from liberator.testing.servers.jars import JavaServer
from liberator.testing.servers.process import (
    Process,
    ServerError,
    free_port,
    kill_hard,
    launch,
    not_ours,
    tail,
    wait_until,
)
from liberator.testing.servers.server import Given, Server

KAFKA_VERSION = "4.4.0"

_KAFKA = JavaServer("Kafka", KAFKA_VERSION, "LIBERATOR_TEST_KAFKA", "a broker")

# kafka-tools-api is named in the broker's POM but was never published; without slf4j-simple there is no log.
_POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>liberator</groupId><artifactId>kafka</artifactId><version>1</version>
<dependencies>
  <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{KAFKA_VERSION}</version>
    <exclusions>
      <exclusion><groupId>org.apache.kafka</groupId><artifactId>kafka-tools-api</artifactId></exclusion>
    </exclusions>
  </dependency>
  <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
</dependencies></project>
"""

# One node that is broker and controller; replication factors and buffers cut down to what one node needs.
SETTINGS_OF_ONE_NODE = {
    "process.roles": "broker,controller",
    "node.id": 1,
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "num.network.threads": 2,
    "num.io.threads": 2,
    "background.threads": 2,
    "num.partitions": 1,
    "auto.create.topics.enable": "false",
    "offsets.topic.replication.factor": 1,
    "offsets.topic.num.partitions": 4,
    "transaction.state.log.replication.factor": 1,
    "transaction.state.log.min.isr": 1,
    "transaction.state.log.num.partitions": 4,
    "share.coordinator.state.topic.replication.factor": 1,
    "share.coordinator.state.topic.min.isr": 1,
    "share.coordinator.state.topic.num.partitions": 2,
    "group.initial.rebalance.delay.ms": 0,
    "group.min.session.timeout.ms": 100,  # tests of consumers that die can't wait for Kafka's six seconds
    "log.cleaner.dedupe.buffer.size": 8 << 20,
    "log.cleaner.threads": 1,
    "log.index.size.max.bytes": 1 << 20,
    "initial.broker.registration.timeout.ms": 60_000,
    "broker.heartbeat.interval.ms": 500,
    "broker.session.timeout.ms": 3_000,  # so long does a start after kill -9 wait for the old session
    "controlled.shutdown.enable": "true",
}


class Kafka(Server):
    """A Kafka cluster that tests may make topics in."""

    @property
    @abstractmethod
    def bootstrap(self) -> str:
        """Where clients connect, as `host:port`."""

    def stop(self, timeout: float = 60) -> None:
        """Shut down in good order; `TimeoutError` when it still runs after `timeout` seconds."""
        raise not_ours()

    def kill(self) -> None:
        """kill -9 the broker."""
        raise not_ours()

    def pause(self) -> None:
        """Freeze the broker: connections stay open, nothing is answered."""
        raise not_ours()

    def resume(self) -> None:
        """Let a paused broker go on."""
        raise not_ours()

    def restart(self, timeout: float = 60) -> None:
        """Stop in good order, and start again on the same port with the same data."""
        self.stop(timeout)
        self.start()


class GivenKafka(Given, Kafka):
    """A cluster that somebody else runs, known by its bootstrap address: it cannot be stopped from here."""

    def __init__(self, bootstrap: str) -> None:
        super().__init__(bootstrap.removeprefix("kafka://"))

    @property
    def bootstrap(self) -> str:
        """The address as given, without `kafka://`."""
        return self._address


class KafkaServer(Kafka):
    """A broker of our own; it dies with this process. `properties` override the broker's configuration.

    Everything lives in one temporary folder: its data, and `log` (what the broker says). `heap`: Java's -Xmx.
    `cluster`: the id of the cluster that it is a node of; by default it is one of its own.
    """

    def __init__(
        self,
        *,
        properties: Mapping[str, object] | None = None,
        heap: str = "256m",
        cluster: str | None = None,
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="liberator-kafka-"))
        self.log = self.folder / "log"
        self.properties = dict(properties or {})
        self.port = free_port()
        self._controller_port = free_port()
        self._heap = heap
        self._cluster = cluster or new_cluster()
        self._jars: Path | None = None
        self._process: Process | None = None
        self._archives: dict[Path, Path] = {}

    @property
    def bootstrap(self) -> str:
        """Where clients connect, as `host:port`."""
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The broker's process id."""
        return self._running().pid

    def start(self) -> KafkaServer:
        """Start, formatting the storage the first time; returns when the broker lists itself.

        After `kill` that takes about five seconds: the controller waits for the old session to end.
        """
        if self._process is not None:
            raise ServerError("Kafka is already running", code="server.running")
        self._jars = kafka_jars()
        first = not (self.folder / "data").exists()
        for attempt in range(3):
            try:
                self._start_once(first)
            except ServerError:
                if not first or attempt == 2:
                    raise
                self.port, self._controller_port = (
                    free_port(),
                    free_port(),
                )  # somebody else may have taken them
                shutil.rmtree(self.folder / "data", ignore_errors=True)
            else:
                break
        return self

    def stop(self, timeout: float = 60) -> None:
        """Shut down in good order; `TimeoutError` when it still runs after `timeout` seconds."""
        process = self._running()
        self.resume()
        process.terminate()
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"Kafka did not shut down within {timeout} s") from None
        self._process = None
        self._keep_archives()

    def kill(self) -> None:
        """kill -9 the broker."""
        kill_hard(self._running())
        self._process = None

    def pause(self) -> None:
        """Freeze the broker: connections stay open, nothing is answered."""
        os.kill(self.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)  # its threads stop one by one

    def resume(self) -> None:
        """Let a paused broker go on."""
        os.kill(self.pid, signal.SIGCONT)

    def close(self) -> None:
        """Stop (at once if it does not obey within ten seconds) and remove the folder. Idempotent."""
        if self._process is not None:
            with contextlib.suppress(TimeoutError):
                self.stop(timeout=10)
        if self._process is not None:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _running(self) -> Process:
        if self._process is None:
            raise ServerError("Kafka is not running", code="server.stopped")
        return self._process

    def _start_once(self, first: bool) -> None:
        configuration = self.folder / "server.properties"
        configuration.write_text("".join(f"{key}={value}\n" for key, value in self._configuration().items()))
        if first:
            self._format(configuration)
        process = launch(
            self._java("kafka.Kafka", str(configuration), heap=self._heap),
            cwd=self.folder,
            log=self.log,
            environ=os.environ,
            death_signal=signal.SIGKILL,
        )
        if not wait_until(lambda: process.poll() is not None or answers(self.port), timeout=240, pause=0.05):
            kill_hard(process)
        if process.poll() is not None:
            raise ServerError(f"Kafka did not start:\n{tail(self.log)}", where=self.bootstrap)
        self._process = process

    def _configuration(self) -> dict[str, object]:
        return {
            **SETTINGS_OF_ONE_NODE,
            "controller.quorum.voters": f"1@127.0.0.1:{self._controller_port}",
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{self._controller_port}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self.port}",
            "log.dirs": self.folder / "data",
            **self.properties,
        }

    def _format(self, configuration: Path) -> None:
        tool = self._java(
            "kafka.tools.StorageTool", "format", "-t", self._cluster, "-c", str(configuration), heap="128m"
        )
        made = subprocess.run(tool, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if made.returncode:
            raise ServerError(
                f"Kafka's storage could not be formatted:\n{made.stdout[-2000:]}", where=tool[0]
            )
        self._keep_archives()

    def _java(self, main: str, *arguments: str, heap: str) -> list[str]:
        """A Java command line that starts fast and stays small; absolute, as the launcher wants it."""
        assert self._jars is not None
        jars = ":".join(sorted(str(jar) for jar in self._jars.glob("*.jar")))
        return [
            _KAFKA.program("java"),
            f"-Xmx{heap}",
            *(
                "-Xms32m",
                "-Xss512k",
                "-XX:MaxMetaspaceSize=160m",
                "-XX:+UseSerialGC",
                "-XX:TieredStopAtLevel=1",
            ),
            *("-Djava.awt.headless=true", "-Xshare:auto", "-Xlog:cds=off", "-Xlog:cds+dynamic=off"),
            self._archive(main),
            *("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Dorg.slf4j.simpleLogger.showDateTime=true"),
            *("-cp", jars, main, *arguments),
        ]

    def _archive(self, main: str) -> str:
        """Java's archive of loaded classes beside the jars: used if there, else written when Java ends."""
        assert self._jars is not None
        java = Path(_KAFKA.program("java")).resolve()
        build = hashlib.sha256(f"{java} {java.stat().st_mtime}".encode()).hexdigest()[:12]
        archive = self._jars / f"{main}-{build}.jsa"
        if archive.exists():
            return f"-XX:SharedArchiveFile={archive}"
        unfinished = self.folder / archive.name
        self._archives[unfinished] = archive
        return f"-XX:ArchiveClassesAtExit={unfinished}"

    def _keep_archives(self) -> None:
        for unfinished, archive in self._archives.items():
            if unfinished.exists():
                beside = archive.with_suffix(f".{os.getpid()}")
                shutil.copyfile(unfinished, beside)
                beside.replace(archive)
        self._archives.clear()


def new_cluster() -> str:
    """The id of a cluster: a base64 UUID. One that starts with a dash would be read as an option."""
    return "L" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode()[1:22]


def kafka_jars(cache: Path | None = None) -> Path:
    """The folder with Kafka's jars, fetched by Maven the first time (43 MB); see `JavaServer.home`."""
    return _KAFKA.home(cache, _fetch)


def _fetch(folder: Path) -> Path:
    (folder / "pom.xml").write_text(_POM)
    jars = folder / "jars"
    goal = "dependency:copy-dependencies"
    _KAFKA.maven(folder, [goal, "-DincludeScope=runtime", f"-DoutputDirectory={jars}"])
    return jars


def answers(port: int, timeout: float = 2) -> bool:
    """Does the broker at 127.0.0.1:`port` list itself? A metadata request (version 1, no topics) by hand."""
    request = struct.pack(">hhihi", 3, 1, 1, -1, 0)
    try:
        with socket.create_connection(("127.0.0.1", port), timeout) as connection:
            connection.sendall(struct.pack(">i", len(request)) + request)
            with connection.makefile("rb") as stream:
                (size,) = struct.unpack(">i", stream.read(4))
                answer = stream.read(size)
    except (OSError, struct.error):
        return False
    if len(answer) != size:
        return False
    brokers: int = struct.unpack_from(">i", answer, 4)[0]  # after the correlation id
    return brokers >= 1
