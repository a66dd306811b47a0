"""A table version, its contract and the configuration -> one compiled plan. Pure; nothing here runs per row.

The plan is data: which converter for which column, the JSON that surrounds the values, where the key is, what is left to
be validated. Executors read it; `planner` makes it when a table version is first seen.
"""

from __future__ import annotations

import json
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from liberator.codec.envelope import LogForm, TableForm
from liberator.contract.gate import Gate
from liberator.errors import PreconditionError
from liberator.plan.conditions import CompiledCondition, Looks, reader
from liberator.postgres.model import Column, Identity, Table
from liberator.postgres.values import Described, TypeOptions, converter, described, verbatim
from liberator.transform import Call, Condition, Field, Shape

Converter = Callable[[bytes], bytes]
Check = Callable[[bytes], bool]


@dataclass(slots=True)
class TablePlan:
    """How the rows of one table version become events.

    names: column names as JSON strings. conversions: (column index, converter), for columns whose text is not JSON as it
    is. described: what makes each column's JSON, as data; None: the column is left out, or it can't be said as data.
    row_template: the row's JSON with a place for every value. key_template, key_of: the key's JSON, and what takes
    its values from a row; None: no key. key_columns: their indexes. id_template, id_of, id_columns: the same for the
    identity's key, which names a row in the id of a snapshot event. identity_columns: indexes of what a delete sends of the
    old row (with FULL: all). checks: (column index, check on the value's JSON); checks_described: (column index, the same
    as data, None for one that can't be said so). gate: for row checks and
    explanations; None: nothing is left to validate. unique_key: one key is one row, so tombstones make sense. form: of its
    events; logged: the one for the transaction under way, native: this plan in Rust, False for
    none; the log's executors keep these.
    before_key, before_value: what stands in front of each key and value (see `plan.wire`); prefixed: is there anything?

    With transforms: output: indexes of the columns that events have; of the others, `dropped`, names are empty and the
    templates have room for nothing. hidden: indexes of columns whose text must not be seen. originals: what makes JSON of
    each column before any transform. conditions: filters. calls: functions of the user's; then `whole` is the gate, for rows
    of which nothing is known, in the place of `gate`. special: there are conditions or calls.
    """

    table: Table
    topic: str
    names: tuple[bytes, ...]
    conversions: tuple[tuple[int, Converter], ...]
    described: tuple[Described | None, ...] = field(repr=False)
    row_template: bytes
    key_template: bytes | None
    key_of: Callable[[Sequence[Any]], Any] | None
    key_columns: tuple[int, ...]
    id_template: bytes | None
    id_of: Callable[[Sequence[Any]], Any] | None
    id_columns: tuple[int, ...]
    identity_columns: tuple[int, ...]
    unique_key: bool
    checks: tuple[tuple[int, Check], ...]
    checks_described: tuple[tuple[int, Mapping[str, Any] | None], ...]
    gate: Gate | None
    form: TableForm
    logged: LogForm | None = None
    native: Any = None
    before_key: bytes = b""
    before_value: bytes = b""
    prefixed: bool = False
    output: tuple[int, ...] = ()
    dropped: tuple[int, ...] = ()
    hidden: frozenset[int] = frozenset()
    originals: tuple[Converter, ...] = ()
    conditions: tuple[CompiledCondition, ...] = ()
    calls: tuple[Call, ...] = ()
    whole: Gate | None = None
    special: bool = False

    @property
    def label(self) -> str:
        """``schema.table``."""
        return self.table.qualified


