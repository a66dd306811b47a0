"""The executor of an outbox that is read from the log: wire bytes -> events. One call per batch.

Enters: batches of XLogData frames and of COPY lines. Leaves: `EncodedBatch`es. Called by the capture loop. A row that is
inserted is an event; its delete is clean-up, and its update no event either. With capture message a logical message is one.
Malformed bytes raise only `DecodeError`.
"""

from __future__ import annotations

import logging
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import orjson

from liberator.change import Batch, EncodedBatch, State
from liberator.contract.reading import members, read
from liberator.contract.violation import Violation
from liberator.errors import SourceError
from liberator.plan.context import PREFIX as CONTEXT
from liberator.plan.context import TransactionContext
from liberator.plan.event_time import time_of
from liberator.plan.outbox import Entry, OutboxSettings, Router
from liberator.plan.outbox_rows import OutboxPlan, check_table, compile_outbox, entry_of_row, plain
from liberator.plan.planner import Planner
from liberator.plan.resume import Cuts
from liberator.plan.rows import copy_fields
from liberator.postgres.lsn import format_lsn
from liberator.postgres.model import Table
from liberator.postgres.pgoutput import (
    Begin,
    Commit,
    LogicalMessage,
    Relation,
    Truncate,
    Update,
    decode,
    malformed,
    read_tuple,
)
from liberator.postgres.replication import POSTGRES_EPOCH
from liberator.source.snapshot import SnapshotBatch

log = logging.getLogger(__name__)

_U32 = struct.Struct(">I").unpack_from
_EPOCH_US = POSTGRES_EPOCH * 1_000_000
_BODY: Final = 25
_INSERT: Final = ord("I")


@dataclass(frozen=True, slots=True)
class LogOutboxSettings:
    """prefix: of the messages that are events; None: rows of a table are. label: the outbox, for messages to people."""

    slot: str
    system: str
    label: str
    prefix: str | None = None


