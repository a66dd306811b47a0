"""How a row breaks its contract, in words that hold nothing of the row.

Enters: the errors of the run-time validator. Leaves: one `Violation`. Called by the gate after a row was refused.
It never repeats a value: a message is made of the contract's own words, and a name inside a nested document is
shown only when the contract names it too.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from liberator.contract.document import URI, Pointer, Schema, pointer_text

ORIGIN = "x-liberator-origin"
"""Annotation in a schema that was made from a contract: the place in the contract that it was made from."""


@dataclass(frozen=True, slots=True)
class Violation:
    """What is wrong and where.

    path: JSON Pointer into the row (``/status``; ``*`` stands for a name that only the row knows).
    rule: the keyword. schema_path: JSON Pointer into the contract. message: without any value of the row.
    """

    path: str
    rule: str
    schema_path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path or 'the row'}: {self.message} ({self.rule}, at {self.schema_path or 'the root'})"


UNREADABLE = Violation("", "json", "", "cannot be read: it is not UTF-8, or nested too deeply")


def from_errors(errors: Iterable[Any], schema: Schema) -> Violation | None:
    """The most telling of the errors that judging by `schema` gave; None: there are none."""
    found = list(errors)
    if not found:
        return None
    error = _innermost(min(found, key=lambda each: each.kind.name in _COMBINED))
    at = _place(error, schema)
    words = frozenset(str(step) for step in at)
    path = tuple(
        step if index == 0 or isinstance(step, int) or step in words else "*"
        for index, step in enumerate(error.instance_path)
    )
    rule = "false" if error.kind.name == _FALSE else error.kind.name
    return Violation(pointer_text(path), rule, pointer_text(at), _message(error.kind))


_COMBINED = frozenset({"anyOf", "oneOf", "not"})
_FALSE = "falseSchema"


def _innermost(error: Any) -> Any:
    """The error inside the only branch of an ``anyOf`` or ``oneOf`` that is meant for a value of this type."""
    context = getattr(error.kind, "context", None) or []
    branches = [
        branch
        for branch in context
        if branch
        and not any(each.kind.name == "type" and each.instance_path == error.instance_path for each in branch)
    ]
    return _innermost(branches[0][0]) if len(branches) == 1 else error


def _place(error: Any, schema: Schema) -> Pointer:
    """Where the broken rule stands in the contract."""
    if (error.absolute_keyword_location or "").startswith(URI):
        return tuple(error.schema_path)
    here: Any = schema
    origin: Pointer = ()
    for step in error.schema_path:
        if isinstance(here, dict):
            origin = here.get(ORIGIN, origin)
        here = here[step]
    return (*origin, *error.schema_path[-1:])


_MESSAGES = {
    "type": "is not of the type that the contract names ({types})",
    "enum": "is none of the {count} values that the contract lists",
    "const": "is not the value that the contract names",
    "minimum": "is less than {limit}",
    "maximum": "is greater than {limit}",
    "exclusiveMinimum": "is not greater than {limit}",
    "exclusiveMaximum": "is not less than {limit}",
    "multipleOf": "is not a multiple of {multiple_of}",
    "minLength": "is shorter than {limit}",
    "maxLength": "is longer than {limit}",
    "pattern": "does not match the pattern {pattern}",
    "required": "lacks {property}",
    "minItems": "has fewer than {limit} elements",
    "maxItems": "has more than {limit} elements",
    "uniqueItems": "has the same element twice",
    "additionalProperties": "has a member that the contract does not allow",
    "anyOf": "fits none of the alternatives",
    _FALSE: "is not allowed at all",
}


def _message(kind: Any) -> str:
    """The rule in words, with the contract's operands."""
    operands = kind.as_dict()
    operands["count"] = len(operands.get("options", ()))
    operands["types"] = ", ".join(map(str, operands.get("types", ())))
    return _MESSAGES.get(kind.name, "breaks the rule {rule}").format(rule=kind.name, **operands)
