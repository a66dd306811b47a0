"""Rows of an outbox's table -> the parts of events. Pure.

Enters: table versions, and rows as PostgreSQL's text or as a driver's values. Leaves: `Entry`s. Called by the executors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from liberator.errors import PreconditionError
from liberator.plan.compile import Converter, TablePlan
from liberator.plan.context import header_text
from liberator.plan.driver_values import any_value
from liberator.plan.event_time import time_of
from liberator.plan.outbox import Entry, Form, OutboxSettings
from liberator.postgres.model import PgType, Table
from liberator.postgres.values import ConversionError

_FORMS: dict[str, Form] = {
    "json": "json",
    "jsonb": "json",
    "bytea": "bytes",
    "bytes": "bytes",
    **dict.fromkeys(("text", "varchar", "bpchar", "citext", "other"), "text"),
}
"""By the names of PostgreSQL's types, and of the kinds of other databases' columns."""

_TIMES = ("timestamptz", "timestamp", "int8", "instant", "datetime", "bigint", "integer")
"""Likewise: columns that may tell when an event happened. SQLite knows one kind of integer."""


@dataclass(frozen=True, slots=True)
class OutboxPlan:
    """Where in a row of one table version the parts of an event are. headers, extras: (name, index, converter). time:
    (index, converter); None: no column tells it."""

    table: TablePlan
    parts: tuple[int, int, int, int, int]
    form: Form
    headers: tuple[tuple[str, int, Converter | None], ...]
    extras: tuple[tuple[bytes, int, Converter | None], ...]
    time: tuple[int, Converter | None] | None


def check_table(table: Table, settings: OutboxSettings) -> Form:
    """The form of the payload. Raises `PreconditionError` for a table that lacks a column, or whose payload is of no type
    that could hold one."""
    columns = {column.name: column.type for column in table.columns}
    time = settings.names.timestamp
    wanted = (*settings.names.all(), *([] if time is None else [time]), *settings.headers, *settings.envelope)
    if missing := [name for name in wanted if name not in columns]:
        raise PreconditionError(
            f"the outbox {table.qualified} has no column {', '.join(missing)}",
            code="outbox.column_missing",
            where="source.outbox.columns",
            fix="add it, or say in source.outbox what it is called; `liberate init outbox` prints a table that fits",
        )
    if time is not None:
        _check_time(table, time, columns[time].base.name)
    return _form(table, settings.names.payload, columns[settings.names.payload])


def compile_outbox(plan: TablePlan, settings: OutboxSettings) -> OutboxPlan:
    """Raises `PreconditionError` as `check_table` does."""
    form = check_table(plan.table, settings)
    index = {column.name: place for place, column in enumerate(plan.table.columns)}
    converters = dict(plan.conversions)
    at = [index[name] for name in settings.names.all()]
    time = settings.names.timestamp
    return OutboxPlan(
        table=plan,
        parts=(at[0], at[1], at[2], at[3], at[4]),
        form=form,
        headers=tuple((name, index[name], converters.get(index[name])) for name in settings.headers),
        extras=tuple(
            (plan.names[index[name]], index[name], converters.get(index[name])) for name in settings.envelope
        ),
        time=None if time is None else (index[time], converters.get(index[time])),
    )


def _check_time(table: Table, column: str, type: str) -> None:
    if type not in _TIMES:
        raise PreconditionError(
            f"column {column} of the outbox {table.qualified} is of type {type}, which holds no time",
            code="outbox.timestamp_type",
            where="source.outbox.columns.timestamp",
            fix="name a column of a time with a date, or of milliseconds since 1970 as bigint",
        )


def _form(table: Table, column: str, type: PgType) -> Form:
    type = type.base
    if type.name in _FORMS:
        return _FORMS[type.name]
    raise PreconditionError(
        f"column {column} of the outbox {table.qualified} is of type {type.name}, which holds no payload",
        code="outbox.payload_type",
        where="source.outbox.columns.payload",
        fix="use json, jsonb, text or bytea",
    )


def entry_of_row(plan: OutboxPlan, values: Sequence[Any]) -> Entry:
    """The parts of a row of PostgreSQL's text."""
    id, kind, key, type, payload = (values[index] for index in plan.parts)
    if payload is not None and plan.form == "bytes":
        payload = bytes.fromhex(payload[2:].decode())
    return Entry(
        id=id,
        aggregate_type=kind,
        aggregate_id=key,
        type=type,
        payload=payload,
        form=plan.form,
        headers=tuple(
            (name, plain(_json(values[index], convert)))
            for name, index, convert in plan.headers
            if values[index] is not None
        ),
        extras=tuple((name, _json(values[index], convert)) for name, index, convert in plan.extras),
        timestamp=_time(plan, values),
    )


def entry_of_values(plan: OutboxPlan, values: Sequence[Any]) -> Entry:
    """The parts of a row of a driver's values. What its payload is, the value says itself."""
    id, kind, key, type, payload = (values[index] for index in plan.parts)
    form = plan.form
    if isinstance(payload, str):
        payload, form = payload.encode("utf-8", "replace"), "text"
    elif isinstance(payload, bytes | bytearray | memoryview):
        payload, form = bytes(payload), "bytes"
    elif payload is not None:
        payload, form = any_value(payload), "json"
    return Entry(
        id=_text_of(id),
        aggregate_type=_text_of(kind),
        aggregate_id=_text_of(key),
        type=_text_of(type),
        payload=payload,
        form=form,
        headers=tuple(
            (name, plain(_json(values[index], convert)))
            for name, index, convert in plan.headers
            if values[index] is not None
        ),
        extras=tuple((name, _json(values[index], convert)) for name, index, convert in plan.extras),
        timestamp=_time(plan, values),
    )


def _time(plan: OutboxPlan, values: Sequence[Any]) -> int | None:
    return None if plan.time is None else time_of(_json(values[plan.time[0]], plan.time[1]))


def _text_of(value: Any) -> bytes | None:
    return None if value is None else plain(any_value(value))


def _json(value: Any, convert: Converter | None) -> bytes:
    """A further column as JSON; what does not fit its type (any more) is the server's text."""
    if value is None:
        return b"null"
    try:
        return value if convert is None else convert(value)
    except ConversionError:
        return orjson.dumps(value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value))


def plain(json: bytes) -> bytes:
    """What a header shows of JSON: text without its quotes, unless it has half a character in it."""
    try:
        return header_text(orjson.loads(json)) if json.startswith(b'"') else json
    except orjson.JSONDecodeError:
        return json
