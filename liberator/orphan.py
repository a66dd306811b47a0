"""When a process is to end: asked by a signal, or because its parent did, however that ended (Linux only; elsewhere that
does nothing). Called first thing."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def stop_signals() -> tuple[signal.Signals, ...]:
    """Those that ask to end cleanly. SIGHUP, of a terminal that is closed, unless `nohup` has it ignored."""
    asked = (signal.SIGTERM, signal.SIGINT)
    return asked if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN else (*asked, signal.SIGHUP)


def end_with_parent(parent: int, number: signal.Signals) -> None:
    """Have the kernel send signal `number` when the thread that has started this process dies. parent: its process id; if it
    is another's by now, that has happened already."""
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:
        os.kill(os.getpid(), number)
