"""The window remembers ids, across restarts, and belongs to one process."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from liberator.errors import PreconditionError
from liberator.sidecar.window import Window


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "ids.db"


@pytest.fixture
def clock() -> list[float]:
    return [1_000_000.0]


@pytest.fixture
def window(file: Path, clock: list[float]) -> Iterator[Window]:
    with closing(Window(file, 60.0, lambda: clock[0])) as window:
        yield window


def test_what_is_remembered_is_known_after_a_restart(window: Window, file: Path) -> None:
    window.remember([(b"a", b"1"), (b"b", b"2")], 1)
    window.close()
    with closing(Window(file, 60.0)) as again:
        assert again.known([b"a", b"b", b"c"]) == {b"a": b"1", b"b": b"2"}


def test_each_window_has_a_name_of_its_own(window: Window, file: Path, tmp_path: Path) -> None:
    name = window.name
    window.close()
    with closing(Window(file, 60.0)) as again, closing(Window(tmp_path / "other.db", 60.0)) as other:
        assert again.name == name
        assert other.name != name


def test_many_ids_are_looked_up_at_once(window: Window) -> None:
    many = [(b"%d" % number, b"x") for number in range(1_700)]
    window.remember(many, 1)
    assert len(window.known([id for id, _ in many])) == 1_700


def test_groups_that_were_not_published_are_forgotten(window: Window) -> None:
    window.remember([(b"a", b"1")], 1)
    window.remember([(b"b", b"2")], 2)
    assert window.last() == 2
    assert window.forget_after(1) == 1
    assert window.last() == 1
    assert window.known([b"a", b"b"]) == {b"a": b"1"}


def test_old_ids_are_forgotten(window: Window, clock: list[float]) -> None:
    window.remember([(b"a", b"1")], 1)
    clock[0] += 59
    window.remember([(b"b", b"2")], 2)
    window.forget_old()
    assert window.known([b"a", b"b"]) == {b"a": b"1", b"b": b"2"}
    clock[0] += 30
    assert not window.forget_old()
    assert window.known([b"a", b"b"]) == {b"b": b"2"}


def test_a_second_process_is_refused(window: Window, file: Path) -> None:
    window.remember([(b"a", b"1")], 1)
    with pytest.raises(PreconditionError) as caught:
        Window(file, 60.0)
    assert caught.value.code == "sidecar.ids_in_use"


def test_a_file_of_somebody_else_is_refused(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "other.db")) as other:
        other.execute("CREATE TABLE theirs (x)")
    with pytest.raises(PreconditionError) as caught:
        Window(tmp_path / "other.db", 60.0)
    assert caught.value.code == "sidecar.ids_foreign"


def test_a_file_that_is_damaged_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ids.db").write_bytes(b"no database" * 1000)
    with pytest.raises(PreconditionError) as caught:
        Window(tmp_path / "ids.db", 60.0)
    assert caught.value.code == "sidecar.ids_failed"
