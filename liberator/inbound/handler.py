"""What all handlers of requests have in common: how they name themselves, and how an answer is written.

Subclassed by whoever serves. Never looks into a body.
"""

from __future__ import annotations

import logging
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any

import liberator
from liberator.inbound.listener import Listener

log = logging.getLogger(__name__)

RETRY_AFTER = 2
"""Seconds after which it makes sense to come again, where nothing better is known."""


class Handler(BaseHTTPRequestHandler):
    """Reads requests of one connection, which is kept."""

    server: Listener
    protocol_version = "HTTP/1.1"
    server_version = f"liberator/{liberator.__version__}"
    sys_version = ""
    timeout = 75.0
    """Seconds without a request after which a connection is closed; longer than clients keep theirs as a rule."""
    disable_nagle_algorithm = True

    def write_answer(
        self, status: int, body: bytes, content_type: str = "application/json", retry_after: int | None = None
    ) -> None:
        """All of it with one call: two would be two packets. retry_after: seconds."""
        if self.server.draining:
            self.close_connection = True
        head = [
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
            f"Server: {self.server_version}",
            f"Content-Type: {content_type}",
            f"Content-Length: {len(body)}",
            "Cache-Control: no-store",
            "X-Content-Type-Options: nosniff",
        ]
        head += ["Allow: POST"] if status == HTTPStatus.METHOD_NOT_ALLOWED else []
        head += [] if retry_after is None else [f"Retry-After: {retry_after}"]
        head += ["Connection: close"] if self.close_connection else []
        text = "\r\n".join(head).encode("latin-1") + b"\r\n\r\n"
        self.wfile.write(text if self.command == "HEAD" else text + body)

    def log_message(self, format: str, *args: Any) -> None:
        """Whoever posts is of interest only to those who look closely."""
        log.debug("request from %s: " + format, self.client_address[0], *args)
