"""Where a server listens: an address as it is written, and the server that has it.

Enters: HOST:PORT. Leaves: a server that listens, or why it can't be. Called by whoever serves.
"""

from __future__ import annotations

import errno
import socket
import socketserver
from collections.abc import Callable
from typing import TypeVar

from liberator.errors import ConfigError, PreconditionError

_Listening = TypeVar("_Listening", bound=socketserver.TCPServer)


def parse_listen(listen: str) -> tuple[str, int]:
    """Host and port of ``127.0.0.1:9464``, ``[::1]:9464``, ``localhost:9464`` or ``:9464`` (every IPv4
    address).

    Port 0 lets the system choose. Raises `ConfigError`.
    """
    host, colon, port = listen.strip().rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        colon = ""  # an IPv6 address without brackets: where it ends is a guess
    if not colon or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise ConfigError(
            f"{listen!r} is no address to listen on",
            code="observe.listen",
            where="observe.listen",
            fix="write HOST:PORT, for example 127.0.0.1:9464 or [::1]:9464",
        )
    return host or "0.0.0.0", int(port)


def bind(
    listen: str, make: Callable[[tuple[str, int], socket.AddressFamily], _Listening], part: str = "observe"
) -> _Listening:
    """A server that listens at `listen`. part: what errors are called after. Raises `ConfigError`, `PreconditionError`."""
    host, port = parse_listen(listen)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, address = found[0][0], found[0][4]
        return make((str(address[0]), int(address[1])), family)
    except OSError as error:
        raise _refused(listen, port, error, part) from None


def _refused(listen: str, port: int, error: OSError, part: str) -> PreconditionError:
    key = "observe.listen" if part == "observe" else "listen"
    if error.errno == errno.EADDRINUSE:
        what, fix = f"port {port} is in use by another program", f"choose another port in {key}"
    elif error.errno == errno.EACCES:
        what, fix = f"this user may not open port {port}", f"choose a port above 1023 in {key}"
    else:
        what = f"can't listen on {listen!r}: {error.strerror or error}"
        fix = f"give an address of this machine in {key}, for example 127.0.0.1:9464"
    code = f"{part}.port_in_use" if error.errno == errno.EADDRINUSE else f"{part}.listen"
    return PreconditionError(what, code=code, where=f"{key}: {listen}", fix=fix)
