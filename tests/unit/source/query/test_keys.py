"""The file of published keys: what a comparison says of them, and what is taken back when it is cut off."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from liberator.source.query.keys import KeySet


@pytest.fixture
def keys(tmp_path: Path) -> Iterator[KeySet]:
    with closing(KeySet(tmp_path / "keys.db")) as keys:
        yield keys


def test_keys_that_a_comparison_did_not_meet_are_unseen(keys: KeySet) -> None:
    keys.add("t", [["1"], ["2"]], 0)
    keys.begin("t", 1)
    keys.add("t", [["1"]], 1)
    assert list(keys.unseen("t", 1)) == [[["2"]]]


def test_a_comparison_that_is_made_again_asks_anew_for_what_its_first_attempt_met(keys: KeySet) -> None:
    """The row may have gone in between."""
    keys.begin("t", 1)
    keys.add("t", [["1"], ["2"]], 1)
    keys.begin("t", 1)
    keys.add("t", [["1"]], 1)
    assert list(keys.unseen("t", 1)) == [[["2"]]]


def test_the_next_comparison_leaves_alone_what_the_last_one_met(keys: KeySet) -> None:
    keys.begin("t", 1)
    keys.add("t", [["1"]], 1)
    keys.begin("t", 2)
    assert list(keys.unseen("t", 1)) == []
    assert list(keys.unseen("t", 2)) == [[["1"]]]
