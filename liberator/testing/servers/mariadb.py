"""A throw-away MariaDB on loopback, and the databases in it.

Enters: the installed programs. Leaves: a SQLAlchemy URL. Called by tests. Never touches a server or a data folder that it
has not made itself, and needs no installation rights.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import uuid
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from liberator.testing.servers.postgres import unprivileged
from liberator.testing.servers.process import (
    Process,
    ServerError,
    free_port,
    kill_hard,
    launch,
    tail,
    wait_until,
)
from liberator.testing.servers.server import Given, Server

_FOLDERS = ("/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin", "/usr/libexec")

SETTINGS = {
    "bind-address": "127.0.0.1",
    "innodb-buffer-pool-size": "64M",
    "innodb-log-file-size": "48M",
    "innodb-flush-log-at-trx-commit": "0",
    "innodb-fast-shutdown": "2",
    "skip-log-bin": None,
    "skip-name-resolve": None,
    "character-set-server": "utf8mb4",
}


class MariaDb(Server):
    """A MariaDB server that tests may make databases in."""

    @property
    @abstractmethod
    def url(self) -> str:
        """The database mysql, as a user who may do everything."""

    def execute(self, *statements: str, url: str | None = None) -> Sequence[tuple[Any, ...]]:
        """Run statements on a connection of their own, in autocommit; the rows of the last one."""
        with connect(url or self.url) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            rows: Sequence[tuple[Any, ...]] = cursor.fetchall()
            return rows

    def database(self) -> str:
        """Make an empty database; its URL."""
        name = f"db_{uuid.uuid4().hex[:12]}"
        self.execute(f"CREATE DATABASE {name}")
        return urlunsplit(urlsplit(self.url)._replace(path=f"/{name}"))

    def drop(self, url: str) -> None:
        """Drop a database."""
        self.execute(f"DROP DATABASE {urlsplit(url).path.lstrip('/')}")


class GivenMariaDb(Given, MariaDb):
    """A server that somebody else runs, known by its URL."""

    @property
    def url(self) -> str:
        """The URL as given."""
        return self._address


class MariaDbServer(MariaDb):
    """A server of our own, run from installed programs; it dies with this process. Everything lives in one temporary
    folder: `data`, and `log` (what the server says)."""

    def __init__(self, program: Path, install: Path) -> None:
        self._program, self._install = program, install
        self._user = unprivileged()
        self.folder = Path(tempfile.mkdtemp(prefix="liberator-mariadb-"))
        self.log = self.folder / "log"
        self.port = free_port()
        self._process: Process | None = None

    @property
    def url(self) -> str:
        """The database mysql as root, without a password."""
        return f"mysql+pymysql://root@127.0.0.1:{self.port}/mysql"

    def start(self) -> MariaDbServer:
        """Start, making the data folder first; returns when it takes connections."""
        data = self.folder / "data"
        if self._user:
            os.chown(self.folder, self._user.uid, self._user.gid)
        self._make(data)
        options = [f"--{name}" if value is None else f"--{name}={value}" for name, value in SETTINGS.items()]
        process = launch(
            [
                *(str(self._program), "--no-defaults", f"--datadir={data}", f"--port={self.port}"),
                *(f"--socket={self.folder / 'socket'}", f"--pid-file={self.folder / 'pid'}", *options),
            ],
            cwd=self.folder,
            log=self.log,
            environ={**os.environ, "HOME": str(self.folder), "TZ": "UTC"},
            death_signal=signal.SIGKILL,
            user=self._user,
        )
        if not wait_until(lambda: process.poll() is not None or self._connects(), timeout=180, pause=0.05):
            kill_hard(process)
        if process.poll() is not None:
            raise ServerError(f"MariaDB did not start:\n{tail(self.log)}", where=str(self._program))
        self._process = process
        return self

    def close(self) -> None:
        """Stop at once and remove the folder. Idempotent."""
        process, self._process = self._process, None
        if process is not None:
            kill_hard(process)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _make(self, data: Path) -> None:
        made = subprocess.run(
            [
                *(str(self._install), "--no-defaults", f"--datadir={data}", "--skip-test-db"),
                *("--auth-root-authentication-method=normal", f"--tmpdir={self.folder}"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=self.folder,
            text=True,
            check=False,
            user=self._user.uid if self._user else None,
            group=self._user.gid if self._user else None,
            extra_groups=[] if self._user else None,
        )
        if made.returncode:
            raise ServerError(f"mariadb-install-db failed:\n{made.stdout[-2000:]}", where=str(self._install))

    def _connects(self) -> bool:
        import pymysql

        try:
            return self.execute("SELECT 1") == ((1,),)
        except pymysql.err.OperationalError:
            return False


def mariadb_programs(environ: Mapping[str, str] = os.environ) -> tuple[Path, Path]:
    """The server and the program that makes its data folder.

    In LIBERATOR_MARIADB_BIN, or where distributions put them.
    """
    folders = [environ["LIBERATOR_MARIADB_BIN"]] if environ.get("LIBERATOR_MARIADB_BIN") else list(_FOLDERS)
    path = os.pathsep.join(folders)
    server, install = shutil.which("mariadbd", path=path), shutil.which("mariadb-install-db", path=path)
    if server is None or install is None:
        raise ServerError(
            "MariaDB is not installed",
            code="server.missing",
            fix="install it (Debian: apt-get install mariadb-server-core mariadb-client-core, or mariadb-server), or set"
            " LIBERATOR_MARIADB_BIN to its programs' folder, or LIBERATOR_TEST_MARIADB to a server's URL",
        )
    return Path(server), Path(install)


def connect(url: str) -> Any:
    """A connection in autocommit to a ``mysql+pymysql://`` URL."""
    import pymysql

    parts = urlsplit(url)
    return pymysql.connect(
        host=parts.hostname or "127.0.0.1",
        port=parts.port or 3306,
        user=unquote(parts.username or "root"),
        password=unquote(parts.password or ""),
        database=parts.path.lstrip("/"),
        autocommit=True,
    )
