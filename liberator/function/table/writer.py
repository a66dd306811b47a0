"""The function `table`: events become rows, and the offsets stand in their transaction.

Theory of operation. One invocation at a time, the events of a partition in their order, nothing begun while a dead
letter is not durable (`DispatchSettings.in_turn`): so whatever comes before the events of an invocation is done, and
one number for each partition says what is. A transaction locks these numbers, leaves out what they say is done
already, writes what is left, each row once, and moves them. A crash leaves all of it or nothing; what comes again is
left out.

A row that the database refuses is found by halving, and given up: its offset stands with the others as refused, as
its dead letter is published after the transaction. If that does not become durable, the event comes again and is
given up again, and nothing that was written after it is touched. What is not a row's fault (a lost connection, a
table that is gone) ends the session: `policy` decides whether the next one tries again. No event is given up for
that.

Enters: events. Leaves: outcomes. Called by the dispatch loop, through ``threads``; `places` by its consumer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy import exc

from liberator.change import Event, TopicPartition
from liberator.errors import FunctionError
from liberator.function.context import Context
from liberator.function.table import database
from liberator.function.table.changes import Change, change_of, net
from liberator.function.table.offsets import Done, OffsetTable
from liberator.function.table.target import Target, TargetSettings
from liberator.function.threads import ThreadInvocations
from liberator.protocols import Outcome

Truncate = Literal["apply", "anyway", "ignore"]


@dataclass(frozen=True, slots=True)
class TableSettings:
    """url: of the database. connector: whose offsets. truncate: what a truncate of the source does: `apply` deletes
    all rows if the topic has one partition, and is refused if it has more, as nobody knows which of their rows came
    before it; `anyway` does not ask; `ignore`. stops: an event that is given up ends the connector, so nothing behind
    it is done. timeout: seconds of a statement."""

    url: str
    connector: str
    target: TargetSettings
    truncate: Truncate = "apply"
    stops: bool = False
    timeout: float = 30.0


class TableFunction:
    """See `liberator.function.threads.Callee`; never called twice at a time. Raises `PreconditionError`,
    `FunctionError`."""

    def __init__(self, settings: TableSettings) -> None:
        self.name = settings.target.named
        self._settings = settings
        self._engine = database.connect(settings.url, settings.timeout)
        self._partitions: Mapping[str, int] = {}
        self._offsets = OffsetTable(settings.connector, settings.target.schema)
        try:
            self._offsets.make(self._engine)
            self._target = Target(self._engine, settings.target)
        except exc.SQLAlchemyError as error:
            self._engine.dispose()
            raise database.failure(error, self.name) from error
        except BaseException:
            self._engine.dispose()
            raise

    def places(
        self, committed: Mapping[TopicPartition, int], partitions: Mapping[str, int]
    ) -> dict[TopicPartition, int | None]:
        """Where to begin in partitions; None: the table knows nothing of it. committed: what the group has done.
        partitions: how many each topic has."""
        self._partitions = partitions
        try:
            with self._engine.begin() as connection:
                found = self._offsets.load(connection, committed.keys())
        except exc.SQLAlchemyError as error:
            raise database.failure(error, self.name) from error
        return {place: _begin(found.get(place), offset) for place, offset in committed.items()}

    def call(self, events: Sequence[Event], context: Context) -> Outcome:
        """Write them, in one transaction. Raises `LiberatorError` for what is no row's fault."""
        events = list(events)
        try:
            failures = self._apply(events)
            return Outcome(self._up_to(events, failures) if failures and self._settings.stops else failures)
        except exc.SQLAlchemyError as error:
            raise database.failure(error, self.name) from error

    def close(self) -> None:
        """Give the connections back."""
        self._engine.dispose()

    def _up_to(
        self, events: Sequence[Event], failures: Mapping[int, FunctionError]
    ) -> dict[int, FunctionError]:
        """Write what stands before the first failure; what stands behind it waits until somebody has seen to it."""
        end, error = min(failures.items(), key=lambda failure: failure[0])
        while found := self._apply(events[:end]):
            end, error = min(found.items(), key=lambda failure: failure[0])
        behind = FunctionError(
            "an event before it was given up", code="function.table_behind", retryable=True
        )
        return {end: error, **dict.fromkeys(range(end + 1, len(events)), behind)}

    def _apply(self, events: Sequence[Event]) -> dict[int, FunctionError]:
        """What could not be done, by index; if nothing may be given up, then nothing is written."""
        changes, failures = self._read(events)
        self._target.make_room([change.values for change in changes.values()])
        with self._engine.connect() as connection, connection.begin() as transaction:
            known = self._offsets.load(connection, {event.place for event in events}, lock=True)
            fresh: dict[int, Change] = {}
            for index, event in enumerate(events):
                done = known.get(event.place, Done())
                if event.offset >= done.next:
                    if index in changes:
                        fresh[index] = changes[index]
                elif event.offset in done.refused:
                    failures[index] = FunctionError(done.refused[event.offset], code="function.table_row")
                else:
                    failures.pop(index, None)
            failures.update(self._write(connection, fresh, events))
            if failures and self._settings.stops:
                transaction.rollback()
                return failures
            try:
                self._offsets.save(connection, _done(events, known, failures), known)
            except exc.IntegrityError as error:
                raise _conflict(self.name) from error
            transaction.commit()
        return failures

    def _read(self, events: Sequence[Event]) -> tuple[dict[int, Change], dict[int, FunctionError]]:
        changes: dict[int, Change] = {}
        failures: dict[int, FunctionError] = {}
        for index, event in enumerate(events):
            try:
                change = self._change(event)
            except FunctionError as error:
                failures[index] = error
                continue
            if not change.emptied or self._settings.truncate != "ignore":
                changes[index] = change
        return changes, failures

    def _change(self, event: Event) -> Change:
        """What an event does, as far as the order of partitions tells. Raises `FunctionError`."""
        change = change_of(event, self._target.key)
        in_order = self._partitions.get(event.topic, 1) == 1
        if change.emptied and self._settings.truncate == "apply" and not in_order:
            raise _cut(event)
        if (
            change.unsent
            and not (in_order and change.was)
            and set(change.unsent) & self._target.columns.keys()
        ):
            raise _half_a_row(event, change)
        if change.heir is not None and change.key is None and not in_order:
            # The events of the new key are another partition's, and may be done already, a delete among them.
            return replace(change, heir=None)
        return change

    def _write(
        self, connection: sa.Connection, changes: Mapping[int, Change], events: Sequence[Event]
    ) -> dict[int, FunctionError]:
        """Write all; halves of it, when a row is refused."""
        converted: dict[int, Change] = {}
        failures: dict[int, FunctionError] = {}
        for index, change in changes.items():
            try:
                converted[index] = self._converted(change)
            except ValueError as error:
                failures[index] = FunctionError(
                    f"the row does not fit {self.name}: {error}",
                    code="function.table_row",
                    where=_where(events[index]),
                    fix="change the column's type, or correct the row; then redrive the dead letter",
                )
        waiting = [list(converted)]
        while waiting:
            part = waiting.pop()
            if not part:
                continue
            try:
                with connection.begin_nested():
                    for writes in net(converted[index] for index in part):
                        self._target.statements.write(connection, writes)
            except (exc.DBAPIError, OverflowError) as error:
                if not database.blames_row(error):
                    raise
                if len(part) == 1:
                    failures[part[0]] = database.refusal(error, _where(events[part[0]]))
                else:
                    middle = len(part) // 2
                    waiting += [part[middle:], part[:middle]]
        return failures

    def _converted(self, change: Change) -> Change:
        columns, key = self._target.columns, self._target.key

        def converted(name: str, value: Any) -> Any:
            try:
                return None if value is None else columns[name](value)
            except (ValueError, TypeError, OverflowError) as error:
                raise ValueError(
                    f"column {name}: {error}" if type(error) is ValueError else f"column {name}"
                ) from None

        values = {name: converted(name, value) for name, value in change.values.items() if name in columns}
        return Change(
            gone=None if change.gone is None else tuple(map(converted, key, change.gone)),
            heir=None if change.heir is None else tuple(map(converted, key, change.heir)),
            key=None if change.key is None else tuple(values[name] for name in key),
            values=values,
            emptied=change.emptied,
        )


