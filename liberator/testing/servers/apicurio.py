"""A real schema registry (Apicurio, in memory) on loopback, run from its jar.

Enters: nothing but a Java runtime, and Maven the first time. Leaves: the address of its Confluent-compatible interface.
Called by tests. Never listens on anything but 127.0.0.1, and forgets everything when it stops.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import zipfile
from abc import abstractmethod
from http.client import HTTPConnection, HTTPException
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

APICURIO_VERSION = "2.6.13.Final"
COMPATIBLE = "/apis/ccompat/v7"
"""Path of the interface that speaks Confluent's REST."""

_APICURIO = JavaServer("Apicurio", APICURIO_VERSION, "LIBERATOR_TEST_REGISTRY", "a registry")
_NAME = f"apicurio-registry-app-{APICURIO_VERSION}"
_ARTIFACT = f"io.apicurio:apicurio-registry-app:{APICURIO_VERSION}:zip:all"


class Registry(Server):
    """A schema registry that tests may make subjects in."""

    @property
    @abstractmethod
    def url(self) -> str:
        """Where clients ask."""

    def stop(self) -> None:
        """Stop it; what it knew is gone."""
        raise not_ours()


class GivenRegistry(Given, Registry):
    """A registry that somebody else runs, known by its address: it cannot be stopped from here."""

    @property
    def url(self) -> str:
        """The address as given."""
        return self._address


class ApicurioServer(Registry):
    """A registry of our own; it dies with this process. heap: Java's -Xmx."""

    def __init__(self, *, heap: str = "256m") -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="liberator-apicurio-"))
        self.log = self.folder / "log"
        self.port = free_port()
        self._heap = heap
        self._process: Process | None = None

    @property
    def url(self) -> str:
        """Where clients ask: the Confluent-compatible interface."""
        return f"http://127.0.0.1:{self.port}{COMPATIBLE}"

    def start(self) -> ApicurioServer:
        """Start, which takes about five seconds; on the same port whenever it is started again."""
        if self._process is not None:
            raise ServerError("Apicurio is already running", code="server.running")
        home = apicurio_home()
        process = launch(
            [
                _APICURIO.program("java"),
                *(f"-Xmx{self._heap}", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"),
                *("-Dquarkus.http.host=127.0.0.1", f"-Dquarkus.http.port={self.port}"),
                *("-jar", str(home / f"{_NAME}-runner.jar")),
            ],
            cwd=self.folder,
            log=self.log,
            environ=os.environ,
            death_signal=signal.SIGKILL,
        )
        if not wait_until(lambda: process.poll() is not None or _answers(self.port), timeout=240, pause=0.1):
            kill_hard(process)
        if process.poll() is not None:
            raise ServerError(f"Apicurio did not start:\n{tail(self.log)}", where=self.url)
        self._process = process
        return self

    def stop(self) -> None:
        """Stop it; what it knew is gone, for it keeps everything in memory."""
        if self._process is None:
            raise ServerError("Apicurio is not running", code="server.stopped")
        kill_hard(self._process)
        self._process = None

    def close(self) -> None:
        """Stop it and remove its folder. Idempotent."""
        if self._process is not None:
            self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def apicurio_home(cache: Path | None = None) -> Path:
    """The folder with Apicurio's jars, fetched by Maven the first time (142 MB); see `JavaServer.home`."""
    return _APICURIO.home(cache, _fetch)


def _fetch(folder: Path) -> Path:
    _APICURIO.maven(folder, ["dependency:copy", f"-Dartifact={_ARTIFACT}", f"-DoutputDirectory={folder}"])
    with zipfile.ZipFile(folder / f"{_NAME}-all.zip") as archive:
        archive.extractall(folder / "home")
    return folder / "home"


def _answers(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", f"{COMPATIBLE}/subjects")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()