def compile_plan(
    table: Table,
    *,
    topic: str,
    key: Sequence[str] | None,
    options: TypeOptions,
    gate: Gate | None,
    form: TableForm,
    convert: Callable[[Column], Converter] | None = None,
    shape: Shape | None = None,
) -> TablePlan:
    """The plan of one table version. key: configured key columns, None: those of the identity. convert: what makes JSON of
    a column's values, None: of PostgreSQL's text. shape: what transforms leave of its columns, None: all, as they are.

    Raises `PreconditionError` for a key that deletes would not carry.
    """
    names = [column.name for column in table.columns]
    if shape is None:
        shape = Shape(tuple(Field(name, position, {}) for position, name in enumerate(names)))
    elif shape.key is not None:
        key = [names[position] for position in shape.key]
    key_names = resolve_key(table.qualified, table.identity, table.key, key, names)
    index = {name: position for position, name in enumerate(names)}
    key_columns = tuple(index[name] for name in key_names if name in index)
    if convert is None:
        originals = [converter(column.type, column.typmod, options) for column in table.columns]
        data: list[Described | None] = [described(each.type, each.typmod, options) for each in table.columns]
    else:
        originals = [convert(column) for column in table.columns]
        data = [None] * len(names)
    published = {column.source: column for column in shape.fields}
    quoted = tuple(_quoted(published[i].name) if i in published else b"" for i in range(len(names)))
    converters = {i: _changed(originals[i], column.changes) for i, column in published.items()}
    id_columns = tuple(index[name] for name in table.key if name in index)
    whole, gate = (gate, None) if shape.calls else (None, gate)
    checks = gate.columns if gate is not None else {}
    as_data = gate.described if gate is not None else {}
    places = {column.name: i for i, column in published.items()}
    everything = tuple(range(len(names)))
    return TablePlan(
        table=table,
        topic=topic,
        names=quoted,
        conversions=tuple((i, each) for i, each in converters.items() if each is not verbatim),
        described=tuple(
            _changes_described(data[i], published[i].described) if i in published else None
            for i in range(len(names))
        ),
        row_template=_row_template(quoted),
        key_template=object_template([quoted[i] for i in key_columns]) if key_columns else None,
        key_of=operator.itemgetter(*key_columns) if key_columns else None,
        key_columns=key_columns,
        id_template=object_template([_quoted(names[i]) for i in id_columns]) if id_columns else None,
        id_of=operator.itemgetter(*id_columns) if id_columns else None,
        id_columns=id_columns,
        identity_columns=everything if table.identity == "full" else id_columns,
        unique_key=bool(table.key) and set(key_names) >= set(table.key),
        checks=tuple((places[name], check) for name, check in checks.items() if name in places),
        checks_described=tuple((places[name], each) for name, each in as_data.items() if name in places),
        gate=gate,
        form=form,
        output=tuple(published),
        dropped=shape.dropped,
        hidden=shape.hidden,
        originals=tuple(originals),
        conditions=tuple(_compiled(each, key_columns, published, originals) for each in shape.conditions),
        calls=shape.calls,
        whole=whole,
        special=bool(shape.conditions or shape.calls),
    )


def _quoted(name: str) -> bytes:
    return json.dumps(name, ensure_ascii=False).encode()


def _changed(convert: Converter, changes: Sequence[Converter]) -> Converter:
    """One function for all that happens to a value. What has become null stays null."""
    if not changes:
        return convert
    if convert is verbatim and len(changes) == 1:
        return changes[0]

    def changed(value: bytes) -> bytes:
        json = convert(value)
        for change in changes:
            if json == b"null":
                break
            json = change(json)
        return json

    return changed


def _changes_described(convert: Described | None, changes: Sequence[Described]) -> Described | None:
    return ("changed", convert, changes) if convert is not None and changes else convert


def _compiled(
    condition: Condition,
    key: Sequence[int],
    published: Mapping[int, Field],
    originals: Sequence[Converter],
) -> CompiledCondition:
    def looks(fields: Iterable[Field]) -> Looks:
        return tuple(
            (each.name, each.source, reader(_changed(originals[each.source], each.changes), each.number))
            for each in fields
        )

    return CompiledCondition(
        condition.expression,
        looks(condition.after),
        looks(condition.before),
        looks(published[i] for i in key) if condition.key else (),
        condition.rows,
    )


def _row_template(names: Sequence[bytes]) -> bytes:
    """A row's JSON with a place for every value; where a name is empty, a place that stays empty whatever comes."""
    parts, comma = [b"{"], b""
    for name in names:
        if name:
            parts.append(comma + name.replace(b"%", b"%%") + b":%b")
            comma = b","
        else:
            parts.append(b"%.0b")
    return b"".join((*parts, b"}"))


def resolve_key(
    qualified: str,
    identity: Identity,
    identity_key: Sequence[str],
    configured: Sequence[str] | None,
    columns: Sequence[str],
) -> tuple[str, ...]:
    """The key's columns in order; empty: no key. Raises `PreconditionError` for a configured key that can't be."""
    if configured is None:
        return tuple(identity_key)
    unknown = [name for name in configured if name not in columns]
    if unknown:
        raise PreconditionError(
            f"{qualified} has no column {', '.join(unknown)} to make its key of",
            code="plan.key_unknown",
            where=f"publish.key.{qualified}",
            fix="correct publish.key",
        )
    if identity != "full" and not set(configured) <= set(identity_key):
        known = ", ".join(identity_key) or "nothing"
        raise PreconditionError(
            f"when a row of {qualified} is deleted, {known} is known of it, so deletes would have no key of"
            f" {', '.join(configured)}",
            code="plan.key_not_in_identity",
            where=f"publish.key.{qualified}",
            fix=f"choose columns of what is known; or, from the log, ALTER TABLE {qualified} REPLICA IDENTITY FULL; or, in"
            " mode query, any `deletes` but reconcile",
        )
    return tuple(configured)


def object_template(names: Sequence[bytes]) -> bytes:
    """A JSON object with a ``%b`` for every value. names: JSON strings."""
    return b"{" + b",".join(name.replace(b"%", b"%%") + b":%b" for name in names) + b"}"
