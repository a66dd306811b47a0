"""The capture loop: source -> plan -> publish -> checkpoint -> source.ack. Knows only the protocols.

Theory of operation. Durable, save, ack, in this order and never otherwise (Invariant 1): what the publisher reports as
durable is merged into one delta, saved, and only then acknowledged to the source. A lost source is opened again where the
stream stands, with the publisher's buffer untouched; a lost broker or checkpoint ends the session, and the next one starts
from what is saved. So does a freeze in which another instance may have taken over: before anything is published the source
must be ours, and then the checkpoint. Exactly once: a publisher that owns the state saves it in the transaction of its
events. It takes over when the source is ours, so that whoever waits for the source disturbs nobody, and any loss ends the
session. What an error means is decided in `liberator.policy`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from liberator.change import Batch, EncodedBatch, State
from liberator.errors import CheckpointError, ContractError, LiberatorError, PublishError, SourceError
from liberator.ledger import Ledger, merge
from liberator.policy import Action, Backoff, decide
from liberator.protocols import Encoder, OwningPublisher, Publisher, Source, Watch

log = logging.getLogger(__name__)

COUNT = "events"
"""Partition that travels with every batch to the publisher and back, and is never saved: how many events came so far, so
that the durable ones can be counted."""

_BUSY = frozenset({"postgres.55006", "source.in_use"})
"""Another session has the slot, or reads the tables: this instance stands by. If they were ours before, the other may have
taken over."""

_FROZEN = "source.frozen"
"""We stood still for so long that the slot may be another's: what was read and accepted before is thrown away."""

_POLL_BYTES = 1024 * 1024
_POLL_SECONDS = 0.2
_READY_SECONDS = 0.1
_REST_SECONDS = 2.0
"""How long a connector that is to end reads on to the end of a transaction, of which a part is published already."""

_PROVEN_SECONDS = 30.0
"""How long things must move on after a schema registry did not answer, until that counts as over: the place at which a
snapshot begins, before the row that waits for its schema, is another one each time."""


@dataclass(frozen=True, slots=True)
class CaptureSettings:
    """once: end at what was committed before the start. max_events: end after so many. trial: nothing is kept, so nothing
    can be resumed. save_interval: seconds between two saves. drain: seconds for the way out. patience: seconds for a first
    connection, and in a bounded run for any stretch of attempts without progress; busy_patience: for a slot that another
    session uses, None: for ever."""

    once: bool = False
    max_events: int | None = None
    trial: bool = False
    save_interval: float = 0.5
    drain: float = 9.0
    patience: float = 60.0
    busy_patience: float | None = None


def _changed(state: State, before: State, after: State) -> dict[str, bytes]:
    """`state`, with what the source had remembered while it was opened: no batch will say it, and it goes on from there."""
    changed = dict(state)
    for partition in before.keys() | after.keys():
        if before.get(partition) != after.get(partition):
            merge(changed, {partition: after.get(partition, b"")})
    return changed


