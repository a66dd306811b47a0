"""A contract as a part of a larger schema, as a registry wants the schema of a whole event.

Enters: a contract and the place it gets. Leaves: the same contract with references that hold there. No I/O.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, unquote

from liberator.contract.document import Document, Pointer, pointer_text, walk


def embedded(contract: dict[str, Any], place: Pointer) -> dict[str, Any]:
    """`contract` for the `place` of another schema: its references lead to where its definitions are then."""
    moved = Document(contract).schema
    assert isinstance(moved, dict), "a contract is an object"
    moved.pop("$schema", None)
    for _, here in list(walk(moved)):
        if isinstance(here, dict) and "$ref" in here:
            pointer = pointer_text(place) + unquote(here["$ref"][1:])
            here["$ref"] = "#" + quote(pointer, safe="/~$")  # some readers know "$defs" by its letters only
    return moved
