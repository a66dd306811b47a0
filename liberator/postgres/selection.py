"""Which tables the configuration means. A partition is meant when it or a table above it is, unless it is excluded."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

Match = Callable[[str, str], bool]
"""(schema, table) -> does a pattern match?"""


@dataclass(frozen=True, slots=True)
class Selection:
    """The tables of `included` without those of `excluded`."""

    included: Match = lambda schema, table: True
    excluded: Match = lambda schema, table: False

    def wants(self, schema: str, table: str, ancestors: Iterable[tuple[str, str]] = ()) -> bool:
        """Is this table captured? ancestors: the partitioned tables above it."""
        if self.excluded(schema, table):
            return False
        return self.included(schema, table) or any(self.included(*above) for above in ancestors)
