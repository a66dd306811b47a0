"""The body of a request, whole and with a limit.

Enters: headers, and the connection behind them. Leaves: bytes, or `BodyRefused`. Called by handlers of HTTP.
"""

from __future__ import annotations

from email.message import Message
from io import BufferedIOBase

_LONGEST_CHUNK_LINE = 1024
_MOST_DISCARDED = 16 << 20


class BodyRefused(Exception):
    """The body can't be taken, and nothing else can be read from this connection. status: of HTTP. code: stable, for
    programs. what: one sentence for people."""

    def __init__(self, status: int, code: str, what: str) -> None:
        super().__init__(what)
        self.status, self.code, self.what = status, code, what


def has_body(headers: Message) -> bool:
    """Does something follow the headers?"""
    return headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in headers


def read_body(headers: Message, stream: BufferedIOBase, largest: int, limit: str) -> bytes:
    """largest: bytes that it may have. limit: what sets them, for whoever sent more. Raises `BodyRefused`."""
    if headers.get("Content-Encoding", "identity").lower() != "identity":
        raise BodyRefused(415, "content_encoding", "compressed bodies are not supported")
    if headers.get_all("Transfer-Encoding"):
        if headers["Transfer-Encoding"].lower() != "chunked" or "Content-Length" in headers:
            raise _no_length()
        return _chunks(stream, largest, limit)
    lengths = set(headers.get_all("Content-Length", ["0"]))
    length = lengths.pop()
    if lengths or not (length.isascii() and length.isdigit()):
        raise _no_length()
    _require_small(stream, int(length), largest, limit, int(length))
    body = stream.read(int(length))
    if len(body) < int(length):
        raise BodyRefused(400, "framing", "the body ended too early")
    return body


def _chunks(stream: BufferedIOBase, largest: int, limit: str) -> bytes:
    """RFC 9112, section 7.1."""
    body = bytearray()
    while True:
        line = stream.readline(_LONGEST_CHUNK_LINE)
        size = line.partition(b";")[0].strip()
        if not line.endswith(b"\r\n") or not size or len(size) > 8 or size.strip(b"0123456789abcdefABCDEF"):
            raise _no_chunks()
        length = int(size, 16)
        if not length:
            break
        _require_small(stream, len(body) + length, largest, limit)
        chunk = stream.read(length + 2)
        if len(chunk) < length + 2 or not chunk.endswith(b"\r\n"):
            raise _no_chunks()
        body += chunk[:-2]
    while stream.readline(_LONGEST_CHUNK_LINE).rstrip(b"\r\n"):
        continue  # trailers mean nothing here
    return bytes(body)


def _require_small(stream: BufferedIOBase, length: int, largest: int, limit: str, coming: int = 0) -> None:
    """coming: bytes that are taken from the connection in spite of it, as a rule: whoever is still sending when the
    connection ends does not see the answer."""
    if length > largest:
        left = min(coming, _MOST_DISCARDED)
        while left and (read := stream.read(min(left, 1 << 16))):
            left -= len(read)
        raise BodyRefused(413, "too_large", f"an event may have {largest} bytes ({limit})")


def _no_length() -> BodyRefused:
    return BodyRefused(400, "framing", "the length of the body can't be told")


def _no_chunks() -> BodyRefused:
    return BodyRefused(400, "framing", "the body's chunks can't be read")
