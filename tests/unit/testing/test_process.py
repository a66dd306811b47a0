"""Processes that die with their parent, and the ports of servers."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from liberator.testing.servers.process import (
    Process,
    User,
    alive,
    descendants,
    free_port,
    kill_hard,
    launch,
    tail,
    wait_until,
)

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]


def start(command: list[str], folder: Path, user: User | None = None) -> Process:
    return launch(
        command,
        cwd=folder,
        log=folder / "log",
        environ=os.environ,
        death_signal=signal.SIGTERM,
        user=user,
    )


def test_a_free_port_can_be_listened_on_and_is_out_of_reach_of_outgoing_connections() -> None:
    port = free_port()
    assert 15_000 <= port < 32_000
    with socket.create_server(("127.0.0.1", port)):
        pass


def test_a_free_port_is_given_to_nobody_else_while_its_owner_lives() -> None:
    given = [free_port() for _ in range(10)]
    for port in given:
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as another,
            pytest.raises(OSError, match="in use"),
        ):
            another.bind(("127.0.0.1", port))
    script = "from liberator.testing.servers.process import free_port; print(free_port())"
    of_another = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as after_its_end:
        after_its_end.bind(("127.0.0.1", int(of_another.stdout)))


def test_the_output_is_appended_to_the_log(tmp_path: Path) -> None:
    for word in ("one", "two"):
        assert start([sys.executable, "-c", f"print('{word}')"], tmp_path).wait() == 0
    assert tail(tmp_path / "log") == "one\ntwo"


def test_the_process_is_the_server_itself_not_a_wrapper(tmp_path: Path) -> None:
    process = start([sys.executable, "-c", "import os; print(os.getpid())"], tmp_path)
    process.wait()
    assert tail(tmp_path / "log") == str(process.pid)


def test_a_missing_log_does_not_hide_the_error_it_was_wanted_for(tmp_path: Path) -> None:
    assert tail(tmp_path / "none") == "(no log)"


def test_a_server_outlives_the_thread_that_started_it(tmp_path: Path) -> None:
    started: list[Process] = []
    thread = threading.Thread(target=lambda: started.append(start(SLEEP, tmp_path)))
    thread.start()
    thread.join()
    time.sleep(0.2)  # the kernel's signal would have come with the end of the thread
    assert alive(started[0].pid)
    kill_hard(started[0])


def test_a_server_dies_when_its_parent_is_killed(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import os, signal, sys, time, pathlib\n"
            "from liberator.testing.servers.process import launch\n"
            f"here = pathlib.Path({str(tmp_path)!r})\n"
            f"server = launch({SLEEP!r}, cwd=here, log=here / 'log', environ=os.environ,"
            " death_signal=signal.SIGKILL)\n"
            "print(server.pid, flush=True)\n"
            "time.sleep(600)\n",
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    with parent.stdout:
        server = int(parent.stdout.readline())
    assert alive(server)
    parent.kill()
    parent.wait()
    assert wait_until(lambda: not alive(server), timeout=60)


def test_kill_hard_takes_the_children_along(tmp_path: Path) -> None:
    script = f"import subprocess; subprocess.run({SLEEP!r})"
    process = start([sys.executable, "-c", script], tmp_path)
    assert wait_until(lambda: len(descendants(process.pid)) == 1, timeout=60)
    (child,) = descendants(process.pid)
    kill_hard(process)
    assert not alive(process.pid)
    assert not alive(child)


def test_a_failure_to_start_reaches_the_caller(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        start(SLEEP, tmp_path / "missing")


def test_waiting_gives_up_after_its_time() -> None:
    begin = time.monotonic()
    assert not wait_until(lambda: False, timeout=0.05)
    assert 0.05 <= time.monotonic() - begin < 60
