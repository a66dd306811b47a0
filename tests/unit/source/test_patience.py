"""How long a silent server is waited for."""

from __future__ import annotations

from liberator.source.reader import patience


def test_three_questions_may_stay_unanswered() -> None:
    assert patience(interval=6.0, server_timeout=60.0, silences=0) == 18.0


def test_a_short_interval_makes_nobody_impatient() -> None:
    assert patience(interval=0.1, server_timeout=60.0, silences=0) == 10.0


def test_patience_grows_until_there_is_progress_as_far_as_the_server_has_any() -> None:
    assert [patience(5.0, 60.0, silences) for silences in range(4)] == [15.0, 30.0, 60.0, 60.0]
    assert patience(5.0, 300.0, silences=9) == 300.0
