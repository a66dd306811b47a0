"""What the commands about a connector do: look at, adopt and reset its checkpoint, its slot.

Enters: a checked `SourceConfig`. Leaves: rows for a listing, or a change that a person asked for by name. Each call makes
its own connections and gives them back.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

from liberator.build.operate_query import is_query, no_slot, query_meaning, reset_query, status_query
from liberator.build.operate_sink import status_sink
from liberator.build.parts import log_settings, make_checkpoint, selection
from liberator.errors import LiberatorError, PreconditionError
from liberator.ledger import Ledger
from liberator.observe.telemetry import Telemetry
from liberator.postgres.catalogue import list_tables
from liberator.postgres.lsn import format_lsn
from liberator.postgres.replication import ReplicationConnection
from liberator.postgres.session import connect
from liberator.postgres.slots import Slot, drop_slot, find_slot, list_slots
from liberator.source.log import LogSource
from liberator.source.outbox.source import PARTITION as OUTBOX
from liberator.source.outbox.source import rounds_of
from liberator.source.position import (
    PUBLICATIONS,
    SLOT,
    TABLE_PREFIX,
    SlotPosition,
    TablePosition,
    publications_of,
    table_partition,
)
from liberator.source.start import flush_lsn, require_inactive
from liberator.source.tables import choose

if TYPE_CHECKING:
    from liberator.config import AnyConfig, SourceConfig

log = logging.getLogger(__name__)


def checkpoint_show(config: SourceConfig) -> Iterator[dict[str, Any]]:
    """One row a partition of the saved state."""
    with closing(make_checkpoint(config)) as checkpoint:
        for partition, value, saved_at in checkpoint.describe():
            yield {
                "connector": config.name,
                "partition": partition,
                **_meaning(partition, value),
                "saved_at": saved_at,
            }


def checkpoint_adopt(config: SourceConfig) -> None:
    """Make the slot's own position the connector's. Raises `PreconditionError` without an idle slot."""
    if not config.source.reads_log:
        raise no_slot()
    settings = log_settings(config)
    with (
        closing(connect(config.source.url, config.name)) as connection,
        closing(make_checkpoint(config)) as checkpoint,
    ):
        slot = find_slot(connection, settings.slot)
        if slot is None or slot.confirmed_lsn is None:
            raise PreconditionError(
                f'there is no slot "{settings.slot}" whose position could be adopted',
                code="source.slot_missing",
                fix="`liberate slot create` makes it; `liberate checkpoint reset` starts anew with a snapshot",
            )
        require_inactive(slot)
        with closing(ReplicationConnection(config.source.url, config.name)) as replication:
            system = replication.identify()
        position = SlotPosition(
            system.identifier,
            system.timeline,
            system.database,
            settings.slot,
            settings.publications,
            slot.confirmed_lsn,
        )
        Ledger(checkpoint).save({SLOT: position.encode(), PUBLICATIONS: b""})


def checkpoint_reset(config: SourceConfig, tables: Sequence[str] = ()) -> None:
    """Forget the position and drop the slot that belongs to it, so that the next start is a first one.

    tables: only have the rows of these (``schema.table``) read again at the next start; the position stays.
    """
    if not config.source.reads_log:
        reset_query(config, tables)
        return
    if tables:
        _read_again(config, tables)
        return
    slot_drop(config, missing_ok=True)
    with closing(make_checkpoint(config)) as checkpoint:
        checkpoint.reset()


def _read_again(config: SourceConfig, tables: Sequence[str]) -> None:
    with closing(connect(config.source.url, config.name)) as connection:
        via_root = config.source.log.publish_via_partition_root
        captured = {
            table.qualified: table.oid
            for table in choose(list_tables(connection), selection(config), via_root=via_root)
        }
    if unknown := [table for table in tables if table not in captured]:
        raise PreconditionError(
            f"{config.name} does not capture {', '.join(unknown)}",
            code="source.table_missing",
            fix=f"it captures {', '.join(sorted(captured)[:20])}",
        )
    with closing(make_checkpoint(config)) as checkpoint:
        if SLOT not in checkpoint.load():
            raise PreconditionError(
                f"{config.name} has no position yet: its first start reads all tables anyway",
                code="checkpoint.missing",
                fix="start it",
            )
        Ledger(checkpoint).save(
            {table_partition(table): TablePosition(None, captured[table]).encode() for table in tables}
        )


def slot_list(config: SourceConfig) -> Iterator[dict[str, Any]]:
    """One row a logical slot of the server."""
    with closing(connect(config.source.url, config.name)) as connection:
        yield from map(_slot_row, list_slots(connection))


def slot_create(config: SourceConfig) -> None:
    """Make publication and slot and save the position; existing rows, if wanted, are read at the first run."""
    if not config.source.reads_log:
        raise no_slot()
    with closing(make_checkpoint(config)) as checkpoint:
        ledger = Ledger(checkpoint)
        source = LogSource(log_settings(config), remember=ledger.save, progress=Telemetry(config.name))
        with closing(source):
            source.open(ledger.load(), stream=False)


def slot_drop(config: SourceConfig, *, missing_ok: bool = False) -> None:
    """Drop the connector's slot. Raises `PreconditionError` while it is used, and when there is none."""
    name = config.source.log.slot
    with closing(connect(config.source.url, config.name)) as connection:
        slot = find_slot(connection, name)
        if slot is None:
            if missing_ok:
                return
            raise PreconditionError(
                f'there is no slot "{name}"',
                code="source.slot_missing",
                fix="`liberate slot list` shows all slots",
            )
        require_inactive(slot)
        drop_slot(connection, name)


