"""A real schema registry (Apicurio, in memory) on loopback, run from its jar.

Enters: nothing but a Java runtime, and Maven the first time. Leaves: the address of its Confluent-compatible interface.
Called by tests. Never listens on anything but 127.0.0.1, and forgets everything when it stops.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import zipfile
from abc import ABC, abstractmethod
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from types import TracebackType
from typing import TypeVar

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

APICURIO_VERSION = "2.6.13.Final"
COMPATIBLE = "/apis/ccompat/v7"
"""Path of the interface that speaks Confluent's REST."""

_NAME = f"apicurio-registry-app-{APICURIO_VERSION}"
_ARTIFACT = f"io.apicurio:apicurio-registry-app:{APICURIO_VERSION}:zip:all"

_Server = TypeVar("_Server", bound="Registry")


class Registry(ABC):
    """A schema registry that tests may make subjects in."""

    @property
    @abstractmethod
    def url(self) -> str:
        """Where clients ask."""

    @abstractmethod
    def start(self: _Server) -> _Server:
        """Start it and wait until it answers."""

    def stop(self) -> None:
        """Stop it; what it knew is gone."""
        raise not_ours()

    @abstractmethod
    def close(self) -> None:
        """Give it back; what was made for it is removed. Idempotent."""

    def __enter__(self: _Server) -> _Server:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class GivenRegistry(Registry):
    """A registry that somebody else runs, known by its address: it cannot be stopped from here."""

    def __init__(self, url: str) -> None:
        self._url = url

    @property
    def url(self) -> str:
        """The address as given."""
        return self._url

    def start(self) -> GivenRegistry:
        """Nothing to do: it runs."""
        return self

    def close(self) -> None:
        """Nothing to do: it stays."""


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
                _program("java"),
                *(f"-Xmx{self._heap}", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"),
                *("-Dquarkus.http.host=127.0.0.1", f"-Dquarkus.http.port={self.port}"),
                *("-jar", str(home / f"{_NAME}-runner.jar")),
            ],
            cwd=self.folder,
            log=self.log,
            environ=os.environ,
            death_signal=signal.SIGKILL,
        )
        if not wait_until(lambda: process.poll() is not None or _answers(self.port), timeout=120, pause=0.1):
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
    """The folder with Apicurio's jars, fetched by Maven the first time (142 MB).

    `cache` is the folder to keep them in; by default `liberator` in XDG_CACHE_HOME or ~/.cache.
    """
    cache = cache or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "liberator"
    home = cache / f"apicurio-{APICURIO_VERSION}"
    if home.exists():
        return home
    cache.mkdir(parents=True, exist_ok=True)
    fetched = Path(tempfile.mkdtemp(prefix="apicurio-", dir=cache))
    try:
        _fetch(fetched)
        with zipfile.ZipFile(fetched / f"{_NAME}-all.zip") as archive:
            archive.extractall(fetched / "home")
        with contextlib.suppress(OSError):  # another process was faster: its jars are as good
            (fetched / "home").rename(home)
    finally:
        shutil.rmtree(fetched)
    return home


def _fetch(folder: Path) -> None:
    goal = ["dependency:copy", f"-Dartifact={_ARTIFACT}", f"-DoutputDirectory={folder}"]
    fetched = subprocess.run(
        [_program("mvn"), "-B", "-q", "-ntp", *goal],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if fetched.returncode:
        raise ServerError(
            f"Maven could not fetch Apicurio:\n{fetched.stdout[-2000:]}",
            code="server.missing",
            fix="check that Maven reaches its repository, or set LIBERATOR_TEST_REGISTRY to a registry's address",
        )


def _program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise ServerError(
            f"{name} is not installed, so no schema registry of our own can run",
            code="server.missing",
            fix="install Java 17 or newer and Maven (Debian: apt-get install default-jre-headless maven), "
            "or set LIBERATOR_TEST_REGISTRY to a registry's address",
        )
    return path


def _answers(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", f"{COMPATIBLE}/subjects")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()
