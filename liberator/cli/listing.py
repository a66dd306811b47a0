"""Listings: a table for people, JSON lines for programs. Data only, on standard output."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click


def show(records: Iterable[Mapping[str, Any]], as_json: bool, empty: str) -> None:
    """Print records. empty: what to tell a person, on standard error, when there are none."""
    rows = list(records)
    if as_json:
        for row in rows:
            click.echo(to_json(row))
    elif rows:
        for line in table(rows):
            click.echo(line)
    else:
        click.echo(empty, err=True)


def to_json(record: object) -> str:
    """One line of JSON; what JSON does not know (paths, times) becomes text."""
    from liberator.config.secrets import redact

    return redact(json.dumps(record, ensure_ascii=False, default=str))


def table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Columns by key, in order of appearance, each as wide as its widest value."""
    from liberator.config.secrets import redact

    columns = list(dict.fromkeys(column for row in rows for column in row))
    cells = [columns, *([text(row.get(column)) for column in columns] for row in rows)]
    widths = [max(len(line[index]) for line in cells) for index in range(len(columns))]
    return [
        redact("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
        for line in cells
    ]


def lines(record: Mapping[str, Any], indent: str = "") -> list[str]:
    """One record as ``key: value`` lines, sections indented."""
    from liberator.config.secrets import redact

    shown = []
    for key, value in record.items():
        if isinstance(value, Mapping) and value:
            shown += [f"{indent}{key}:", *lines(value, indent + "  ")]
        elif isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
            shown += [f"{indent}{key}:", *(f"{indent}  {line}" for line in table(value))]
        elif isinstance(value, list) and any(isinstance(item, str) and ", " in item for item in value):
            shown += [f"{indent}{key}:", *(redact(f"{indent}  - {text(item)}") for item in value)]
        else:
            shown.append(redact(f"{indent}{key}: {text(value)}"))
    return shown


def text(value: object) -> str:
    """A value in a table."""
    if value is None or value in ((), [], {}):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(text, value)) if isinstance(value, list | tuple) else str(value)
