"""The connector under test: the command `liberate`, run as a user runs it, on a real database.

Enters: options of the command. Leaves: the events that it published into a file, its log and its exit code. Called by the
acceptance tests. Never imports the product.
"""

from __future__ import annotations

import base64
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import psycopg

from tests.acceptance.events import Event, Events, Order, parse

PATIENCE = 120.0
"""Seconds until something that must happen counts as missing."""

_MARKER = "acceptance"
_POLL = 0.02


_Same = TypeVar("_Same", bound="Connector")


class Connector:
    """One source connector with a folder of its own, so that it can be stopped and go on where it was.

    dsn: the database. name: its name, and that of its slot. options: further options of the command line. messages:
    prefixes of logical messages that it publishes. calm: nothing interrupts it, so it may not publish anything twice.
    Streams to ``events.ndjson`` in `folder`; the log goes to ``log``.
    """

    def __init__(
        self,
        dsn: str,
        folder: Path,
        name: str,
        *options: str,
        messages: Sequence[str] = (),
        calm: bool = False,
    ) -> None:
        self.dsn = dsn
        self.name = name
        self.folder = folder
        self._options = [*options, "--set", f"source.log.messages={','.join((_MARKER, *messages))}"]
        self._path = folder / "events.ndjson"
        self._log = folder / "log"
        self._read = 0
        self._events: list[Event] = []
        self._order = Order() if calm else None
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: psycopg.Connection[Any] | None = None
        folder.mkdir(parents=True, exist_ok=True)

    # -- running it

    def start(self: _Same) -> _Same:
        """Start it; returns when it streams: whatever is committed from now on is published."""
        self.launch()
        self.wait_for(self.streams, "a slot that streams")
        return self

    def launch(self, *more: str) -> subprocess.Popen[bytes]:
        """Start it, with `more` options, and do not wait."""
        command = [
            sys.executable,
            "-m",
            "liberator",
            "--source",
            self.dsn,
            "--mode",
            "log",
            "--name",
            self.name,
        ]
        command += [
            "--publish",
            f"file:{self._path}",
            "--set",
            "source.log.heartbeat=1s",
            *self._options,
            *more,
        ]
        environ = {key: value for key, value in os.environ.items() if not key.startswith("LIBERATE_")}
        self._kill()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder, env=environ
            )
        return self._process

    def launched(self) -> subprocess.Popen[bytes]:
        """Its running process."""
        assert self._process is not None
        return self._process

    def cpu_seconds(self) -> float:
        """What the running process has used."""
        fields = Path(f"/proc/{self.launched().pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def reconfigure(self, *options: str) -> None:
        """More options for its next runs."""
        self._options += options

    def freeze(self) -> None:
        """Let it do nothing until `thaw`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """Ask it to end, as a supervisor does. It must end well."""
        assert self._process is not None
        self._process.terminate()
        try:
            code = self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it did not stop within {PATIENCE:g} s\n{self.log}") from None
        finally:
            self._kill()
        assert code == 0, f"it ended with {code}\n{self.log}"

    def run_once(self) -> Events:
        """Run it until everything committed before is published; what this run published."""
        before = len(self.all_events())
        code = self._run("--once")
        assert code == 0, f"it ended with {code}\n{self.log}"
        return self.all_events()[before:]

    def refusal(self) -> str:
        """Run it; it must refuse to start (exit code 3), at once. What it says."""
        before = len(self.log)
        code = self._run("--once")
        assert code == 3, f"it ended with {code}\n{self.log}"
        assert "trying again" not in self.log[before:], self.log
        assert not self._all(), "it published although it refused to start"
        return self.last_words

    def close(self) -> None:
        """End it without ceremony, if it still runs."""
        self._kill()
        if self._connection is not None:
            self._connection.close()

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    # -- what it published and said

    def events(self) -> Events:
        """Everything that was committed up to now, as published by the running connector."""
        mark = uuid.uuid4().hex
        self.execute(f"select pg_logical_emit_message(true, '{_MARKER}', '{mark}')")
        self.wait_for(lambda: any(_marks(event, mark) for event in self._all()[-100:]), "what was committed")
        return self.all_events()

    def wait_for(self, condition: Callable[[], bool], what: str) -> None:
        """Wait until `condition` holds."""
        end = time.monotonic() + PATIENCE
        while not condition():
            if self._process is not None and (code := self._process.poll()) is not None:
                raise AssertionError(f"it ended with {code} instead of bringing {what}\n{self._story()}")
            if time.monotonic() > end:
                raise AssertionError(f"{what} did not come within {PATIENCE:g} s\n{self._story()}")
            time.sleep(_POLL)

    @property
    def log(self) -> str:
        """Everything that it said on standard error, in all its runs."""
        return self._log.read_text() if self._log.exists() else ""

    @property
    def last_words(self) -> str:
        """What it said at its end: the block that tells an error."""
        return re.split(r"(?m)^\d{4}-\d\d-\d\dT.*\n", self.log)[-1]

    def all_events(self) -> Events:
        """Everything in the file now."""
        return Events(event for event in self._all() if not _is_marker(event))

    # -- the database, as its application sees it

    def execute(self, *statements: str) -> list[tuple[Any, ...]]:
        """Run each statement in a transaction of its own; the rows of the last one."""
        rows: list[tuple[Any, ...]] = []
        for statement in statements:
            cursor = self.connection.execute(statement.encode())
            rows = cursor.fetchall() if cursor.description else []
        return rows

    @property
    def connection(self) -> psycopg.Connection[Any]:
        """A connection in autocommit."""
        if self._connection is None:
            self._connection = psycopg.connect(self.dsn, autocommit=True)
        return self._connection

    def streams(self) -> bool:
        """Does it read from its slot?"""
        rows = self.connection.execute(
            "select from pg_replication_slots"
            " where slot_name = %s and active_pid is not null and confirmed_flush_lsn is not null",
            (self.slot,),
        ).fetchall()
        return bool(rows)

    def confirmed_up_to(self, lsn: str) -> bool:
        """Does the server know that everything before `lsn` was taken?"""
        rows = self.connection.execute(
            "select confirmed_flush_lsn >= %s::pg_lsn from pg_replication_slots where slot_name = %s",
            (lsn, self.slot),
        ).fetchall()
        return rows == [(True,)]

    @property
    def slot(self) -> str:
        return re.sub("[^a-z0-9_]", "_", self.name.lower())

    # -- inside

    def _run(self, *more: str) -> int:
        """Run it to its end; the exit code."""
        process = self.launch(*more)
        try:
            return process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it did not end within {PATIENCE:g} s\n{self._story()}") from None
        finally:
            self._kill()

    def _kill(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def _all(self) -> list[Event]:
        """Everything published, the torn end of the file left out."""
        if self._path.exists():
            with self._path.open("rb") as file:
                file.seek(self._read)
                data = file.read()
            whole = data.rfind(b"\n") + 1
            if whole:
                self._read += whole
                events = parse(data[: whole - 1].split(b"\n"))
                self._events += events
                if self._order is not None:
                    self._order.check(events)
        return self._events

    def _story(self) -> str:
        return f"published at the end: {Events(self._all()[-10:])}\nlog:\n{self.log[-5000:]}"


def _marks(event: Event, mark: str) -> bool:
    content = base64.b64encode(mark.encode()).decode()
    return event.message == {"prefix": _MARKER, "content": content}


def _is_marker(event: Event) -> bool:
    return event.message is not None and event.message["prefix"] == _MARKER
