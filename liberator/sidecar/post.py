"""One event on its way from a request to the broker. Made in the thread of its request, which waits for it; decided by the
writer's."""

from __future__ import annotations

import threading
from typing import Literal

from liberator.change import EncodedBatch
from liberator.errors import LiberatorError

Verdict = Literal["accepted", "repeated", "conflict", "refused"]
"""It is durable; it was before; its id stands for another event; the broker will not have it."""


class Post:
    """event: a batch of one. digest: what makes it the same event when its id comes again."""

    __slots__ = ("_ended", "digest", "error", "event", "followers", "size", "verdict", "withdrawn")

    def __init__(self, event: EncodedBatch, digest: bytes) -> None:
        self.event = event
        self.digest = digest
        self.size = event.size()
        self.followers: list[Post] = []
        self.withdrawn = False
        self.verdict: Verdict | None = None
        self.error: LiberatorError | None = None
        self._ended = threading.Lock()
        self._ended.acquire()

    @property
    def id(self) -> bytes:
        """The event's."""
        return self.event.ids[0]

    @property
    def topic(self) -> str:
        """Where it goes."""
        return self.event.topics[0]

    def end(self, verdict: Verdict, error: LiberatorError | None = None) -> None:
        """It is decided. error: why it was refused. Those that came with the same id meanwhile hear it too."""
        for follower in self.followers:
            follower.end("repeated" if verdict == "accepted" else verdict, error)
        self.followers.clear()
        self.verdict, self.error = verdict, error
        self._ended.release()

    def give_up(self) -> None:
        """It is not decided, and nobody goes on trying: whoever waits for it hears that at once."""
        for follower in self.followers:
            follower.give_up()
        self.followers.clear()
        self._ended.release()

    def wait(self, timeout: float) -> Verdict | None:
        """What was decided; None: nothing within `timeout` seconds, or nobody tries any more."""
        self._ended.acquire(timeout=max(0.0, timeout))
        return self.verdict
