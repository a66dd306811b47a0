"""The plan's executor in Python, the reference: wire bytes -> encoded events. THE HOT PATH: one call per batch.

Enters: batches of XLogData frames and of COPY lines. Leaves: `EncodedBatch`es. Called by the capture loop. It keeps what
the stream's messages leave open: the tables announced so far and the transaction under way. Malformed bytes raise only
`DecodeError`; a row that breaks its contract goes where `on_invalid` says.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from liberator.change import Batch, EncodedBatch, Headers, State
from liberator.codec.envelope import NO_ROW, Envelope, LogForm, Transaction
from liberator.contract.violation import Violation
from liberator.errors import EvaluationError
from liberator.plan.announce import Announcer, Place
from liberator.plan.announced import AnnouncedTables
from liberator.plan.calls import finished
from liberator.plan.compile import TablePlan
from liberator.plan.conditions import Verdict, judge
from liberator.plan.context import PREFIX as CONTEXT
from liberator.plan.context import TransactionContext
from liberator.plan.invalid import Failure, InvalidRows, as_text
from liberator.plan.messages import Messages
from liberator.plan.metadata import TransactionMetadata
from liberator.plan.planner import Planner
from liberator.plan.resume import Cuts
from liberator.plan.rows import copy_fields, fill, find_violation, identity_json, key_of, row_json, sent_of
from liberator.postgres.lsn import format_lsn
from liberator.postgres.pgoutput import (
    Begin,
    Commit,
    LogicalMessage,
    Relation,
    Truncate,
    Tuple,
    decode,
    malformed,
    read_tuple,
)
from liberator.postgres.replication import POSTGRES_EPOCH
from liberator.postgres.values import ConversionError
from liberator.source.snapshot import SnapshotBatch
from liberator.transform import CastError

_U32 = struct.Struct(">I").unpack_from
_U64 = struct.Struct(">Q").unpack_from
_EPOCH_US = POSTGRES_EPOCH * 1_000_000
_BODY = 25

Row = tuple[bytes, Sequence[Any], tuple[bytes, ...]]
"""A row's JSON, its columns' JSON, the names of columns that were not sent."""


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """What of the configuration decides about events. messages: prefixes of logical messages to publish. context: do
    transactions tell the headers of their events?"""

    name: str
    slot: str
    system: str
    tombstones: bool = True
    messages: tuple[str, ...] = ()
    message_topic: str = ""
    transaction_topic: str | None = None
    context: bool = True


@dataclass(frozen=True, slots=True)
class Copy:
    """A batch of a snapshot with its table's plan. prefix: of the ids of its events. read: in the place of a transaction."""

    batch: SnapshotBatch
    plan: TablePlan
    prefix: bytes
    read: Transaction


