"""psql and COPY: the server's own way to give a table away, by its own client. Through one connection nobody is faster."""

from __future__ import annotations

from tests.benchmark.ground import TABLE, Lap
from tests.benchmark.processes import errors_of, start, written
from tests.benchmark.sides import Measured, Side


class Copy(Side):
    """Into /dev/null. psql fails unless it gets the whole table."""

    name = "psql COPY"

    def prepare(self, lap: Lap) -> None:
        """Nothing: the rows alone are needed."""

    def measure(self, lap: Lap) -> Measured:
        """Run it once."""
        folder = lap.place("copy")
        command = [str(lap.ground.programs / "psql"), "-X", "-d", lap.dsn, "-c", f"COPY {TABLE} TO STDOUT"]
        process = start(command, folder, lap.environ())
        it = lap.watch(process, folder, lambda: written(process.pid))
        return Measured.of(it, lap.events, lap.events if it.done > errors_of(folder).stat().st_size else 0)
