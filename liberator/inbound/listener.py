"""A server of HTTP with a bound: one thread a connection, and no more of them than it can serve.

Enters: connections. Leaves: handlers, each in a thread. Subclassed by whoever serves; `address.bind` makes it listen.
"""

from __future__ import annotations

import logging
import socket
import socketserver
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

log = logging.getLogger(__name__)


class Busy:
    """How many requests are under way."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._count = 0

    def __enter__(self) -> None:
        with self._changed:
            self._count += 1

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._count -= 1
            if not self._count:
                self._changed.notify_all()

    def wait_for_none(self, timeout: float) -> bool:
        """Seconds at most. False: there are some."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._count, timeout)


class Listener(ThreadingHTTPServer):
    """At most `most` connections at a time; further ones are turned away at once. handler: serves one. part: what it is
    called in the log."""

    handler: ClassVar[type[BaseHTTPRequestHandler]]
    part: ClassVar[str]
    request_queue_size = 512
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], family: socket.AddressFamily, most: int = 512) -> None:
        self._most = most
        self.address_family = family
        self.draining = False
        self.busy = Busy()
        self._places = threading.BoundedSemaphore(most)
        self._thread: threading.Thread | None = None
        super().__init__(address, self.handler)

    @property
    def url(self) -> str:
        """Where it listens, as a URL without a path."""
        host, port = self.server_address[:2]
        host = str(host)
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def start(self, name: str) -> None:
        """Answer from now on, in a thread of that name. Once only."""
        self._thread = threading.Thread(
            target=self.serve_forever, kwargs={"poll_interval": 0.1}, name=name, daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Take no new connections, and free the port. Idempotent."""
        if self._thread is not None:
            self.shutdown()
            self._thread.join()
            self._thread = None
        self.server_close()

    def server_bind(self) -> None:
        """HTTPServer's own asks DNS for the host's name, which can take seconds and is of no use here."""
        socketserver.TCPServer.server_bind(self)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Begin a connection."""
        if self._places.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.turned_away()
            self.shutdown_request(request)

    def turned_away(self) -> None:
        """A connection finds no place."""
        log.warning("more than %d connections: one is turned away", self._most)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve a connection."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection broke."""
        log.debug("a request to the %s failed", self.part, exc_info=True)
