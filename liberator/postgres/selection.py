"""Which tables the configuration means. A partition is meant when it or a table above it is, unless it is excluded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

Match = Callable[[str, str], bool]
"""(schema, table) -> does a pattern match?"""


@dataclass(frozen=True, slots=True)
class Selection:
    """The tables of `included` without those of `excluded`. globs: the patterns that name none literally, as written."""

    included: Match = lambda schema, table: True
    excluded: Match = lambda schema, table: False
    globs: Mapping[str, Match] = field(default_factory=dict)

    def wants(self, schema: str, table: str, ancestors: Iterable[tuple[str, str]] = ()) -> bool:
        """Is this table captured? ancestors: the partitioned tables above it."""
        if self.excluded(schema, table):
            return False
        return self.included(schema, table) or any(self.included(*above) for above in ancestors)

    def idle_globs(self, there: Iterable[tuple[str, str]]) -> list[str]:
        """The globs that no table of `there` (schema, table) matches: often a mistake in a name."""
        tables = list(there)
        return [glob for glob, matches in self.globs.items() if not any(matches(*table) for table in tables)]
