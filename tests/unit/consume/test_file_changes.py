"""What is new in a folder, from one look to the next."""

from __future__ import annotations

from liberator.consume.files.changes import REMEMBERED, Changes, Kind, Known, Version

ONE, TWO = Version(1, 100), Version(2, 200)
BOTH: tuple[Kind, ...] = ("created", "changed")


def test_a_file_is_given_when_it_has_been_at_rest() -> None:
    changes = Changes({}, BOTH, settle=2.0)
    assert changes.look({"a": ONE}, 10.0).events == []
    assert changes.look({"a": ONE}, 11.9).events == []
    assert changes.look({"a": ONE}, 12.0).events == [("a", ONE, "created")]
    assert changes.look({"a": ONE}, 20.0).events == []


def test_a_file_that_is_still_being_written_waits() -> None:
    changes = Changes({}, BOTH, settle=2.0)
    for second in range(10):
        assert changes.look({"a": Version(second, 100)}, second).events == []
    grown = Version(9, 100)
    assert changes.look({"a": grown}, 10.9).events == []
    assert changes.look({"a": grown}, 11.0).events == [("a", grown, "created")]
    assert (changes.found, changes.dropped) == (1, 0), "one file, however often it grew"


def test_a_file_that_was_given_and_is_written_again_has_changed() -> None:
    changes = Changes({}, BOTH, settle=0.0)
    changes.look({"a": ONE}, 1.0)
    assert changes.look({"a": TWO}, 2.0).events == [("a", TWO, "changed")]


def test_what_is_known_from_before_is_not_given_again() -> None:
    changes = Changes({"a": Known(ONE.etag), "b": Known(ONE.etag)}, BOTH, settle=0.0)
    assert changes.look({"a": ONE, "b": TWO}, 1.0).events == [("b", TWO, "changed")]


def test_a_file_that_went_and_came_back_as_it_was_is_nothing_new() -> None:
    """A share that was away brings nothing twice."""
    changes = Changes({}, BOTH, settle=0.0)
    changes.look({"a": ONE}, 1.0)
    assert changes.look({}, 2.0).gone == ["a"]
    assert changes.look({}, 3.0).gone == [], "told once"
    news = changes.look({"a": ONE}, 4.0)
    assert (news.events, news.back) == ([], ["a"])


def test_a_file_that_went_long_ago_is_forgotten() -> None:
    changes = Changes({}, BOTH, settle=0.0)
    changes.look({"a": ONE}, 1.0, 1_000.0)
    changes.look({}, 2.0, 2_000.0)
    assert changes.look({}, 3.0, 2_000.0 + REMEMBERED).forgotten == []
    assert changes.look({}, 4.0, 2_001.0 + REMEMBERED).forgotten == ["a"]
    assert changes.look({"a": ONE}, 5.0, 2_002.0 + REMEMBERED).events == [("a", ONE, "created")]


def test_another_file_of_the_same_name_is_created() -> None:
    changes = Changes({}, BOTH, settle=0.0)
    changes.look({"a": ONE}, 1.0)
    changes.look({}, 2.0)
    assert changes.look({"a": TWO}, 3.0).events == [("a", TWO, "created")]


def test_a_kind_that_nobody_asked_for_is_known_and_not_given() -> None:
    changes = Changes({}, BOTH[1:], settle=0.0)
    news = changes.look({"a": ONE}, 1.0)
    assert (news.events, news.passed) == ([], [("a", ONE)])
    assert changes.look({"a": TWO}, 2.0).events == [("a", TWO, "changed")]
    assert (changes.found, changes.dropped) == (2, 1)


def test_files_that_go_before_they_are_at_rest_are_no_longer_waited_for() -> None:
    changes = Changes({}, BOTH, settle=5.0)
    changes.look({"a": ONE, "b": ONE}, 1.0)
    assert (changes.found, changes.dropped) == (2, 0)
    changes.look({"b": ONE}, 2.0)
    assert (changes.found, changes.dropped) == (2, 1)


def test_whoever_wants_only_what_is_there_gets_nothing_that_comes_later() -> None:
    changes = Changes({}, BOTH, settle=1.0)
    changes.look({"a": ONE}, 1.0)
    changes.only_these()
    assert changes.look({"a": ONE, "b": ONE}, 2.0).events == [("a", ONE, "created")]
    assert changes.look({"a": ONE, "b": ONE}, 9.0).events == []
    assert changes.found == 1
