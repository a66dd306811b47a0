"""The same verdicts from the reference implementation, `jsonschema`, for whoever wants a second opinion.

Enters: a contract. Leaves: an unmodified ``Draft202012Validator`` and the reader whose values it should be given.
Called by tests and by users; never by the stream: `jsonschema` matches patterns with `re`, which a hostile one can
stall, and is some hundred times slower.

Two things are said to it in its own words: patterns are spelled so that Python's `re` reads them as ECMA-262 does,
and numbers are read exactly (`Fraction`), because 19.99 divided by 0.01 is no whole number in binary floats.
"""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

import jsonschema

from liberator.contract.document import Document, Schema, walk
from liberator.contract.pattern import python_spelling


def reference(schema: Schema) -> jsonschema.Draft202012Validator:
    """The reference validator for a contract; give it what `read_exactly` returns."""
    spelled = Document(schema).schema
    for _, here in walk(spelled):
        if isinstance(here, dict):
            if "pattern" in here:
                here["pattern"] = python_spelling(here["pattern"])
            if "patternProperties" in here:
                renamed = {python_spelling(text): inner for text, inner in here["patternProperties"].items()}
                here["patternProperties"] = renamed
    return jsonschema.Draft202012Validator(read_exactly(json.dumps(spelled)))


def read_exactly(text: str | bytes) -> Any:
    """JSON as values: numbers as `int` where they are whole, else as `Fraction`."""
    return json.loads(text, parse_float=_number)


def _number(text: str) -> int | Fraction:
    number = Fraction(text)
    return int(number) if number.denominator == 1 else number
