r"""Which regular expressions a contract may hold: those that every engine reads alike and none can stall on.

Enters: the text of a ``pattern`` or of a ``patternProperties`` key. Leaves: nothing, a `NotPortable`, or the same
expression as Python's `re`, or Rust's `regex`, must spell it. Called when a contract is loaded; never matches
anything itself.

The subset is what ECMA-262 (the standard JSON Schema names), Python's `re` and linear-time automata share:
literals, ``.``, classes with ranges, ``\d \w \s`` and their complements, groups, alternation, ``* + ? {m,n}``
(also lazy), ``^`` and ``$``. It is read as ECMA-262 reads it: ``\d`` is ``[0-9]``, ``\w`` is ``[0-9A-Za-z_]`` and
``$`` is the end of the text, not the place before a last line feed. ``.`` is anything but a line feed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

Ranges = tuple[tuple[int, int], ...]

_DIGIT: Ranges = ((0x30, 0x39),)
_WORD: Ranges = ((0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A))
_SPACE: Ranges = (
    (0x09, 0x0D),
    (0x20, 0x20),
    (0xA0, 0xA0),
    (0x1680, 0x1680),
    (0x2000, 0x200A),
    (0x2028, 0x2029),
    (0x202F, 0x202F),
    (0x205F, 0x205F),
    (0x3000, 0x3000),
    (0xFEFF, 0xFEFF),
)
_LAST = 0x10FFFF

_QUANTIFIER = re.compile(r"(?:[*+?]|\{(\d{1,9})(?:(,)(\d{1,9})?)?\})\??")
_ESCAPED = re.compile(r"\\(?:x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|([tnrfv])|([!-/:;=?@\[-`{-~ ]))")
_GROUPS = {
    "(?=": "look-ahead",
    "(?!": "look-ahead",
    "(?<=": "look-behind",
    "(?<!": "look-behind",
    "(?<": "a named group",
    "(?P": "a named group",
    "(?>": "an atomic group",
    "(?#": "a comment",
    "(?": "an inline flag",
}
_CONTROL = {"t": "\t", "n": "\n", "r": "\r", "f": "\f", "v": "\v"}


class NotPortable(ValueError):
    """The expression is outside the portable subset. The message says what is, and where in the text."""


def check(pattern: str) -> None:
    """Raise `NotPortable` unless every engine reads `pattern` alike."""
    for _ in _tokens(pattern):
        pass


def python_spelling(pattern: str) -> str:
    """The same expression for Python's `re.search`, whose own ``\\d``, ``\\w``, ``\\s`` and ``$`` mean more."""
    return "".join(_tokens(pattern))


def portable_spelling(pattern: str) -> str:
    """The same expression for Rust's `regex`, which has another word for the end, and no other difference."""
    return "".join(r"\z" if token == r"\Z" else token for token in _tokens(pattern))


def _tokens(pattern: str) -> Iterator[str]:
    """The expression piece by piece, each as Python must spell it; raises at the first one that is not portable."""
    at, depth, repeatable = 0, 0, False
    while at < len(pattern):
        char = pattern[at]
        if char in "*+?{":
            if not repeatable:
                raise NotPortable(f"{char!r} at {at} repeats nothing; escape it if it stands for itself")
            width = _quantifier(pattern, at)
            yield pattern[at : at + width]
            at, repeatable = at + width, False
        elif char == "(":
            opening = _group(pattern, at)
            yield opening
            at, depth, repeatable = at + len(opening), depth + 1, False
        elif char == ")":
            if not depth:
                raise NotPortable(f"')' at {at} closes nothing")
            yield char
            at, depth, repeatable = at + 1, depth - 1, True
        elif char in "|^$":
            yield r"\Z" if char == "$" else char
            at, repeatable = at + 1, False
        elif char == "[":
            text, at = _class(pattern, at)
            yield text
            repeatable = True
        elif char == "\\":
            text, at = _escape(pattern, at)
            yield text
            repeatable = True
        elif char in "]}":
            raise NotPortable(f"{char!r} at {at} closes nothing; escape it if it stands for itself")
        else:
            yield "[^\\n]" if char == "." else re.escape(char)
            at, repeatable = at + 1, True
    if depth:
        raise NotPortable("a group is not closed")


def _quantifier(pattern: str, at: int) -> int:
    """The width of the quantifier at `at`."""
    found = _QUANTIFIER.match(pattern, at)
    if not found:
        raise NotPortable(f"'{{' at {at} begins no {{m,n}}; escape it if it stands for itself")
    low, _, high = found.groups()
    if high is not None and int(low) > int(high):
        raise NotPortable(f"the repetition at {at} has its bounds in the wrong order")
    return found.end() - at


