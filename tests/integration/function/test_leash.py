"""Programs that are under way when their connector ends."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

from liberator.change import Event
from liberator.function.command import CommandFunction
from liberator.function.context import Context
from tests.integration.function.ends import gone

HANGING = """
import os, subprocess, sys, time
child = subprocess.Popen(["sleep", "600"])
print(os.getpid(), child.pid, file=open("new", "w"), flush=True)
os.rename("new", "pids")
time.sleep(600)
"""

CONNECTOR = """
import sys
from pathlib import Path
from liberator.change import Event
from liberator.function.command import CommandFunction
from liberator.function.context import Context
it = CommandFunction([sys.executable, "hanging.py"], Path(sys.argv[1]))
it.call([Event("t", 0, 0, 0, None, b"1")], Context("hanging", 1))
"""


def pids(folder: Path) -> list[int]:
    """Of the program and its child, once they run."""
    end = time.monotonic() + 120
    while not (folder / "pids").exists():
        assert time.monotonic() < end, "the program did not start"
        time.sleep(0.02)
    return [int(pid) for pid in (folder / "pids").read_text().split()]


def test_a_program_does_not_outlive_a_connector_that_is_killed(tmp_path: Path) -> None:
    (tmp_path / "hanging.py").write_text(HANGING)
    with subprocess.Popen([sys.executable, "-c", CONNECTOR, str(tmp_path)]) as connector:
        running = pids(tmp_path)
        connector.kill()
    for pid in running:
        gone(pid)


def test_a_program_that_is_under_way_at_the_end_is_killed(tmp_path: Path) -> None:
    (tmp_path / "hanging.py").write_text(HANGING)
    it = CommandFunction([sys.executable, "hanging.py"], tmp_path)
    events = [Event("t", 0, 0, 0, None, b"1")]
    failures: list[str] = []

    def call() -> None:
        failures.append(str(it.call(events, Context("hanging", 1)).failures[0]))

    calling = threading.Thread(target=call)
    calling.start()
    running = pids(tmp_path)
    it.close()
    calling.join(120)
    for pid in running:
        gone(pid)
    assert "was ended by signal 9" in failures[0]
