"""Connectors as their user runs them: a YAML file and a process of `liberate run`, to be killed and started again.

Enters: where the shop is and where events go. Leaves: processes, their `/status` and logs. Called by the demo's story.
Knows nothing of a connector's inside: all it does could be done by hand in a shell.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from signal import SIGTERM
from typing import Any

from liberator.errors import LiberatorError
from liberator.testing.servers.process import Process, free_port, kill_hard, launch, tail

_YAML = """\
# What the demo runs: liberate run {file}
connector: source
name: {name}
source:
  url: ${{SHOP_DSN}}
  mode: log
  exclude: [public.outbox]               # shop-outbox.yaml reads that
  log: {{slot: {slot}, heartbeat: 1s}}
schema: {{dir: {contracts}}}       # the customers' contract is stored there; on_invalid: dead_letter is the default
publish:
  url: {publish}
  create_topics: {{partitions: 3}}
  options: {{compression.type: none}}    # so that any client can read along
checkpoint: {{url: "file:{checkpoint}"}}
"""

_DRAIN = 20.0
"""Seconds for a clean end; the connector itself gives up after ten."""


class Connector:
    """One connector of the demo. All of it is in `folder`; `text` is its YAML without the endpoint. dsn: ``${SHOP_DSN}``."""

    def __init__(self, folder: Path, *, name: str, dsn: str, text: str) -> None:
        self.name = name
        self.yaml = folder / f"{name}.yaml"
        self.log = folder / f"{name}.log"
        self._dsn = dsn
        self._listen = f"127.0.0.1:{free_port()}"
        self._process: Process | None = None
        self.yaml.write_text(f'{text}observe: {{listen: "{self._listen}"}}\n')

    @property
    def pid(self) -> int | None:
        """The process id; None: it does not run."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Run it; the kernel ends it when this process dies."""
        self._process = self.command("run", str(self.yaml))

    def command(self, *arguments: str) -> Process:
        """Any command of `liberate`, as this connector is run; what it says goes to its log."""
        return launch(
            [sys.executable, "-m", "liberator", *arguments],
            cwd=self.yaml.parent,
            log=self.log,
            environ=_environ(os.environ, self._dsn),
            death_signal=SIGTERM,
        )

    def check(self) -> None:
        """Raises `LiberatorError` when it has ended by itself."""
        if self._process is not None and self._process.poll() is not None:
            raise self._ended(self._process.returncode)

    def status(self) -> dict[str, Any] | None:
        """What ``/status`` says; None: it does not run, or not answer yet. Raises `LiberatorError` when it has ended."""
        self.check()
        if self._process is None:
            return None
        ask = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy can't reach our loopback
        try:
            with ask.open(f"http://{self._listen}/status", timeout=1) as answer:
                status: dict[str, Any] = json.load(answer)
        except (OSError, ValueError):
            return None
        return status

    def is_streaming(self) -> bool:
        """Is the snapshot done, and does the stream flow?"""
        status = self.status()
        return status is not None and status["state"] == "streaming"

    def kill(self) -> int:
        """kill -9; its process id. Nothing of it has had time to say good-bye."""
        assert self._process is not None
        killed, self._process = self._process, None
        kill_hard(killed)
        return killed.pid

    def stop(self) -> None:
        """End it cleanly, as an operator would: SIGTERM. Raises `LiberatorError` unless it exits with 0."""
        assert self._process is not None
        self._process.terminate()
        try:
            code = self._process.wait(_DRAIN)
        except subprocess.TimeoutExpired:
            raise LiberatorError(
                f"the connector {self.name} did not end within {_DRAIN:.0f} s of SIGTERM",
                code="demo.connector",
            ) from None
        if code:
            raise self._ended(code)
        self._process = None

    def last_words(self) -> str:
        """The end of its log."""
        return tail(self.log, 30)

    def close(self) -> None:
        """Leave no process behind. Idempotent."""
        if self._process is not None:
            self.kill()

    def _ended(self, code: int) -> LiberatorError:
        self._process = None
        return LiberatorError(
            f"the connector {self.name} ended by itself with exit code {code}", code="demo.connector"
        )


class Source(Connector):
    """What reads the shop's log."""

    def __init__(self, folder: Path, *, name: str, dsn: str, publish: str) -> None:
        self.slot = slot_of(name)
        self.contracts = folder / "schemas"
        text = _YAML.format(
            file=f"{name}.yaml",
            name=name,
            slot=self.slot,
            contracts=json.dumps(str(self.contracts)),
            publish=json.dumps(publish),
            checkpoint=folder / f"{name}.db",
        )
        super().__init__(folder, name=name, dsn=dsn, text=text)

    def topic(self, table: str) -> str:
        """Where the events of a table of the schema ``public`` go."""
        return f"{self.name}.public.{table}"

    def topics(self, tables: Sequence[str]) -> list[str]:
        """All topics: those of the tables, and the dead letters."""
        return [*map(self.topic, tables), f"{self.name}.dead-letters"]


def slot_of(name: str) -> str:
    """A connector's slot: of letters, digits and underscores."""
    return name.replace("-", "_")


def _environ(ours: Mapping[str, str], dsn: str) -> dict[str, str]:
    """Our environment without what would change the command: every option is also a variable LIBERATE_<OPTION>."""
    kept = {name: value for name, value in ours.items() if not name.startswith("LIBERATE_")}
    return {**kept, "SHOP_DSN": dsn}
