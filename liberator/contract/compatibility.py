"""May a new version of a contract follow the old one? A rule set of our own for JSON Schema 2020-12.

Enters: two contracts and a mode. Leaves: the incompatibilities, each with its rule, the place in the value and words
for people; none means that every value of the one version is a value of the other. Called by the commands about
schemas and by whoever writes a next version. It never looks at a row, and never fetches anything.

It errs on one side only: what it cannot decide, it reports (`too-complex`, `pattern-changed`, `unknown-keyword`).
"Backward" is: whatever the old version allows, the new one allows too. "Forward" is the same with the two swapped,
so there is one comparison, of a goal with what is given. The rules stand in docs/reference/compatibility.md.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from liberator.contract.compatibility_words import allowance, rule_of
from liberator.contract.document import Document, Pointer, Schema, pointer_text, validator, walk
from liberator.contract.proof import (
    JUDGES,
    NUMBERS,
    TOGETHER,
    Attempt,
    Case,
    Part,
    Rooted,
    cases,
    follow,
    follows,
    given_for,
    parts_of,
    type_of,
    types_of,
)

Mode = Literal[
    "backward", "backward_transitive", "forward", "forward_transitive", "full", "full_transitive", "none"
]
Direction = Literal["backward", "forward"]
MODES: tuple[Mode, ...] = get_args(Mode)

_DIRECTIONS: dict[str, tuple[Direction, ...]] = {
    "backward": ("backward",),
    "forward": ("forward",),
    "full": ("backward", "forward"),
    "none": (),
}
_MOST_COMPARISONS = 20_000
_ANNOTATIONS = frozenset(
    {
        *("$anchor", "$comment", "$defs", "$id", "$schema", "definitions"),
        *("default", "deprecated", "description", "examples", "readOnly", "title", "writeOnly"),
        *("contentEncoding", "contentMediaType", "contentSchema", "format"),
        *("$ref", "allOf", "then", "else", "minContains", "maxContains"),
    }
)
"""Keywords that no rule needs to look at: hints, and those that others look at."""

_IDLE = _ANNOTATIONS - {"$ref", "allOf"}
_SAME_ROW = ("allOf", "anyOf", "oneOf")
_SAME_ROW_ONE = ("if", "then", "else", "not")


@dataclass(frozen=True, slots=True)
class Incompatibility:
    """Why one version may not follow another.

    rule: its id in docs/reference/compatibility.md. path: JSON Pointer of the value (``*`` stands for all elements, or
    for all members without a name of their own). direction: which promise is broken. version: of the contract that it
    is broken towards, where versions are known.
    """

    rule: str
    path: str
    message: str
    direction: Direction
    version: int | None = None

    def __str__(self) -> str:
        towards = "" if self.version is None else f" towards version {self.version}"
        return f"{self.path or 'the row'}: {self.message} ({self.rule}, {self.direction}{towards})"


def compatible(
    old: Schema, new: Schema, mode: Mode, *, rows: bool = False, version: int | None = None
) -> list[Incompatibility]:
    """What keeps `new` from following `old`; empty: nothing. Raises `ContractError` for what is no contract.

    rows: the values are rows that were published under these contracts, so they have no members but those that their
    contract names. Without it, members without a name may hold anything where the schema leaves that open, and every
    property that is added is one that may have been there with another value. version: of `old`, for the answers.
    """
    found: list[Incompatibility] = []
    for direction in _DIRECTIONS[mode.removesuffix("_transitive")]:
        schemas = old, new
        names = "old", "new"
        forward = direction == "forward"
        comparison = _Comparison(schemas[not forward], schemas[forward], names[forward], names[not forward])
        comparison.run(rows)
        found += [
            Incompatibility(rule, path, message, direction, version)
            for rule, path, message in comparison.found
        ]
    return found


def compatible_with(
    versions: Mapping[int, Schema], new: Schema, mode: Mode, *, rows: bool = False
) -> list[Incompatibility]:
    """The same towards the newest of `versions`, or with a transitive mode towards all of them."""
    numbers = sorted(versions) if mode.endswith("_transitive") else sorted(versions)[-1:]
    return [
        each
        for number in numbers
        for each in compatible(versions[number], new, mode, rows=rows, version=number)
    ]


class _Comparison:
    """Does every value of `given` satisfy `goal`? `found` is why not: rule, path and words."""

    def __init__(self, goal: Schema, given: Schema, given_name: str, goal_name: str) -> None:
        self.found: dict[tuple[str, str, str], None] = {}
        self._goal = Document(goal, f"the {goal_name} version").schema
        self._given = Document(given, f"the {given_name} version").schema
        self._names = given_name, goal_name
        self._attempt = Attempt(self._goal, frozenset())
        self._texts = {id(here): _meaning(here) for _, here in walk(self._given)}
        self._joined: dict[tuple[int, ...], Schema] = {}
        self._running: set[tuple[int, int]] = set()
        self._passed: set[tuple[int, int]] = set()
        self._left = _MOST_COMPARISONS
        _open_one_of(self._given)

    def run(self, rows: bool) -> None:
        if _meaning(self._goal) != self._texts[id(self._given)]:
            self._compare(self._goal, _only_named(self._given) if rows else self._given, ())

    def _compare(self, goal: Schema, given: Schema, at: Pointer) -> None:
        if goal is True or self._same(goal, given) or not cases(self._rooted(given)):
            return
        if not _rules(given) or goal is False:
            if not follows(Rooted(self._goal, goal), self._rooted(given)):
                self._report("restricted" if goal else "refused", at, "any value" if goal else "a value")
            return
        pair = id(goal), id(given)
        if pair in self._running or pair in self._passed:
            return  # known, or the comparison went round a recursive schema: it holds if the rest holds
        self._left -= 1
        if self._left < 0:
            self._report("too-complex", (), "more than can be compared")
            return
        before = len(self.found)
        self._running.add(pair)
        for case in _by_type(cases(self._rooted(given))):
            for part in parts_of(Rooted(self._goal, goal), case.types):
                for word in part:
                    self._word(case, part, word, at)
        self._running.discard(pair)
        if len(self.found) == before:
            self._passed.add(pair)

    def _same(self, goal: Schema, given: Schema) -> bool:
        """Do they say the same in the same words, and do these lead to the same?"""
        if _meaning(goal) != self._text(given):
            return False
        targets: set[str] = set()
        waiting = _references(goal)
        while waiting:
            reference = waiting.pop()
            if reference not in targets:
                targets.add(reference)
                target = follow(self._goal, reference)
                if _meaning(target) != self._text(follow(self._given, reference)):
                    return False
                waiting |= _references(target)
        return True

    def _text(self, given: Schema) -> str:
        """The given as it was written."""
        return self._texts.get(id(given)) or _meaning(given)

    def _rooted(self, given: Schema) -> Rooted:
        return Rooted(self._given, given)

    def _word(self, case: Case, part: Part, word: str, at: Pointer) -> None:
        """Keyword `word` of the goal's `part`, for the values of `case`."""
        if word not in JUDGES:
            self._unknown(case, part, word, at)
        elif not JUDGES[word] & case.types:
            return
        elif word in _DESCENTS:
            _DESCENTS[word](self, case, part, at)
        elif not (self._attempt.proves(case, part, word) or self._says_the_same(case, part, word)):
            self._report(rule_of(word), at, allowance(case, part, word))

    def _says_the_same(self, case: Case, part: Part, word: str) -> bool:
        """Does the given have the keyword, and those that belong to it, in the same words? (Whatever they refer to.)"""
        family = next((words for words in TOGETHER if word in words), (word,))
        wanted = {each: part[each] for each in family if each in part}
        return not word.startswith("unevaluated") and any(
            self._same(wanted, {each: other[each] for each in family if each in other})
            for other in case.parts
            if word in other
        )

    def _unknown(self, case: Case, part: Part, word: str, at: Pointer) -> None:
        if word in _ANNOTATIONS or word.startswith("x-"):
            return
        if not any(
            _meaning(other.get(word)) == _meaning(part[word]) for other in case.parts if word in other
        ):
            self._report(
                "unknown-keyword", at, f"values that {word!r}, no keyword of JSON Schema 2020-12, may refuse"
            )

    def _properties(self, case: Case, part: Part, at: Pointer) -> None:
        for name, goal in part["properties"].items():
            self._member(case, name, goal, at)

    def _member(self, case: Case, name: str, goal: Schema, at: Pointer) -> None:
        """The member `name`, of which the goal asks `goal`."""
        given = list(given_for(case, name))
        if given:
            self._compare(goal, self._join(given), (*at, name))
        elif not follows(Rooted(self._goal, goal), self._rooted(True)):
            self._report("property-added", (*at, name), "any value here, as it does not name the member")

    def _patterns(self, case: Case, part: Part, at: Pointer) -> None:
        if self._attempt.proves(case, part, "patternProperties"):
            return
        for text, goal in part["patternProperties"].items():
            given = [each[text] for each in case.operands("patternProperties") if text in each]
            if given:
                self._compare(goal, self._join(given), (*at, "*"))
            else:
                self._report(rule_of("patternProperties"), at, allowance(case, part, "patternProperties"))

    def _required(self, case: Case, part: Part, at: Pointer) -> None:
        there = {name for names in case.operands("required") for name in names}
        for name in part["required"]:
            if name not in there:
                self._report("required-added", (*at, name), "objects without it")

    def _additional(self, case: Case, part: Part, at: Pointer) -> None:
        if self._attempt.proves(case, part, "additionalProperties"):
            return
        goal = part["additionalProperties"]
        for name in dict.fromkeys(name for given in case.parts for name in given.get("properties", ())):
            if not _is_named(part, name):
                self._compare(goal, self._join(list(given_for(case, name))), (*at, name))
        others = [
            given["additionalProperties"]
            for given in case.parts
            if "additionalProperties" in given and "patternProperties" not in given
        ]
        if goal is False and all(cases(self._rooted(other)) for other in others):
            self._report("content-closed", (*at, "*"), "members that it does not name")
        elif goal is not False:
            self._compare(goal, self._join(others), (*at, "*"))

    def _items(self, case: Case, part: Part, at: Pointer) -> None:
        first = len(part.get("prefixItems", ()))
        longest = max((len(prefix) for prefix in case.operands("prefixItems")), default=0)
        for index in range(first, longest):
            self._compare(part["items"], self._join(_elements(case, index)), (*at, index))
        self._compare(part["items"], self._join(case.operands("items")), (*at, "*"))

    def _prefix_items(self, case: Case, part: Part, at: Pointer) -> None:
        for index, goal in enumerate(part["prefixItems"]):
            self._compare(goal, self._join(_elements(case, index)), (*at, index))

    def _one_of(self, case: Case, part: Part, at: Pointer) -> None:
        if self._attempt.proves(case, part, "oneOf"):
            return
        fitting = [branch for branch in part["oneOf"] if types_of(Rooted(self._goal, branch)) & case.types]
        if len(fitting) != 1:
            rule = "too-complex" if fitting else "alternatives-narrowed"
            self._report(rule, at, allowance(case, part, "oneOf"))
            return
        for inner in parts_of(Rooted(self._goal, fitting[0]), case.types):
            for word in inner:
                self._word(case, inner, word, at)

    def _join(self, schemas: list[Schema]) -> Schema:
        """One schema for several that hold together: the same object whenever they are the same."""
        asked = [schema for schema in schemas if schema is not True]
        if len(asked) < 2:
            return asked[0] if asked else True
        return self._joined.setdefault(tuple(map(id, asked)), {"allOf": asked})

    def _report(self, rule: str, at: Pointer, what: str) -> None:
        given, goal = self._names
        self.found[rule, pointer_text(at), f"the {given} version allows {what}; the {goal} one does not"] = (
            None
        )


