"""Debezium embedded: its engine in a small program that makes JSON of every event and throws it away."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from tests.benchmark import debezium
from tests.benchmark.ground import Lap
from tests.benchmark.processes import start
from tests.benchmark.sides import Measured, Side

_SLOT = "embedded"

# JSON as ours has it: without its schema in every event.
_ENGINE = {
    "offset.storage": "org.apache.kafka.connect.storage.MemoryOffsetBackingStore",
    "converter.schemas.enable": "false",
}


class Embedded(Side):
    """Complete when as many events came as the connector makes."""

    name = "Debezium embedded"
    limits: Sequence[str] = ("pg_recvlogical",)
    snapshot = "no_data"

    def __init__(self) -> None:
        self._slot = ""

    def refusal(self) -> str | None:
        """Without Java there is none."""
        return debezium.refusal()

    def prepare(self, lap: Lap) -> None:
        """A slot of its own, and the program."""
        self._slot = lap.slot(_SLOT)
        debezium.compiled(lap.place(_SLOT))

    def measure(self, lap: Lap) -> Measured:
        """Run it until it has seen them all."""
        folder = lap.folder / _SLOT
        properties = debezium.connector(lap.dsn, _SLOT, self._slot, _SLOT)
        told = debezium.write_properties(
            folder / "engine.properties", {**properties, **_ENGINE, "snapshot.mode": self.snapshot}
        )
        progress = folder / "progress"
        progress.write_bytes(bytes(8))

        def seen() -> int:
            return int.from_bytes(progress.read_bytes(), sys.byteorder)

        arguments = [str(told), str(progress), str(lap.events)]
        process = start(debezium.java("Embedded", *arguments, classes=folder), folder, lap.environ())
        it = lap.watch(process, folder, seen)
        return Measured.of(it, lap.events, min(it.done, lap.events))


class EmbeddedSnapshot(Embedded):
    """Rows that were there before."""

    name = "Debezium embedded, snapshot"
    limits = ("psql COPY",)
    snapshot = "initial_only"
