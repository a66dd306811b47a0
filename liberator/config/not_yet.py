"""Keys and values that liberator's configuration will have and this version does not.

They are refused by name, so that nobody mistakes one for a typing error. A part that arrives takes its line out.
"""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from liberator.config.document import Document, KeyPath
from liberator.errors import ConfigError


class NotYet(NamedTuple):
    """path: of the key. value: glob of the values that are meant; None: any. instead: what can be done now. whole: the keys
    beside it belong to it."""

    path: tuple[str, ...]
    value: str | None
    instead: str
    whole: bool = False


_FUNCTIONS = "call it with python, http, openfaas, aws_lambda, command or table"
NOT_YET_IN_SINKS = (NotYet(("function", "steps"), None, _FUNCTIONS),)


def take_out(document: Document) -> Iterator[tuple[KeyPath, ConfigError]]:
    """Remove what this version does not have from `document`, and yield a fault for each use of it."""
    for entry in NOT_YET_IN_SINKS if document.data.get("connector") == "sink" else ():
        for path, section in _sections(document, entry.path[:-1]):
            key = entry.path[-1]
            if key not in section:
                continue
            value = section[key]
            if entry.value is not None and not (isinstance(value, str) and fnmatchcase(value, entry.value)):
                continue
            if entry.whole:
                section.clear()
            else:
                del section[key]
            if _uses(value):
                named = ".".join(entry.path) + (f": {entry.value}" if entry.value else "")
                what = f"{named} is not supported by this version"
                yield (*path, key), document.fault((*path, key), "not_supported", what, entry.instead)


def _sections(document: Document, path: tuple[str, ...]) -> Iterator[tuple[KeyPath, dict[str, Any]]]:
    """The mapping at `path`, or those of the list there."""
    found = document.get(path)
    if isinstance(found, dict):
        yield path, found
    elif isinstance(found, list):
        for index, item in enumerate(found):
            if isinstance(item, dict):
                yield (*path, index), item


def _uses(value: Any) -> bool:
    return value not in (None, [], {})
