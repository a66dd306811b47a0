"""What can go wrong with a local log, before it is known whose call it was.

Enters: a cause. Leaves: the `LiberatorError` of whoever called: a publisher's, a consumer's, a checkpoint's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from liberator.errors import LiberatorError

_Error = TypeVar("_Error", bound=LiberatorError)


class LocalLogFailure(Exception):
    """Never leaves the rooms that use the local log: they turn it into an error of theirs.

    word: the last part of the error's code. what, fix, retryable: as in `LiberatorError`.
    """

    def __init__(self, word: str, what: str, fix: str | None = None, *, retryable: bool = False) -> None:
        super().__init__(what)
        self.word = word
        self.what = what
        self.fix = fix
        self.retryable = retryable

    def error(self, kind: type[_Error], room: str, where: str) -> _Error:
        """As an error of `kind` whose code begins with `room`."""
        return kind(
            self.what, code=f"{room}.{self.word}", where=where, fix=self.fix, retryable=self.retryable
        )


@contextmanager
def told_as(kind: type[_Error], room: str, where: str) -> Iterator[None]:
    """What fails inside is raised as an error of `kind` whose code begins with `room`."""
    try:
        yield
    except LocalLogFailure as failure:
        raise failure.error(kind, room, where) from failure
