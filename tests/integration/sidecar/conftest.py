"""A sidecar in a thread of the test, and a client that speaks HTTP to it."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from liberator.build.sidecar import Sidecar
from liberator.config.sidecar import SidecarConfig
from liberator.protocols import Publisher

PATIENCE = 120.0


@dataclass(frozen=True)
class Reply:
    """What was answered."""

    status: int
    headers: Mapping[str, str]
    raw: bytes

    @property
    def body(self) -> dict[str, Any]:
        """The JSON object."""
        found = json.loads(self.raw)
        assert isinstance(found, dict)
        return found


class Client:
    """One connection that is kept."""

    def __init__(self, port: int) -> None:
        self.connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE)

    def request(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.connection.request(method, path, body, named)
        response = self.connection.getresponse()
        return Reply(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())

    def post(self, path: str, body: Any = b"{}", **headers: str) -> Reply:
        return self.request("POST", path, body, **{"Content_Type": "application/json", **headers})

    def close(self) -> None:
        self.connection.close()


class Running:
    """A sidecar that runs. `config`: as in its file."""

    def __init__(self, folder: Path, publisher: Callable[[], Publisher] | None = None, **config: Any) -> None:
        document = {
            "connector": "sidecar",
            "name": "shop",
            "listen": "127.0.0.1:0",
            "publish": {"url": "local:events"},
            "events": {"timeout": "60s"},
            **config,
        }
        self.sidecar = Sidecar(SidecarConfig.model_validate(document, context={"folder": folder}), publisher)
        self.failure: BaseException | None = None
        self._clients: list[Client] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return self.sidecar.server.address[1]

    def client(self) -> Client:
        """A new connection."""
        self._clients.append(client := Client(self.port))
        return client

    def until_ready(self) -> Client:
        """A new connection, when it takes events."""
        client = self.client()
        end = time.monotonic() + PATIENCE
        while client.request("GET", "/health/ready").status != 200:
            assert time.monotonic() < end
            assert self._thread.is_alive(), self.failure
            time.sleep(0.01)
        return client

    def wait(self) -> None:
        """Until it has ended by itself."""
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()

    def stop(self) -> None:
        """As SIGTERM does it."""
        self.sidecar.stop()
        self.wait()
        for client in self._clients:
            client.close()

    def raw(self, request: bytes) -> bytes:
        """Everything that is answered until the connection ends."""
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE) as connection:
            connection.sendall(request)
            answer = b""
            while piece := connection.recv(65536):
                answer += piece
            return answer

    def _serve(self) -> None:
        try:
            self.sidecar.serve()
        except BaseException as error:
            self.failure = error


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Starts sidecars, all in one folder."""
    started: list[Running] = []

    def run(publisher: Callable[[], Publisher] | None = None, **config: Any) -> Running:
        started.append(running := Running(tmp_path, publisher, **config))
        return running

    yield run
    for running in started:
        running.stop()
