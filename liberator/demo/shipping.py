"""What becomes of paid orders: a sink that starts a function on their stream, and the order that the function fails on.

Enters: the broker and the orders' topic. Leaves: a process of `liberate run` on a file with a function beside it, and one
that redrives its dead letters. Called by the demo's story. Never looks at the database.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
from contextlib import suppress
from pathlib import Path

from liberator.demo.broker import Broker
from liberator.demo.connector import Connector, Source
from liberator.errors import LiberatorError
from liberator.testing.servers.process import Process

_YAML = """\
# What the demo runs: liberate run {file}
connector: sink
name: {name}
stream: {{url: {url}, topics: [{orders}]}}
trigger: {{on: stream, batch_size: 100, batch_window: 200ms{filter}}}
function: {{python: "ship:ship"}}        # ship.py, beside this file
output: {{topic: {shipped}, create_topics: {{partitions: 3}}}}
policy:
  retry: {{attempts: 2, initial: 100ms}}
  idempotency: {{store: {done}}}     # an event that comes again does not ship again
scale: {{workers: {{max: 2}}}}
"""
_FILTER = ", filter: \"after.status == 'paid'\""

_CARRIERS = {"EUR": "post"}
_FOUND = {"CHF": "courier"}


class Shipping(Connector):
    """The sink, its function and the carriers that the function knows. stream: reads what it publishes, `topics`."""

    def __init__(self, folder: Path, source: Source, broker: Broker) -> None:
        name = f"{source.name}-shipping"
        shipped = f"{source.name}.shipped"
        self.topics = [shipped, f"{name}.dead-letters"]
        self.stream = broker.stream(self.topics)
        self._carriers = folder / "carriers.json"
        shutil.copy(Path(__file__).with_name("ship.py"), folder)
        self._carriers.write_text(json.dumps(_CARRIERS))
        text = _YAML.format(
            file=f"{name}.yaml",
            name=name,
            url=json.dumps(broker.url),
            orders=source.topic("orders"),
            shipped=shipped,
            filter=_FILTER if has_expressions() else "",
            done=json.dumps(f"sqlite:{folder / 'done.db'}"),
        )
        super().__init__(folder, name=name, dsn="", text=text)

    def start(self) -> None:
        """Run it, and read what it publishes. Once only."""
        self.stream.start()
        super().start()

    def find_a_carrier(self) -> None:
        """Mend what the function fails for."""
        self._carriers.write_text(json.dumps({**_CARRIERS, **_FOUND}))

    def redrive(self) -> Process:
        """`liberate dlq redrive` of all its dead letters."""
        return self.command("dlq", "redrive", str(self.yaml), "--all", "--yes")

    def close(self) -> None:
        """Leave no process behind, nor a member of its group, if it can end by itself. Idempotent."""
        self.stream.close()
        if self.pid is not None:
            with suppress(LiberatorError):
                self.stop()
        super().close()


def has_expressions() -> bool:
    """Is there CEL for this Python? Without it the function alone chooses."""
    return importlib.util.find_spec("cel_expr_python") is not None
