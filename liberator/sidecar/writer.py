"""Publishes what many requests bring, a group at a time: whatever came while one group became durable is the next one.

Enters: posts, from the threads of their requests. Leaves: each is told what became of it, when that is durable. Called by
the connector, in one thread. Knows publishers by their protocol only.

Theory of operation. One group is under way at a time, so that what is known of an id is decided by one look at the window.
Exactly once: the ids of a group are written into the window first, with its number; the publisher commits the number with
the events. Whoever begins next asks the publisher for the number, and forgets the ids of groups behind it: they were not
published, and will not be, as their publisher is fenced. At least once: the ids are written when the events are durable, so
a kill in between may publish an event again. A post whose request does not wait any more is not published, unless it is
under way already.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import NamedTuple, cast

from liberator.change import EncodedBatch
from liberator.errors import LiberatorError, PublishError
from liberator.policy import Action, Backoff, decide
from liberator.protocols import OwningPublisher, Publisher, Watch
from liberator.sidecar.post import Post
from liberator.sidecar.window import Window

log = logging.getLogger(__name__)

NUMBER = "sidecar"
"""The partition of the publisher's state that holds the last group: the name of its window, and its number."""

_TURN = 0.2
"""Seconds between two looks around."""

_CLEAN_EVERY = 5.0
_MOST_EVENTS, _MOST_BYTES = 2_000, 8 << 20
"""Of one group."""

_LESSON = 60.0
"""Seconds for which a topic's refusal is taken as its word."""

_OF_THE_TOPIC = frozenset(
    f"publish.{word}"
    for word in (
        "too_large",
        "record_refused",
        "unknown_topic",
        "topic_name",
        "topic_denied",
        "topic_settings",
        "policy",
    )
)
"""What a single event can be refused for, while its neighbours are fine."""


@dataclass(frozen=True, slots=True)
class WriterSettings:
    """patience: seconds after which a group that is under way counts as stuck, so that nothing more is taken. memory: bytes
    of events that wait. drain: seconds for the way out."""

    patience: float = 10.0
    memory: int = 64 << 20
    drain: float = 8.0


class _Lesson(NamedTuple):
    """Events of a topic from `size` bytes on are refused with `error`, until then."""

    until: float
    size: int
    error: LiberatorError


