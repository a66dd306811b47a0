"""May this connector start here? The checks between a checkpoint, a slot and a server (Invariant 5), and of rights.

Enters: what was saved and what is there. Leaves: nothing, or the error with the way out. Nothing is changed by a check.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import psycopg

from liberator.errors import CheckpointError, LiberatorError, PreconditionError
from liberator.postgres.catalogue import TableInfo
from liberator.postgres.lsn import format_lsn, parse_lsn
from liberator.postgres.replication import System, identifier
from liberator.postgres.slots import Slot, check_owner, check_plugin
from liberator.source.position import SlotPosition

RENEWABLE = frozenset({"source.slot_missing", "source.slot_lost", "checkpoint.missing"})
"""Refusals that ``snapshot: when_needed`` answers with a new start."""

_NEW_START = "`liberate checkpoint reset` starts again with a new snapshot"
_ADOPT = "if you know that nothing is missing, `liberate checkpoint adopt` takes the server's position"


class Named(Protocol):
    """What has a name in the database, as a table or a view."""

    @property
    def schema(self) -> str: ...

    @property
    def name(self) -> str: ...


def check_wal_level(connection: psycopg.Connection[Any]) -> None:
    """Raises `PreconditionError` when the server can't decode its WAL."""
    row = connection.execute("SELECT pg_catalog.current_setting('wal_level')").fetchone()
    if row is None or row[0] != "logical":
        raise PreconditionError(
            f"logical decoding requires wal_level >= logical; this server runs with {row[0] if row else 'none'}",
            code="source.wal_level",
            fix="ALTER SYSTEM SET wal_level = logical; then restart the server",
        )


def judge(
    system: System,
    database_lsn: int,
    position: SlotPosition | None,
    slot: Slot | None,
    *,
    slot_name: str,
    publications: Sequence[str],
) -> LiberatorError | None:
    """Why this checkpoint and this slot do not belong together; None: they do, or this is a first start.

    database_lsn: the end of the server's WAL. Raises `PreconditionError` for a slot that can't be ours at all.
    """
    if slot is not None and (position is None or not position.created):
        check_owner(
            slot, system.database
        )  # whatever we would do with it, another program's is not ours to drop
    if position is None:
        return None if slot is None else _slot_without_checkpoint(slot)
    for guard, saved, here in (
        ("database system", position.system, system.identifier),
        ("database", position.database, system.database),
        ("slot", position.slot, slot_name),
        ("publication", ", ".join(position.publications), ", ".join(publications)),
        ("timeline", position.timeline, system.timeline),
    ):
        if saved != here:
            return _foreign(guard, saved, here)
    if not position.created:
        return None
    if slot is None:
        return PreconditionError(
            f'slot "{slot_name}" is gone, but the checkpoint stands at {format_lsn(position.lsn)}: what changed since'
            " can no longer be read",
            code="source.slot_missing",
            fix=f"{_NEW_START}; or set source.log.snapshot: when_needed",
        )
    try:
        check_plugin(slot, system.database)
    except PreconditionError as error:
        return error
    if slot.confirmed_lsn is not None and slot.confirmed_lsn > position.lsn:
        return CheckpointError(
            f'the checkpoint stands at {format_lsn(position.lsn)}, but slot "{slot_name}" was confirmed up to'
            f" {format_lsn(slot.confirmed_lsn)}: the checkpoint is older than the slot (restored?), or the slot was"
            " made anew or used by somebody else",
            code="checkpoint.older",
            fix=f"changes in between can't be read again. {_NEW_START}; {_ADOPT}",
        )
    if position.lsn > database_lsn:
        return CheckpointError(
            f"the checkpoint stands at {format_lsn(position.lsn)}, beyond the end of the server's WAL at"
            f" {format_lsn(database_lsn)}: the database was restored to an earlier moment",
            code="checkpoint.future",
            fix=f"{_NEW_START}; {_ADOPT}",
        )
    return None


def require_inactive(slot: Slot) -> None:
    """Raises a retryable `PreconditionError` while somebody reads from the slot."""
    if slot.active_pid is not None:
        raise PreconditionError(
            f'slot "{slot.name}" is active for PID {slot.active_pid}',
            code="postgres.55006",
            fix="another instance of this connector runs, or a former connection has not ended yet; this one waits",
            retryable=True,
        )


def check_readable(tables: Sequence[TableInfo], user: str) -> None:
    """Raises `PreconditionError` when a snapshot of `tables` would fail, or show this user not all rows."""
    denied = [table for table in tables if not table.readable]
    if denied:
        raise PreconditionError(
            f"user {user} may not read {', '.join(table.qualified for table in denied)}, so there can be no snapshot",
            code="source.select_denied",
            where="source.tables",
            fix=f"{grants(denied, user)} or set source.log.snapshot: never",
        )
    hidden = [table.qualified for table in tables if table.hides_rows]
    if hidden:
        raise PreconditionError(
            f"row security would hide rows of {', '.join(hidden)} from user {user}: the snapshot would not be complete",
            code="source.row_security",
            where="source.tables",
            fix=f"ALTER ROLE {identifier(user)} BYPASSRLS; or connect as the owner of the tables",
        )


def grants(tables: Sequence[Named], user: str) -> str:
    """The SQL that lets `user` read `tables`."""
    schemas = ", ".join(dict.fromkeys(identifier(table.schema) for table in tables))
    names = ", ".join(f"{identifier(table.schema)}.{identifier(table.name)}" for table in tables)
    return f"GRANT USAGE ON SCHEMA {schemas} TO {identifier(user)}; GRANT SELECT ON {names} TO {identifier(user)};"


def flush_lsn(connection: psycopg.Connection[Any]) -> int:
    """The end of the WAL that the server has flushed."""
    row = connection.execute("SELECT pg_catalog.pg_current_wal_flush_lsn()::text").fetchone()
    assert row is not None
    return parse_lsn(row[0])


def _slot_without_checkpoint(slot: Slot) -> LiberatorError:
    return CheckpointError(
        f'slot "{slot.name}" exists, but there is no checkpoint for it: it belongs to somebody else, or the checkpoint'
        " was lost",
        code="checkpoint.missing",
        fix="choose another name in source.log.slot; or `liberate slot drop` and start again with a new snapshot; or, if"
        " nothing is missing, `liberate checkpoint adopt` continues from the slot's position",
    )


def _foreign(guard: str, saved: object, here: object) -> LiberatorError:
    return CheckpointError(
        f"the checkpoint is of another {guard}: it says {saved}, here it is {here}",
        code=f"checkpoint.{guard.split()[-1]}",
        fix=f"connect to the {guard} that it belongs to, or use another connector name. {_NEW_START}; {_ADOPT}",
    )
