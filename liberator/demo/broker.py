"""Which broker the demo publishes to: the one that is given, else a Kafka of our own, else a local log.

Enters: ``--publish`` and what the machine has. Leaves: a `Broker` that runs. Called by the demo's story. Never waits long
for downloads, and says what it does and why not more.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from liberator.demo.stream import FileStream, KafkaStream, LocalStream, Stream
from liberator.errors import ConfigError, LiberatorError
from liberator.kafka import driver
from liberator.kafka.errors import KafkaFailure
from liberator.kafka.options import bootstrap_servers
from liberator.locallog import LocalLog
from liberator.testing.servers import Kafka, KafkaServer
from liberator.testing.servers.containers import DockerKafka, docker_answers
from liberator.testing.servers.kafka import KAFKA_VERSION
from liberator.testing.servers.process import launch, tail

PATIENCE = 60.0
"""Seconds that a download may take; without it the demo goes on with a local log."""

_ANSWER_WITHIN = 10.0


class Broker(ABC):
    """Where events go. url: for ``publish.url``. what: its name for people. shared: it is not the demo's own, so names in
    it must be unique."""

    readable = True
    """Can a sink read it?"""

    def __init__(self, url: str, what: str, *, shared: bool) -> None:
        self.url = url
        self.what = what
        self.shared = shared

    @abstractmethod
    def stream(self, topics: Sequence[str]) -> Stream:
        """A reader of `topics`."""

    @abstractmethod
    def remove(self, topics: Sequence[str], groups: Sequence[str]) -> None:
        """Remove topics and consumer groups from a broker that stays. Raises `LiberatorError` when they are left behind."""

    @abstractmethod
    def close(self) -> None:
        """End a broker of our own. Idempotent."""


class File(Broker):
    """A file of JSON lines."""

    readable = False

    def __init__(self, path: Path) -> None:
        super().__init__(f"file:{path}", f"the file {path.name}", shared=False)
        self._path = path

    def stream(self, topics: Sequence[str]) -> Stream:
        """A reader of `topics`."""
        return FileStream(self._path, topics)

    def remove(self, topics: Sequence[str], groups: Sequence[str]) -> None:
        """Nothing: a file goes with its folder, and one that was asked for by name stays."""

    def close(self) -> None:
        """Nothing to end."""


class Local(Broker):
    """A local log in a folder. Nothing runs: every process opens the file."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"local:{folder}", f"the local log in {folder.name}/", shared=False)
        self._folder = folder

    def stream(self, topics: Sequence[str]) -> Stream:
        """A reader of `topics`."""
        return LocalStream(self._folder, topics)

    def remove(self, topics: Sequence[str], groups: Sequence[str]) -> None:
        """Nothing: a log goes with its folder, and one that was asked for by name stays."""

    def close(self) -> None:
        """Nothing to end."""


class Cluster(Broker):
    """A Kafka; `server` is ours."""

    def __init__(self, url: str, what: str, server: Kafka | None = None) -> None:
        super().__init__(url, what, shared=server is None)
        self._bootstrap = bootstrap_servers(url).split(",")
        self._server = server

    def stream(self, topics: Sequence[str]) -> Stream:
        """A reader of `topics`."""
        return KafkaStream(self._bootstrap, topics)

    def remove(self, topics: Sequence[str], groups: Sequence[str]) -> None:
        """Delete them from a cluster that stays; ours goes as a whole. Raises `LiberatorError`."""
        if not self.shared:
            return
        from kafka.errors import KafkaError

        try:
            kept = self._delete(topics, groups)
        except KafkaError as error:
            raise self._left_behind(_first_line(error), [*topics, *groups]) from error
        if kept:
            raise self._left_behind("a consumer group is still in use", kept)

    def _left_behind(self, why: str, names: Sequence[str]) -> LiberatorError:
        return LiberatorError(
            f"the demo's topics and consumer groups could not be deleted: {why}",
            code="demo.left_behind",
            where=self.url,
            fix=f"delete those that are there of {', '.join(names)}",
        )

    def _delete(self, topics: Sequence[str], groups: Sequence[str]) -> list[str]:
        """Groups that could not be deleted; one that never was is none of them."""
        from kafka import KafkaAdminClient

        patience_ms = int(_ANSWER_WITHIN * 1000)
        admin = KafkaAdminClient(bootstrap_servers=self._bootstrap, bootstrap_timeout_ms=patience_ms)
        try:
            admin.delete_topics(sorted(set(admin.list_topics()) & set(topics)), timeout_ms=patience_ms)
            ends = admin.delete_groups(list(groups)) if groups else {}
        finally:
            admin.close()
        return [group for group, how in ends.items() if how not in ("OK", "GroupIdNotFoundError")]

    def close(self) -> None:
        """End it, if it is ours. Idempotent."""
        if self._server is not None:
            self._server.close()


