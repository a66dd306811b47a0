"""What differs between two contracts, for people.

Enters: two contracts. Leaves: the differences, each with its place, in the order of the contracts. Called by
`liberate schema diff` and `derive`. It tells what is written differently; what that means is for `compatibility`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from liberator.contract.document import Pointer, Schema, pointer_text

Change = Literal["added", "removed", "changed"]

_MARKS: dict[Change, str] = {"added": "+", "removed": "-", "changed": "~"}
_LONGEST = 100


@dataclass(frozen=True, slots=True)
class Difference:
    """path: JSON Pointer of the value that the difference is about, or of the definition (``/$defs/...``).

    keyword: that changed; empty: the whole property was added or removed. old, new: its operands, None where there is none.
    """

    path: str
    change: Change
    keyword: str
    old: Any
    new: Any

    def __str__(self) -> str:
        return f"{_MARKS[self.change]} {self.path or 'the row'}: {self._what()}"

    def _what(self) -> str:
        if self.keyword == "required":
            return "required now" if self.new else "no longer required"
        if not self.keyword:
            return f"{self.change}, {describe(self.new if self.change == 'added' else self.old)}"
        if self.change == "changed":
            return f"{self.keyword} {_short(self.old)} -> {_short(self.new)}"
        return f"{self.keyword} {_short(self.new if self.change == 'added' else self.old)} {self.change}"


def differences(old: Schema, new: Schema) -> list[Difference]:
    """What `new` says that `old` does not, and the other way round; empty: they say the same in the same words."""
    return list(_differences(old, new, ()))


def describe(schema: Schema) -> str:
    """A schema of a value in a few words."""
    if isinstance(schema, bool):
        return "anything" if schema else "nothing"
    kinds = [schema["type"]] if isinstance(schema.get("type"), str) else list(schema.get("type", ()))
    if "anyOf" in schema:
        kinds += [describe(branch) for branch in schema["anyOf"]]
    for word in ("enum", "const", "$ref"):
        if word in schema:
            kinds.append(_short(schema[word]))
    words = " or ".join(kinds) or "anything"
    return f"{words} ({schema['x-pg-type']})" if "x-pg-type" in schema else words


def _differences(old: Schema, new: Schema, at: Pointer) -> Iterator[Difference]:
    if isinstance(old, bool) or isinstance(new, bool):
        if old != new:
            yield Difference(pointer_text(at), "changed", "schema", old, new)
        return
    for word in dict.fromkeys((*old, *new)):
        if word == "properties":
            yield from _members(old.get(word, {}), new.get(word, {}), at)
        elif word == "$defs":
            yield from _members(old.get(word, {}), new.get(word, {}), (*at, word))
        elif word == "required":
            yield from _required(old.get(word, ()), new.get(word, ()), at)
        elif word == "items" and word in old and word in new:
            yield from _differences(old[word], new[word], (*at, "*"))
        elif word not in old:
            yield Difference(pointer_text(at), "added", word, None, new[word])
        elif word not in new:
            yield Difference(pointer_text(at), "removed", word, old[word], None)
        elif not _equal(old[word], new[word]):
            yield Difference(pointer_text(at), "changed", word, old[word], new[word])


def _members(old: Mapping[str, Schema], new: Mapping[str, Schema], at: Pointer) -> Iterator[Difference]:
    for name in dict.fromkeys((*old, *new)):
        if name not in old:
            yield Difference(pointer_text((*at, name)), "added", "", None, new[name])
        elif name not in new:
            yield Difference(pointer_text((*at, name)), "removed", "", old[name], None)
        else:
            yield from _differences(old[name], new[name], (*at, name))


def _required(old: list[str], new: list[str], at: Pointer) -> Iterator[Difference]:
    for name in dict.fromkeys((*old, *new)):
        if (name in old) != (name in new):
            yield Difference(pointer_text((*at, name)), "changed", "required", name in old, name in new)


def _equal(old: Any, new: Any) -> bool:
    return json.dumps(old, sort_keys=True) == json.dumps(new, sort_keys=True)


def _short(operand: Any) -> str:
    text = json.dumps(operand, ensure_ascii=False)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
