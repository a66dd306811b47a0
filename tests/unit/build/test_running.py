"""What asks a running connector to stop."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from liberator.build.running import Signals


@pytest.fixture
def of_a_closed_terminal() -> Iterator[Callable[[Any], object]]:
    """Sets what SIGHUP does, which the tests' own parent may have ignored."""
    before = signal.getsignal(signal.SIGHUP)
    yield lambda handler: signal.signal(signal.SIGHUP, handler)
    signal.signal(signal.SIGHUP, before)


def test_a_terminal_that_closes_asks_to_stop_and_its_second_signal_does_no_more(
    of_a_closed_terminal: Callable[[Any], object],
) -> None:
    of_a_closed_terminal(signal.SIG_DFL)
    asked: list[str] = []
    with Signals(lambda: asked.append("stop")):
        signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGHUP)
    assert asked == ["stop"]
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_DFL


def test_what_nohup_has_ignored_stays_ignored(of_a_closed_terminal: Callable[[Any], object]) -> None:
    of_a_closed_terminal(signal.SIG_IGN)
    with Signals(lambda: None):
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
