"""Java servers' jars, fetched by Maven the first time and kept.

Enters: what is wanted, and Maven's words for it. Leaves: a folder. Called by `kafka` and `apicurio`. Names no repository:
Maven knows its own.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from liberator.testing.servers.process import ServerError


@dataclass(frozen=True, slots=True)
class JavaServer:
    """A server that runs on Java. variable: of the environment, with the address of one that runs already; what: such as "a
    broker". None: only one of our own will do."""

    name: str
    version: str
    variable: str | None = None
    what: str = ""

    def program(self, name: str) -> str:
        """The path of ``java`` or ``mvn``. Raises `ServerError` when it is not installed."""
        path = shutil.which(name)
        if path is None:
            raise ServerError(
                f"{name} is not installed, so no {self.name} of our own can run",
                code="server.missing",
                fix="install Java 17 or newer and Maven (Debian: apt-get install default-jre-headless maven)"
                + self._or_another(),
            )
        return path

    def maven(self, folder: Path, goal: Sequence[str]) -> None:
        """Run Maven in a folder. Raises `ServerError` with its last words."""
        fetched = subprocess.run(
            [self.program("mvn"), "-B", "-q", "-ntp", *goal],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if fetched.returncode:
            raise ServerError(
                f"Maven could not fetch {self.name}:\n{fetched.stdout[-2000:]}",
                code="server.missing",
                fix="check that Maven reaches its repository" + self._or_another(),
            )

    def _or_another(self) -> str:
        return f", or set {self.variable} to {self.what}'s address" if self.variable else ""

    def home(self, cache: Path | None, fetch: Callable[[Path], Path]) -> Path:
        """The folder of this version's files; the first time made by `fetch`, which is given an empty one and returns what
        is to be kept of it.

        cache: the folder to keep them in; by default ``liberator`` in XDG_CACHE_HOME or ~/.cache.
        """
        cache = cache or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "liberator"
        prefix = self.name.lower()
        home = cache / f"{prefix}-{self.version}"
        if home.exists():
            return home
        cache.mkdir(parents=True, exist_ok=True)
        fetched = Path(tempfile.mkdtemp(prefix=f"{prefix}-", dir=cache))
        try:
            made = fetch(fetched)
            with contextlib.suppress(OSError):  # another process was faster: its files are as good
                made.rename(home)
        finally:
            shutil.rmtree(fetched)
        return home