_DESCENTS = {
    "properties": _Comparison._properties,
    "patternProperties": _Comparison._patterns,
    "required": _Comparison._required,
    "additionalProperties": _Comparison._additional,
    "items": _Comparison._items,
    "prefixItems": _Comparison._prefix_items,
    "oneOf": _Comparison._one_of,
}


def _by_type(found: Iterable[Case]) -> Iterator[Case]:
    """The cases, each for values of one type: a union is compared alternative by alternative."""
    for case in found:
        kinds = case.types
        groups = [frozenset({kind}) for kind in sorted(kinds - NUMBERS)]
        groups += [kinds & NUMBERS] if kinds & NUMBERS else []
        for group in groups if len(groups) > 1 else []:
            if case.values is not None:
                narrowed: Part = {"enum": [value for value in case.values if type_of(value) in group]}
            else:
                narrowed = {"type": "number" if "fraction" in group else next(iter(group))}
            yield Case(case.root, (*case.parts, narrowed))
        if len(groups) == 1:
            yield case


def _open_one_of(given: Schema) -> None:
    """Say beside every ``oneOf`` that it is an ``anyOf`` too, which the rules can take apart."""
    for _, here in list(walk(given)):
        if isinstance(here, dict) and "oneOf" in here:
            here["allOf"] = [*here.get("allOf", ()), {"anyOf": here["oneOf"]}]