def status(config: AnyConfig) -> dict[str, Any]:
    """Position, slot and lag as the live systems tell; of a sink how far its group is."""
    from liberator.config import SinkConfig

    if isinstance(config, SinkConfig):
        return status_sink(config)
    if config.source.mode == "query":
        return status_query(config)
    if not config.source.reads_log:
        kept = config.source.outbox.after_publish == "keep"
        return status_query(config) if kept else _status_poll(config)
    with closing(connect(config.source.url, config.name)) as connection:
        slot = find_slot(connection, config.source.log.slot)
        end = flush_lsn(connection)
    with closing(make_checkpoint(config)) as checkpoint:
        state = checkpoint.load()
    position = SlotPosition.decode(state[SLOT]) if SLOT in state else None
    tables = [
        TablePosition.decode(data, name) for name, data in state.items() if name.startswith(TABLE_PREFIX)
    ]
    return {
        "slot": None if slot is None else _slot_row(slot),
        "checkpoint": None if position is None else format_lsn(position.lsn),
        "server": format_lsn(end),
        "lag_bytes": None if position is None else max(0, end - position.lsn),
        "snapshot": {"tables": len(tables), "done": sum(table.done is not None for table in tables)},
    }


def _status_poll(config: SourceConfig) -> dict[str, Any]:
    """What is to be published stands in the table, so there is little to tell."""
    with closing(make_checkpoint(config)) as checkpoint:
        rounds = rounds_of(checkpoint.load())
    return {"connector": config.name, "mode": "outbox", "rounds": rounds}


def _slot_row(slot: Slot) -> dict[str, Any]:
    return {
        "slot": slot.name,
        "database": slot.database,
        "plugin": slot.plugin,
        "temporary": slot.temporary,
        "active_pid": slot.active_pid,
        "confirmed_lsn": None if slot.confirmed_lsn is None else format_lsn(slot.confirmed_lsn),
        "restart_lsn": None if slot.restart_lsn is None else format_lsn(slot.restart_lsn),
        "wal_status": slot.wal_status,
        "retained_bytes": slot.retained,
    }


def _meaning(partition: str, value: bytes) -> dict[str, Any]:
    """A partition in words; what can't be read is said, not hidden."""
    try:
        if partition == SLOT:
            position = SlotPosition.decode(value)
            return {
                "position": format_lsn(position.lsn),
                "slot": position.slot,
                "database": position.database,
                "system": position.system,
                "timeline": position.timeline,
                "created": position.created,
            }
        if partition == PUBLICATIONS:
            return {"position": f"of the publications {', '.join(publications_of({partition: value}))}"}
        if partition == OUTBOX:
            return {"position": f"{rounds_of({OUTBOX: value})} rounds"}
        if partition.startswith(TABLE_PREFIX):
            done = TablePosition.decode(value, partition).done
            return {"position": "to be read" if done is None else f"read at {format_lsn(done)}"}
        if is_query(partition):
            return query_meaning(partition, value)
    except LiberatorError as error:
        return {"position": f"unreadable: {error.what}"}
    return {"position": f"{len(value)} bytes of schema history"}
