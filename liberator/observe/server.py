"""The HTTP endpoint of a running connector: metrics, health, status and control.

Enters: HTTP requests. Leaves: numbers as Prometheus text or JSON. Started by `build`, off unless
configured. Reads the `Telemetry` and calls the control functions it was given; never touches the source,
rows or secrets.
"""

from __future__ import annotations

import ipaddress
import json
import logging
import socket
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from liberator.errors import LiberatorError
from liberator.inbound.address import bind
from liberator.inbound.handler import Handler
from liberator.inbound.listener import Listener
from liberator.observe.telemetry import Telemetry

if TYPE_CHECKING:
    from types import TracebackType

Control = Callable[[Mapping[str, Any]], object]
"""A control function: takes the request's JSON object, returns what can be written as JSON."""

log = logging.getLogger(__name__)

_JSON = "application/json"
_MAX_BODY = 64 * 1024
_MAX_CONNECTIONS = 32
_TIMEOUT = 10.0
_READ = ("/metrics", "/health/live", "/health/ready", "/status")


def warn_when_reachable(host: str, port: int) -> None:
    """Say so when other machines can reach a listening address (`host` as the system names it)."""
    if not ipaddress.ip_address(host).is_loopback:
        what = "the observe endpoint can be reached from other machines and has no password"
        log.warning(what, extra={"listen": f"{host}:{port}"})


class ObserveServer:
    """Serves one `Telemetry`. Listens when constructed, answers between `start` and `close`.

    control: name -> function, reached by ``POST /control/<name>`` with a JSON object, from this machine only.
    Raises `PreconditionError` when the address can't be had: another machine, or another moment, could give it.
    """

    def __init__(
        self, listen: str, telemetry: Telemetry, *, control: Mapping[str, Control] | None = None
    ) -> None:
        # Loads prometheus_client: only when the endpoint is on.
        from liberator.observe.metrics import Exposition

        self._server = bind(listen, _Server)
        self._server.pages = Pages(telemetry, Exposition(telemetry), dict(control or {}))
        bound = self._server.server_address
        self.address: tuple[str, int] = (str(bound[0]), int(bound[1]))
        warn_when_reachable(*self.address)

    @property
    def url(self) -> str:
        """Where it listens, as a URL without a path."""
        return self._server.url

    def start(self) -> None:
        """Answer from now on, in a thread that does not keep the process alive. Once only."""
        self._server.start("observe")

    def close(self) -> None:
        """Stop answering and free the port. Idempotent."""
        self._server.stop()

    def __enter__(self) -> ObserveServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Pages:
    """What is to be said, apart from how HTTP says it."""

    def __init__(self, telemetry: Telemetry, exposition: Any, control: dict[str, Control]) -> None:
        self.telemetry = telemetry
        self.exposition = exposition
        self.control = control

    def get(self, path: str, accept: str) -> tuple[HTTPStatus, bytes, str]:
        """Status, body and content type of a page."""
        if path == "/metrics":
            body, content_type = self.exposition.render(accept)
            return HTTPStatus.OK, body, content_type
        if path == "/status":
            return _json(HTTPStatus.OK, self.telemetry.snapshot())
        if path in ("/health/live", "/health/ready"):
            health = self.telemetry.health()
            good = health.live if path == "/health/live" else health.ready
            status = HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE
            return _json(status, {"status": "ok" if good else "failing", "reasons": list(health.reasons)})
        return _json(HTTPStatus.NOT_FOUND, {"error": "no such page", "pages": list(_READ)})

    def act(self, name: str, body: bytes) -> tuple[HTTPStatus, bytes, str]:
        """Call a control function."""
        try:
            arguments = json.loads(body or b"{}")
        except ValueError:
            arguments = None
        if not isinstance(arguments, dict):
            return _json(HTTPStatus.BAD_REQUEST, {"error": "the body must be a JSON object"})
        try:
            return _json(HTTPStatus.OK, {"result": self.control[name](arguments)})
        except LiberatorError as error:
            report = {"error": error.what, "code": error.code, "where": error.where, "fix": error.fix}
            return _json(HTTPStatus.CONFLICT, report)
        except Exception as error:
            # A bug in a control function must not look like a dead connector.
            log.error("the control function failed", exc_info=True, extra={"control": name})
            return _json(HTTPStatus.INTERNAL_SERVER_ERROR, {"error": type(error).__name__})


class _Server(Listener):
    """With the pages. Those who scrape come rarely: few connections do, and one more is no news."""

    part = "observe"
    request_queue_size = _MAX_CONNECTIONS
    pages: Pages

    def __init__(self, address: tuple[str, int], family: socket.AddressFamily) -> None:
        super().__init__(address, family, _MAX_CONNECTIONS)

    def turned_away(self) -> None:
        """Not worth a line."""


class _Handler(Handler):
    """HTTP's side of `Pages`: a request a connection, as HTTP/1.0 has it."""

    server: _Server
    protocol_version = "HTTP/1.0"
    timeout = _TIMEOUT

    def do_GET(self) -> None:
        self._answer(*self.server.pages.get(self._path(), self.headers.get("Accept", "")))

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        name = self._path().removeprefix("/control/")
        length = self.headers.get("Content-Length", "0")
        if self._path() == name or name not in self.server.pages.control:
            return self._refuse()
        if not self._may_control():
            return self._answer(*_json(HTTPStatus.FORBIDDEN, {"error": "control is for this machine only"}))
        if self.headers.get_content_type() != _JSON:
            report = {"error": f"the content type must be {_JSON}"}
            return self._answer(*_json(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, report))
        if not (length.isascii() and length.isdigit()) or int(length) > _MAX_BODY:
            report = {"error": f"the body may have {_MAX_BODY} bytes"}
            return self._answer(*_json(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, report))
        return self._answer(*self.server.pages.act(name, self.rfile.read(int(length))))

    def _refuse(self) -> None:
        if self._path() in _READ:
            answer = _json(HTTPStatus.METHOD_NOT_ALLOWED, {"error": "this page can only be read"})
            return self._answer(*answer, allow="GET, HEAD")
        return self._answer(*self.server.pages.get("", ""))

    do_PUT = do_DELETE = do_PATCH = do_OPTIONS = _refuse

    def _may_control(self) -> bool:
        # A browser on this machine may be steered by a foreign page: it always says Origin.
        return ipaddress.ip_address(self.client_address[0]).is_loopback and "Origin" not in self.headers

    def _path(self) -> str:
        return self.path.partition("?")[0]

    def _answer(self, status: HTTPStatus, body: bytes, content_type: str, allow: str | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        if allow:
            self.send_header("Allow", allow)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _json(status: HTTPStatus, report: Mapping[str, Any]) -> tuple[HTTPStatus, bytes, str]:
    return status, json.dumps(report, ensure_ascii=False, allow_nan=False).encode() + b"\n", _JSON


_Server.handler = _Handler