def _elements(case: Case, index: int) -> list[Schema]:
    """What is asked of the element at `index`."""
    found = []
    for part in case.parts:
        prefix = part.get("prefixItems", ())
        if index < len(prefix):
            found.append(prefix[index])
        elif "items" in part:
            found.append(part["items"])
    return found


def _is_named(part: Part, name: str) -> bool:
    """Is the member `name` none of the additional ones of `part`?"""
    return name in part.get("properties", ()) or any(
        validator({"pattern": text}).is_valid(name) for text in part.get("patternProperties", ())
    )


def _rules(schema: Schema) -> bool:
    """Does the schema ask anything?"""
    if isinstance(schema, bool):
        return not schema
    return any(word not in _IDLE and not word.startswith("x-") for word in schema)


def _only_named(given: Schema) -> Schema:
    """`given` for objects that have no members but those that it names; itself where that cannot be said."""
    names: dict[str, Schema] = {}
    waiting: list[Schema] = [given]
    seen: set[int] = set()
    while waiting:
        here = waiting.pop()
        if not isinstance(here, dict) or id(here) in seen:
            continue
        seen.add(id(here))
        if "patternProperties" in here:
            return given
        names |= dict.fromkeys((*here.get("properties", ()), *here.get("required", ())), True)
        waiting += [branch for word in _SAME_ROW for branch in here.get(word, ())]
        waiting += [here[word] for word in _SAME_ROW_ONE if word in here]
        waiting += here.get("dependentSchemas", {}).values()
        if "$ref" in here:
            waiting.append(follow(given, here["$ref"]))
    return {"allOf": [given, {"properties": names, "additionalProperties": False}]}


def _references(schema: Schema) -> set[str]:
    """All that a schema refers to."""
    return {here["$ref"] for _, here in walk(schema) if isinstance(here, dict) and "$ref" in here}


def _meaning(schema: Any) -> str:
    """Text that is equal for schemas that differ in their order only."""
    return json.dumps(schema, sort_keys=True)
