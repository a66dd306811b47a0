"""How the demo waits, and how it is interrupted."""

from __future__ import annotations

import signal
import time

import pytest

from liberator.demo.watch import Interrupts, Line, Moment, Watch
from liberator.errors import LiberatorError


class Shown:
    """A view that remembers."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.moments = 0

    def say(self, line: Line) -> None:
        self.lines.append(line.text)

    def show(self, moment: Moment) -> None:
        self.moments += 1

    def close(self) -> None:
        """Nothing to give back."""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_waits_for_the_next_pause(number: signal.Signals) -> None:
    with Interrupts() as interrupts:
        signal.raise_signal(number)
        with pytest.raises(KeyboardInterrupt):
            interrupts.pause(60)


def test_a_second_signal_does_not_wait() -> None:
    with Interrupts():
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)


def test_an_error_after_a_signal_is_of_its_making() -> None:
    interrupts = Interrupts()

    def start_a_server() -> None:
        with interrupts:
            signal.raise_signal(signal.SIGINT)
            raise LiberatorError("initdb failed")

    with pytest.raises(KeyboardInterrupt):
        start_a_server()


def test_nothing_begins_after_a_signal() -> None:
    view = Shown()
    with Interrupts() as interrupts:
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            Watch(view, interrupts.pause).begin("starting PostgreSQL")
    assert view.lines == []


def test_gives_the_signals_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with Interrupts():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before


def test_shows_how_things_stand_while_it_waits() -> None:
    view = Shown()
    Watch(view, time.sleep).during(0.6)
    assert view.moments >= 2


def test_ends_a_wait_when_it_is_over() -> None:
    answers = iter([False, False, True])
    assert Watch(Shown(), lambda seconds: None).until(lambda: next(answers), timeout=60)


def test_says_what_did_not_happen_in_time() -> None:
    with pytest.raises(LiberatorError, match="the recovery did not happen within"):
        Watch(Shown(), time.sleep).wait_for("the recovery", lambda: False, timeout=0.1)


def test_tells_what_begins() -> None:
    view = Shown()
    watch = Watch(view, time.sleep)
    watch.begin("streaming", "from now on, what changes")
    watch.begin("comparing")
    assert view.lines == ["from now on, what changes", "comparing"]
