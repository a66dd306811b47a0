"""Server processes that cannot outlive us, and the ports they listen on.

Enters: a command line. Leaves: a running process. Called by the servers of this package. Never reads a
server's output and knows nothing of its protocol.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import queue
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from liberator.errors import LiberatorError

Process = subprocess.Popen[bytes]


class ServerError(LiberatorError):
    """A server for a test or the demo is missing, or does not come up."""

    default_code = "server.failed"


@dataclass(frozen=True)
class User:
    """The account a server runs as."""

    uid: int
    gid: int


# Runs before the server, in its process: drops root, then asks the kernel for a signal when we die. In that
# order, as a change of user clears the request. No preexec_fn: that is unsafe once this process has threads.
_LAUNCHER = """
import ctypes, os, sys
parent, death_signal, uid, gid = map(int, sys.argv[1:5])
command = sys.argv[5:]
if uid >= 0:
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, death_signal)
    if os.getppid() != parent:
        sys.exit("the process that wanted a server is gone")
os.execv(command[0], command)
"""


def launch(
    command: Sequence[str],
    *,
    cwd: Path,
    log: Path,
    environ: Mapping[str, str],
    death_signal: signal.Signals,
    user: User | None = None,
) -> Process:
    """Start `command` (an absolute path and its arguments), output appended to `log`, as `user`.

    The kernel sends it `death_signal` when this process ends, however it ends (Linux). It runs in a session
    of its own, so Ctrl-C in a terminal does not reach it.
    """
    uid, gid = (user.uid, user.gid) if user else (-1, -1)
    launcher = [
        sys.executable,
        "-I",
        "-S",
        "-c",
        _LAUNCHER,
        *map(str, (os.getpid(), death_signal.value, uid, gid)),
    ]

    def start() -> Process:
        with log.open("ab") as out:
            return subprocess.Popen(
                [*launcher, *command],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=cwd,
                env=dict(environ),
                start_new_session=True,
            )

    started: Future[Process] = Future()
    _nursery(os.getpid()).put((started, start))
    return started.result()


_Orders = queue.SimpleQueue[tuple[Future[Process], Callable[[], Process]]]


@functools.lru_cache(maxsize=1)
def _nursery(_pid: int) -> _Orders:
    """The queue of the one thread that starts servers, which lives as long as this process does.

    The kernel ties the death signal to the thread that started a child: started from a short-lived thread, a
    server would die with that.
    """
    orders: _Orders = queue.SimpleQueue()

    def serve() -> None:
        while True:
            started, start = orders.get()
            try:
                started.set_result(start())
            except Exception as failure:
                started.set_exception(failure)

    threading.Thread(target=serve, name="server-nursery", daemon=True).start()
    return orders


_claims: deque[socket.socket] = deque()
"""Newest last."""
_CLAIMS = 256
"""Ports that a process keeps to itself; who asks for more gives the oldest back, which listens by then or never will."""


def free_port() -> int:
    """A port on loopback that nobody listens on, below the range the kernel takes for outgoing connections.

    So a server that is down for a moment finds its port again. Nobody else who asks here, in whatever process, is given it
    before this process ends: a UDP socket holds its number.
    """
    for port in random.SystemRandom().sample(range(15_000, 32_000), 500):
        claim = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            claim.bind(("127.0.0.1", port))
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
        except OSError:
            claim.close()
            continue
        _keep(claim)
        return port
    raise ServerError("no free port between 15000 and 32000 on 127.0.0.1", code="server.no_port")


def _keep(claim: socket.socket) -> None:
    if not _claims:
        atexit.register(_give_back)
    _claims.append(claim)
    while len(_claims) > _CLAIMS:
        _claims.popleft().close()


def _give_back() -> None:
    while _claims:
        _claims.popleft().close()


def wait_until(ready: Callable[[], bool], *, timeout: float, pause: float = 0.01) -> bool:
    """Ask `ready` every `pause` seconds until it says yes; False after `timeout` seconds."""
    end = time.monotonic() + timeout
    while not ready():
        if time.monotonic() > end:
            return False
        time.sleep(pause)
    return True


def descendants(pid: int) -> list[int]:
    """The processes that `pid` has started, and theirs (Linux; elsewhere none)."""
    try:
        listed = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    children = [int(child) for child in listed.split()]
    return children + [grandchild for child in children for grandchild in descendants(child)]


def alive(pid: int) -> bool:
    """Does the process exist and still run (a zombie does not)?"""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        if Path("/proc/self").exists():
            return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def kill_hard(process: Process) -> None:
    """kill -9 the process and all it has started; returns when they are gone."""
    children = descendants(process.pid)
    process.kill()
    process.wait()
    for child in children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
    if not wait_until(lambda: not any(alive(child) for child in children), timeout=30):
        raise ServerError(f"processes {children} survive kill -9", code="server.unkillable")


def tail(log: Path, lines: int = 20) -> str:
    """The last lines of a server's log, for an error message."""
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return "(no log)"


def not_ours() -> ServerError:
    return ServerError(
        "a server given by its URL is not started or stopped from here",
        code="server.not_ours",
        fix="unset the variables LIBERATOR_TEST_*, so that servers of our own are started",
    )
