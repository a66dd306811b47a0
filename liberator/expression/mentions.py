"""Which members of a variable an expression looks at, so that no more of a row need be made ready than those.

It reads tokens, not the grammar: the answer may name a member too many (one of a macro's own variable with the same name),
never one too few.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_RAW = r"(?:[rR][bB]?|[bB][rR])(?:'''.*?'''|\"\"\".*?\"\"\"|'[^'\n]*'|\"[^\"\n]*\")"
_PLAIN = r"[bB]?(?:'''(?:\\.|.)*?'''|\"\"\"(?:\\.|.)*?\"\"\"|'(?:\\.|[^'\n\\])*'|\"(?:\\.|[^\"\n\\])*\")"
_TOKEN = re.compile(
    rf"(?P<skip>\s+|//[^\n]*)|(?P<string>{_RAW}|{_PLAIN})|(?P<name>[A-Za-z_][A-Za-z0-9_]*)|(?P<quoted>`[^`\n]*`)"
    r"|(?P<number>[0-9][A-Za-z0-9_]*(?:\.[0-9]+)?)|(?P<other>.)",
    re.DOTALL,
)
_SIMPLE = re.compile(r"""(?P<q>['"])(?P<text>[^'"\\\n]*)(?P=q)""")


class _Token(NamedTuple):
    kind: str
    text: str


_END = _Token("end", "")


def mentions(text: str, variable: str) -> frozenset[str] | None:
    """Members of `variable` that a valid expression can look at; None: any of them."""
    tokens = [_Token(str(m.lastgroup), m[0]) for m in _TOKEN.finditer(text) if m.lastgroup != "skip"]
    tokens += [_END] * 4
    found: set[str] = set()
    for index, token in enumerate(tokens):
        if token != ("name", variable) or _is_member(tokens, index):
            continue
        member = _member(tokens[index + 1 : index + 4])
        if member is None:
            return None
        found.add(member)
    return frozenset(found)


def _is_member(tokens: list[_Token], index: int) -> bool:
    """Does something stand before the dot that the token at `index` is a member of? ``.name`` is a variable, too."""
    if index < 2 or tokens[index - 1].text != ".":
        return False
    before = tokens[index - 2]
    return before.kind in ("name", "quoted", "string", "number") or before.text in (")", "]", "}")


def _member(after: list[_Token]) -> str | None:
    """``.name``, ``.`name` `` or ``["name"]``; None: anything else."""
    first, second, third = after
    if first.text == "." and third.text != "(":
        if second.kind == "name":
            return second.text
        if second.kind == "quoted":
            return second.text[1:-1]
    if first.text == "[" and third.text == "]" and (simple := _SIMPLE.fullmatch(second.text)):
        return simple["text"]
    return None
