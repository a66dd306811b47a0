"""The steps of a configuration's ``transform``, as data. Made by `build`, read by `shape`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from liberator.expression import Expression
from liberator.transform.values import Kind, Way


@dataclass(frozen=True, slots=True)
class Tables:
    """What a step is about. text: as it is written. exact: it names one table. where: of the step, for messages."""

    text: str
    matches: Callable[[str, str], bool]
    exact: bool
    where: str


@dataclass(frozen=True, slots=True)
class DropColumns:
    """if_present: it is no fault when the table has no such column."""

    tables: Tables
    columns: tuple[str, ...]
    if_present: bool = False


@dataclass(frozen=True, slots=True)
class Rename:
    """columns: name -> new name, all at once."""

    tables: Tables
    columns: Mapping[str, str]
    if_present: bool = False


@dataclass(frozen=True, slots=True)
class Mask:
    """way: what is left of a value."""

    tables: Tables
    columns: tuple[str, ...]
    way: Way
    if_present: bool = False


@dataclass(frozen=True, slots=True)
class Cast:
    """columns: name -> kind of JSON value."""

    tables: Tables
    columns: Mapping[str, Kind]
    if_present: bool = False


@dataclass(frozen=True, slots=True)
class Key:
    """The columns that make the key of events."""

    tables: Tables
    columns: tuple[str, ...]
    if_present: bool = False


@dataclass(frozen=True, slots=True)
class Filter:
    """rows: `where` says which rows belong to the stream, so that one which leaves it is a delete to whoever reads; else it
    says which events do, each by itself."""

    tables: Tables
    where: Expression
    rows: bool


@dataclass(frozen=True, slots=True)
class Route:
    """topic: with ``$1`` for what the groups of `match` found in ``schema.table``, as a whole."""

    match: re.Pattern[str]
    topic: Callable[[re.Match[str]], str]


@dataclass(frozen=True, slots=True)
class Call:
    """A function of the user's. It gets an event as a plain dict, and gives one back, or None for none."""

    tables: Tables
    function: Callable[[dict[str, Any]], dict[str, Any] | None]
    name: str


Step = DropColumns | Rename | Mask | Cast | Key | Filter | Route | Call
ColumnStep = DropColumns | Rename | Mask | Cast | Key


def topic_of(steps: Iterable[Step], schema: str, table: str) -> str | None:
    """The topic that the last fitting `Route` gives a table; None: none fits."""
    topic = None
    for step in steps:
        if isinstance(step, Route) and (found := step.match.fullmatch(f"{schema}.{table}")):
            topic = step.topic(found)
    return topic
