"""pg_recvlogical: PostgreSQL's own client, which does nothing but receive. Nobody gets rows out of a slot faster."""

from __future__ import annotations

from tests.benchmark.ground import TABLE, Lap
from tests.benchmark.processes import errors_of, start, written
from tests.benchmark.sides import Measured, Side

_SLOT = "receiver"
_OPTIONS = {"proto_version": "1", "publication_names": _SLOT}


def make_slot(lap: Lap) -> None:
    """A publication and a slot; before the rows."""
    lap.execute(f"CREATE PUBLICATION {_SLOT} FOR TABLE {TABLE}")
    lap.execute(f"SELECT pg_create_logical_replication_slot('{_SLOT}_{lap.name}', 'pgoutput')")


def bytes_to_come(lap: Lap) -> int:
    """What pg_recvlogical is to write: every message, and a line feed behind it. The slot stays where it is."""
    options = ", ".join(f"'{name}', '{value}'" for name, value in _OPTIONS.items())
    peek = f"pg_logical_slot_peek_binary_changes('{_SLOT}_{lap.name}', NULL, NULL, {options})"
    [[size]] = lap.execute(f"SELECT sum(length(data) + 1)::text FROM {peek}")
    return int(str(size))


class Recvlogical(Side):
    """Into /dev/null; complete when it has written as many bytes as the server has messages."""

    name = "pg_recvlogical"

    def __init__(self, expected: int) -> None:
        self._expected = expected

    def prepare(self, lap: Lap) -> None:
        """A slot of its own."""
        make_slot(lap)

    def measure(self, lap: Lap) -> Measured:
        """Run it to the end of the rows."""
        folder = lap.place("recvlogical")
        command = [
            str(lap.ground.programs / "pg_recvlogical"), "-d", lap.dsn, "--slot", f"{_SLOT}_{lap.name}",
            "--start", "-f", "/dev/null", "--endpos", lap.end, "--no-loop", "-F", "0",
        ]  # fmt: skip
        for name, value in _OPTIONS.items():
            command += ["-o", f"{name}={value}"]
        process = start(command, folder, lap.environ())
        it = lap.watch(process, folder, lambda: written(process.pid))
        bytes_written = it.done - errors_of(folder).stat().st_size
        rows = min(lap.rows, bytes_written * lap.rows // self._expected)
        return Measured.of(it, lap.rows, rows)
