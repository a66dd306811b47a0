"""A process that is to end when its parent does, however that ends. Called by children, first thing. Linux only; elsewhere
it does nothing."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def end_with_parent(parent: int, number: signal.Signals) -> None:
    """Have the kernel send signal `number` when the thread that has started this process dies. parent: its process id; if it
    is another's by now, that has happened already."""
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:
        os.kill(os.getpid(), number)
