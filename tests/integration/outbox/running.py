"""A connector of mode outbox, run until everything that was committed is published.

Enters: one of the files in ``connectors/`` and changes to it. Leaves: the events as a reader of the published file sees
them.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import yaml

from liberator.build.run import make_connector
from liberator.build.running import How
from liberator.config import SourceConfig, load

CONNECTORS = Path(__file__).parents[3] / "connectors"


@dataclass(frozen=True)
class Event:
    """One published event. value: parsed; bytes where they are no JSON."""

    topic: str
    key: str | None
    value: Any
    headers: Mapping[str, str]

    @property
    def id(self) -> str:
        return self.headers["id"]


class Running:
    """One connector with a folder of its own. changes: to its file, section by section."""

    def __init__(self, dsn: str, folder: Path, stage: str, file: str, **changes: Any) -> None:
        self.dsn = dsn
        self.stage = stage
        self.folder = folder
        self._published = folder / "published.ndjson"
        self._read = 0
        (folder / "connectors").mkdir(parents=True)
        document = yaml.safe_load((CONNECTORS / file).read_text())
        del document["observe"]
        _merge(document, changes)
        self._file = folder / "connectors" / file
        self._file.write_text(yaml.safe_dump(document))

    def config(self, **changes: Any) -> SourceConfig:
        """The connector, as it is configured. changes: to its file, from now on."""
        document = yaml.safe_load(self._file.read_text())
        _merge(document, changes)
        self._file.write_text(yaml.safe_dump(document))
        env = {"SHOP_DSN": self.dsn, "SHOP_URL": self.dsn, "SHOP_BROKER": f"file://{self._published}"}
        [config] = load(self._file, env, stage=self.stage)
        return config

    def run(self, max_events: int | None = None, **changes: Any) -> list[Event]:
        """Run it until everything that was committed before is published; what this run published."""
        connector = make_connector(self.config(**changes), How(once=True, max_events=max_events))
        with closing(connector):
            connector.capture.run()
        lines = self._published.read_bytes().splitlines() if self._published.exists() else []
        events = [self._event(json.loads(line)) for line in lines[self._read :]]
        self._read = len(lines)
        return events

    def execute(self, *statements: str) -> None:
        """In one transaction."""
        with psycopg.connect(self.dsn) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def contract(self, topic: str, type: str, contract: Mapping[str, Any], version: int = 1) -> None:
        """Store a contract."""
        file = self.folder / "schemas" / topic / type / f"{version}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(contract))

    def _event(self, line: dict[str, Any]) -> Event:
        value, key = line["value"], line["key"]
        if "value_base64" in line:
            value = base64.b64decode(line["value_base64"])
        return Event(line["topic"].removeprefix(f"{self.stage}."), key, value, line["headers"])


def _merge(document: dict[str, Any], changes: Mapping[str, Any]) -> None:
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(document.get(key), dict):
            _merge(document[key], value)
        else:
            document[key] = value
