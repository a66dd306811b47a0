"""Progress in a process of its own, with a real (pseudo) terminal as its standard error."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import threading

import pytest

from liberator.testing.servers.process import wait_until

PROGRAM = """
import logging, sys
from liberator.observe.logs import configure
from liberator.observe.progress import Progress
from liberator.observe.telemetry import Telemetry

configure()
telemetry = Telemetry("shop")
telemetry.state("snapshot")
telemetry.snapshot_started("public.orders", 1000)
telemetry.snapshot_rows("public.orders", 250)
with Progress(telemetry, plain="--plain" in sys.argv):
    sys.stdin.read()
    print('{"topic": "shop.public.orders"}', flush=True)
    logging.getLogger("liberator.capture").warning("table %s is odd [bold]", "public.x")
    telemetry.snapshot_done("public.orders")
    telemetry.state("streaming")
    telemetry.position(16, 16, None)
    telemetry.state("stopped")
"""


def on_a_terminal(*arguments: str, term: str = "xterm-256color", until: bytes = b"") -> tuple[str, str]:
    """Run the program, which goes on once the terminal has got `until`: what standard output got, and what the terminal
    got."""
    ours, theirs = pty.openpty()
    seen = bytearray()

    def read() -> None:
        while True:
            try:
                data = os.read(ours, 65536)
            except OSError:  # Linux: the other side has closed
                return
            if not data:
                return
            seen.extend(data)

    reader = threading.Thread(target=read)
    try:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=theirs,
            env={**os.environ, "TERM": term, "COLUMNS": "120", "LINES": "40"},
        )
        os.close(theirs)
        reader.start()
        assert wait_until(lambda: until in seen, timeout=120), seen.decode(errors="replace")
        output, _ = process.communicate(timeout=120)
        reader.join(120)
        assert process.returncode == 0, seen.decode(errors="replace")
        return output.decode(), seen.decode()
    finally:
        os.close(ours)


def test_bars_and_logs_share_the_terminal_and_data_stays_on_standard_output() -> None:
    output, terminal = on_a_terminal(until=b"250 rows")
    assert json.loads(output) == {"topic": "shop.public.orders"}
    assert "250 rows" in terminal
    assert "table public.x is odd [bold]" in terminal
    assert "stopped  0 events/s  0 events  lag 0 B, 0.0 s  at 0/10" in terminal
    assert "shop.public.orders" not in terminal


def test_the_cursor_is_visible_at_all_times() -> None:
    _, terminal = on_a_terminal(until=b"250 rows")
    hidden = terminal.find("\x1b[?25l")
    assert hidden >= 0
    assert terminal.startswith("\x1b[?25h", hidden + len("\x1b[?25l"))


@pytest.mark.parametrize(("arguments", "term"), [(["--plain"], "xterm"), ([], "dumb")])
def test_a_plain_display_draws_nothing(arguments: list[str], term: str) -> None:
    output, terminal = on_a_terminal(*arguments, term=term)
    assert json.loads(output) == {"topic": "shop.public.orders"}
    assert "\x1b" not in terminal
    assert "observe.progress  stopped  events=0 durable=0" in terminal


def test_without_a_terminal_there_are_only_log_lines() -> None:
    run = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(run, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {"topic": "shop.public.orders"}
    first, last = done.stderr.splitlines()
    assert first.endswith("WARNING capture  table public.x is odd [bold]")
    assert "INFO    observe.progress  stopped  events=0 durable=0 seconds=" in last
