"""Which tables the configuration means. A partition is meant when it or a table above it is, unless it is excluded."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

from liberator.errors import PreconditionError

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

    def notes(self, there: Collection[tuple[str, str]]) -> list[str]:
        """To be warned of: the globs that no table of `there` (schema, table) matches, often a mistake in a name."""
        return [
            f"{glob} of source.tables matches no table (yet)"
            for glob, matches in self.globs.items()
            if not any(matches(*table) for table in there)
        ]


def require_named(
    there: Collection[tuple[str, str]], exact: Mapping[str, tuple[str, str]], unless: str = ""
) -> None:
    """Refuse when a table that the configuration names literally is not `there` (schema, table).

    exact: what was written -> (schema, table). unless: why one that exists may be left out. Raises `PreconditionError`.
    """
    for written, table in exact.items():
        if table not in there:
            raise PreconditionError(
                f"table {written} does not exist in this database{unless}",
                code="source.table_missing",
                where="source.tables",
                fix="correct the name, or take it out of source.tables",
            )
