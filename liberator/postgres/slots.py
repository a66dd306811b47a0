"""Replication slots: what the server keeps for us. Reading, judging, dropping; creation is a replication command.

Called by the log source before it starts and by ``liberate slot``. Never terminates another session.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import dict_row

from liberator.errors import PreconditionError
from liberator.postgres.lsn import parse_lsn
from liberator.postgres.session import source_error
from liberator.postgres.sql import statement


@dataclass(frozen=True, slots=True)
class Slot:
    """One row of pg_replication_slots. LSNs as numbers, None when the slot has none. retained: bytes of WAL that it
    holds back. wal_status: reserved, extended, unreserved or lost. active_pid: who is using it."""

    name: str
    plugin: str | None
    database: str | None
    temporary: bool
    active_pid: int | None
    restart_lsn: int | None
    confirmed_lsn: int | None
    wal_status: str | None
    retained: int | None

    @property
    def lost(self) -> bool:
        """The server removed WAL that the slot needs: it can never be read again."""
        return self.wal_status == "lost"


def list_slots(connection: psycopg.Connection[Any], name: str | None = None) -> list[Slot]:
    """All logical slots, or the one called `name`."""
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(statement("slots"), {"name": name}).fetchall()
    return [
        Slot(
            name=row["name"],
            plugin=row["plugin"],
            database=row["database"],
            temporary=row["temporary"],
            active_pid=row["active_pid"],
            restart_lsn=_lsn(row["restart_lsn"]),
            confirmed_lsn=_lsn(row["confirmed_lsn"]),
            wal_status=row["wal_status"],
            retained=None if row["retained"] is None else int(row["retained"]),
        )
        for row in rows
    ]


def find_slot(connection: psycopg.Connection[Any], name: str) -> Slot | None:
    """The logical slot called `name`, if there is one."""
    found = list_slots(connection, name)
    return found[0] if found else None


def drop_slot(connection: psycopg.Connection[Any], name: str) -> bool:
    """Drop a slot; False: there was none. Raises `PreconditionError` while somebody uses it."""
    try:
        connection.execute("SELECT pg_catalog.pg_drop_replication_slot(%s)", (name,))
    except psycopg.errors.UndefinedObject:
        return False
    except psycopg.Error as error:
        raise source_error(error, f'dropping slot "{name}"') from None
    return True


def check_plugin(slot: Slot, database: str) -> None:
    """Refuse a slot that this connector could not read. Raises `PreconditionError`."""
    check_owner(slot, database)
    if slot.lost:
        raise PreconditionError(
            f'slot "{slot.name}" was invalidated: the server removed WAL that it still needed (wal_status = lost)',
            code="source.slot_lost",
            fix="changes since its position are gone. Raise max_slot_wal_keep_size, then `liberate checkpoint reset` "
            "and start again with a new snapshot",
        )


def check_owner(slot: Slot, database: str) -> None:
    """Refuse a slot of another program or database. Raises `PreconditionError`."""
    if slot.plugin != "pgoutput":
        raise PreconditionError(
            f'slot "{slot.name}" uses the plugin {slot.plugin}, not pgoutput',
            code="source.slot_foreign",
            fix="choose another name in source.log.slot",
        )
    if slot.database != database:
        raise PreconditionError(
            f'slot "{slot.name}" belongs to database "{slot.database}", not "{database}"',
            code="source.slot_foreign",
            fix="choose another name in source.log.slot: slot names are shared by all databases of a server",
        )


def _lsn(text: str | None) -> int | None:
    return None if text is None else parse_lsn(text)
