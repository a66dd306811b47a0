"""When an event happened, as a column or a member of a message says it. Pure.

Enters: a value as JSON. Leaves: milliseconds since the Unix epoch. Called for outboxes with a column for the time.
"""

from __future__ import annotations

import re
from datetime import datetime, timezone

_ISO = re.compile(
    rb"(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:Z|([+-])(\d\d):?(\d\d)?)?)?",
    re.ASCII,
)
_NUMBER = re.compile(rb"\d{1,15}", re.ASCII)


def time_of(json: bytes | None) -> int | None:
    """ISO 8601 (without a zone: UTC), or a number of milliseconds; None for what is neither, and before 1970."""
    text = (json or b"").strip(b'"')
    if _NUMBER.fullmatch(text):
        return int(text) or None
    found = _ISO.fullmatch(text)
    if found is None:
        return None
    year, month, day, hour, minute, second = (int(field or 0) for field in found.groups()[:6])
    fraction, sign, hours, minutes = found.groups()[6:]
    try:
        moment = datetime(year, month, day, hour, minute, second, tzinfo=timezone.utc)
    except ValueError:  # a day or an hour that does not exist
        return None
    ahead = 3600 * int(hours or 0) + 60 * int(minutes or 0)
    seconds = int(moment.timestamp()) + (ahead if sign == b"-" else -ahead)
    milliseconds = 1000 * seconds + int((fraction or b"")[:3].ljust(3, b"0"))
    return milliseconds if milliseconds > 0 else None
