"""Whole columns of a batch at a time: the fast way for rows that need nothing special.

Enters: a plan and COPY lines, or driver rows. Leaves: the batch transposed, with each column as JSON or as what stands
between quotes. It gives up, with None, where single rows need a look of their own; then the caller goes row by row. The JSON
is the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from liberator.plan.compile import TablePlan
from liberator.postgres.values import ConversionError
from liberator.postgres.values.columns import converted
from liberator.postgres.values.text import text as json_text

_NULL = b"\\N"
_NULL_AS_TEXT = b"\\\\N"
_ESCAPES = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v", b"\\": b"\\"}
_SPECIAL = bytes([*(byte for byte in range(0x20) if byte not in b"\t\n"), ord('"')])
"""What a JSON string may not hold as it is, but for what separates fields and lines, and the backslash."""
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)


@dataclass(slots=True)
class Columns:
    """front: the fields before the table's columns, as they are. values: one list a column. quoted: do quotes belong around
    a column's values?"""

    front: list[list[bytes]]
    values: list[Sequence[bytes]]
    quoted: list[bool]

    def json(self, index: int) -> Sequence[bytes]:
        """A column as JSON."""
        return [b'"%b"' % value for value in self.values[index]] if self.quoted[index] else self.values[index]

    def template(self, names: Sequence[bytes], columns: Sequence[int]) -> bytes:
        """A JSON object of some columns, with a place for each value."""
        members = (names[i].replace(b"%", b"%%") + (b':"%b"' if self.quoted[i] else b":%b") for i in columns)
        return b"{" + b",".join(members) + b"}"

    def objects(self, names: Sequence[bytes], columns: Sequence[int]) -> list[bytes] | None:
        """Every row's JSON object of some columns; None without any."""
        if not columns:
            return None
        template = self.template(names, columns)
        if len(columns) == 1:
            return list(map(template.__mod__, self.values[columns[0]]))
        return list(map(template.__mod__, zip(*(self.values[i] for i in columns), strict=True)))


def columns_of(plan: TablePlan, lines: Sequence[bytes], in_front: int) -> Columns | None:
    """The columns of COPY lines with `in_front` fields before the table's. None: go row by row."""
    width = in_front + len(plan.names)
    text = b"".join(lines)
    fields = text.replace(b"\n", b"\t").split(b"\t")
    fields.pop()
    if len(fields) != width * len(lines) or not plan.names:
        return None
    nulls = escapes = 0
    if b"\\" in text:
        nulls = fields.count(_NULL)
        escapes = text.count(b"\\") - nulls
    if escapes:
        if _NULL_AS_TEXT in fields:
            return None  # behind its escape it would look like NULL
        fields = [
            field if field == _NULL or b"\\" not in field else _ESCAPE.sub(_unescape, field)
            for field in fields
        ]
    plain = not escapes and _is_plain(text)
    converters = dict(plan.conversions)
    front = [fields[index::width] for index in range(in_front)]
    values: list[Sequence[bytes]] = []
    quoted: list[bool] = []
    try:
        for index in range(len(plan.names)):
            column = fields[in_front + index :: width]
            convert = converters.get(index)
            if nulls and _NULL in column:
                made = [b"null" if v == _NULL else v if convert is None else convert(v) for v in column]
                values.append(made)
                quoted.append(False)
            elif convert is None or (plain and convert is json_text):
                values.append(column)
                quoted.append(convert is not None)
            else:
                bare, texts = converted(convert, column)
                values.append(texts)
                quoted.append(bare)
    except ConversionError:
        return None
    return Columns(front, values, quoted)


def _is_plain(text: bytes) -> bool:
    """Does no text in these lines need more than quotes?"""
    if len(text.translate(None, _SPECIAL)) != len(text):
        return False
    if text.isascii():
        return True
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def columns_of_rows(plan: TablePlan, rows: Sequence[Sequence[Any]]) -> Columns | None:
    """The columns of driver rows. None: go row by row."""
    converters: dict[int, Callable[[Any], bytes]] = dict(plan.conversions)
    values: list[Sequence[bytes]] = []
    try:
        for index, column in enumerate(zip(*rows, strict=True)):
            convert = converters.get(index)
            if convert is None:
                values.append(())  # left out
                continue
            values.append([b"null" if value is None else convert(value) for value in column])
    except ConversionError:
        return None
    return Columns([], values, [False] * len(values)) if values else None


def _unescape(match: re.Match[bytes]) -> bytes:
    return _ESCAPES.get(match[1], match[1])
