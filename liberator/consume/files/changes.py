"""What is new in a folder, from one look at it to the next. No I/O; times are passed in.

Enters: the files that a look found, and those that are known. Leaves: files that appeared or changed, once they are at rest,
and those that went. A file is at rest when nothing of it has changed for a while: who writes it, or copies it, is done, as
far as that can be seen from outside. Whoever renames files into the folder is sure of it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

Kind = Literal["created", "changed"]

REMEMBERED = 86_400.0
"""Seconds for which a file that went is remembered: a share that was away for so long brings nothing twice, and a folder
that files pass through by the million fills no memory."""


class Version(NamedTuple):
    """What a look sees of a file. size: bytes. modified: nanoseconds since the Unix epoch."""

    size: int
    modified: int

    @property
    def etag(self) -> str:
        """Another one whenever the file was written."""
        return f"{self.modified:x}-{self.size:x}"


@dataclass(slots=True)
class Known:
    """A file that was given. gone: since when it is not there any more, Unix seconds; None: it is there."""

    etag: str
    gone: float | None = None


@dataclass(slots=True)
class News:
    """What a look brings. events: files at rest. passed: of a kind that nobody asked for. gone, back, forgotten: by
    key."""

    events: list[tuple[str, Version, Kind]] = field(default_factory=list)
    passed: list[tuple[str, Version]] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    back: list[str] = field(default_factory=list)
    forgotten: list[str] = field(default_factory=list)


class Changes:
    """known: what was given before, by key; kept up to date here. kinds: that somebody asked for. settle: seconds."""

    def __init__(self, known: dict[str, Known], kinds: Collection[Kind], settle: float) -> None:
        self.found = self.dropped = 0
        """Files that a look found to be new; how many of them will never be events."""
        self._known, self._kinds, self._settle = known, kinds, settle
        self._waiting: dict[str, tuple[Version, float]] = {}
        self._only: Collection[str] | None = None

    def only_these(self) -> None:
        """Whatever appears after the first look is left for another time."""
        self._only = frozenset(self._waiting)

    def look(self, there: Mapping[str, Version], now: float, date: float = 0.0) -> News:
        """now: monotonic seconds. date: Unix seconds. The times of files tell nothing about rest: they may be another
        machine's."""
        news = News()
        for key in self._waiting.keys() - there.keys():
            del self._waiting[key]
            self.dropped += 1
        self._miss(there, date, news)
        for key, version in there.items():
            known = self._known.get(key)
            if known is not None and known.etag == version.etag:
                if known.gone is not None:
                    known.gone = None
                    news.back.append(key)
                self._rest(key)
            elif self._only is None or key in self._only:
                self._see(key, version, known, now, news)
        return news

    def is_gone(self, key: str) -> bool:
        """Was it given, and went since?"""
        known = self._known.get(key)
        return known is None or known.gone is not None

    def _miss(self, there: Mapping[str, Version], date: float, news: News) -> None:
        for key, known in self._known.items():
            if known.gone is None and key not in there:
                known.gone = date
                news.gone.append(key)
            elif known.gone is not None and date - known.gone > REMEMBERED:
                news.forgotten.append(key)
        for key in news.forgotten:
            del self._known[key]

    def _rest(self, key: str) -> None:
        """It is as it was given: what was seen in between was never at rest."""
        if self._waiting.pop(key, None):
            self.dropped += 1

    def _see(self, key: str, version: Version, known: Known | None, now: float, news: News) -> None:
        before = self._waiting.get(key)
        if before is None:
            self.found += 1
        if before is None or before[0] != version:
            before = self._waiting[key] = version, now
        if now - before[1] < self._settle:
            return
        del self._waiting[key]
        kind: Kind = "created" if known is None or known.gone is not None else "changed"
        self._known[key] = Known(version.etag)
        if kind in self._kinds:
            news.events.append((key, version, kind))
        else:
            self.dropped += 1
            news.passed.append((key, version))
