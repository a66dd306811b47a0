"""What a table as it is now means for its stored contract: what breaks, and what the next version would be.

Enters: the stored versions, the contract that was derived from the table as it is now, and what its columns' types
guarantee. Leaves: breaks, or a next version. Called by the commands about schemas, and by the plan when a table changes
while its rows flow. It sees no row, and writes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from liberator.contract.checks import Known, column_check
from liberator.contract.compatibility import Mode, compatible_with
from liberator.contract.derive import nullable
from liberator.contract.document import Document, Pointer, Schema, pointer_text
from liberator.contract.gate import ColumnFacts, compile_gate
from liberator.contract.proof import Rooted, follows, parts_of, types_of
from liberator.contract.shape import shape

Contract = dict[str, Any]

_DERIVED = "x-key"
"""What a derived contract has and one that was written by hand from the start has not."""


@dataclass(frozen=True, slots=True)
class Break:
    """What the table as it is now breaks.

    field: JSON Pointer into the row. rule: of the contract (`required`, `type`), of compatibility (`type-narrowed`), or
    `consumer`. consumers: those that the contract says read the field.
    """

    field: str
    rule: str
    message: str
    consumers: tuple[str, ...]


def breaks(
    versions: Mapping[int, Contract], derived: Contract, columns: Sequence[ColumnFacts], mode: Mode
) -> list[Break]:
    """What is broken between the stored versions (at least one) and the table.

    First what no row of the table can keep of the newest version; then what its next version would break of `mode`;
    then what a consumer reads that is gone.
    """
    held = versions[max(versions)]
    reading = _reading(held)
    found: dict[str, Break] = {}

    def note(field: str, rule: str, message: str) -> None:
        first = field.split("/")[1].replace("~1", "/").replace("~0", "~") if field else ""
        found.setdefault(field, Break(field, rule, message, tuple(reading.get(first, ()))))

    for field, rule, message in _refused(held, columns):
        note(field, rule, message)
    for each in compatible_with(versions, successor(held, derived), mode, rows=True):
        towards = "" if each.version == max(versions) else f" (version {each.version})"
        note(each.path, each.rule, each.message + towards)
    names = {column.name for column in columns}
    for name, consumers in reading.items():
        if name not in names:
            note(
                pointer_text((name,)),
                "consumer",
                f"the table has no column that {', '.join(consumers)} reads",
            )
    return list(found.values())


def successor(held: Contract, derived: Contract) -> Contract:
    """The version that follows `held` for the table that `derived` was made from.

    What was written by hand is kept where a value of the column can still keep it. A column that is new is named but not
    required, because older events lack it; one that is gone is no longer named. `held` itself when nothing is to change.
    """
    live = derived["properties"]
    kept = {
        name: _column(Rooted(held, schema), Rooted(derived, live[name]))
        for name, schema in held.get("properties", {}).items()
        if name in live
    }
    if _DERIVED in held or held.get("additionalProperties") is False:
        kept |= {name: schema for name, schema in live.items() if name not in kept}
    following = {**held, "properties": kept}
    if "required" in held:
        following["required"] = [name for name in held["required"] if name in live]
    if _DERIVED in held:
        following[_DERIVED] = derived[_DERIVED]
    definitions = {**held.get("$defs", {}), **derived.get("$defs", {})}
    following["$defs"] = _used(following, definitions, held.get("$defs", {}))
    return (
        following if following["$defs"] else {word: following[word] for word in following if word != "$defs"}
    )


def describes(held: Contract, derived: Contract) -> bool:
    """Was `held` made for a table of this shape? derived: from that shape.

    One that was derived once, and perhaps made stricter since, says for which columns, types and key. One that was written
    from scratch speaks of what it names.
    """
    named, live = held.get("properties", {}), derived["properties"]
    if _DERIVED in held and (named.keys() != live.keys() or list(held[_DERIVED]) != derived[_DERIVED]):
        return False
    if held.get("additionalProperties") is False and not live.keys() <= named.keys():
        return False
    if not live.keys() >= set(held.get("required", ())):
        return False
    return all(
        _of_this_type(Rooted(held, schema), Rooted(derived, live[name]))
        for name, schema in named.items()
        if name in live
    )


def _of_this_type(held: Rooted, live: Rooted) -> bool:
    was, now = held.schema, live.schema
    if not isinstance(was, bool) and not isinstance(now, bool) and "x-pg-type" in was:
        return bool(was["x-pg-type"] == now.get("x-pg-type"))
    return _column(held, live) == was


def is_derived(held: Contract) -> bool:
    """Was it derived from a table once, so that it says which shape it is for?"""
    return _DERIVED in held


def objections(
    versions: Mapping[int, Contract],
    following: Contract,
    derived: Contract,
    columns: Sequence[ColumnFacts],
    mode: Mode,
) -> list[str]:
    """What speaks against `following` as the next version: what it breaks of `mode`, and what a consumer reads that is gone
    or has become something else."""
    found = [str(each) for each in compatible_with(versions, following, mode, rows=True)]
    return found + [
        f"{each.field}: {each.message}"
        for each in breaks(versions, derived, columns, "none")
        if each.rule == "consumer" or each.consumers
    ]


def allows_null(schema: Schema, held: Contract) -> bool:
    """May a value of this schema, a part of `held`, be null?"""
    return "null" in types_of(Rooted(held, schema))


def _column(held: Rooted, live: Rooted) -> Schema:
    """The next schema of a column that is named already."""
    was, now = held.schema, live.schema
    if isinstance(was, bool) or isinstance(now, bool):
        return was
    noted = {**was, **{word: now[word] for word in was if word.startswith("x-pg-") and word in now}}
    retyped = was.get("x-pg-type") != noted.get("x-pg-type")
    if follows(held, live):
        return noted
    lost_not_null = "x-pg-type" in was and _text(nullable(was)) == _text(now)
    if retyped or lost_not_null or not _meet(held, live):
        return now
    return noted


def _meet(held: Rooted, live: Rooted) -> bool:
    """Is there a type, other than null, that both allow?"""
    return bool((types_of(held) & types_of(live)) - {"null"})


def _used(schema: Contract, definitions: Contract, held: Contract) -> Contract:
    """The definitions that are needed, and those that were there."""
    names, text = set(held), _text({**schema, "$defs": {}})
    while more := {name for name in definitions if name not in names and f'"#/$defs/{_step(name)}' in text}:
        names |= more
        text = _text([definitions[name] for name in more])
    return {name: definitions[name] for name in definitions if name in names}


def _step(name: str) -> str:
    return pointer_text((name,))[1:]


def _refused(held: Contract, columns: Sequence[ColumnFacts]) -> list[tuple[str, str, str]]:
    """Why no row of the table can keep `held`: field, rule and words."""
    document = Document(held)
    names = {column.name for column in columns}
    found = [
        (pointer_text((name,)), "required", "the contract requires it, and the table has no such column")
        for part in parts_of(Rooted(document.schema, document.schema))
        for name in part.get("required", ())
        if name not in names
    ]
    places = shape(document, sorted(names)).columns
    found += [each for column in columns for each in _nothing_fits(document, places[column.name], column)]
    impossible = compile_gate(held, columns).impossible
    if impossible is not None and not found:
        found.append((impossible.path, impossible.rule, impossible.message))
    return found


def _nothing_fits(
    document: Document, places: Sequence[Pointer], column: ColumnFacts
) -> Iterator[tuple[str, str, str]]:
    """Why no value of a column, other than null, can keep what the contract asks of it."""
    asked = [document.at(place) for place in places]
    known = Known(Rooted(dict(column.guaranteed), dict(column.guaranteed)), column.nullable)
    if False in asked:
        rule = str(places[asked.index(False)][-1])
        message = "the contract does not allow the column"
        yield pointer_text((column.name,)), "properties" if rule == column.name else rule, message
    elif asked and (
        not _meet(Rooted(document.schema, {"allOf": asked}), known.given)
        or column_check(document, places, known) is False
    ):
        message = f"the contract allows no value of the column ({', '.join(sorted(known.types))})"
        yield pointer_text((column.name,)), "type", message


def readers(held: Contract) -> tuple[str, ...]:
    """The consumers that the contract names, as ``x-consumers`` says."""
    named = held.get("x-consumers")
    return tuple(named) if isinstance(named, dict) else ()


def _reading(held: Contract) -> dict[str, list[str]]:
    """Column -> the consumers that read it."""
    reading: dict[str, list[str]] = {}
    for consumer in readers(held):
        fields = held["x-consumers"][consumer]
        for name in fields if isinstance(fields, list) else ():
            reading.setdefault(str(name), []).append(consumer)
    return reading


def _text(schema: Any) -> str:
    return json.dumps(schema, sort_keys=True)
