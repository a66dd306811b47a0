"""The checkpoint as the capture loop sees it: an epoch is taken once a session, and saving holds nothing up.

Enters: deltas of the state that are durable. Leaves: what is saved, to be acknowledged. Called by the loop, in one thread,
and by commands that mend a checkpoint. Never has two saves under way, and asks the store nothing while one is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

from liberator.change import State
from liberator.protocols import Checkpoint


class Ledger:
    """Without a checkpoint (a trial) it only remembers.

    background: the store is far away (a save in Kafka takes a transaction of some ten milliseconds), so a thread of its own
    saves while events flow on. What the store answers comes out of `saved`.
    """

    def __init__(self, checkpoint: Checkpoint | None, *, background: bool = False) -> None:
        self._checkpoint = checkpoint
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint") if background else None
        self._epoch: int | None = None
        self._held = False
        self._state: dict[str, bytes] = {}
        self._delta: State | None = None
        self._answer: Future[None] | None = None

    def begin(self, *, glance: bool) -> State:
        """A session begins with what is saved. Whoever writes now is not disturbed. glance: what is under way is not
        waited for, because it will be ended and looked at when the source is ours. That nothing is saved at all decides
        about a new start, so it has to be certain."""
        self._forget()
        self._held = False
        if glance and self._checkpoint is not None and (state := self._checkpoint.glance()):
            self._state = dict(state)
            return self._state
        return self.load()

    @property
    def state(self) -> State:
        """What is saved, as far as we know."""
        return self._state

    def load(self) -> State:
        """What is saved."""
        self._wait()
        if self._checkpoint is not None:
            self._state = dict(self._checkpoint.load())
        return self._state

    def hold(self) -> bool:
        """The source is ours, so before anything is published nobody else can save any more. False: somebody saved since we
        looked; `state` is theirs now. Raises `CheckpointError` (checkpoint.fenced) when it was ours before in this session
        and another had it meanwhile."""
        self._wait()
        if self._held:
            self.confirm()
            return True
        self._acquire()
        known = self._state
        return self.load() == known

    def confirm(self) -> None:
        """Raises `CheckpointError` (checkpoint.fenced) when another has taken over. Only a write tells."""
        self._wait()
        if self._checkpoint is not None and self._epoch is not None:
            self._checkpoint.save(dict(islice(self._state.items(), 1)), self._epoch)

    def save(self, delta: State) -> None:
        """Merge and save. Raises `CheckpointError`, retryable when the store does not answer."""
        self.begin_saving(delta)
        self.saved(wait=True)

    # A save that is not waited for

    @property
    def saving(self) -> bool:
        """Is a save under way, or one over whose answer nobody has heard yet?"""
        return self._answer is not None

    def begin_saving(self, delta: State) -> None:
        """Merge and save; `saved` tells when it is done."""
        self.saved(wait=True)
        if not self._held:
            self._acquire()
        self._delta = delta
        self._answer = self._start(lambda: self._store(delta))

    def saved(self, *, wait: bool = False) -> State | None:
        """What `begin_saving` was given, once, when it is saved; None: nothing, or not yet. Raises `CheckpointError`."""
        if self._answer is None or not (wait or self._answer.done()):
            return None
        answer, self._answer = self._answer, None
        delta, self._delta = self._delta, None
        answer.result()
        assert delta is not None
        merge(self._state, delta)
        return delta

    def _start(self, save: Callable[[], None]) -> Future[None]:
        if self._thread is not None:
            return self._thread.submit(save)
        done: Future[None] = Future()
        save()
        done.set_result(None)
        return done

    def _store(self, delta: State) -> None:
        if self._checkpoint is not None and self._epoch is not None:
            self._checkpoint.save(delta, self._epoch)

    def _wait(self) -> None:
        """The store does one thing at a time. Raises what a save that nobody asked about has failed with."""
        if self._answer is not None:
            self._answer.result()
            assert self._delta is not None
            merge(self._state, self._delta)

    def _forget(self) -> None:
        """Whatever became of a save of an earlier session: what counts is what the store says next."""
        if self._answer is not None:
            self._answer.exception()
        self._answer = self._delta = None

    def _acquire(self) -> None:
        if self._checkpoint is not None:
            self._epoch = self._checkpoint.acquire()
        self._held = True

    def handed_over(self, state: State) -> bool:
        """A publisher saves from now on, and found `state`: is it what we know?"""
        same = state == self._state
        self._state = dict(state)
        self._epoch = None
        self._held = False
        return same

    def close(self) -> None:
        """Give the store back."""
        self._forget()
        if self._thread is not None:
            self._thread.shutdown()
        if self._checkpoint is not None:
            self._checkpoint.close()


def merge(state: dict[str, bytes], delta: Mapping[str, bytes]) -> None:
    """Apply a delta: an empty value forgets its partition."""
    for partition, value in delta.items():
        if value:
            state[partition] = value
        else:
            state.pop(partition, None)
