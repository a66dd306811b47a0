"""A local log with a clock that a test sets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from liberator.locallog import LocalLog


class Clock:
    """Milliseconds since the Unix epoch, as a test wants them."""

    def __init__(self) -> None:
        self.now = 1_700_000_000_000

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def log(tmp_path: Path, clock: Clock) -> Iterator[LocalLog]:
    log = LocalLog(tmp_path / "log", now_ms=clock)
    yield log
    log.close()
