"""Programs end with the connector, however that ends: a small process of its own kills those that are left.

Enters: process groups, when they begin and end. Leaves: nothing, or their death. Used by `command`. As a process (this very
file, run by itself) it reads ``+GROUP`` and ``-GROUP``, a line each, until the connector is gone; then it kills what began
and did not end. The kernel could do that for direct children, but not safely where threads start them.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator


class Leash:
    """Holds programs of this process. It starts with the first one; `close` ends all that are left. For several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False

    @contextlib.contextmanager
    def hold(self, group: int) -> Iterator[None]:
        """As long as this lasts, the process group ends with us."""
        self._write(b"+%d\n" % group)
        try:
            yield
        finally:
            self._write(b"-%d\n" % group)

    def close(self) -> None:
        """Kill what is left. Idempotent."""
        with self._lock:
            self._closed = True
            if self._process is not None:
                self._process.communicate()  # it hears that nobody is there
                self._process = None

    def _write(self, line: bytes) -> None:
        with self._lock:
            if self._closed:
                return
            if self._process is None:
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-S", __file__],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    env={name: value for name, value in os.environ.items() if name.endswith("_LIBRARY_PATH")},
                    start_new_session=True,
                )
            assert self._process.stdin is not None
            with contextlib.suppress(OSError):  # somebody killed it: programs run on without
                self._process.stdin.write(line)
                self._process.stdin.flush()


def main(lines: Iterable[bytes]) -> None:
    """Follow what is told until there is nobody who tells."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    held: set[int] = set()
    for line in lines:
        group = int(line[1:])
        if line.startswith(b"+"):
            held.add(group)
        else:
            held.discard(group)
    for group in held:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    main(sys.stdin.buffer)
