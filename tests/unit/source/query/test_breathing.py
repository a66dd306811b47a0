"""What is held open in the database between two pages, while the one before is not taken."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

from liberator.source.query.database import Database
from liberator.source.query.passes import HOLD, Clock, breathe


@dataclass
class Held:
    """Notes what is done to a view."""

    done: list[str] = field(default_factory=list)

    def end(self) -> None:
        self.done.append("end")

    def renew(self) -> None:
        self.done.append("renew")


class Slowly:
    """Room comes after so many seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.now = 0.0

    def room(self, timeout: float) -> bool:
        self.now += min(timeout, max(0.0, self._seconds - self.now))
        return self.now >= self._seconds

    def breathed(self, since: float = 0.0) -> list[str]:
        held = Held()
        clock = Clock(tick=lambda: self.now, pause=lambda seconds: False, room=self.room)
        breathe(cast("Database", held), clock, since)
        return held.done


def test_a_view_is_kept_while_room_is_a_moment_away() -> None:
    assert Slowly(0.5).breathed() == []


def test_a_view_is_let_go_while_nobody_takes_what_was_read() -> None:
    assert Slowly(5.0).breathed() == ["end", "renew"]


def test_a_view_that_was_held_for_long_is_renewed() -> None:
    assert Slowly(0.0).breathed(since=-HOLD) == ["renew"]
