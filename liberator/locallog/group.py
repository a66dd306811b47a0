"""Consumer groups without a coordinator: the members themselves keep the tables.

Enters: the topics a member wants, and its signs of life. Leaves: the partitions it reads, and those it has to give up.
Called by `consume.local`. Never takes a partition from a member that is alive: that one gives it up when it is ready.

Theory of operation: whoever finds that something has changed (a member came, left or died; a topic appeared) shares
the partitions out anew, in one transaction. A claim has an owner, who reads the partition and whose commits count, and an
heir. An owner that is not the heir commits, and hands over; from a dead owner the heir takes over at once. Dead
is whose process has ended (`life`), and who gives no signs of life.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
import uuid
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from liberator.change import TopicPartition
from liberator.locallog.failure import LocalLogFailure
from liberator.locallog.file import LogFile
from liberator.locallog.life import Life, forget, has_ended
from liberator.locallog.share import share

_BEATS = 3
"""Signs of life in a session time-out."""

_CLAIMS = """
SELECT t.name, p.number, c.heir FROM claims c JOIN partitions p ON p.id = c.partition JOIN topics t ON t.id = p.topic
WHERE c.in_group = ? AND c.owner = ?
"""
_PARTITIONS = (
    "SELECT p.id, t.name FROM partitions p JOIN topics t ON t.id = p.topic ORDER BY t.name, p.number"
)


class Evicted(Exception):
    """The others took this member for dead, and its partitions."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What a member owns. leaving: those of it that another one waits for."""

    owned: frozenset[TopicPartition]
    leaving: frozenset[TopicPartition]


class Membership:
    """One consumer's part in a group. session_timeout: seconds without a sign of life after which it counts as dead."""

    def __init__(self, file: LogFile, group: str, session_timeout: float) -> None:
        self._file = file
        self._group = group
        self._timeout = session_timeout
        self._generation = -1
        self._life: Life | None = None
        self.member = ""
        """Who this is, while it is a member."""

    def declare(self, topics: Collection[str]) -> None:
        """Become a member that wants these topics, or want others from now on."""
        with self._file.write() as connection:
            if self._life is None:
                self.member = uuid.uuid4().hex
                self._life = Life(self._file.folder, self.member)
            connection.execute("INSERT OR IGNORE INTO groups VALUES (?, 0)", (self._group,))
            row = (self.member, self._group, json.dumps(sorted(topics)), time.monotonic(), self._timeout)
            connection.execute("INSERT OR REPLACE INTO members VALUES (?, ?, ?, ?, ?)", row)
            _share_out(connection, self._group, self._file.folder)
        self._generation = -1

    def claims(self) -> Claims | None:
        """What is ours now; None: nothing has changed since the last call. Raises `Evicted`."""
        with self._file.read() as connection:
            (generation,) = connection.execute(
                "SELECT generation FROM groups WHERE id = ?", (self._group,)
            ).fetchone()
            if generation == self._generation:
                return None
            if not connection.execute("SELECT 1 FROM members WHERE id = ?", (self.member,)).fetchone():
                self._end()
                raise Evicted
            rows = connection.execute(_CLAIMS, (self._group, self.member)).fetchall()
        self._generation = generation
        return Claims(
            frozenset(TopicPartition(name, number) for name, number, _ in rows),
            frozenset(TopicPartition(name, number) for name, number, heir in rows if heir != self.member),
        )

    def look_again(self) -> None:
        """What the last call of `claims` told could not be done."""
        self._generation = -1

    def hand_over(self) -> None:
        """Give the partitions that others wait for to them."""
        with self._file.write() as connection:
            connection.execute(
                "UPDATE claims SET owner = heir WHERE in_group = ? AND owner = ?", (self._group, self.member)
            )
            _next_generation(connection, self._group)

    def bury(self) -> None:
        """Share out what dead members have left."""
        with self._file.read() as connection:
            dead = _dead(connection, self._group, self._file.folder)
        if dead:
            with self._file.write() as connection:
                _share_out(connection, self._group, self._file.folder)

    def leave(self) -> None:
        """Be a member no more; the others get what was ours. Idempotent."""
        if not self.member:
            return
        try:
            with self._file.write() as connection:
                connection.execute("DELETE FROM members WHERE id = ?", (self.member,))
                _share_out(connection, self._group, self._file.folder)
        finally:
            self._end()

    def _end(self) -> None:
        self.member = ""
        if self._life is not None:
            self._life.end()
            self._life = None


class Heart:
    """Gives signs of life for a member, from a thread and a connection of its own, until `stop`.

    It stops by itself when the consumer has not polled for `poll_interval` seconds: then the others take over.
    """

    def __init__(self, file: LogFile, member: str, session_timeout: float, poll_interval: float) -> None:
        self.polled = time.monotonic()
        self._file = file
        self._member = member
        self._pause = session_timeout / _BEATS
        self._poll_interval = poll_interval
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"heart of {member}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """No more signs of life."""
        self._stopped.set()
        self._thread.join()
        self._file.close()

    def _run(self) -> None:
        while not self._stopped.wait(self._pause):
            if time.monotonic() - self.polled < self._poll_interval:
                with suppress(LocalLogFailure):  # the next beat may come through; if none does, that is death
                    self._beat()

    def _beat(self) -> None:
        with self._file.write() as connection:
            connection.execute("UPDATE members SET seen = ? WHERE id = ?", (time.monotonic(), self._member))


def has_members(connection: sqlite3.Connection, group: str, folder: Path) -> bool:
    """Does a member of this group live?"""
    (known,) = connection.execute("SELECT count(*) FROM members WHERE in_group = ?", (group,)).fetchone()
    return bool(known > len(_dead(connection, group, folder)))


def _dead(connection: sqlite3.Connection, group: str, folder: Path) -> list[str]:
    # The clock is the same for all processes. Who was seen far in the future was seen before the machine started.
    now = time.monotonic()
    members = connection.execute(
        "SELECT id, seen BETWEEN ? - timeout AND ? + timeout FROM members WHERE in_group = ?",
        (now, now, group),
    )
    return [member for member, seen in members.fetchall() if not seen or has_ended(folder, member)]


def _share_out(connection: sqlite3.Connection, group: str, folder: Path) -> None:
    """Bury the dead, and give every partition to whom it shall belong."""
    for member in _dead(connection, group, folder):
        connection.execute("DELETE FROM members WHERE id = ?", (member,))
        forget(folder, member)
    members = {
        member: frozenset(json.loads(topics))
        for member, topics in connection.execute(
            "SELECT id, topics FROM members WHERE in_group = ?", (group,)
        )
    }
    claims = {
        partition: (owner, heir)
        for partition, owner, heir in connection.execute(
            "SELECT partition, owner, heir FROM claims WHERE in_group = ?", (group,)
        )
    }
    present = {id: heir if heir in members else owner for id, (owner, heir) in claims.items()}
    heirs = share(members, dict(connection.execute(_PARTITIONS)), present)
    wanted = {}
    for partition, heir in heirs.items():
        owner = claims.get(partition, ("", ""))[0]
        wanted[partition] = (owner if owner in members else heir, heir)
    connection.execute("DELETE FROM claims WHERE in_group = ?", (group,))
    connection.executemany(
        "INSERT INTO claims VALUES (?, ?, ?, ?)",
        [(group, id, owner, heir) for id, (owner, heir) in wanted.items()],
    )
    _next_generation(connection, group)


def _next_generation(connection: sqlite3.Connection, group: str) -> None:
    connection.execute("UPDATE groups SET generation = generation + 1 WHERE id = ?", (group,))
