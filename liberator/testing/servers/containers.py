"""PostgreSQL and Kafka in containers, through testcontainers.

Enters: a Docker daemon. Leaves: the same servers as `postgres` and `kafka` run themselves, on fixed ports of
127.0.0.1, so that a restart finds them again. Called by `find` only. Imports Docker's client only when asked.
"""

from __future__ import annotations

import importlib.util
import socket
from collections.abc import Mapping, Sequence
from typing import Any

from liberator.testing.servers.kafka import KAFKA_VERSION, SETTINGS_OF_ONE_NODE, Kafka, answers
from liberator.testing.servers.postgres import SETTINGS, Postgres
from liberator.testing.servers.process import ServerError, free_port, wait_until


def docker_answers(environ: Mapping[str, str]) -> bool:
    """Is testcontainers installed, and does a Docker daemon answer within two seconds?

    A DOCKER_HOST on another machine was set on purpose: it is believed, and fails loudly if it is wrong.
    """
    address = environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    if importlib.util.find_spec("testcontainers") is None:
        return False
    return not address.startswith("unix://") or _answers_ping(address.removeprefix("unix://"))


def _answers_ping(path: str) -> bool:
    # By hand, because Docker's client leaks a socket for each daemon that is not there.
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(2)
        try:
            connection.connect(path)
            connection.sendall(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")
            return b" 200 " in connection.recv(64)
        except OSError:
            return False


class _Container:
    """One container with one port, bound to a fixed port of 127.0.0.1."""

    def __init__(
        self,
        image: str,
        port: int,
        *,
        host_port: int,
        environ: Mapping[str, str],
        command: Sequence[str] = (),
    ) -> None:
        self.port = host_port
        self._image = image
        self._environ = dict(environ)
        self._command = list(command)
        self._ports: Any = {str(port): ("127.0.0.1", host_port)}
        self._made: Any = None

    def start(self) -> None:
        if self._made:
            self._docker().start()
            return
        from testcontainers.core.container import DockerContainer

        container = DockerContainer(self._image).with_envs(**self._environ)
        container.ports = self._ports  # with_bind_ports would listen on all addresses
        if self._command:
            container.with_command(self._command)
        container.start()
        self._made = container

    def stop(self, sent: str, timeout: float) -> None:
        self._docker().kill(signal=sent)
        if not wait_until(lambda: not self._running(), timeout=timeout, pause=0.1):
            raise TimeoutError(f"the container did not stop within {timeout} s")

    def pause(self) -> None:
        self._docker().pause()

    def resume(self) -> None:
        self._docker().unpause()

    def close(self) -> None:
        if self._made:
            self._made.stop()
            self._made = None

    def _docker(self) -> Any:
        return self._made.get_wrapped_container()

    def _running(self) -> bool:
        container = self._docker()
        container.reload()
        return bool(container.status == "running")


class DockerPostgres(Postgres):
    """The official image of PostgreSQL `major`, with logical decoding."""

    def __init__(self, major: int) -> None:
        settings = {**SETTINGS, "listen_addresses": "*", "unix_socket_directories": "/var/run/postgresql"}
        self._container = _Container(
            f"postgres:{major}",
            5432,
            host_port=free_port(),
            environ={"POSTGRES_HOST_AUTH_METHOD": "trust"},
            command=[word for name, value in settings.items() for word in ("-c", f"{name}={value}")],
        )

    @property
    def dsn(self) -> str:
        """The database postgres as the superuser postgres, without a password."""
        return f"postgresql://postgres@127.0.0.1:{self._container.port}/postgres"

    def start(self) -> DockerPostgres:
        """Start and wait until it takes connections."""
        self._container.start()
        if not wait_until(self._connects, timeout=60, pause=0.1):
            raise ServerError("PostgreSQL in Docker does not take connections", where=self.dsn)
        return self

    def stop(self, mode: str = "fast", timeout: float = 60) -> None:
        """Shut down (smart, fast or immediate); `TimeoutError` when it still runs after `timeout` seconds."""
        self._container.stop({"smart": "SIGTERM", "fast": "SIGINT", "immediate": "SIGQUIT"}[mode], timeout)

    def kill(self) -> None:
        """kill -9 the container."""
        self._container.stop("SIGKILL", timeout=30)

    def close(self) -> None:
        """Remove the container. Idempotent."""
        self._container.close()

    def _connects(self) -> bool:
        import psycopg

        try:
            return self.execute("SELECT 1") == [(1,)]
        except psycopg.OperationalError:
            return False


class DockerKafka(Kafka):
    """The official image of Apache Kafka, one node."""

    def __init__(self) -> None:
        port, controller = free_port(), 9093
        settings = {
            **SETTINGS_OF_ONE_NODE,
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            # The same port inside and outside: the broker reaches itself under the address it advertises.
            "listeners": f"PLAINTEXT://0.0.0.0:{port},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
            "log.dirs": "/tmp/kraft-combined-logs",
        }
        self._container = _Container(
            f"apache/kafka:{KAFKA_VERSION}",
            port,
            host_port=port,
            environ={
                "KAFKA_" + name.upper().replace(".", "_"): str(value) for name, value in settings.items()
            },
        )

    @property
    def bootstrap(self) -> str:
        """Where clients connect, as `host:port`."""
        return f"127.0.0.1:{self._container.port}"

    def start(self) -> DockerKafka:
        """Start and wait until the broker lists itself."""
        self._container.start()
        if not wait_until(lambda: answers(self._container.port), timeout=90, pause=0.1):
            raise ServerError("Kafka in Docker does not answer", where=self.bootstrap)
        return self

    def stop(self, timeout: float = 60) -> None:
        """Shut down in good order; `TimeoutError` when it still runs after `timeout` seconds."""
        self._container.stop("SIGTERM", timeout)

    def kill(self) -> None:
        """kill -9 the container."""
        self._container.stop("SIGKILL", timeout=30)

    def pause(self) -> None:
        """Freeze the broker: connections stay open, nothing is answered."""
        self._container.pause()

    def resume(self) -> None:
        """Let a paused broker go on."""
        self._container.resume()

    def close(self) -> None:
        """Remove the container. Idempotent."""
        self._container.close()
