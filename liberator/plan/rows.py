"""What the executors of a plan share: the fields of a COPY line, a row's JSON, its key, and what is wrong with it.

Enters: a compiled plan and one row's values. Leaves: JSON. Called once per row. No I/O.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from liberator.contract.gate import Gate
from liberator.contract.violation import Violation
from liberator.errors import DecodeError
from liberator.plan.compile import TablePlan
from liberator.postgres.pgoutput import UNCHANGED, malformed

_ESCAPES = {
    b"b": b"\b",
    b"f": b"\f",
    b"n": b"\n",
    b"r": b"\r",
    b"t": b"\t",
    b"v": b"\v",
    b"\\": b"\\",
}
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)


def key_of(plan: TablePlan, values: Sequence[Any]) -> bytes | None:
    """The JSON of a row's key, from the JSON of its columns; None: it has none. `DecodeError` when a part was not sent."""
    if plan.key_of is None or plan.key_template is None:
        return None
    try:
        key: bytes = plan.key_template % plan.key_of(values)
    except TypeError:
        raise malformed("a change without the values of its key", 26) from None
    return key


def row_json(plan: TablePlan, values: list[Any]) -> tuple[bytes, tuple[bytes, ...]]:
    """The row's JSON, and the names of the columns that were not sent. `values` become JSON in place. ConversionError."""
    if plan.dropped:
        for index in plan.dropped:
            values[index] = b""
    for index, convert in plan.conversions:
        value = values[index]
        if value is not None and value is not UNCHANGED:
            values[index] = convert(value)
    missing = []
    for index, value in enumerate(values):
        if value is None:
            values[index] = b"null"
        elif value is UNCHANGED:
            missing.append(index)
    if not missing:
        return plan.row_template % tuple(values), ()
    members = [b"%b:%b" % (plan.names[i], values[i]) for i in plan.output if values[i] is not UNCHANGED]
    return b"{%b}" % b",".join(members), tuple(plan.names[i] for i in missing)


def identity_json(plan: TablePlan, values: Sequence[Any]) -> bytes:
    """The JSON of what names a row, from the JSON of its columns: what a delete carries at least."""
    members = [
        b"%b:%b" % (plan.names[i], values[i]) for i in plan.identity_columns if values[i] is not UNCHANGED
    ]
    return b"{%b}" % b",".join(members)


def fill(plan: TablePlan, values: list[Any], old: Sequence[Any], *, whole_row: bool) -> None:
    """Take from the old row what the new one has unchanged: with FULL everything, else key columns. What is unchanged and
    null was not sent: a partition logs less than its root, under whose name it is published, promises."""
    for index in range(len(values)) if whole_row else plan.identity_columns:
        if values[index] is UNCHANGED and old[index] is not None:
            values[index] = old[index]


def sent_of(plan: TablePlan, old: Sequence[Any], *, is_key: bool, is_padded: bool) -> list[Any]:
    """What the server sent of an old row. With a key only its columns mean something; what is null in a padded one, of a
    partition, may not have been sent."""
    columns: Sequence[int] = range(len(old))
    if is_key:
        columns = plan.identity_columns
    elif is_padded:
        columns = [index for index in columns if old[index] is not None]
    values: list[Any] = [UNCHANGED] * len(old)
    for index in columns:
        values[index] = old[index]
    return values


def find_violation(
    plan: TablePlan, gate: Gate, values: Sequence[Any], after: bytes, missing: tuple[bytes, ...]
) -> Violation | None:
    """What is wrong with a row, None: nothing. Column checks first; they are cheap."""
    absent = tuple(json.loads(name) for name in missing) if missing else ()
    if gate.impossible is None:
        for index, check in plan.checks:
            value = values[index]
            if value is not UNCHANGED and not check(value):
                break
        else:
            if gate.row is None or gate.row(after, absent):
                return None
    return gate.explain(after, absent)


def copy_fields(line: bytes, plan: TablePlan, before: int) -> list[Any]:
    """The fields of a COPY text line: bytes, None for NULL. before: fields in front of the table's columns."""
    expected = len(plan.names) + before
    fields = split_line(line) if expected else []
    if len(fields) != expected:
        raise DecodeError(
            f"a line of the snapshot of {plan.label} has {len(fields)} fields instead of {expected}",
            where=f"table {plan.label}",
            fix="this is a defect in liberator or in the server: report it",
        )
    return fields


def split_line(line: bytes) -> list[Any]:
    """The fields of any COPY text line with one at least."""
    fields: list[Any] = line[:-1].split(b"\t")
    if b"\\" in line:
        return [None if f == b"\\N" else _ESCAPE.sub(_unescape, f) if b"\\" in f else f for f in fields]
    return fields


def _unescape(match: re.Match[bytes]) -> bytes:
    return _ESCAPES.get(match[1], match[1])
