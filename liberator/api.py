"""The Python API: iterate the changes of a database.

    for batch in liberator.stream("postgresql://...", tables=["public.orders"], name="shop"):
        for change in batch:
            print(change.op, change.table, change.after)
        batch.ack()

Enters: what the one-liner takes. Leaves: batches of `Change` objects. The same connector runs as under the command, in a
thread of its own, with the caller in the publisher's place: what is acknowledged is saved, and acknowledged to the server.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

import orjson

from liberator.build.run import make_connector
from liberator.build.running import How, Running
from liberator.change import Change, EncodedBatch, State
from liberator.config import from_options
from liberator.errors import ConfigError

_WAIT = 0.5


class ChangeBatch:
    """Changes in order. `ack` says that they are done; a batch that is not acknowledged comes again after a restart."""

    def __init__(self, events: EncodedBatch, handoff: Handoff, number: int) -> None:
        self._events = events
        self._handoff = handoff
        self._number = number

    def __iter__(self) -> Iterator[Change]:
        return iter(self.changes)

    def __len__(self) -> int:
        return len(self._events)

    @property
    def changes(self) -> list[Change]:
        """The changes, decoded; tombstones are left out."""
        events = self._events
        return [
            _change(topic, key, value, id)
            for topic, key, value, id in zip(
                events.topics, events.keys, events.values, events.ids, strict=True
            )
            if value is not None
        ]

    def ack(self) -> None:
        """This batch and all before it are done. Cumulative."""
        self._handoff.acknowledge(self._number)


class Handoff:
    """A `Publisher` that hands batches to another thread and calls durable what that thread acknowledges.

    memory: bytes that may wait for the caller.
    """

    owns_state = False

    def __init__(self, memory: int) -> None:
        self._memory = memory
        self._changed = threading.Condition()
        self._waiting: deque[tuple[int, EncodedBatch]] = deque()
        self._weight = 0
        self._states: deque[tuple[int, State]] = deque()
        self._accepted = 0
        self._done = 0
        self._ended = False

    # -- the loop's side

    def ready(self, timeout: float) -> bool:
        """See `Publisher.ready`."""
        with self._changed:
            return self._changed.wait_for(lambda: self._weight < self._memory, timeout)

    def publish(self, batch: EncodedBatch, state: State | None) -> None:
        """See `Publisher.publish`. A state without events is done when all before it are."""
        with self._changed:
            if len(batch):
                self._accepted += 1
                self._waiting.append((self._accepted, batch))
                self._weight += batch.size()
            if state is not None:
                self._states.append((self._accepted, state))
            self._changed.notify_all()

    def durable(self) -> State | None:
        """See `Publisher.durable`."""
        merged: dict[str, bytes] = {}
        with self._changed:
            while self._states and self._states[0][0] <= self._done:
                merged.update(self._states.popleft()[1])
        return merged or None

    def flush(self, timeout: float) -> bool:
        """See `Publisher.flush`."""
        with self._changed:
            return self._changed.wait_for(lambda: self._done >= self._accepted or self._ended, timeout)

    def close(self) -> None:
        """See `Publisher.close`."""

    # -- the caller's side

    def take(self) -> tuple[int, EncodedBatch] | None:
        """The next batch; None after half a second."""
        with self._changed:
            if not self._changed.wait_for(lambda: bool(self._waiting), _WAIT):
                return None
            number, batch = self._waiting.popleft()
            self._weight -= batch.size()
            self._changed.notify_all()
            return number, batch

    def acknowledge(self, number: int) -> None:
        """Batch `number` and all before it are done."""
        with self._changed:
            self._done = max(self._done, number)
            self._changed.notify_all()

    def end(self) -> None:
        """The caller takes and acknowledges nothing more."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()


def stream(
    url: str,
    *,
    mode: str = "log",
    tables: Sequence[str] = (),
    exclude: Sequence[str] = (),
    name: str | None = None,
    snapshot: str | None = None,
    once: bool = False,
    settings: Mapping[str, Any] | None = None,
) -> Iterator[ChangeBatch]:
    """Batches of the changes of a database, existing rows first.

    Without `name` it is a trial: nothing is kept, nothing stays behind. With one, slot and position are durable, and the
    next call goes on behind the last acknowledged batch. once: end with what was committed before the start.
    settings: further keys of the configuration, ``{"limits.memory": "64MiB"}``. Raises `LiberatorError`; closing the
    iterator (or leaving the loop) ends the connector.
    """
    options: dict[str, Any] = {"source": url, "mode": mode, "name": name, "snapshot": snapshot}
    options["table"], options["exclude"] = list(tables), list(exclude)
    options["set"] = [f"{key}={value}" for key, value in (settings or {}).items()]
    config = from_options(options)
    if config.source.mode == "outbox":
        raise ConfigError(
            "the events of an outbox are no changes of rows",
            code="config.not_supported",
            where="mode",
            fix="run the connector with publish.url local:DIR, and read that",
        )
    if config.format.envelope != "debezium":
        raise ConfigError(
            "changes are read out of Debezium's envelope, which is the one with everything in it",
            code="config.not_supported",
            where="format.envelope",
            fix="leave it out",
        )
    handoff = Handoff(config.limits.memory // 2)
    connector = make_connector(config, How(lambda: handoff, once=once, trial=name is None))
    return _batches(connector, handoff)


def _batches(connector: Running, handoff: Handoff) -> Iterator[ChangeBatch]:
    failure: list[BaseException] = []

    def run() -> None:
        try:
            connector.capture.run()
        except BaseException as error:  # handed to the caller's thread, whatever it is
            failure.append(error)

    thread = threading.Thread(target=run, name="liberator", daemon=True)
    with closing(connector):
        thread.start()
        try:
            while True:
                alive = thread.is_alive()
                taken = handoff.take()
                if taken is not None:
                    yield ChangeBatch(taken[1], handoff, taken[0])
                elif not alive:
                    break
            if failure:
                raise failure[0]
        finally:
            connector.capture.stop()
            handoff.end()
            thread.join()


def _change(topic: str, key: bytes | None, value: bytes, id: bytes) -> Change:
    event = orjson.loads(value)
    source = event["source"]
    return Change(
        op=event["op"],
        schema=source["schema"],
        table=source["table"],
        key=None if key is None else orjson.loads(key),
        before=event["before"],
        after=event["after"],
        id=id.decode(),
        topic=topic,
        unchanged=tuple(source.get("unchanged", ())),
        source=source,
    )
