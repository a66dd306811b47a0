"""pg_recvlogical: PostgreSQL's own client, which does nothing but receive. Nobody gets rows out of a slot faster."""

from __future__ import annotations

from tests.benchmark.ground import Lap
from tests.benchmark.processes import errors_of, start, written
from tests.benchmark.sides import Measured, Side

SLOT = "receiver"
"""Its name and its publication's; the slot's has the lap's behind it."""

_OPTIONS = {"proto_version": "1", "publication_names": SLOT}


def bytes_to_come(lap: Lap) -> int:
    """What pg_recvlogical is to write: every message, and a line feed behind it. The slot stays where it is."""
    options = ", ".join(f"'{name}', '{value}'" for name, value in _OPTIONS.items())
    peek = f"pg_logical_slot_peek_binary_changes('{SLOT}_{lap.name}', NULL, NULL, {options})"
    [[size]] = lap.execute(f"SELECT sum(length(data) + 1)::text FROM {peek}")
    return int(str(size))


class Recvlogical(Side):
    """Into /dev/null; complete when it has written as many bytes as the server has messages."""

    name = "pg_recvlogical"

    def __init__(self, expected: int) -> None:
        self._expected = expected

    def prepare(self, lap: Lap) -> None:
        """A slot of its own."""
        lap.slot(SLOT)

    def measure(self, lap: Lap) -> Measured:
        """Run it to the end of the rows."""
        folder = lap.place("recvlogical")
        command = [
            str(lap.ground.programs / "pg_recvlogical"), "-d", lap.dsn, "--slot", f"{SLOT}_{lap.name}",
            "--start", "-f", "/dev/null", "--endpos", lap.end, "--no-loop", "-F", "0",
        ]  # fmt: skip
        for name, value in _OPTIONS.items():
            command += ["-o", f"{name}={value}"]
        process = start(command, folder, lap.environ())
        it = lap.watch(process, folder, lambda: written(process.pid))
        bytes_written = it.done - errors_of(folder).stat().st_size
        arrived = min(lap.events, bytes_written * lap.events // self._expected)
        return Measured.of(it, lap.events, arrived)
