"""What all servers have in common: they are started, and given back.

Enters: nothing. Leaves: the base of `Postgres`, `MariaDb`, `Kafka` and `Registry`, and what makes one of them a server that
somebody else runs. Never starts a process.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import TypeVar

_Same = TypeVar("_Same", bound="Server")
_SameGiven = TypeVar("_SameGiven", bound="Given")


class Server(ABC):
    """A server that runs from `start`, or from the beginning of a ``with`` block, until `close`."""

    @abstractmethod
    def start(self: _Same) -> _Same:
        """Start it and wait until it can be used."""

    @abstractmethod
    def close(self) -> None:
        """Give it back; what was made for it is removed. Idempotent."""

    def __enter__(self: _Same) -> _Same:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Given(Server):
    """A server that somebody else runs, known by its address: it can be neither started nor stopped from here."""

    def __init__(self, address: str) -> None:
        self._address = address

    def start(self: _SameGiven) -> _SameGiven:
        """Nothing to do: it runs."""
        return self

    def close(self) -> None:
        """Nothing to do: it stays."""