class TableInvocations(ThreadInvocations):
    """See `liberator.protocols.Invocations` and `TableFunction.places`. timeout: seconds."""

    def __init__(self, function: TableFunction, timeout: float) -> None:
        super().__init__(function, most=1, timeout=timeout)
        self.places = function.places


def _begin(done: Done | None, committed: int) -> int | None:
    """The first offset that has to be read. What the group has committed is durable, dead letters too."""
    if done is None:
        return None
    return min([done.next, *(offset for offset in done.refused if offset >= committed)])


def _done(
    events: Sequence[Event], known: Mapping[TopicPartition, Done], failures: Mapping[int, FunctionError]
) -> dict[TopicPartition, Done]:
    """What the table says after these events. Events come in their order, so what was refused before them is durable
    by now; what of them is, and what comes again later, is not."""
    last = {event.place: event.offset for event in events}
    done: dict[TopicPartition, Done] = {}
    for place, offset in last.items():
        before = known.get(place, Done())
        later = {at: why for at, why in before.refused.items() if at > offset}
        done[place] = Done(max(before.next, offset + 1), later)
    for index, error in failures.items():
        place, offset = events[index].place, events[index].offset
        done[place] = Done(done[place].next, {**done[place].refused, offset: error.what})
    return done


def _conflict(name: str) -> FunctionError:
    return FunctionError(
        "another member has just written the first rows of a partition that this one writes, too",
        code="function.table_conflict",
        where=name,
        fix="nothing to do: the next session finds them done",
        retryable=True,
    )


def _cut(event: Event) -> FunctionError:
    return FunctionError(
        "the source was truncated, and nobody knows which rows of other partitions came before",
        code="function.table_truncate",
        where=_where(event),
        fix="give the topic one partition, or set function.table.truncate: anyway (or ignore)",
    )


def _half_a_row(event: Event, change: Change) -> FunctionError:
    return FunctionError(
        f"the row has another key now, and was sent without {', '.join(change.unsent)}, which did not change",
        code="function.table_unsent",
        where=_where(event),
        fix="have whole rows sent (in the source: ALTER TABLE ... REPLICA IDENTITY FULL), or give the topic one partition;"
        " then update this row in the source, so that it comes whole",
    )


def _where(event: Event) -> str:
    return f"{event.topic}/{event.partition} at offset {event.offset}"
