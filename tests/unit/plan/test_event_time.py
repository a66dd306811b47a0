"""When an event happened, as columns and members say it."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liberator.plan.event_time import time_of


@pytest.mark.parametrize(
    ("json", "time"),
    [
        (b'"2023-11-14T22:13:20Z"', 1_700_000_000_000),
        (b'"2023-11-14T22:13:20.5"', 1_700_000_000_500),
        (b'"2023-11-14 22:13:20.123456"', 1_700_000_000_123),
        (b'"2023-11-15T00:13:20+02:00"', 1_700_000_000_000),
        (b'"2023-11-14T20:13:20-02"', 1_700_000_000_000),
        (b'"2023-11-15"', 1_700_006_400_000),
        (b"1700000000000", 1_700_000_000_000),
        (b'"1700000000000"', 1_700_000_000_000),
        (b'"1970-01-01T00:00:00.001Z"', 1),
    ],
)
def test_times_and_milliseconds_are_read(json: bytes, time: int) -> None:
    assert time_of(json) == time


@pytest.mark.parametrize(
    "json",
    [
        None,
        b"null",
        b'"infinity"',
        b'"0044-02-01T11:12:13Z BC"',
        b'"2023-02-30"',
        b'"1969-12-31T23:59:59Z"',
        b'"1970-01-01"',
        b"0",
        b"-5",
        b"1.5",
        b'{"a": 1}',
        b'"soon"',
        b'""',
    ],
)
def test_what_is_no_time_since_1970_is_none(json: bytes | None) -> None:
    assert time_of(json) is None


@given(
    st.datetimes(datetime(1970, 1, 2), datetime(9999, 12, 30)),
    st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes))),
)
def test_every_time_python_writes_is_read_as_that_time(moment: datetime, zone: timezone) -> None:
    moment = moment.replace(tzinfo=timezone.utc)
    written = moment.astimezone(zone).isoformat()
    since = moment - datetime(1970, 1, 1, tzinfo=timezone.utc)
    assert time_of(f'"{written}"'.encode()) == since // timedelta(milliseconds=1)