class Capture:
    """One connector's loop. `run` returns when it is done or stopped; `stop` may be called from a signal handler.

    publisher: makes the publisher of one session. opened: called when the source is open, with the state it resumed from;
    gives the encoder. watch: telemetry.
    """

    def __init__(
        self,
        source: Source,
        publisher: Callable[[], Publisher],
        ledger: Ledger,
        opened: Callable[[State], Encoder],
        watch: Watch,
        settings: CaptureSettings,
        *,
        backoff: Callable[[], Backoff],
        tick: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._make_publisher = publisher
        self._ledger = ledger
        self._opened = opened
        self._watch = watch
        self._settings = settings
        self._backoff = backoff
        self._tick = tick
        self._stopping = threading.Event()
        self._events = self._durable = 0
        self._ever_open = False
        self._handed: dict[str, bytes] = {}
        self._kept: dict[str, bytes] = {}
        self._unsaved: dict[str, bytes] = {}
        self._save_due = 0.0
        self._stopping_since: float | None = None
        self._doubted_until = 0.0

    @property
    def stopping(self) -> bool:
        """Was `stop` called?"""
        return self._stopping.is_set()

    def stop(self) -> None:
        """End soon: drain, save, acknowledge, leave."""
        self._stopping.set()

    def run(self) -> None:
        """Capture until done or stopped. Raises the `LiberatorError` that ends it."""
        backoff = self._backoff()
        while True:
            try:
                self._session(backoff)
                self._watch.state("stopped")
                return
            except LiberatorError as error:
                self._watch.error(error.code)
                decision = decide(error)
                if decision.action is Action.END:
                    log.info("%s", error)
                    self._watch.state("stopped")
                    return
                if (
                    decision.action is not Action.RETRY
                    or self._settings.trial
                    or self._expired(error, backoff)
                ):
                    self._watch.state("failed")
                    raise
                self._wait(error, backoff)
                if self.stopping and isinstance(error, PublishError):
                    raise

    # -- one session: one publisher, a source that may be opened several times

    def _session(self, backoff: Backoff) -> None:
        publisher = self._make_publisher()
        self._unsaved = {}
        owner = cast(OwningPublisher, publisher) if publisher.owns_state else None
        if owner is not None:
            self._events = self._durable  # the rest was not committed, and comes again
        try:
            saved = self._ledger.begin(glance=owner is not None)
            encoder = self._open(dict(saved), backoff, owner)
            while encoder is not None:
                try:
                    self._turn(publisher, encoder, backoff)
                    break
                except SourceError as error:
                    if error.code == _FROZEN:
                        raise
                    encoder = self._reopen(error, publisher, backoff)
            self._drain(publisher)
        except LiberatorError as error:
            self._salvage(publisher, error, backoff)
            raise
        finally:
            self._source.close()
            publisher.close()

    def _turn(self, publisher: Publisher, encoder: Encoder, backoff: Backoff) -> None:
        """Batch after batch until the last one."""
        while not self._ends(publisher, encoder):
            self._watch.beat()
            if self._settle(publisher):
                self._moved(backoff)
            if not publisher.ready(_READY_SECONDS):
                self._watch.state("waiting")
                continue
            batch = self._source.poll(_POLL_BYTES, _patience(publisher))
            self._watch.received(batch, encoder.committed_us)
            events = encoder.encode(batch)
            state = self._state_of(batch, encoder)
            inside = encoder.inside() if publisher.owns_state and state is None else None
            final = batch.final
            if (
                self._settings.max_events is not None
                and self._events + len(events) >= self._settings.max_events
            ):
                final = True
                if cut(events, self._settings.max_events - self._events):
                    state, inside = (
                        None,
                        {},
                    )  # part of a batch: it comes again when somebody goes on from here
            self._publish(publisher, events, state, inside)
            if final:
                return

    def _ends(self, publisher: Publisher, encoder: Encoder) -> bool:
        """Is it to stop, and here? In the middle of a transaction what is published of it would come again."""
        if not self.stopping:
            return False
        if self._stopping_since is None:
            self._stopping_since = self._tick()
        if publisher.owns_state or not encoder.inside():
            return True
        return self._tick() - self._stopping_since >= _REST_SECONDS

    def _publish(
        self, publisher: Publisher, events: EncodedBatch, state: State | None, inside: State | None
    ) -> None:
        if not len(events) and state is None and not events.control:
            return
        self._events += len(events)
        if publisher.owns_state:
            cast(OwningPublisher, publisher).publish(events, state, inside)
        else:
            publisher.publish(events, {**(state or {}), COUNT: b"%d" % self._events})
        if state is not None:
            merge(self._handed, state)
        if len(events):
            self._watch.published(events.counts(), events.size())

    def _state_of(self, batch: Batch, encoder: Encoder) -> State | None:
        if batch.state is None:
            return None
        return {**encoder.history(), **batch.state}

    def _settle(self, publisher: Publisher, *, now: bool = False) -> bool:
        """Durable, save, ack (Invariant 1). True: the run has moved on; what is only accepted may be lost and come again."""
        durable = dict(publisher.durable() or {})
        if publisher.owns_state:
            self._watch.durable(count := cast(OwningPublisher, publisher).durable_events())
            self._durable += count
        elif count := int(durable.pop(COUNT, b"0")):
            self._watch.durable(count - self._durable)
            self._durable = count
        self._unsaved.update(durable)
        moved = self._acknowledge(self._ledger.saved(wait=now))
        if not self._unsaved or self._ledger.saving or (not now and self._tick() < self._save_due):
            return moved
        delta, self._unsaved = self._unsaved, {}
        if publisher.owns_state:
            return self._acknowledge(delta) or moved
        self._ledger.begin_saving(delta)
        return self._acknowledge(self._ledger.saved(wait=now)) or moved

    def _acknowledge(self, saved: State | None) -> bool:
        """True: it is not what was saved before."""
        if saved is None:
            return False
        self._source.ack(saved)
        self._save_due = self._tick() + self._settings.save_interval
        self._watch.checkpoint_saved()
        moved = any(self._kept.get(partition) != value for partition, value in saved.items())
        self._kept.update(saved)
        return moved

    def _moved(self, backoff: Backoff) -> None:
        """What was saved is not what was saved before: the next failure is a first one."""
        if self._tick() >= self._doubted_until:
            backoff.reset()

    def _drain(self, publisher: Publisher) -> None:
        """The way out: everything accepted becomes durable, is saved and acknowledged."""
        self._watch.state("draining")
        since = self._stopping_since
        spent = 0.0 if since is None else self._tick() - since
        complete = publisher.flush(max(0.0, self._settings.drain - spent))
        self._settle(publisher, now=True)
        if not complete:
            raise PublishError(
                f"the publisher did not take everything within {self._settings.drain:g} s; the position stands before it",
                code="publish.drain",
                fix="nothing is lost: what is missing is sent again at the next start",
            )

    def _salvage(self, publisher: Publisher, error: LiberatorError, backoff: Backoff) -> None:
        """Before leaving with an error: what became durable is saved, if that still works."""
        if error.code == _FROZEN:
            return
        try:
            if not isinstance(error, (PublishError, CheckpointError)):
                publisher.flush(self._settings.drain)
            if not isinstance(error, CheckpointError) and self._settle(publisher, now=True):
                self._moved(backoff)
        except LiberatorError as second:
            log.debug("saving on the way out failed: %s", second)

    # -- opening

    def _open(self, state: State, backoff: Backoff, owner: OwningPublisher | None = None) -> Encoder | None:
        """Open the source, waiting as long as that makes sense; None: stopped meanwhile. owner: takes over then."""
        while not self.stopping:
            self._watch.state("starting" if not self._ever_open else "reconnecting")
            try:
                before = dict(self._ledger.state)
                self._source.open(state)
                state = _changed(state, before, self._ledger.state)
                if not self._is_newest(owner):
                    # Another instance went on until the source was ours; what it had under way is decided now.
                    self._source.close()
                    state = dict(self._ledger.state)
                    continue
                encoder = self._opened(state)
            except CheckpointError as error:
                if error.code == "checkpoint.fenced":
                    raise
                newer = dict(self._ledger.load())
                if newer == state:
                    raise
                state = newer  # another instance went on in between
                continue
            except SourceError as error:
                if error.code in _BUSY:
                    self._ledger.confirm()
                patient = not self._settings.trial or error.exit_code == 3
                if not error.retryable or not patient or self._expired(error, backoff):
                    raise
                self._watch.error(error.code)
                self._wait(error, backoff)
                if not self._ever_open:
                    state = dict(self._ledger.load())
                continue
            self._ever_open = True
            self._handed = dict(state)
            self._watch.state("streaming")
            return encoder
        return None

    def _is_newest(self, owner: OwningPublisher | None) -> bool:
        """The source is ours, and from now on so is saving: is what it resumed from what is saved?"""
        if owner is None:
            return self._ledger.hold()
        return self._ledger.handed_over(owner.take_over())

    def _reopen(self, error: SourceError, publisher: Publisher, backoff: Backoff) -> Encoder | None:
        """The source was lost: open it again where the stream stands. The publisher keeps what it has."""
        if not error.retryable or self._settings.trial or self._expired(error, backoff):
            raise error
        self._watch.reconnect()
        if publisher.owns_state:
            raise error
        self._watch.error(error.code)
        self._source.close()
        self._wait(error, backoff)
        if self._settle(publisher, now=True):
            backoff.reset()
        return self._open(dict(self._handed), backoff)

    def _expired(self, error: LiberatorError, backoff: Backoff) -> bool:
        """Has this been tried for as long as it makes sense? What once worked is tried for ever, but not by a run that
        shall end: a server that fails at one place of its WAL each time lets itself be connected to."""
        limit = self._settings.busy_patience if error.code in _BUSY else self._settings.patience
        if self._ever_open and error.code not in _BUSY and not self._settings.once:
            return False
        return limit is not None and backoff.elapsed() >= limit

    def _wait(self, error: LiberatorError, backoff: Backoff) -> None:
        self._watch.state("standby" if error.code in _BUSY else "reconnecting")
        delay = backoff.next()
        log.warning("%s; trying again in %.1f s%s", error, delay, f" ({error.fix})" if error.fix else "")
        end = self._tick() + delay
        if isinstance(error, ContractError):
            self._doubted_until = end + _PROVEN_SECONDS
        while not self.stopping and (left := end - self._tick()) > 0:
            self._watch.beat()
            self._stopping.wait(min(left, 1.0))


def _patience(publisher: Publisher) -> float:
    """Seconds to wait for the source."""
    if not publisher.owns_state:
        return _POLL_SECONDS
    return cast(OwningPublisher, publisher).soon(_POLL_SECONDS)


def cut(events: EncodedBatch, size: int) -> bool:
    """Leave the first `size` events; True: some were cut off."""
    if len(events) <= size:
        return False
    for column in events.columns():
        del column[size:]
    return True