def _group(pattern: str, at: int) -> str:
    """The opening of the group at `at`: ``(`` or ``(?:``."""
    if pattern.startswith("(?:", at):
        return "(?:"
    for opening, name in _GROUPS.items():
        if pattern.startswith(opening, at):
            raise NotPortable(f"{name} at {at}: only plain groups are understood by every engine")
    return "("


def _escape(pattern: str, at: int) -> tuple[str, int]:
    """The escape at `at` outside a class, and where the text goes on."""
    ranges = _shorthand(pattern, at)
    if ranges is not None:
        return f"[{_spell(ranges)}]", at + 2
    code, after = _character(pattern, at)
    return re.escape(chr(code)), after


def _class(pattern: str, at: int) -> tuple[str, int]:
    """The bracketed class at `at`, and where the text goes on."""
    start = at
    at += 1
    negated = pattern.startswith("^", at)
    at += negated
    ranges: list[tuple[int, int]] = []
    first = at
    while not pattern.startswith("]", at):
        if at >= len(pattern):
            raise NotPortable(f"the class at {start} is not closed")
        if pattern[at : at + 2] in ("&&", "||", "~~", "--"):
            raise NotPortable(
                f"{pattern[at : at + 2]!r} at {at} is a set operation to some engines; escape it"
            )
        shorthand = _shorthand(pattern, at)
        if shorthand is not None:
            ranges.extend(shorthand)
            at += 2
            if _begins_range(pattern, at):
                raise NotPortable(f"the range at {at} begins with a class")
            continue
        if pattern[at] == "-" and at != first and not pattern.startswith("-]", at):
            raise NotPortable(f"'-' at {at} is neither first nor last in its class; escape it")
        low, at = _member(pattern, at)
        high = low
        if _begins_range(pattern, at):
            high, at = _member(pattern, at + 1)
        if high < low:
            raise NotPortable(f"the range before {at} has its ends in the wrong order")
        ranges.append((low, high))
    if at == first:
        raise NotPortable(f"the class at {start} is empty; escape ']' if it stands for itself")
    return f"[{'^' if negated else ''}{_spell(tuple(ranges))}]", at + 1


def _begins_range(pattern: str, at: int) -> bool:
    return pattern.startswith("-", at) and not pattern.startswith("-]", at)


def _member(pattern: str, at: int) -> tuple[int, int]:
    """One character of a class as code point, and where the text goes on."""
    char = pattern[at : at + 1]
    if char == "[":
        raise NotPortable(f"'[' at {at} opens a nested class to some engines; escape it")
    if char == "\\":
        if _shorthand(pattern, at) is not None:
            raise NotPortable(f"the range before {at} ends with a class")
        return _character(pattern, at)
    if not char:
        raise NotPortable("a class is not closed")
    return ord(char), at + 1


def _shorthand(pattern: str, at: int) -> Ranges | None:
    """What ``\\d``, ``\\w``, ``\\s`` or a complement at `at` stands for."""
    if not pattern.startswith("\\", at):
        return None
    letter = pattern[at + 1 : at + 2]
    ranges = {"d": _DIGIT, "w": _WORD, "s": _SPACE}.get(letter.lower())
    return _complement(ranges) if ranges and letter.isupper() else ranges


def _character(pattern: str, at: int) -> tuple[int, int]:
    """The code point that the escape at `at` stands for, and where the text goes on."""
    found = _ESCAPED.match(pattern, at)
    if not found:
        letter = pattern[at + 1 : at + 2]
        name = "a back reference" if letter.isdigit() or letter == "k" else f"the escape '\\{letter}'"
        raise NotPortable(f"{name} at {at} is not understood by every engine")
    two, four, control, plain = found.groups()
    code = int(two or four, 16) if two or four else ord(_CONTROL[control] if control else plain)
    if 0xD800 <= code <= 0xDFFF:
        raise NotPortable(f"half of a surrogate pair at {at}; write the character itself")
    return code, found.end()


def _complement(ranges: Ranges) -> Ranges:
    lows = (0, *(high + 1 for _, high in ranges))
    highs = (*(low - 1 for low, _ in ranges), _LAST)
    return tuple((low, high) for low, high in zip(lows, highs, strict=True) if low <= high)


def _spell(ranges: Ranges) -> str:
    return "".join(f"\\U{low:08x}-\\U{high:08x}" for low, high in ranges)
