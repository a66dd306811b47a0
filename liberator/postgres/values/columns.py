"""Many values of one column at a time: for common types one look at all of them takes the place of one at each.

Enters: the texts of a column, none of them NULL. Leaves: the same JSON that the type's converter makes of each. Called by
executors that have whole columns at hand.
"""

from __future__ import annotations

from collections.abc import Sequence

from liberator.postgres.values import datetimes, identifiers, numbers, text
from liberator.postgres.values.rules import Bare, Converter

_BARE: dict[Converter, Bare] = {**text.BARE, **numbers.BARE, **datetimes.BARE, **identifiers.BARE}


def converted(convert: Converter, values: Sequence[bytes]) -> tuple[bool, Sequence[bytes]]:
    """(do quotes belong around them?, what each one's JSON then is). Raises `ConversionError`."""
    bare = _BARE.get(convert)
    if bare is not None and values:
        simple = bare(values)
        if simple is not None:
            return True, simple
    return False, list(map(convert, values))
