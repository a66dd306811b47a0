"""Lines of COPY that are kept in one piece."""

from __future__ import annotations

import pytest

from liberator.postgres.copying import Lines


def test_lines_are_cut_apart_behind_each_newline_and_nowhere_else() -> None:
    lines = Lines(b"1\ta\rb\x0b\n\n2\n", 3)
    assert len(lines) == 3
    assert list(lines) == [b"1\ta\rb\x0b\n", b"\n", b"2\n"]
    assert (lines[-1], lines[:2]) == (b"2\n", [b"1\ta\rb\x0b\n", b"\n"])


def test_no_lines_are_no_rows() -> None:
    assert not Lines(b"", 0)
    with pytest.raises(IndexError):
        Lines(b"", 0)[0]
