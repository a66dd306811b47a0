"""Times that come again and again, written as cron does.

Enters: five fields, or six with seconds, and a time zone. Leaves: a `Schedule`, or a fault. cronsim reads them as Debian's
cron does, clock changes included.
"""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from liberator.config.values import refusal


class Schedule:
    """Made by `schedule`."""

    def __init__(self, cron: str, zone: ZoneInfo) -> None:
        self._cron, self._zone = cron, zone

    def following(self, after: float) -> float:
        """The next time after one, both Unix seconds."""
        return next(CronSim(self._cron, datetime.fromtimestamp(after, self._zone))).timestamp()


def schedule(cron: str, timezone: str) -> Schedule:
    """Raises `PydanticCustomError` for what is no schedule, or one whose time never comes."""
    try:
        zone = ZoneInfo(timezone)
    except (OSError, ValueError, KeyError):  # ZoneInfoNotFoundError is a KeyError
        raise refusal(
            "config.trigger", "there is no such time zone", "write for example Europe/Berlin"
        ) from None
    try:
        found = Schedule(cron, zone)
        found.following(0.0)
    except CronSimError as error:
        raise refusal(
            "config.trigger", f"cron can't be read: {error}", 'write for example "*/5 * * * *"'
        ) from None
    except StopIteration:
        raise refusal("config.trigger", "this time never comes", 'write for example "*/5 * * * *"') from None
    return found
