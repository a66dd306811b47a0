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
    """path: of the key. value: glob of the values that are meant; None: any. instead: what can be done now."""

    path: tuple[str, ...]
    value: str | None
    instead: str


NOT_YET = (
    NotYet(("connector",), "sink", "this version runs source connectors"),
    NotYet(("transform",), None, "leave it out"),
    NotYet(("schema", "registry"), None, "leave it out; contracts are kept in schema.dir"),
    NotYet(("format", "envelope"), "cloudevents", "use debezium"),
    NotYet(("format", "envelope"), "flat", "use debezium"),
    NotYet(("format", "cloudevents_mode"), None, "leave it out"),
)


def take_out(document: Document) -> Iterator[tuple[KeyPath, ConfigError]]:
    """Remove what this version does not have from `document`, and yield a fault for each use of it."""
    for entry in NOT_YET:
        section = document.get(entry.path[:-1])
        key = entry.path[-1]
        if not isinstance(section, dict) or key not in section:
            continue
        value = section[key]
        if entry.value is not None and not (isinstance(value, str) and fnmatchcase(value, entry.value)):
            continue
        del section[key]
        if _uses(value):
            named = ".".join(entry.path) + (f": {entry.value}" if entry.value else "")
            what = f"{named} is not supported by this version"
            yield entry.path, document.fault(entry.path, "not_supported", what, entry.instead)


def _uses(value: Any) -> bool:
    return value not in (None, [], {})
