"""Places in a stream as people write them on a command line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import click

from liberator.cli.moments import moment_or_none

if TYPE_CHECKING:
    from liberator.build.places import Place

_OFFSET_OF = re.compile(r"(?:(?P<topic>[A-Za-z0-9._-]+)/)?(?P<partition>\d+):(?P<offset>\d+)")
_ENDS: tuple[Literal["earliest", "latest"], ...] = ("earliest", "latest")
PLACES = (
    "earliest, latest, a time (2h, 2026-01-31T12:00), an offset, or PARTITION:OFFSET for some, repeatable"
)


def place(name: str, given: Sequence[str]) -> Place:
    """What is meant. name: of the option. Raises `click.UsageError`."""
    words = [word for each in given for word in each.split(",") if word]
    matches = [_OFFSET_OF.fullmatch(word) for word in words]
    if words and all(matches):
        return {(it["topic"], int(it["partition"])): int(it["offset"]) for it in matches if it}
    if len(words) == 1:
        [word] = words
        for end in _ENDS:
            if word == end:
                return end
        if word.isdecimal():
            return int(word)
        if (moment := moment_or_none(word)) is not None:
            return moment
    raise click.UsageError(
        f"{name} {' '.join(given)} is no place: write {PLACES}", click.get_current_context()
    )
