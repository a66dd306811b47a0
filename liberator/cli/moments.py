"""Times as people write them on a command line."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import click


def moment(option: str, given: str) -> datetime:
    """``2h`` and ``7d`` ago, or ``2026-01-31T12:00`` (UTC unless it says otherwise). Raises `click.UsageError`."""
    found = moment_or_none(given)
    if found is None:
        raise click.UsageError(
            f"{option} {given} is neither a duration as 2h nor a time as 2026-01-31T12:00",
            click.get_current_context(),
        )
    return found


def moment_or_none(given: str) -> datetime | None:
    """As `moment`; None: it is something else."""
    from pydantic_core import PydanticCustomError

    from liberator.config.values import parse_duration

    try:
        return datetime.now(timezone.utc) - timedelta(seconds=parse_duration(given))
    except PydanticCustomError:
        pass
    try:
        found = datetime.fromisoformat(given.replace("Z", "+00:00"))
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=timezone.utc)