class PythonExecutor:
    """Turns batches into events. now_us: the processing time, microseconds since the Unix epoch."""

    def __init__(
        self,
        settings: StreamSettings,
        planner: Planner,
        envelope: Envelope,
        invalid: InvalidRows,
        now_us: Callable[[], int],
        announcer: Announcer | None = None,
    ) -> None:
        self._settings = settings
        self._announcer = announcer or Announcer()
        self._planner = planner
        self._envelope = envelope
        self._invalid = invalid
        self._now_us = now_us
        self._tables = AnnouncedTables(planner)
        self._plans = self._tables.plans
        self._transaction = Transaction(0, 0, None, None, 0)
        self._id_prefix = b""
        self._change = 0
        self._message = 0
        self._tombstones = settings.tombstones
        topic = settings.transaction_topic
        self._metadata = None if topic is None else TransactionMetadata(topic)
        self._lenient = False
        self._copying = False
        self._unfit: Violation | None = None
        self._failure: Failure | None = None
        self._messages = Messages(settings.message_topic, envelope.table("", ""), now_us)
        self._inside = False
        self._begun = 0
        self._cuts = Cuts()
        self._context = TransactionContext()
        self._processed_us = 0
        self._place = f"{settings.system}/{settings.slot}"
        self._snapshot_id = b"%b/%b/snapshot/" % (settings.system.encode(), settings.name.encode())
        self.committed_us = 0
        """Commit time of the newest transaction, microseconds since the Unix epoch; 0: none yet."""

    def encode(self, batch: Batch) -> EncodedBatch:
        """The events of one batch, in order. Raises `DecodeError`, `ContractError`, `PreconditionError`."""
        out = EncodedBatch()
        self._lenient, self._copying, self._unfit = False, False, None
        self._processed_us = self._now_us()
        self._envelope.now(self._processed_us)
        try:
            if isinstance(batch, SnapshotBatch):
                self._copy(batch, out)
            else:
                self._tables.next_batch()
                self._context.next_batch()
                self._stream(batch.frames, out)
                self._context.apply(out)
        except (struct.error, IndexError) as error:
            raise malformed(f"a message cut short ({type(error).__name__})", 0) from None
        if (cut := self._cuts.cut) is not None and not self._copying:
            cut.drop_published(out, self._prefix_of(cut.commit_lsn))
            self._cuts.passed(self._begun)
        return out

    def restart(self, state: State) -> None:
        """The stream begins anew at `state`: what was announced in the old one no longer holds."""
        self._tables.forget()
        self._inside, self._begun = False, 0
        self._context.forget()
        self._cuts.restart(state)

    def history(self) -> State:
        """What the checkpoint must remember of table versions seen since the last call; and that no transaction is cut."""
        return self._cuts.history(self._planner.history())

    def inside(self) -> State | None:
        """See `Encoder.inside`. Rows of a snapshot come again: their table is read again. Between transactions there are
        only messages outside of them, and those no position tells apart."""
        if not self._inside:
            return {} if self._copying else None
        return self._cuts.at(self._begun, self._change, self._message)

    # -- the stream

    def _stream(self, frames: Sequence[bytes], out: EncodedBatch) -> None:
        insert, others = self._insert, {73: self._insert, 85: self._update, 68: self._delete}
        for frame in frames:
            kind = frame[_BODY]
            try:
                if kind == 73:
                    insert(frame, out)
                else:
                    others.get(kind, self._other)(frame, out)
            except ConversionError as error:
                self._once_more(others[kind], frame, out, is_cast=isinstance(error, CastError))

    def _once_more(
        self,
        handle: Callable[[bytes, EncodedBatch], None],
        frame: bytes,
        out: EncodedBatch,
        *,
        is_cast: bool,
    ) -> None:
        """A value did not fit its type, which may have changed without a word (ALTER TYPE): the row may be older than that,
        or newer, so the catalogue is asked again, once. What still does not fit stays the server's text, and its row is
        judged like one that breaks its contract. Of a cast the catalogue knows nothing."""
        oid = _U32(frame, 26)[0]
        if self._tables.step_back(oid):
            self._change -= 1
            with contextlib.suppress(ConversionError):
                handle(frame, out)
                return
        if not is_cast:
            self._tables.look_again(oid)
        self._change -= 1
        self._lenient = True
        try:
            handle(frame, out)
        finally:
            self._lenient, self._unfit = False, None

    def _insert(self, frame: bytes, out: EncodedBatch) -> None:
        plan = self._plan(_U32(frame, 26)[0], out)
        change = self._change
        self._change = change + 1
        if plan is None:
            return
        values, end, whole = read_tuple(frame, 31)
        if frame[30] != 78 or end != len(frame) or len(values) != len(plan.names):
            raise malformed("an insert that does not fit its table", 30)
        if plan.special and self._judged(plan, "c", values, None) is Verdict.FAILS:
            return
        missing: tuple[bytes, ...] = ()
        if whole and not self._lenient:
            for index, convert in plan.conversions:
                values[index] = convert(values[index])  # type: ignore[arg-type]  # whole: all of them are bytes
            after = plan.row_template % tuple(values)
        else:
            after, missing = self._convert(plan, values)
        id = b"%b%d" % (self._id_prefix, change)
        form = plan.logged
        if form is None or form.number != self._transaction.number:
            form = self._form(plan)
        row = (after, values, missing)
        self._emit(out, plan, b"c", NO_ROW, row, key_of(plan, values), id, form, _U64(frame, 1)[0])

    def _update(self, frame: bytes, out: EncodedBatch) -> None:
        plan = self._plan(_U32(frame, 26)[0], out)
        change = self._change
        self._change = change + 1
        if plan is None:
            return
        kind, pos = frame[30], 30
        old: Tuple | None = None
        if kind in b"KO":
            old, pos, _ = read_tuple(frame, 31)
        values, end, _ = read_tuple(frame, pos + 1)
        width = len(plan.names)
        if frame[pos] != 78 or end != len(frame) or len(values) != width or len(old or values) != width:
            raise malformed("an update that does not fit its table", pos)
        sent = verdict = None
        if old is not None:
            fill(plan, values, old, whole_row=kind == 79)
            sent = self._sent(plan, old, is_key=kind == 75)
        if plan.special:
            verdict = self._judged(plan, "u", values, sent)
            if verdict is Verdict.FAILS:
                return
        before, old_key = NO_ROW, None
        if sent is not None:
            before, old_key = self._old(plan, sent)
        after, missing = self._convert(plan, values)
        key = key_of(plan, values)
        id = b"%b%d" % (self._id_prefix, change)
        form, lsn = self._form(plan), _U64(frame, 1)[0]
        row = (after, values, missing)
        if verdict is not None:
            if verdict is Verdict.LEAVES:
                self._unfit = None
                gone = identity_json(plan, values) if sent is None else before
                self._remove(out, plan, gone, key if old_key is None else old_key, id, form, lsn)
                return
            if verdict is Verdict.ENTERS:
                self._emit(out, plan, b"c", NO_ROW, row, key, id, form, lsn)
                return
        if old_key is None or old_key == key or self._failure is not None:
            self._emit(out, plan, b"u", before, row, key, id, form, lsn)
            return
        new_key, id_after = (("__debezium.newkey", key or b"null"),), id + b"/c"
        self._remove(out, plan, before, old_key, id, form, lsn, new_key)
        self._emit(out, plan, b"c", NO_ROW, row, key, id_after, form, lsn, (("__debezium.oldkey", old_key),))

    def _delete(self, frame: bytes, out: EncodedBatch) -> None:
        plan = self._plan(_U32(frame, 26)[0], out)
        change = self._change
        self._change = change + 1
        if plan is None:
            return
        kind = frame[30]
        old, end, _ = read_tuple(frame, 31)
        if kind not in b"KO" or end != len(frame) or len(old) != len(plan.names):
            raise malformed("a delete that does not fit its table", 30)
        sent = self._sent(plan, old, is_key=kind == 75)
        if plan.conditions and self._judged(plan, "d", None, sent) is Verdict.FAILS:
            return
        before, key = self._old(plan, sent)
        id = b"%b%d" % (self._id_prefix, change)
        self._remove(out, plan, before, key, id, self._form(plan), _U64(frame, 1)[0])

    def _other(self, frame: bytes, out: EncodedBatch) -> None:
        message = decode(frame, _BODY)
        if isinstance(message, Begin):
            self._begin(message, out)
        elif isinstance(message, Commit):
            self._commit(message, out)
        elif isinstance(message, Relation):
            self._tables.announce(message)
        elif isinstance(message, Truncate):
            self._truncate(message, _U64(frame, 1)[0], out)
        elif isinstance(message, LogicalMessage):
            self._logical_message(message, out)

    def _begin(self, message: Begin, out: EncodedBatch) -> None:
        before = self._transaction
        self._transaction = Transaction(
            message.final_lsn,
            message.committed_us + _EPOCH_US,
            message.xid,
            before.commit_lsn or None,
            before.number + 1,
        )
        self._id_prefix = self._prefix_of(message.final_lsn)
        self._change = self._message = 0
        self._inside, self._begun = True, message.final_lsn
        if self._metadata is not None:
            out.control.append(self._metadata.begin(self._transaction, self._id_prefix))

    def _commit(self, message: Commit, out: EncodedBatch) -> None:
        self.committed_us = message.committed_us + _EPOCH_US
        self._inside = False
        self._context.apply(out)
        self._context.forget()
        if self._metadata is not None:
            out.control.append(self._metadata.end(self._transaction, self._id_prefix))

    def _prefix_of(self, commit_lsn: int) -> bytes:
        return f"{self._place}/{format_lsn(commit_lsn)}/".encode()

    def _truncate(self, message: Truncate, lsn: int, out: EncodedBatch) -> None:
        told = (("cascade", message.cascade), ("restart_identity", message.restart_identity))
        options = [name for name, is_given in told if is_given]
        for oid in message.relations:
            plan = self._plan(oid, out)
            change = self._change
            self._change = change + 1
            if plan is None or (plan.conditions and self._judged(plan, "t", None, None) is Verdict.FAILS):
                continue
            id = b"%b%d" % (self._id_prefix, change)
            self._failure = None  # it has no row that a filter could fail on
            value, headers = self._form(plan).truncated(options, lsn, id, self._counted(plan))
            out.add(plan.topic, None, value and plan.before_value + value, id, headers)

    def _logical_message(self, message: LogicalMessage, out: EncodedBatch) -> None:
        number = self._message
        if message.transactional:
            self._message = number + 1
            if message.prefix == CONTEXT and self._settings.context:
                self._context.said(message.content, out)
        if message.prefix not in self._settings.messages:
            return
        if message.transactional:
            id = b"%bm%d" % (self._id_prefix, number)
        else:
            id = self._prefix_of(message.lsn) + b"m"
        self._messages.add(out, message, id, self._transaction)

    # -- parts of events

    def _plan(self, oid: int, out: EncodedBatch) -> TablePlan | None:
        try:
            return self._plans[oid]
        except KeyError:
            pass
        plan, now = self._tables.plan(oid), self._transaction
        id = b"%b%d/schema" % (self._id_prefix, self._change)
        place = Place(now.commit_lsn, now.committed_us, now.xid)
        self._announcer.add(out, self._planner.changes(), id, place)
        return plan

    def _emit(
        self,
        out: EncodedBatch,
        plan: TablePlan,
        op: bytes,
        before: bytes,
        row: Row,
        key: bytes | None,
        id: bytes,
        form: LogForm,
        lsn: int,
        headers: Headers | None = None,
    ) -> None:
        """One event with a row in ``after``, validated; it may go to the dead letters instead of its topic."""
        after, values, missing = row
        if plan.special:
            made = finished(plan, self._failure, op, key, id, before, after, missing)
            self._failure = None
            if made is None:
                self._unfit = None
                return
            if made.wrong is not None and (self._unfit is None or isinstance(made.wrong, Failure)):
                self._unfit = made.wrong
            before, after = made.before, made.after
        metadata = NO_ROW if self._metadata is None else self._counted(plan)
        value, own = form.row(op, before, after, lsn, key, id, missing, metadata)
        if own is not None:
            headers = own if headers is None else own + headers
        violation = self._unfit
        if violation is None and plan.gate is not None:
            violation = find_violation(plan, plan.gate, values, after, missing)
        topic = plan.topic
        if violation is not None:
            self._unfit = None
            topic, headers = self._invalid.handle(violation, plan, key, id, headers)
        if plan.prefixed:
            key, value = key and plan.before_key + key, plan.before_value + value
        out.add(topic, key, value, id, headers)

    def _remove(
        self,
        out: EncodedBatch,
        plan: TablePlan,
        before: bytes,
        key: bytes | None,
        id: bytes,
        form: LogForm,
        lsn: int,
        headers: Headers | None = None,
    ) -> None:
        """A delete and its tombstone. One that a function fails on goes to the dead letters instead."""
        refused = None
        if plan.special:
            made = finished(plan, self._failure, b"d", key, id, before, NO_ROW)
            self._failure = None
            if made is None:
                return
            before, _, refused = made
        forget = key is not None and plan.unique_key and self._tombstones
        metadata = NO_ROW if self._metadata is None else self._counted(plan)
        value, own = form.removed(before, lsn, key, id, forget, metadata)
        bare, topic, told = key, plan.topic, headers if own is None else own + (headers or ())
        if refused is not None:
            topic, told = self._invalid.handle(refused, plan, key, id, told)
        if plan.prefixed:
            key, value = key and plan.before_key + key, value and plan.before_value + value
        out.add(topic, key, value, id, told)
        if forget and value is not None and refused is None:
            id += b"/t"
            own = form.tombstone(lsn, bare, id)
            out.add(plan.topic, key, None, id, headers if own is None else own + (headers or ()))

    def _sent(self, plan: TablePlan, old: Tuple, *, is_key: bool) -> list[Any]:
        is_padded = not is_key and None in old and self._tables.is_padded(plan)
        return sent_of(plan, old, is_key=is_key, is_padded=is_padded)

    def _old(self, plan: TablePlan, sent: list[Any]) -> tuple[bytes, bytes | None]:
        """The JSON of what was sent of an old row, and its key. `sent` becomes JSON in place."""
        before, _ = self._convert(plan, sent)
        self._unfit = None
        return before, key_of(plan, sent)

    def _form(self, plan: TablePlan) -> LogForm:
        form = plan.logged
        if form is None or form.number != self._transaction.number:
            form = plan.logged = plan.form.logged(self._transaction)
        return form

    def _convert(self, plan: TablePlan, values: list[Any]) -> tuple[bytes, tuple[bytes, ...]]:
        """As `row_json`; in a second attempt what does not fit stays text, and `_unfit` says so."""
        if not self._lenient:
            return row_json(plan, values)
        as_sent = list(values)
        try:
            return row_json(plan, values)
        except ConversionError:
            values[:] = as_sent
            after, missing, self._unfit = as_text(plan, values)
            return after, missing

    def _counted(self, plan: TablePlan) -> bytes:
        """The ``transaction`` field; counts the event."""
        if self._copying or self._metadata is None:
            return NO_ROW
        return self._metadata.event(plan.label)

    # -- filters and functions, for tables that have some

    def _judged(
        self, plan: TablePlan, op: str, after: Sequence[Any] | None, before: Sequence[Any] | None
    ) -> Verdict:
        """What the filters say. What they fail on passes, with `_failure` for the dead letters."""
        self._failure = None
        try:
            return judge(plan.conditions, op, after, before)
        except EvaluationError as error:
            self._failure = Failure.of(error)
            return Verdict.PASSES

    # -- the snapshot

    def _copy(self, batch: SnapshotBatch, out: EncodedBatch) -> None:
        if batch.table is None or not (batch.frames or batch.afresh):
            return
        plan = self._planner.of_table(batch.table)
        lsn = batch.lsn
        prefix = b"%b%b/%b/" % (self._snapshot_id, format_lsn(lsn).encode(), plan.label.encode())
        place_of_change = Place(lsn, batch.taken_us, None)
        self._announcer.add(out, self._planner.changes(), prefix + b"schema", place_of_change)
        copy = Copy(batch, plan, prefix, Transaction(0, batch.taken_us, None, None, -1))
        if batch.afresh:
            empty, headers = plan.form.logged(copy.read, b"true").truncated((), lsn, prefix + b"t")
            out.add(plan.topic, None, empty and plan.before_value + empty, prefix + b"t", headers)
        self._lenient = self._copying = True
        self._lines(copy, 0, len(batch.frames), out)

    def _lines(self, copy: Copy, start: int, end: int, out: EncodedBatch) -> None:
        """The events of some lines of a batch."""
        batch, plan, prefix = copy.batch, copy.plan, copy.prefix
        plain = plan.form.logged(copy.read, b"true")
        for number in range(start, end):
            fields = copy_fields(batch.frames[number], plan, int(batch.by_ctid))
            place = fields.pop(0) if batch.by_ctid else b""
            if plan.conditions and self._judged(plan, "r", fields, None) is Verdict.FAILS:
                continue
            after, missing = self._convert(plan, fields)
            if plan.id_of is not None and plan.id_template is not None:
                place = plan.id_template % plan.id_of(fields)
            mark = batch.marks.get(number)
            form = plain if mark is None else plan.form.logged(copy.read, mark.encode())
            row = (after, fields, missing)
            self._emit(out, plan, b"r", NO_ROW, row, key_of(plan, fields), prefix + place, form, batch.lsn)