class _EventRefused(Exception):
    """A topic does not take an event, with this code."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Writer:
    """`run` ends when it was stopped and everything is decided. `submit`, `withdraw`, `stop` may be called in any thread."""

    def __init__(
        self,
        publisher: Callable[[], Publisher],
        window: Callable[[], Window],
        watch: Watch,
        settings: WriterSettings,
        *,
        backoff: Callable[[], Backoff],
        tick: Callable[[], float] = time.monotonic,
    ) -> None:
        self._make_publisher = publisher
        self._make_window = window
        self._watch = watch
        self._settings = settings
        self._backoff = backoff()
        self._tick = tick
        self._changed = threading.Condition()
        self._pending: deque[Post] = deque()
        self._pending_bytes = 0
        self._stopping = False
        self._drain_by = 0.0
        self._open = False
        self._begun: float | None = None
        self._number = 0
        self._group: list[Post] = []
        self._alone: deque[Post] = deque()
        self._lessons: dict[str, _Lesson] = {}
        self._clean_at = 0.0

    # -- called by requests

    def submit(self, post: Post) -> bool:
        """Take it; it will be decided. False: there is no broker at the moment, or no room, and nothing was done."""
        with self._changed:
            if not self._open or self._is_stuck() or self._stopping:
                return False
            if self._pending_bytes + post.size > self._settings.memory:
                return False
            self._pending.append(post)
            self._pending_bytes += post.size
            if len(self._pending) == 1:
                self._changed.notify()
            return True

    def withdraw(self, post: Post) -> None:
        """Nobody waits for it any more: if it is not under way yet, it is not published."""
        with self._changed:
            post.withdrawn = True

    def stop(self) -> None:
        """End soon: what was taken is published first. Nothing more is taken."""
        # No lock: a signal handler may run while its own thread holds it.
        self._drain_by = self._tick() + self._settings.drain
        self._stopping = True

    @property
    def owes(self) -> bool:
        """Is anything taken that is not decided?"""
        return bool(self._group or self._alone or self._pending)

    def _is_stuck(self) -> bool:
        return self._begun is not None and self._tick() - self._begun > self._settings.patience

    # -- sessions: one publisher each

    def run(self) -> None:
        """Publish until stopped. Raises the `LiberatorError` that ends it."""
        self._watch.state("starting")
        try:
            with closing(self._make_window()) as window:
                while not self._finished(window):
                    continue
            self._watch.state("stopped")
        except BaseException:
            self._watch.state("failed")
            raise
        finally:
            self._give_up_all()

    def _finished(self, window: Window) -> bool:
        """One session. True: it was stopped, and nothing is left."""
        if self._stopping and not self.owes:
            return True
        try:
            self._session(window)
            return True
        except _EventRefused as refusal:
            self._watch.error(refusal.code)
            return False  # the publisher is done for, its neighbours are not
        except LiberatorError as error:
            self._watch.error(error.code)
            if decide(error).action is not Action.RETRY:
                raise
            if self._stopping and self.owes:
                raise
            self._pause(error)
            return False

    def _session(self, window: Window) -> None:
        publisher = self._make_publisher()
        try:
            there = self._resume(publisher, window)
            self._set_open(True)
            self._accept(there)
            self._watch.state("streaming")
            while True:
                self._watch.beat()
                posts = self._take()
                if posts:
                    self._publish(publisher, window, posts)
                    self._backoff.reset()
                elif self._stopping:
                    return
                else:
                    publisher.ready(0)  # it counts what it has to, and tells when it is lost
                self._clean(window)
        finally:
            self._begun = None
            self._set_open(False)
            publisher.close()

    def _resume(self, publisher: Publisher, window: Window) -> list[Post]:
        """What became of the group that was under way? Gives what of it is there; the rest is tried again. Only an owning
        publisher knows; another one has published nothing of a group that it raised an error for and that may be tried
        again."""
        there: list[Post] = []
        if publisher.owns_state:
            last = window.last()
            state = cast(OwningPublisher, publisher).take_over().get(NUMBER, b"0/0")
            name, committed = map(int, state.split(b"/"))
            if name != window.name:
                # Another one of this name, with a window of its own, published last. All but our last group are certain.
                committed = last - 1
            else:
                last = max(last, committed)  # ids of later groups may be too old to be remembered
            if self._group and self._number <= committed:
                there, self._group = self._group, []
            window.forget_after(committed)
            self._number = max(self._number, last)
        again, self._group = self._group, []
        if self._alone:  # it was the first of those, and comes before them again
            self._alone.extendleft(reversed(again))
            return there
        with self._changed:
            self._pending.extendleft(reversed(again))
            self._pending_bytes += sum(post.size for post in again)
        return there

    def _set_open(self, is_open: bool) -> None:
        with self._changed:
            self._open = is_open

    def _pause(self, error: LiberatorError) -> None:
        self._watch.state("reconnecting")
        delay = self._backoff.next()
        log.warning("%s; trying again in %.1f s%s", error, delay, f" ({error.fix})" if error.fix else "")
        end = self._tick() + delay
        while not self._stopping and (left := end - self._tick()) > 0:
            self._watch.beat()
            time.sleep(min(left, _TURN))

    def _give_up_all(self) -> None:
        with self._changed:
            self._stopping = True
            left = [*self._group, *self._alone, *self._pending]
            self._group, self._alone = [], deque()
            self._pending.clear()
        for post in left:
            post.give_up()

    # -- groups

    def _take(self) -> list[Post]:
        """What waits, as far as it fits into a group; waits a moment for the first one."""
        while self._alone:
            post = self._alone.popleft()
            if not post.withdrawn or post.followers:
                return [post]
        posts: list[Post] = []
        size = 0
        with self._changed:
            if not self._pending and not self._stopping:
                self._changed.wait(_TURN)
            while self._pending and len(posts) < _MOST_EVENTS and size < _MOST_BYTES:
                post = self._pending.popleft()
                self._pending_bytes -= post.size
                size += post.size
                if not post.withdrawn or post.followers:
                    posts.append(post)
        return posts

    def _publish(self, publisher: Publisher, window: Window, posts: Sequence[Post]) -> None:
        group = self._new_ones(window, posts)
        if not group:
            return
        self._begun = self._tick()
        self._group = group
        ids = [(post.id, post.digest) for post in group]
        batch = _together(group)
        self._number += 1
        try:
            if publisher.owns_state:
                window.remember(ids, self._number)
            publisher.publish(batch, {NUMBER: b"%d/%d" % (window.name, self._number)})
            self._watch.published(Counter(batch.topics), batch.size())
            self._until_durable(publisher)
        except PublishError as error:
            if error.code in _OF_THE_TOPIC and not error.retryable:
                self._one_by_one(error)
                raise _EventRefused(error.code) from error
            raise
        if not publisher.owns_state:
            window.remember(ids, 0)
        self._watch.durable(len(batch))
        self._group, self._begun = [], None
        self._accept(group)

    def _new_ones(self, window: Window, posts: Sequence[Post]) -> list[Post]:
        """Those that are to be published; the others are decided."""
        known = window.known([post.id for post in posts])
        coming: dict[bytes, Post] = {}
        for post in posts:
            digest = known.get(post.id)
            first = coming.get(post.id)
            if digest is not None:
                post.end("repeated" if digest == post.digest else "conflict")
            elif first is not None and first.digest == post.digest:
                first.followers.append(post)
            elif first is not None:
                post.end("conflict")
            elif (lesson := self._lesson(post)) is not None:
                post.end("refused", lesson)
            else:
                coming[post.id] = post
        return list(coming.values())

    def _until_durable(self, publisher: Publisher) -> None:
        while not publisher.flush(_TURN):
            self._watch.beat()
            if self._is_stuck():
                self._watch.state("reconnecting")
            if self._stopping and self._tick() > self._drain_by:
                raise PublishError(
                    f"the broker did not take everything within {self._settings.drain:g} s",
                    code="publish.drain",
                    fix="nothing was confirmed: whoever sent it sends it again",
                )
        publisher.durable()
        self._watch.state("streaming")

    def _accept(self, group: list[Post]) -> None:
        for post in group:
            post.end("accepted")

    def _one_by_one(self, error: PublishError) -> None:
        """One of them is refused, and takes its neighbours with it: which one shows when each is tried alone."""
        group, self._group = self._group, []
        if len(group) > 1:
            self._alone.extend(group)
            return
        (post,) = group
        size = post.size if error.code == "publish.too_large" else 0
        self._lessons[post.topic] = _Lesson(self._tick() + _LESSON, size, error)
        log.warning("%s: event %s is refused: %s", post.topic, post.id.decode("utf-8", "replace"), error)
        post.end("refused", error)

    def _lesson(self, post: Post) -> LiberatorError | None:
        lesson = self._lessons.get(post.topic)
        if lesson is None or post.size < lesson.size:
            return None
        if self._tick() < lesson.until:
            return lesson.error
        del self._lessons[post.topic]
        return None

    def _clean(self, window: Window) -> None:
        if self._tick() >= self._clean_at:
            more = window.forget_old()
            self._clean_at = self._tick() + (0.0 if more else _CLEAN_EVERY)


def _together(posts: Sequence[Post]) -> EncodedBatch:
    whole = EncodedBatch(string_keys=True)
    for post in posts:
        event = post.event
        times = event.timestamps or [None]
        whole.add(event.topics[0], event.keys[0], event.values[0], event.ids[0], event.headers[0], times[0])
    return whole
