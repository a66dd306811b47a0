"""Which transforms a table version has, and what they leave of it.

Enters: the steps of a configuration, table versions, what is certain of their columns. Leaves: shapes for `compile`, facts
for contracts. Called by the planners when a table version is first seen, never per row.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from liberator.contract.derive import ColumnSchema
from liberator.contract.gate import ColumnFacts
from liberator.errors import PreconditionError
from liberator.postgres.model import Table
from liberator.postgres.values.numbers import FLOAT_SCHEMA, NUMBERS_IN_TEXT
from liberator.transform import Call, DropColumns, Field, Mask, Shape, Step, shape_of
from liberator.transform.shape import Missing

log = logging.getLogger(__name__)

_Named = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Transforms:
    """The steps of a connector."""

    steps: tuple[Step, ...] = ()

    def apply_to(self, schema: str, table: str) -> bool:
        """Does any step change rows of this table?"""
        return any(_is_about(step, (schema, table)) for step in self.steps)

    def calls(self, schema: str, table: str) -> bool:
        """Are its rows given to a function?"""
        return any(isinstance(step, Call) and _is_about(step, (schema, table)) for step in self.steps)

    def shape(
        self,
        table: Table,
        columns: Sequence[Field],
        key: Sequence[str] | None,
        *,
        former: Table | None = None,
        missing: Missing = "ignore",
    ) -> Shape | None:
        """What is left of this version; None: all, as it is. columns: see `fields`. key: configured for it.
        former: the version before.

        Raises `PreconditionError` for what can't be done, and where something would be seen that the steps are to hide.
        """
        if former is not None:
            self._refuse_to_show(table, former)
        if not self.apply_to(table.schema, table.name):
            return None
        naming = (*table.key, *(key or ()))
        return shape_of(self.steps, (table.schema, table.name), columns, naming, missing=missing)

    def warn_of_unused(self, tables: Iterable[_Named]) -> None:
        """Tell which steps fit none of the tables. Raises `PreconditionError` for one that names a table."""
        there = list(tables)
        for step in self.steps:
            about = getattr(step, "tables", None)
            if about is None or any(about.matches(*table) for table in there):
                continue
            if about.exact and not getattr(step, "if_present", False):
                raise PreconditionError(
                    f"a transform is for {about.text}, which is not among the captured tables",
                    code="plan.transform_table",
                    where=about.where,
                    fix="correct the name, or capture the table; for one that is gone, add if_present: true",
                )
            log.warning("no table fits %s of %s", about.text, about.where)

    def _refuse_to_show(self, table: Table, former: Table) -> None:
        """A column, or a table, that changed its name would be published in the clear. Who drops a column says so."""
        names = {column.name for column in table.columns}
        gone = [column.name for column in former.columns if column.name not in names]
        for step in self.steps:
            if not isinstance(step, (DropColumns, Mask)) or not step.tables.matches(
                former.schema, former.name
            ):
                continue
            lost = [] if step.if_present else [name for name in gone if name in step.columns]
            if lost or not step.tables.matches(table.schema, table.name):
                what = f"{former.qualified}.{lost[0]}" if lost else former.qualified
                raise PreconditionError(
                    f"{what} is gone, or has another name now; under that it would be published in the clear",
                    code="plan.transform_hides",
                    where=step.tables.where,
                    fix="add a step for the new name; keep this one for what is still in the log, with if_present: true",
                )


def fields(table: Table, facts: Sequence[ColumnFacts]) -> list[Field]:
    """The columns of a table before the first step."""
    found = []
    for index, (column, fact) in enumerate(zip(table.columns, facts, strict=True)):
        schema = dict(fact.guaranteed)
        definitions = schema.pop("$defs", {})
        number = _number(schema, column.type.name)
        found.append(
            Field(column.name, index, schema, definitions, column.not_null, column.can_be_toasted, number)
        )
    return found


def _number(schema: dict[str, object], kind: str) -> Callable[[str], float] | None:
    if kind == "decimal" or schema.get("anyOf") == FLOAT_SCHEMA["anyOf"]:
        return float
    return NUMBERS_IN_TEXT.get(str(schema.get("pattern")))


@dataclass(frozen=True, slots=True)
class Left:
    """What transforms leave of tables, for contracts.

    schemas, facts: of a table's columns before them, and what is certain of those. configured: (schema, table) -> the key of
    the configuration, None: that of the table.
    """

    transforms: Transforms
    schemas: Callable[[Table], Sequence[ColumnSchema]]
    facts: Callable[[Table], Sequence[ColumnFacts]]
    configured: Callable[[str, str], Sequence[str] | None]

    def columns(self, table: Table) -> list[ColumnSchema]:
        """The columns of its events, before any function."""
        before = [
            Field(each.name, index, each.schema, each.defs, each.not_null, each.can_be_toasted)
            for index, each in enumerate(self.schemas(table))
        ]
        return [
            ColumnSchema(each.name, each.schema, each.defs, each.not_null, each.can_be_toasted)
            for each in self._shape(table, before).fields
        ]

    def certain(self, table: Table) -> list[ColumnFacts] | None:
        """What is certain of them. None: a function may make anything of them."""
        if self.transforms.calls(table.schema, table.name):
            return None
        return [
            ColumnFacts(
                each.name,
                {**each.schema, "$defs": each.defs} if each.defs else each.schema,
                table.columns[each.source].name not in table.key,
            )
            for each in self._shape(table).fields
        ]

    def naming(self, table: Table) -> tuple[str, ...]:
        """The columns that name a row, as events call them."""
        return self._names(table, table.key)

    def key(self, table: Table) -> tuple[str, ...]:
        """The columns of the key of events."""
        chosen = self._shape(table).key
        if chosen is not None:
            return self._names(table, [table.columns[index].name for index in chosen])
        return self._names(table, self.configured(table.schema, table.name) or table.key)

    def _shape(self, table: Table, columns: Sequence[Field] | None = None) -> Shape:
        columns = fields(table, self.facts(table)) if columns is None else columns
        shape = self.transforms.shape(table, columns, self.configured(table.schema, table.name))
        return Shape(tuple(columns)) if shape is None else shape

    def _names(self, table: Table, names: Iterable[str]) -> tuple[str, ...]:
        called = {table.columns[each.source].name: each.name for each in self._shape(table).fields}
        return tuple(called.get(name, name) for name in names)


def _is_about(step: Step, table: _Named) -> bool:
    tables = getattr(step, "tables", None)
    return tables is not None and bool(tables.matches(*table))