class OutboxExecutor:
    """Turns batches into events. contexts: are the messages of `plan.context` to be heard?"""

    def __init__(
        self,
        log_settings: LogOutboxSettings,
        settings: OutboxSettings,
        planner: Planner,
        router: Router,
        *,
        contexts: bool = True,
    ) -> None:
        self._log = log_settings
        self._settings = settings
        self._planner = planner
        self._router = router
        self._contexts = contexts
        self._context = TransactionContext()
        self._plans: dict[int, OutboxPlan | None] = {}
        self._inside = False
        self._copying = False
        self._commit_lsn = 0
        self._commit_ms: int | None = None
        self._change = self._message = 0
        self._updates = 0
        self._cuts = Cuts()
        self.committed_us = 0
        """Commit time of the newest transaction, microseconds since the Unix epoch; 0: none yet."""

    def prepare(self, tables: Iterable[Table]) -> None:
        """Find out at the start what would go wrong later. Raises `PreconditionError`."""
        for table in tables:
            check_table(table, self._settings)

    def encode(self, batch: Batch) -> EncodedBatch:
        """The events of one batch, in order. Raises `DecodeError`, `ContractError`, `PreconditionError`."""
        out = EncodedBatch(string_keys=True)
        self._copying = isinstance(batch, SnapshotBatch)
        try:
            if isinstance(batch, SnapshotBatch):
                self._copy(batch, out)
            else:
                self._context.next_batch()
                for frame in batch.frames:
                    self._frame(frame, out)
                self._context.apply(out)
        except (struct.error, IndexError) as error:
            raise malformed(f"a message cut short ({type(error).__name__})", 0) from None
        return out

    def restart(self, state: State) -> None:
        """The stream begins anew at `state`: what was announced in the old one no longer holds."""
        self._plans.clear()
        self._context.forget()
        self._inside, self._commit_lsn = False, 0
        self._cuts.restart(state)

    def history(self) -> State:
        """See `Encoder.history`; and that no transaction is cut."""
        return self._cuts.history(self._planner.history())

    def inside(self) -> State | None:
        """See `Encoder.inside`, and the executor of tables."""
        if not self._inside:
            return {} if self._copying else None
        return self._cuts.at(self._commit_lsn, self._change, self._message)

    # -- the stream

    def _frame(self, frame: bytes, out: EncodedBatch) -> None:
        if frame[_BODY] == _INSERT:
            self._insert(frame, out)
            return
        message = decode(frame, _BODY)
        if isinstance(message, Begin):
            self._begin(message)
        elif isinstance(message, Commit):
            self.committed_us = message.committed_us + _EPOCH_US
            self._inside = False
            self._context.apply(out)
            self._context.forget()
        elif isinstance(message, Relation):
            self._announce(message)
        elif isinstance(message, LogicalMessage):
            self._said(message, out)
        elif isinstance(message, Truncate):
            self._change += len(message.relations)
        elif hasattr(message, "relation"):
            self._change += 1
            if isinstance(message, Update) and self._plan(message.relation) is not None:
                self._updated()

    def _begin(self, message: Begin) -> None:
        self._inside, self._commit_lsn = True, message.final_lsn
        self._commit_ms = (message.committed_us + _EPOCH_US) // 1000
        self._change = self._message = 0
        self._context.forget()
        self._cuts.passed(message.final_lsn)

    def _announce(self, message: Relation) -> None:
        plan = None if self._log.prefix is not None else self._planner.of_relation(message)
        self._plans[message.oid] = None if plan is None else compile_outbox(plan, self._settings)

    def _insert(self, frame: bytes, out: EncodedBatch) -> None:
        plan = self._plan(_U32(frame, _BODY + 1)[0])
        change = self._change
        self._change = change + 1
        if plan is None:
            return
        values, end, _ = read_tuple(frame, 31)
        if frame[30] != 78 or end != len(frame) or len(values) != len(plan.table.names):
            raise malformed("an insert that does not fit its table", 30)
        cut = self._cuts.cut
        if cut is not None and self._commit_lsn == cut.commit_lsn and change < cut.changes:
            return  # published before the restart
        self._router.add(out, entry_of_row(plan, values), self._place(b"%d" % change), self._commit_ms)

    def _updated(self) -> None:
        """Said at the first, the tenth, the hundredth."""
        if self._settings.on_update == "stop":
            raise SourceError(
                f"a row of the outbox {self._log.label} was updated, which is no event",
                code="outbox.updated",
                where=f"transaction that commits at {format_lsn(self._commit_lsn)}",
                fix="insert a new row for a new event, or set source.outbox.on_update to warn or ignore",
            )
        self._updates += 1
        if self._settings.on_update == "warn" and str(self._updates).strip("0") == "1":
            log.warning(
                "%d rows of the outbox %s were updated so far; updates are no events",
                self._updates,
                self._log.label,
            )

    def _said(self, message: LogicalMessage, out: EncodedBatch) -> None:
        number = self._message
        if message.transactional:
            self._message = number + 1
        if message.prefix == CONTEXT and self._contexts and message.transactional:
            self._context.said(message.content, out)
        elif message.prefix == self._log.prefix and not self._is_published(message, number):
            place = b"m%d" % number if message.transactional else None
            committed = self._commit_ms if message.transactional else None
            self._written(message.content, self._place(place, message.lsn), committed, out)

    def _is_published(self, message: LogicalMessage, number: int) -> bool:
        cut = self._cuts.cut
        if cut is None:
            return False
        if not message.transactional:
            # It comes before all that commits after it.
            return message.lsn < cut.commit_lsn
        return self._commit_lsn == cut.commit_lsn and number < cut.messages

    def _written(self, content: bytes, id: bytes, committed_ms: int | None, out: EncodedBatch) -> None:
        """A message that is an event."""
        try:
            is_object = isinstance(read(content), dict)
        except (ValueError, RecursionError):
            is_object = False
        if not is_object:
            violation = Violation("", "json", "", "is no JSON object")
            self._router.refuse(out, violation, content, None, id, timestamp=committed_ms)
            return
        found = dict(members(content))
        names, settings = self._settings.names, self._settings
        kind, key, type = (
            _said_text(found.get(n)) for n in (names.aggregate_type, names.aggregate_id, names.type)
        )
        payload = found.get(names.payload)
        entry = Entry(
            id=_said_text(found.get(names.id)) or id,
            aggregate_type=kind,
            aggregate_id=key,
            type=type,
            payload=None if payload == b"null" else payload,
            form="json",
            headers=tuple(
                (n, text) for n in settings.headers if (text := _said_text(found.get(n))) is not None
            ),
            extras=tuple((orjson.dumps(n), found.get(n, b"null")) for n in settings.envelope),
            timestamp=None if names.timestamp is None else time_of(found.get(names.timestamp)),
        )
        self._router.add(out, entry, id, committed_ms)

    def _plan(self, oid: int) -> OutboxPlan | None:
        try:
            return self._plans[oid]
        except KeyError:
            raise malformed("a change of a table that it did not announce", 26) from None

    def _place(self, change: bytes | None, lsn: int = 0) -> bytes:
        """The id of an event that has none of its own: as every change of the log."""
        stream = f"{self._log.system}/{self._log.slot}/"
        if change is None:
            return f"{stream}{format_lsn(lsn)}/m".encode()
        return f"{stream}{format_lsn(self._commit_lsn)}/".encode() + change

    # -- the snapshot

    def _copy(self, batch: SnapshotBatch, out: EncodedBatch) -> None:
        if batch.table is None or not batch.frames:
            return
        plan = compile_outbox(self._planner.of_table(batch.table), self._settings)
        place = f"{self._log.system}/{self._log.slot}/snapshot/{format_lsn(batch.lsn)}/".encode()
        for line in batch.frames:
            fields = copy_fields(line, plan.table, int(batch.by_ctid))
            if batch.by_ctid:
                fields.pop(0)
            self._router.add(out, entry_of_row(plan, fields), b"%b%08x" % (place, zlib.crc32(line)))


def _said_text(json: bytes | None) -> bytes | None:
    """A member of a message as text; None: it is not there, or null."""
    return None if json is None or json == b"null" else plain(json)
