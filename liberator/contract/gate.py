"""The gate that every row passes before it is published.

Enters: a contract and what the columns' types guarantee. Leaves: a `Gate` with no more checks than the types leave
open; for a schema that was derived from the table that is none. Called by the plan, once per table version; its
checks once per row. It never changes a row, and never says what was in one.

A column that the server did not send (unchanged TOAST) is taken as satisfying whatever is asked of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson

from liberator.contract.checks import ColumnCheck, Known, Needed, column_check
from liberator.contract.described import Described
from liberator.contract.document import Document, Pointer, Schema, pointer_text
from liberator.contract.proof import Rooted, cases
from liberator.contract.reading import members, read
from liberator.contract.shape import shape
from liberator.contract.unsent import without
from liberator.contract.violation import UNREADABLE, Violation, from_errors

RowCheck = Callable[[bytes, tuple[str, ...]], bool]
Judge = tuple[Any, Schema]

_JUDGES_KEPT = 1024
"""Validators kept per contract, one for every combination of columns that were not sent."""

_INT64 = 2**63


@dataclass(frozen=True, slots=True)
class ColumnFacts:
    """What is certain of a column.

    guaranteed: the JSON Schema that every value but null satisfies; its ``$ref`` lead into its own ``$defs``.
    nullable: null can come.
    """

    name: str
    guaranteed: Mapping[str, Any]
    nullable: bool


@dataclass(frozen=True, slots=True)
class Gate:
    """A compiled contract.

    columns: checks on the JSON bytes of single columns (``b"null"`` for null), for those that need one. They are not
    asked about a column that was not sent. described: the same checks as data, None for one that can't be said so.
    row: check on the JSON bytes of the whole row and the names of the columns that were not sent. Where there is one
    it decides alone and `columns` is empty; None: the column checks decide alone.
    impossible: why no row of this table can pass; the other fields are empty then.
    """

    columns: Mapping[str, ColumnCheck]
    described: Mapping[str, Described | None]
    row: RowCheck | None
    impossible: Violation | None
    _judge: Callable[[frozenset[str]], Judge]

    @property
    def empty(self) -> bool:
        """Every row of this table passes."""
        return not self.columns and self.row is None and self.impossible is None

    def accepts(self, after: bytes, unchanged: Sequence[str] = ()) -> bool:
        """All checks on one row. (The plan, which has the columns' bytes at hand, applies them itself.)"""
        if self.impossible:
            return False
        if self.row:
            return self.row(after, tuple(unchanged))
        return all(self.columns[name](raw) for name, raw in members(after) if name in self.columns)

    def explain(self, after: bytes, unchanged: Sequence[str] = ()) -> Violation:
        """What is wrong with a row that was refused. Raises `ValueError` for one that passes."""
        if self.impossible:
            return self.impossible
        judge, schema = self._judge(frozenset(unchanged))
        try:
            row = read(after)
        except (ValueError, RecursionError):
            return UNREADABLE
        violation = from_errors(judge.iter_errors(row), schema)
        if violation is None:
            raise ValueError("the row keeps its contract")
        return violation


def compile_gate(schema: Schema, columns: Sequence[ColumnFacts]) -> Gate:
    """The gate for rows with exactly these columns. Raises `ContractError` for a contract that cannot be kept."""
    document = Document(schema)
    names = [column.name for column in columns]
    found = shape(document, names)
    judge = _judges(document, frozenset(names))
    checks: dict[str, Needed] = {}
    impossible = found.impossible
    for column in columns:
        places = found.columns[column.name]
        check = column_check(document, places, Known(_given(column), column.nullable)) if places else None
        if check is False:
            impossible = impossible or _nothing_fits(column.name, places[0])
        elif check is not None:
            checks[column.name] = check
    if impossible:
        return Gate({}, {}, None, impossible, judge)
    if found.whole_row:
        return Gate({}, {}, _row_check(judge, columns), None, judge)
    tests = {name: check.test for name, check in checks.items()}
    data = {name: check.described for name, check in checks.items()}
    return Gate(tests, data, None, None, judge)


def _given(column: ColumnFacts) -> Rooted:
    schema = dict(column.guaranteed)
    return Rooted(schema, schema)


def _nothing_fits(name: str, place: Pointer) -> Violation:
    message = "the contract allows no value that the column can have"
    return Violation(pointer_text((name,)), "type", pointer_text(place), message)


def _judges(document: Document, columns: frozenset[str]) -> Callable[[frozenset[str]], Judge]:
    """The validator, and the schema it was made of, for rows that lack some columns."""

    @lru_cache(maxsize=_JUDGES_KEPT)
    def judge(unsent: frozenset[str]) -> Judge:
        schema = without(document, unsent, columns) if unsent else document.link(())
        return document.validator(schema), schema

    return judge


def _row_check(judge: Callable[[frozenset[str]], Judge], columns: Sequence[ColumnFacts]) -> RowCheck:
    """The validator's verdict on whole rows."""
    loads = orjson.loads if all(map(_is_plain, columns)) else read
    whole = judge(frozenset())[0].is_valid

    def check(after: bytes, unchanged: tuple[str, ...]) -> bool:
        try:
            row = loads(after)
        except (ValueError, RecursionError):
            return False  # text that is not UTF-8, or nested too deeply
        return bool(judge(frozenset(unchanged))[0].is_valid(row) if unchanged else whole(row))

    return check


def _is_plain(column: ColumnFacts) -> bool:
    """Can orjson read every value of the column without losing a digit?"""
    return all(
        case.types <= {"string", "boolean"}
        or (
            case.types == {"integer"}
            and any(low >= -_INT64 for low in case.operands("minimum"))
            and any(high < _INT64 for high in case.operands("maximum"))
        )
        for case in cases(_given(column))
    )
