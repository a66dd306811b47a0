"""The plan's front-end for rows that queries read: COPY lines or driver values -> encoded events. One call per batch.

Enters: `RowBatch`es. Leaves: `EncodedBatch`es. Called by the capture loop. PostgreSQL's lines go through the same plans and
converters as the log and the snapshot, so that one row has one JSON (Invariant 9); the values of other databases through
converters by their SQLAlchemy types. A row that breaks its contract goes where `on_invalid` says.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from liberator.change import Batch, EncodedBatch, State
from liberator.codec.envelope import NO_ROW, Envelope, QueryForm
from liberator.errors import EvaluationError, PreconditionError
from liberator.plan.announce import Announcer, Place
from liberator.plan.calls import finished
from liberator.plan.columns import Columns, columns_of, columns_of_rows
from liberator.plan.compile import Converter, TablePlan, compile_plan
from liberator.plan.conditions import Verdict, judge
from liberator.plan.driver_values import value_facts
from liberator.plan.evolution import Evolution, Settled
from liberator.plan.invalid import Failure, InvalidRows, as_text
from liberator.plan.rows import copy_fields, find_violation, identity_json, key_of, row_json, split_line
from liberator.plan.shaping import Transforms, fields
from liberator.plan.tables import TopicOwners, column_facts
from liberator.plan.versions import TableVersions
from liberator.plan.wire import Wire
from liberator.postgres.model import Column, Table
from liberator.postgres.pgoutput import UNCHANGED
from liberator.postgres.values import ConversionError, TypeOptions
from liberator.source.query.batch import RowBatch
from liberator.transform.shape import Missing

_ALIVE = frozenset(
    {b"null", b"false", b"0", b'""', b'"0"', b'"f"', b'"F"', b'"n"', b'"N"', b'"no"', b'"false"'}
)
"""The JSON of a soft-delete column in a row that is not deleted."""


@dataclass(frozen=True, slots=True)
class QueryPlanSettings:
    """What of the configuration decides about plans and events.

    topic: (schema, table) -> topic. key: (schema, table) -> configured key columns, None: those of the table. convert: what
    makes JSON of a column's values; None: of PostgreSQL's text.
    """

    name: str
    topic: Callable[[str, str], str]
    key: Callable[[str, str], Sequence[str] | None]
    convert: Callable[[Column], Converter] | None = None
    types: TypeOptions = field(default_factory=TypeOptions)
    tombstones: bool = True
    transforms: Transforms = field(default_factory=Transforms)


class QueryExecutor:
    """Turns batches of rows into events. now_us: the processing time, microseconds since the Unix epoch."""

    def __init__(
        self,
        settings: QueryPlanSettings,
        envelope: Envelope,
        evolution: Evolution,
        invalid: InvalidRows,
        now_us: Callable[[], int],
        announcer: Announcer | None = None,
        wire: Wire | None = None,
    ) -> None:
        self._settings = settings
        self._envelope = envelope
        self._evolution = evolution
        self._versions = TableVersions(evolution)
        self._announcer = announcer or Announcer()
        self._wire = wire
        self._invalid = invalid
        self._now_us = now_us
        self._plans: dict[tuple[str, str], TablePlan] = {}
        self._owners = TopicOwners(settings.topic)
        self._prepared = False
        self._unfit: Any = None
        self._failure: Failure | None = None
        self.committed_us = 0
        """When the newest rows were read, microseconds since the Unix epoch; 0: none were yet."""

    def prepare(self, tables: Iterable[Table]) -> None:
        """Find out at the start what would go wrong later. Raises `PreconditionError`, `ContractError`."""
        tables = list(tables)
        if tables and not self._prepared:
            self._prepared = True
            self._settings.transforms.warn_of_unused((table.schema, table.name) for table in tables)
        for table in tables:
            topic = self._owners.topic_of(table.schema, table.name)
            self._evolution.look(topic)
            self._compile(table, topic, missing="refuse")

    def refuse_to_hide(self, table: Table, columns: Iterable[str], why: str) -> None:
        """Raises `PreconditionError` when transforms hide one of `columns`, which can't be."""
        plan = self._compile(table, self._owners.topic_of(table.schema, table.name))
        names = [column.name for column in table.columns]
        for name in columns:
            if name in names and names.index(name) in plan.hidden:
                raise PreconditionError(
                    f"{table.qualified}.{name} can't be masked or left out: {why}",
                    code="plan.transform_position",
                    where="transform",
                    fix="leave the column as it is, or read the table from the log (mode: log)",
                )

    def restore(self, state: State) -> None:
        """Know the table versions of a checkpoint, and no others."""
        self._versions.restore(state)
        self._plans.clear()

    def topics(self) -> dict[str, str]:
        """Topic -> ``schema.table``, of all tables seen so far."""
        return self._owners.tables()

    def history(self) -> State:
        """The shapes that tables had when they were read."""
        return self._versions.history()

    def inside(self) -> State:
        """What has no state yet comes again, with the same ids: a row is whole by itself."""
        return {}

    def encode(self, batch: Batch) -> EncodedBatch:
        """The events of one batch, in order. Raises `DecodeError`, `ContractError`, `PreconditionError`."""
        out = EncodedBatch()
        if not isinstance(batch, RowBatch) or batch.table is None or not (batch.frames or batch.rows):
            return out
        self._envelope.now(self._now_us())
        self.committed_us = max(self.committed_us, batch.taken_us)
        plan = self._plan(batch.table)
        label = b"%b/%b/schema/" % (self._settings.name.encode(), plan.label.encode().replace(b"%", b"%%"))
        self._announcer.add(out, self._versions.changes(), label + b"%d", Place(None, batch.taken_us, None))
        if batch.gone:
            self._gone(plan, batch, out)
        elif not self._all_at_once(plan, batch, out):
            self._rows(plan, batch, out)
        return out

    # -- rows

    def _all_at_once(self, plan: TablePlan, batch: RowBatch, out: EncodedBatch) -> bool:
        """The fast way, column by column; False: some rows need a look of their own, so nothing was done."""
        if batch.soft is not None or plan.special or (plan.gate is not None and plan.gate.impossible):
            return False
        in_front = int(batch.versions) + int(batch.by_place)
        columns = (
            columns_of(plan, batch.frames, in_front) if batch.frames else columns_of_rows(plan, batch.rows)
        )
        if columns is None or not self._keeps_contract(plan, columns):
            return False
        names = [column.name for column in plan.table.columns]
        keys = columns.objects(plan.names, plan.key_columns)
        own_key = [names.index(name) for name in plan.table.key]
        own_names = [json.dumps(name, ensure_ascii=False).encode() for name in names]
        named = columns.front[1] if batch.by_place else columns.objects(own_names, own_key)
        count = len(batch.frames) or len(batch.rows)
        cells: Iterable[tuple[bytes, ...]]
        if batch.versions:
            versions = columns.front[0]
            row = columns.template(plan.names, plan.output)
            cells = zip(*(columns.values[i] for i in plan.output), versions, strict=True)
        else:
            after = columns.objects(plan.names, plan.output) or [b"{}"] * count
            versions = list(map(_digest, after))
            row, cells = b"%b", zip(after, strict=True)
        number = b"" if batch.number is None else b"%d." % batch.number
        place = b"%b/%b/" % (self._settings.name.encode(), plan.label.encode().replace(b"%", b"%%"))
        id = place + b"%b/" + number + b"%b"
        ids = list(map(id.__mod__, zip([b""] * count if named is None else named, versions, strict=True)))
        made = keys if keys is not None else [None] * count
        form = plan.form.queried(batch.taken_us, _mark(batch.op))
        ops = batch.ops or [batch.op] * count
        values, headers = form.rows(ops, row, cells, made, ids, versions=batch.versions)
        out.topics.extend([plan.topic] * count)
        out.keys.extend([key and plan.before_key + key for key in made] if plan.before_key else made)
        out.values.extend(map(plan.before_value.__add__, values) if plan.before_value else values)
        out.ids.extend(ids)
        out.headers.extend(headers)
        return True

    def _keeps_contract(self, plan: TablePlan, columns: Columns) -> bool:
        if plan.gate is None:
            return True
        if plan.gate.row is not None:
            return False
        return all(all(map(check, columns.json(index))) for index, check in plan.checks)

    def _rows(self, plan: TablePlan, batch: RowBatch, out: EncodedBatch) -> None:
        form = plan.form.queried(batch.taken_us, _mark(batch.op))
        prefix = b"%b/%b/" % (self._settings.name.encode(), plan.label.encode())
        number = b"" if batch.number is None else b"%d." % batch.number
        in_front = int(batch.versions) + int(batch.by_place)
        for index, row in enumerate(batch.frames or batch.rows):
            values = copy_fields(row, plan, in_front) if isinstance(row, bytes) else list(row)
            version = values.pop(0) if batch.versions else None
            place = values.pop(0) if batch.by_place else None
            gone = batch.soft is not None and self._is_gone(plan, batch.soft, values)
            op = b"d" if gone else batch.op if batch.ops is None else batch.ops[index]
            verdict = self._judged(plan, op, values) if plan.conditions else Verdict.PASSES
            if verdict is Verdict.FAILS:
                continue
            after = self._convert(plan, values)
            key = key_of(plan, values)
            named = place or (key if plan.id_of is None else plan.id_template % plan.id_of(values))
            told = version if version is not None else _digest(after)
            id = b"%b%b/%b%b" % (prefix, named or b"", number, told)
            where = (form, NO_ROW if version is None else version)
            if gone or verdict is Verdict.LEAVES:
                before = after if gone else identity_json(plan, values)
                self._remove(out, plan, before, key, id, where)
                continue
            self._emit(out, plan, op, after, values, key, id, where)

    def _emit(
        self,
        out: EncodedBatch,
        plan: TablePlan,
        op: bytes,
        after: bytes,
        values: Sequence[Any],
        key: bytes | None,
        id: bytes,
        where: tuple[QueryForm, bytes],
    ) -> None:
        violation, self._unfit = self._unfit, None
        if plan.special:
            made = finished(plan, self._failure, op, key, id, NO_ROW, after)
            self._failure = None
            if made is None:
                return
            _, after, wrong = made
            violation = wrong if violation is None or isinstance(wrong, Failure) else violation
        form, version = where
        value, headers = form.row(op, after, key, id, version)
        if violation is None and plan.gate is not None:
            violation = find_violation(plan, plan.gate, values, after, ())
        topic = plan.topic
        if violation is not None:
            topic, headers = self._invalid.handle(violation, plan, key, id, headers)
        if plan.prefixed:
            key, value = key and plan.before_key + key, plan.before_value + value
        out.add(topic, key, value, id, headers)

    def _convert(self, plan: TablePlan, values: list[Any]) -> bytes:
        """The row's JSON. What does not fit its type stays text, and `_unfit` says so."""
        as_sent = list(values)
        try:
            return row_json(plan, values)[0]
        except ConversionError:
            values[:] = as_sent
            after, _, self._unfit = as_text(plan, values)
            return after

    # -- filters and functions, for tables that have some

    def _is_gone(self, plan: TablePlan, soft: int, values: Sequence[Any]) -> bool:
        """What the column says before any transform."""
        value = values[soft]
        try:
            return value is not None and plan.originals[soft](value) not in _ALIVE
        except ConversionError:
            return True

    def _judged(self, plan: TablePlan, op: bytes, row: Sequence[Any]) -> Verdict:
        """See `PythonExecutor._judged`."""
        self._failure = None
        after, before = (None, row) if op == b"d" else (row, None)
        try:
            return judge(plan.conditions, op.decode(), after, before)
        except EvaluationError as error:
            self._failure = Failure.of(error)
            return Verdict.PASSES

    # -- rows that are gone

    def _gone(self, plan: TablePlan, batch: RowBatch, out: EncodedBatch) -> None:
        """The key's columns are all that is known of such a row."""
        names = [column.name for column in plan.table.columns]
        places = [names.index(name) for name in plan.table.key]
        converters = dict(plan.conversions)
        where = (plan.form.queried(batch.taken_us, b"false"), NO_ROW)
        prefix = b"%b/%b/" % (self._settings.name.encode(), plan.label.encode())
        for row in batch.frames or batch.rows:
            fields = split_line(row) if isinstance(row, bytes) else list(row)
            values: list[Any] = [UNCHANGED] * len(names)
            for place, text in zip(places, fields, strict=True):
                values[place] = text
            if plan.conditions and self._judged(plan, b"d", values) is Verdict.FAILS:
                continue
            for place, text in zip(places, fields, strict=True):
                convert = converters.get(place)
                values[place] = text if convert is None else convert(text)
            before = b"{%b}" % b",".join(b"%b:%b" % (plan.names[i], values[i]) for i in places)
            key = key_of(plan, values)
            named = plan.id_template % plan.id_of(values)  # type: ignore[misc]  # there is a key
            id = b"%b%b/d%d" % (prefix, named, batch.number or 0)
            self._remove(out, plan, before, key, id, where)

    def _remove(
        self,
        out: EncodedBatch,
        plan: TablePlan,
        before: bytes,
        key: bytes | None,
        id: bytes,
        where: tuple[QueryForm, bytes],
    ) -> None:
        """A delete and its tombstone. One that a function fails on goes to the dead letters instead."""
        self._unfit, refused = None, None
        if plan.special:
            made = finished(plan, self._failure, b"d", key, id, before, NO_ROW)
            self._failure = None
            if made is None:
                return
            before, _, refused = made
        form, version = where
        forget = key is not None and plan.unique_key and self._settings.tombstones
        value, headers = form.removed(before, key, id, forget, version)
        last = form.tombstone(key, id + b"/t", version) if forget else None
        topic = plan.topic
        if refused is not None:
            topic, headers = self._invalid.handle(refused, plan, key, id, headers)
        if plan.prefixed:
            key, value = key and plan.before_key + key, value and plan.before_value + value
        out.add(topic, key, value, id, headers)
        if forget and value is not None and refused is None:
            out.add(plan.topic, key, None, id + b"/t", last)

    # -- plans

    def _plan(self, table: Table) -> TablePlan:
        """Made anew when the table has another shape, or rows of it were refused that a contract is for by now."""
        name = f"{table.schema}.{table.name}"
        plan = self._plans.get((table.schema, table.name))
        if plan is None or (plan.table is not table and plan.table != table) or self._versions.is_due(name):
            topic = self._owners.topic_of(table.schema, table.name)
            plan = self._compile(table, topic, self._versions.table(name), name)
            self._plans[table.schema, table.name] = plan
        return plan

    def _compile(
        self,
        table: Table,
        topic: str,
        former: Table | None = None,
        settle_as: str | None = None,
        *,
        missing: Missing = "ignore",
    ) -> TablePlan:
        """former: the version before. settle_as: the name under which a contract is settled, once nothing speaks against the
        transforms; None: it is only tried."""
        settings = self._settings
        key = settings.key(table.schema, table.name)
        facts = column_facts(table, settings.types) if settings.convert is None else value_facts(table)
        columns = fields(table, facts)
        shape = settings.transforms.shape(table, columns, key, former=former, missing=missing)
        settled = Settled(None, None)
        if settle_as is not None:
            settled = self._versions.settle(settle_as, topic, table)
        plan = compile_plan(
            table,
            topic=topic,
            key=key,
            options=settings.types,
            gate=settled.gate,
            form=self._envelope.table(table.schema, table.name, settled.uri),
            convert=settings.convert,
            shape=shape,
        )
        if settle_as is not None and self._wire is not None:
            self._wire.prepare(plan, settled.contract)
        return plan


def _mark(op: bytes) -> bytes:
    """Is it a snapshot?"""
    return b"true" if op == b"r" else b"false"


def _digest(row: bytes) -> bytes:
    """What tells two versions of a row apart where the database does not."""
    return b"%08x" % zlib.crc32(row)
