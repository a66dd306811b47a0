"""Events -> what happens to rows, and of many changes what is left of each row.

Enters: events, the columns of the key. Leaves: changes with values as JSON has them; then, converted, one write of each row.
Called by ``writer``. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from liberator.change import Event
from liberator.content import read
from liberator.errors import FunctionError
from liberator.function.rows import row_of

Key = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """gone: key of a row that is deleted. heir: the key that this row has from now on, as it is not deleted but gets another
    one. key, values: of a row that is written, the values with the key's; columns that are missing stay as they are. was:
    the key that this row had before, if its event says that it had another. unsent: columns whose values it has had under
    that key, and that were not sent with the new one. emptied: all rows are deleted, before anything else."""

    gone: Key | None = None
    heir: Key | None = None
    key: Key | None = None
    values: Mapping[str, Any] = field(default_factory=dict)
    was: Key | None = None
    unsent: tuple[str, ...] = ()
    emptied: bool = False


NOTHING = Change()


def change_of(event: Event, key: tuple[str, ...]) -> Change:
    """What an event does. key: names of the columns. Raises `FunctionError`, for good, for what names no row."""
    before, after, op = row_of(event)
    if op == "m":
        return NOTHING
    if op == "t":
        return Change(emptied=True)
    if event.value is None or op == "d":
        # Where a key is no single row's, a flat delete carries what the server sent of the row.
        row = before if before is not None else after
        gone = _key(event, key, row if isinstance(row, Mapping) else {})
        heir = _told(event, "__debezium.newkey", key)
        # Where the table's key stays the same, the row is the one that is written next.
        return NOTHING if gone == heir else Change(gone=gone, heir=heir)
    if not isinstance(after, Mapping):
        raise _refused(event, "its value is no row", "leave the topic out, or correct whoever publishes it")
    now = _key(event, key, after)
    values = {**after, **dict(zip(key, now, strict=True))}
    if before is not None and before.keys() >= set(key):
        old = tuple(before[name] for name in key)
        if old != now:
            return Change(gone=old, heir=now, key=now, values=values)
    if "__debezium.oldkey" in event.headers:
        was = _told(event, "__debezium.oldkey", key)
        return Change(key=now, values=values, was=was, unsent=() if was == now else _unsent(event))
    return Change(key=now, values=values)


def _told(event: Event, header: str, names: tuple[str, ...]) -> Key | None:
    """The key in a header, if it says one of the table's."""
    text = dict(event.raw_headers).get(header)
    told = read(text)
    if isinstance(told, Mapping):
        return tuple(told[name] for name in names) if told.keys() >= set(names) else None
    return None if told is None or isinstance(told, list) or len(names) > 1 else (told,)


def _unsent(event: Event) -> tuple[str, ...]:
    """Columns that the source knows the server not to have sent."""
    value = event.value
    source = value.get("source") if isinstance(value, Mapping) else None
    told = source.get("unchanged") if isinstance(source, Mapping) else None
    if told is None:
        told = read(dict(event.raw_headers).get("__unchanged"))
    return tuple(map(str, told)) if isinstance(told, list) else ()


def _key(event: Event, names: tuple[str, ...], row: Mapping[str, Any]) -> Key:
    """The key's values: the row's where it has them, else those of the event's key."""
    told = event.key
    if row.keys() >= set(names):
        found = row
    elif isinstance(told, Mapping) and told.keys() >= set(names):
        found = told
    elif told is not None and not isinstance(told, (Mapping, list)) and len(names) == 1:
        found = {names[0]: told}
    else:
        columns = ", ".join(names)
        fix = "name columns that events carry in function.table.key, or publish events with the table's key"
        raise _refused(event, f"it does not say which row it is about: there is no {columns}", fix)
    values = tuple(found[name] for name in names)
    if None in values:
        raise _refused(
            event, "a column of its key is null", "name columns in function.table.key that never are"
        )
    return values


def _refused(event: Event, what: str, fix: str) -> FunctionError:
    return FunctionError(
        what,
        code="function.table_event",
        where=f"{event.topic}/{event.partition} at offset {event.offset}",
        fix=fix,
    )


@dataclass(slots=True)
class Writes:
    """emptied: delete all rows first. moves: rows that get another key then. deletes: keys of rows to delete then. upserts:
    rows to write at last, in the order in which they were last written; with values by column."""

    emptied: bool = False
    moves: list[tuple[Key, Key]] = field(default_factory=list)
    deletes: list[Key] = field(default_factory=list)
    upserts: list[Mapping[str, Any]] = field(default_factory=list)


def net(changes: Iterable[Change]) -> Iterator[Writes]:
    """What is left to do of changes that came in this order, each row written once; anew from each that gives a row another
    key, as what is in the database has to be that row by then."""
    emptied = False
    moves: list[tuple[Key, Key]] = []
    gone: dict[Key, None] = {}
    rows: dict[Key, Mapping[str, Any]] = {}
    for change in changes:
        if change.emptied:
            emptied = True
            moves.clear()
            gone.clear()
            rows.clear()
        if change.gone is not None and change.heir is not None:
            if gone or rows:
                yield Writes(emptied, moves, list(gone), list(rows.values()))
                emptied, moves, gone, rows = False, [], {}, {}
            moves.append((change.gone, change.heir))
        elif change.gone is not None:
            rows.pop(change.gone, None)
            gone[change.gone] = None
        if change.key is not None:
            rows[change.key] = {**rows.pop(change.key, {}), **change.values}
    yield Writes(emptied, moves, list(gone), list(rows.values()))
