"""Steps and the columns of a table version -> the columns of its events. Pure; nothing here runs per row.

The steps are followed once, with columns in the place of values: what is left is which column of the row stands where, under
which name, through which functions, and which conditions look at which columns as they were at that step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from liberator.errors import PreconditionError
from liberator.expression import Expression
from liberator.postgres.values import Described
from liberator.transform.steps import (
    Call,
    Cast,
    ColumnStep,
    DropColumns,
    Filter,
    Key,
    Mask,
    Rename,
    Step,
    Tables,
)
from liberator.transform.values import Change, cast

Missing = Literal["refuse", "ignore"]
"""What is done about a column that is not there, of a step that names one table: a table as it is now must have it, rows of
a backlog may be older."""


@dataclass(frozen=True, slots=True)
class Field:
    """A column on its way.

    source: its index in the row. schema, defs: of its values that are not null, as far as that is known. not_null,
    can_be_toasted: see `postgres.model.Column`. number: makes a number of its JSON in conditions, where that is text with
    one in it. changes: what its JSON goes through; described: the same as data. hidden: some of it must not be seen.
    merged: different values may have become the same.
    """

    name: str
    source: int
    schema: Mapping[str, Any]
    defs: Mapping[str, Any] = field(default_factory=dict)
    not_null: bool = False
    can_be_toasted: bool = True
    number: Callable[[str], float] | None = None
    changes: tuple[Change, ...] = ()
    described: tuple[Described, ...] = field(default=(), repr=False)
    hidden: bool = False
    merged: bool = False


@dataclass(frozen=True, slots=True)
class Condition:
    """A filter. after, before: the columns that it looks at, as they are at its step. key: does it look at the key, too?
    rows: see `steps.Filter`."""

    expression: Expression
    after: tuple[Field, ...]
    before: tuple[Field, ...]
    key: bool
    rows: bool


@dataclass(frozen=True, slots=True)
class Shape:
    """What is left. fields: the columns of events, in the order of the row. dropped: indexes in the row. key: the columns of
    the key by their index, None: as without transforms. calls: functions, in order."""

    fields: tuple[Field, ...]
    dropped: tuple[int, ...] = ()
    key: tuple[int, ...] | None = None
    conditions: tuple[Condition, ...] = ()
    calls: tuple[Call, ...] = ()

    @property
    def hidden(self) -> frozenset[int]:
        """Indexes of the columns that are masked or left out."""
        return frozenset(self.dropped) | {column.source for column in self.fields if column.hidden}


def shape_of(
    steps: Iterable[Step],
    table: tuple[str, str],
    columns: Sequence[Field],
    key: Sequence[str],
    *,
    missing: Missing = "ignore",
) -> Shape:
    """Follow the steps that fit `table`, (schema, table). key: names of the columns that name a row, or make its key.

    Raises `PreconditionError` for what can't be done with these columns.
    """
    shaping = _Shaping(".".join(table), columns, key, missing)
    for step in steps:
        if hasattr(step, "tables") and step.tables.matches(*table):
            shaping.take(step)
    return shaping.shape()


class _Shaping:
    """The columns at one step."""

    def __init__(self, table: str, columns: Sequence[Field], key: Sequence[str], missing: Missing) -> None:
        self._table = table
        self._missing = missing
        self._fields = {column.name: column for column in columns}
        self._naming = frozenset(column.source for column in columns if column.name in key)
        self._width = len(columns)
        self._key: tuple[int, ...] | None = None
        self._conditions: list[Condition] = []
        self._calls: list[Call] = []

    def take(self, step: Step) -> None:
        if isinstance(step, Filter):
            self._filter(step)
        elif isinstance(step, Call):
            self._calls.append(step)
        elif isinstance(step, DropColumns):
            for name in self._present(step, step.columns):
                self._guard(step.tables, name, "left out")
                del self._fields[name]
        elif isinstance(step, Rename):
            self._rename(step)
        elif isinstance(step, Mask):
            for name in self._present(step, step.columns):
                self._mask(step, name)
        elif isinstance(step, Cast):
            for name in self._present(step, step.columns):
                self._cast(step, name)
        elif isinstance(step, Key):
            self._choose_key(step)

    def shape(self) -> Shape:
        fields = tuple(sorted(self._fields.values(), key=lambda column: column.source))
        kept = {column.source for column in fields}
        dropped = tuple(index for index in range(self._width) if index not in kept)
        return Shape(fields, dropped, self._key, tuple(self._conditions), tuple(self._calls))

    # -- steps

    def _rename(self, step: Rename) -> None:
        new = {name: step.columns[name] for name in self._present(step, step.columns)}
        names = [new.get(name, name) for name in self._fields]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise _refusal(
                step.tables,
                "plan.transform_name",
                f"{self._table} would have two columns called {twice}",
                "choose another name, or leave one of the two out before",
            )
        renamed = (
            replace(column, name=name) for name, column in zip(names, self._fields.values(), strict=True)
        )
        self._fields = {column.name: column for column in renamed}

    def _mask(self, step: Mask, name: str) -> None:
        if not step.way.distinct:
            self._guard(step.tables, name, f"masked with {step.way.name}")
        column = self._fields[name]
        if step.way.texts_only and column.schema.get("type", "string") != "string":
            raise _refusal(
                step.tables,
                "plan.transform_type",
                f"{self._table}.{name} is no text, so {step.way.name} can't shorten it",
                "use redact, null or sha256, or cast it to string first",
            )
        self._fields[name] = replace(
            column,
            schema=step.way.schema,
            defs={},
            number=None,
            changes=(*column.changes, step.way.change),
            described=(*column.described, step.way.described),
            hidden=True,
            merged=column.merged or not step.way.distinct,
        )

    def _cast(self, step: Cast, name: str) -> None:
        column, kind = self._fields[name], step.columns[name]
        compound = column.schema.get("type") in ("object", "array") or "$ref" in column.schema
        if compound and kind != "string":
            raise _refusal(
                step.tables,
                "plan.transform_type",
                f"{self._table}.{name} has several values in one, so it can't be cast to {kind}",
                "cast it to string, or leave it as it is",
            )
        change, schema = cast(kind)
        self._fields[name] = replace(
            column,
            schema=schema,
            defs={},
            number=None,
            changes=(*column.changes, change),
            described=(*column.described, (kind,)),
        )

    def _choose_key(self, step: Key) -> None:
        present = self._present(step, step.columns)
        if len(present) < len(step.columns):
            return
        merged = next((name for name in present if self._fields[name].merged), None)
        if merged is not None:
            raise _merged(step.tables, f"{self._table}.{merged}", "masked so that rows look the same")
        self._key = tuple(self._fields[name].source for name in present)
        self._naming |= frozenset(self._key)

    def _filter(self, step: Filter) -> None:
        after, before = step.where.mentions("after"), step.where.mentions("before")
        unknown = ((after or frozenset()) | (before or frozenset())) - self._fields.keys()
        if unknown and step.tables.exact and self._missing == "refuse":
            raise self._unknown(step.tables, sorted(unknown), "correct where")
        self._conditions.append(
            Condition(
                step.where,
                self._looked_at(after),
                self._looked_at(before),
                step.where.mentions("key") != frozenset(),
                step.rows,
            )
        )

    def _looked_at(self, names: frozenset[str] | None) -> tuple[Field, ...]:
        return tuple(column for name, column in self._fields.items() if names is None or name in names)

    # -- what can't be

    def _present(self, step: ColumnStep, names: Iterable[str]) -> list[str]:
        absent = [name for name in names if name not in self._fields]
        if absent and step.tables.exact and self._missing == "refuse" and not step.if_present:
            raise self._unknown(
                step.tables, absent, "correct the name, or add if_present: true for a column that is gone"
            )
        return [name for name in names if name in self._fields]

    def _unknown(self, tables: Tables, names: Sequence[str], fix: str) -> PreconditionError:
        there = ", ".join(self._fields)
        what = f"{self._table} has no column {', '.join(names)} at this step; it has {there}"
        return _refusal(tables, "plan.transform_column", what, fix)

    def _guard(self, tables: Tables, name: str, how: str) -> None:
        """Rows are told apart by their key, in the topic and in the ids of events."""
        if self._fields[name].source in self._naming:
            raise _merged(tables, f"{self._table}.{name}", how)


def _merged(tables: Tables, column: str, how: str) -> PreconditionError:
    return _refusal(
        tables,
        "plan.transform_key",
        f"{column} is part of the key, so it can't be {how}",
        "mask it with sha256, which keeps different rows different",
    )


def _refusal(tables: Tables, code: str, what: str, fix: str) -> PreconditionError:
    return PreconditionError(what, code=code, where=tables.where, fix=fix)
