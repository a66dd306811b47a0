"""How a table is best read by queries, and why: from its columns, keys, indexes, types and defaults. Pure.

Enters: a `TableSeen`. Leaves: an `Advice`: settings, with reasons for a person who knows more about the table than can be
seen. Called by ``liberate init``. A strategy that sees more is preferred to one that is cheaper, unless the table says that
there is nothing more to see.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

COUNTED = 100_000
"""Rows beyond which nobody counts."""

ColumnKind = Literal["time", "integer", "flag", "other"]

_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_WORD = re.compile(r"[a-z]+")
_CHANGED = frozenset(
    {"updated", "modified", "changed", "update", "modification", "change", "touched", "mtime"}
)
_MARKED = re.compile(r"(is_?|soft_?)?(deleted|removed)(_?(at|on|date|time|ts))?")
_GROWS_ONLY = frozenset({"log", "logs", "event", "events", "audit", "audits", "history", "journal", "ledger"})
_INSERTS_ENOUGH = 1000
"""Inserts without any update or delete that say that there will be none."""


@dataclass(frozen=True, slots=True)
class ColumnSeen:
    """growing: the database numbers rows with it, one after the other. at_update: the database sets it to the time of every
    write."""

    name: str
    kind: ColumnKind
    nullable: bool = True
    growing: bool = False
    at_update: bool = False


@dataclass(frozen=True, slots=True)
class TableSeen:
    """A table as advice needs it.

    key: what names a row. leading: columns that an index begins with. rows: an estimate, or at most one more than `COUNTED`;
    -1: nobody knows. versions: the database tells which rows an earlier look did not show. one_writer: SQLite, where commits
    come in the order of writes. inserts_only: counted inserts while nothing was updated or deleted; 0: something was, or
    nobody counts. before_update: a trigger that may set columns. refusal: why it can't be read.
    """

    columns: tuple[ColumnSeen, ...]
    key: tuple[str, ...] = ()
    leading: frozenset[str] = frozenset()
    rows: int = -1
    versions: bool = False
    one_writer: bool = False
    inserts_only: int = 0
    before_update: str | None = None
    refusal: str | None = None


@dataclass(slots=True)
class Advice:
    """settings: keys of ``source.query.tables``. why, unseen, hints: sentences. late: may a row be committed behind others
    that were read?"""

    settings: dict[str, str]
    why: list[str] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)
    hints: list[str] = field(default_factory=list)
    late: bool = False


def advise(name: str, table: TableSeen) -> Advice:
    """How to read table `name` (without its schema)."""
    changed, growing = _changed(table), _growing(table)
    if changed is not None and not (table.versions and changed.name not in table.leading):
        advice = _by_time(table, changed, growing)
    elif growing is not None and (table.inserts_only >= _INSERTS_ENOUGH or _says_log(name)):
        advice = _by_number(table, growing)
    elif table.versions:
        advice = Advice({"strategy": "xmin"}, ["every row version that the last look did not see is found"])
        if changed is not None:
            advice.why.append(
                f"`{changed.name}` has no index: a look by it would read the whole table as well, and see less"
            )
        _every_look_reads_all(table, advice)
    elif growing is not None and table.rows > COUNTED:
        advice = _by_number(table, growing)
        advice.hints.append(
            "it has too many rows for strategy bulk, which would see updates: read it all now and then"
        )
    else:
        advice = Advice({"strategy": "bulk"}, ["no column tells what is new"])
        _every_look_reads_all(table, advice)
        advice.unseen.append("what has changed: every row comes at every look, as op r")
    _deletes(table, advice)
    return advice


def _by_time(table: TableSeen, changed: ColumnSeen, growing: ColumnSeen | None) -> Advice:
    settings = {"strategy": "timestamp", "timestamp_column": changed.name}
    advice = Advice(settings, late=not (table.versions or table.one_writer))
    if changed.at_update:
        advice.why.append(f"the database sets `{changed.name}` at every write")
    elif table.before_update is not None:
        advice.why.append(
            f"`{changed.name}` is the time of the last write by its name; trigger `{table.before_update}` may set it"
        )
    else:
        advice.why.append(f"`{changed.name}` is the time of the last write by its name")
        advice.hints.append(f"make sure that everybody who writes sets `{changed.name}`")
    if growing is not None:
        settings.update(strategy="timestamp+incrementing", incrementing_column=growing.name)
        advice.why.append(f"`{growing.name}` grows, so new rows are told from changed ones")
    else:
        advice.unseen.append("whether a row is new: all count as changed")
    if changed.nullable and not table.versions:
        advice.unseen.append(f"rows whose `{changed.name}` is NULL, after the first pass")
    _index(table, changed, advice)
    return advice


def _by_number(table: TableSeen, growing: ColumnSeen) -> Advice:
    settings = {"strategy": "incrementing", "incrementing_column": growing.name}
    advice = Advice(settings, [f"`{growing.name}` grows"], late=not (table.versions or table.one_writer))
    if table.inserts_only:
        advice.why.append(f"of {table.inserts_only} writes that the server has counted all were inserts")
    advice.unseen.append("updates")
    if table.one_writer:
        advice.hints.append("without AUTOINCREMENT the number of a deleted row comes again, and is not seen")
    _index(table, growing, advice)
    return advice


def _index(table: TableSeen, column: ColumnSeen, advice: Advice) -> None:
    if column.name not in table.leading:
        advice.hints.append(f"give `{column.name}` an index: without one every look reads the whole table")


def _every_look_reads_all(table: TableSeen, advice: Advice) -> None:
    if table.rows > COUNTED:
        advice.settings["poll_interval"] = "10m"
        advice.hints.append(
            "every look reads the whole table: choose a poll_interval that the database can bear"
        )


def _deletes(table: TableSeen, advice: Advice) -> None:
    mark = next((c for c in table.columns if c.kind != "other" and _MARKED.fullmatch(_plain(c.name))), None)
    if mark is not None and advice.settings["strategy"] != "incrementing":
        advice.settings["deletes"] = f"soft:{mark.name}"
        advice.why.append(f"rows are deleted by setting `{mark.name}`, by its name")
        advice.unseen.append("rows that are deleted for good")
    elif table.key:
        advice.unseen.append("deletes, unless `deletes: reconcile` compares all keys once an hour")
    else:
        advice.unseen.append("deletes: there is no key to compare")
    if not table.key:
        advice.hints.append("give it a primary key: without one its events have none, and keep no order")


def _changed(table: TableSeen) -> ColumnSeen | None:
    """The column that tells when a row was written last."""
    found = [
        column
        for column in table.columns
        if column.kind == "time" and (column.at_update or _CHANGED & set(_WORD.findall(_plain(column.name))))
    ]
    return min(found, key=lambda c: (not c.at_update, c.name not in table.leading, c.nullable), default=None)


def _growing(table: TableSeen) -> ColumnSeen | None:
    """The column that numbers rows; an index must tell its greatest value."""
    return next((c for c in table.columns if c.growing and c.name in (*table.key[:1], *table.leading)), None)


def _says_log(name: str) -> bool:
    return bool(_GROWS_ONLY & set(_WORD.findall(_plain(name))))


def _plain(name: str) -> str:
    return _HUMP.sub("_", name).lower()


def summary(table: TableSeen) -> str:
    """What is known of its size."""
    if table.rows <= 0:
        return "no rows yet" if table.rows == 0 else "rows not counted"
    return f"more than {COUNTED} rows" if table.rows == COUNTED + 1 else f"about {table.rows} rows"
