"""What asks a running connector to stop."""

from __future__ import annotations

import signal

from liberator.build.running import Signals


def test_a_terminal_that_closes_asks_to_stop_and_its_second_signal_does_no_more() -> None:
    asked: list[str] = []
    before = signal.getsignal(signal.SIGHUP)
    with Signals(lambda: asked.append("stop")):
        signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGHUP)
    assert asked == ["stop"]
    assert signal.getsignal(signal.SIGHUP) == before


def test_what_nohup_has_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Signals(lambda: None):
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