@dataclass(frozen=True)
class Machine:
    """What is at hand for a Kafka of our own, and how to talk to people meanwhile.

    say: shows a line. pause: waits some seconds; raises when the demo is to end.
    """

    folder: Path
    say: Callable[[str], None]
    pause: Callable[[float], None]
    environ: Mapping[str, str]

    def has(self, program: str) -> bool:
        """Is there such a program?"""
        return shutil.which(program, path=self.environ.get("PATH")) is not None

    def jars(self) -> Path:
        """Where Kafka's jars are kept."""
        cache = self.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        return Path(cache, "liberator", f"kafka-{KAFKA_VERSION}")


class NotHere(Exception):
    """Why one kind of Kafka can't be had."""


def choose(publish: str | None, machine: Machine) -> Broker:
    """The best broker at hand, started.

    Raises `ConfigError` for a `publish` that is none, `PublishError` for a cluster that does not answer.
    """
    if publish is not None:
        return given(publish)
    reasons = []
    for attempt in (with_jars_at_hand, with_docker, with_maven):
        try:
            return attempt(machine)
        except NotHere as reason:
            reasons.append(str(reason))
    machine.say(f"there is no Kafka at hand: {'; '.join(reasons)}")
    machine.say(
        "so events go to a local log; with a broker of yours: liberate demo --publish kafka://HOST:PORT"
    )
    return Local(machine.folder / "events")


def given(publish: str) -> Broker:
    """The broker, the local log or the file that somebody asked for."""
    scheme, _, rest = publish.partition(":")
    if scheme == "file" and rest:
        return File(_new(Path(rest).absolute(), Path.exists))
    if scheme == "local" and rest:
        return Local(_new(Path(rest).absolute(), LocalLog.exists))
    if scheme != "kafka":
        raise ConfigError(
            "the demo can't publish there",
            code="demo.publish",
            where="--publish",
            fix="write kafka://HOST:PORT, local:DIR or file:PATH, or leave it out",
        )
    cluster = driver(publish, {}, client="kafka-python", client_id="liberator-demo").cluster()
    try:
        cluster.check(_ANSWER_WITHIN)
    except KafkaFailure as failure:
        raise failure.publish_error(where=publish) from failure
    finally:
        cluster.close()
    return Cluster(publish, f"Kafka at {bootstrap_servers(publish)}")


def _new(path: Path, exists: Callable[[Path], bool]) -> Path:
    if exists(path):
        raise ConfigError(
            "it is there already, and other events in it would spoil the proof",
            code="demo.publish",
            where=str(path),
            fix="name a new one",
        )
    return path


def with_jars_at_hand(machine: Machine) -> Broker:
    """Our own, from jars that were fetched before."""
    if not machine.has("java"):
        raise NotHere("no Java")
    if not machine.jars().exists():
        raise NotHere("its jars were never fetched")
    return _from_jars(machine)


def with_docker(machine: Machine) -> Broker:
    """Our own, in a container."""
    if not docker_answers(machine.environ):
        raise NotHere("no Docker daemon, or no testcontainers")
    machine.say(f"fetching Kafka's image for Docker, at most {PATIENCE:.0f} s")
    _fetch("image", machine)
    machine.say(f"starting Kafka {KAFKA_VERSION} in Docker")
    return _start(DockerKafka(), f"Kafka {KAFKA_VERSION} in Docker")


def with_maven(machine: Machine) -> Broker:
    """Our own, from jars that are fetched now."""
    if not machine.has("java") or not machine.has("mvn"):
        raise NotHere("no Maven, or no Java 17")
    machine.say(f"fetching Kafka's jars with Maven (43 MB, this once), at most {PATIENCE:.0f} s")
    _fetch("jars", machine)
    return _from_jars(machine)


def _from_jars(machine: Machine) -> Broker:
    machine.say(f"starting Kafka {KAFKA_VERSION}")
    return _start(KafkaServer(), f"Kafka {KAFKA_VERSION}")


def _start(server: Kafka, what: str) -> Broker:
    try:
        server.start()
    except Exception as error:  # Docker's client has exceptions of its own
        server.close()
        raise NotHere(_first_line(error)) from error
    return Cluster(f"kafka://{server.bootstrap}", f"{what} at {server.bootstrap}", server)


def _fetch(what: str, machine: Machine) -> None:
    """Run `fetch` for a while. Raises `NotHere` when it fails or takes too long."""
    log = machine.folder / f"fetch-{what}.log"
    process = launch(
        [sys.executable, "-m", "liberator.demo.fetch", what],
        cwd=machine.folder,
        log=log,
        environ=machine.environ,
        death_signal=signal.SIGTERM,
    )
    with _ended(process):
        end = time.monotonic() + PATIENCE
        while process.poll() is None:
            if time.monotonic() > end:
                raise NotHere(f"not fetched within {PATIENCE:.0f} s")
            machine.pause(0.2)
    if process.returncode:
        raise NotHere(tail(log, 1))


@contextlib.contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Whatever happens, the process and all it has started end here."""
    try:
        yield
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _first_line(error: Exception) -> str:
    text = error.what if isinstance(error, LiberatorError) else str(error)
    return (text or type(error).__name__).splitlines()[0].rstrip(":")
