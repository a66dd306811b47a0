"""The opening of a log source: may it start here, which tables, and what has to be made before the first batch.

Enters: settings, fresh connections and the resumed state. Leaves: a `Live` from which can be polled, or the error with
its way out. Called by the log source at each start and after each loss. Never streams, never acknowledges.

Theory of operation. What speaks against a start is found before anything is made. On a first start the intent, the slot,
its position and the tables to be read are saved one after the other, so a kill between any two of them is understood
at the next start (Invariant 5).
"""

from __future__ import annotations

import contextlib
import logging
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import psycopg

from liberator.change import Batch, State
from liberator.errors import PreconditionError
from liberator.postgres import publications
from liberator.postgres.catalogue import TableInfo, list_tables
from liberator.postgres.locks import lockers
from liberator.postgres.replication import ReplicationConnection, System
from liberator.postgres.selection import Selection
from liberator.postgres.session import connect, impatient, source_error
from liberator.postgres.slots import Slot, drop_slot, find_slot
from liberator.source.outstanding import Outstanding, Reread, unique
from liberator.source.position import (
    PUBLICATIONS,
    SLOT,
    SlotPosition,
    TablePosition,
    encode_publications,
    publications_of,
    tables_of,
)
from liberator.source.reader import Segment, StreamReader
from liberator.source.settings import LogSettings
from liberator.source.snapshot import Snapshot
from liberator.source.start import (
    RENEWABLE,
    check_readable,
    check_wal_level,
    flush_lsn,
    judge,
    require_inactive,
)
from liberator.source.tables import (
    choose,
    refuse_hidden_exclusions,
    require_present,
    require_published,
    shape_notes,
)

log = logging.getLogger(__name__)

_LOCKED = 5.0
"""Seconds to wait for a table that the application has locked, before the start is tried again."""

Approve = Callable[[System, Sequence[TableInfo]], None]
"""Looks at the chosen tables before anything is made for them; raises what speaks against them."""


@dataclass(slots=True)
class Live:
    """What exists while a log source is open.

    position: whose stream it is, and where it begins; None: nothing is streamed. saved: everything before it is, for
    sure; None: that is not for this opening to say. handed: everything before it was handed on. catch_up: where the
    stream must be before anything is read again. snapshot: being read now. reread: to be read when its place is reached.
    held: what the stream brought beyond that place. ended: there is nothing (more) to do. publishes_selection: is the
    publication made of the configured tables? publications: their oids. made: a trial's publications, to be taken away.
    """

    system: System
    catalogue: psycopg.Connection[Any]
    side: psycopg.Connection[Any]
    replication: ReplicationConnection
    outstanding: Outstanding
    position: SlotPosition | None = None
    saved: int | None = None
    handed: int = 0
    catch_up: int = 0
    server_lsn: int = 0
    ended: bool = False
    publishes_selection: bool = False
    publications: dict[str, int] = field(default_factory=dict)
    made: list[str] = field(default_factory=list)
    reader: StreamReader | None = None
    snapshot: Snapshot | None = None
    reread: Reread | None = None
    held: deque[Segment] = field(default_factory=deque)
    ready: deque[Batch] = field(default_factory=deque)

    def snapshots(self) -> list[Snapshot]:
        """Those that have begun."""
        later = [] if self.reread is None else [self.reread.snapshot]
        return later if self.snapshot is None else [self.snapshot, *later]


def connections(
    settings: LogSettings,
) -> tuple[System, psycopg.Connection[Any], psycopg.Connection[Any], ReplicationConnection]:
    """The three that a log source needs, or none: for the catalogue, at the side, and for replication; and to whom."""
    with ExitStack() as opened:
        catalogue = opened.enter_context(contextlib.closing(connect(settings.url, settings.name)))
        side = opened.enter_context(contextlib.closing(connect(settings.url, settings.name)))
        replication = opened.enter_context(
            contextlib.closing(ReplicationConnection(settings.url, settings.name))
        )
        system = replication.identify()
        opened.pop_all()
    return system, catalogue, side, replication


class Opening:
    """One opening. first: the process's first, so that ``snapshot: always`` applies, and what is resumed from is saved."""

    def __init__(
        self,
        settings: LogSettings,
        live: Live,
        *,
        save: Callable[[State], None],
        approve: Approve,
        first: bool,
    ) -> None:
        self._settings = settings
        self._live = live
        self._outstanding = live.outstanding
        self._save = save
        self._approve = approve
        self._first = first

    def run(self, resume: State, *, stream: bool) -> None:
        """Decide and prepare. stream: False makes publication and slot of a first start and leaves everything else for
        the next. Raises what speaks against a start."""
        live, settings, catalogue = self._live, self._settings, self._live.catalogue
        check_wal_level(catalogue)
        position = SlotPosition.decode(resume[SLOT]) if SLOT in resume else None
        if settings.snapshot == "initial_only" and not settings.trial:
            known = tables_of(resume)
            live.ended = bool(known) and all(table.done is not None for table in known.values())
            position = None
        slot = (
            None
            if settings.trial or settings.snapshot == "initial_only"
            else find_slot(catalogue, settings.slot)
        )
        live.server_lsn = flush_lsn(catalogue)
        position = self._resumable(position, slot)
        if slot is not None:
            require_inactive(slot)
        if live.ended:
            log.info("the snapshot is complete already (snapshot: initial_only)")
            return
        fresh = position is None or not position.created
        try:
            with impatient(catalogue, _LOCKED):
                self._choose_tables(resume, first=fresh)
        except psycopg.errors.LockNotAvailable as error:
            raise source_error(error, f"starting the log source, held up by {lockers(catalogue)}") from None
        self._approve(live.system, self._outstanding.tables)
        if fresh or position is None:
            if slot is not None:
                drop_slot(catalogue, slot.name)
            self._start_fresh(resume, stream)
        elif stream:
            self._start_again(position, resume)

    def _resumable(self, position: SlotPosition | None, slot: Slot | None) -> SlotPosition | None:
        """Where to go on; None: anew."""
        settings, live = self._settings, self._live
        refusal = judge(
            live.system,
            live.server_lsn,
            position,
            slot,
            slot_name=settings.slot,
            publications=settings.publications,
        )
        if refusal is None:
            return position
        if settings.snapshot != "when_needed" or refusal.code not in RENEWABLE:
            raise refusal
        log.warning("%s; starting anew with a snapshot (snapshot: when_needed)", refusal.what)
        return None

    def _choose_tables(self, resume: State, *, first: bool) -> None:
        settings, live, catalogue = self._settings, self._live, self._live.catalogue
        tables = list_tables(catalogue)
        before = publications.find(catalogue, settings.publications, settings.name)
        if settings.trial:
            live.made = [name for name in settings.publications if name not in before]
        if settings.via_root_asked:
            publications.require_via_root(before.values(), settings.via_root)
        chosen = choose(tables, settings.selection, via_root=settings.via_root)
        for note in settings.selection.notes([(table.schema, table.name) for table in tables]):
            log.warning("%s", note)
        if first and settings.autocreate != "disabled" and not before:
            self._foresee(tables, chosen)
        names = publications.ensure(
            catalogue,
            settings.publications,
            chosen,
            connector=settings.name,
            autocreate=settings.autocreate,
            via_root=settings.via_root,
            lasting=not settings.trial,
            first=first,
        )
        live.publishes_selection = settings.autocreate == "filtered" and not any(
            found.all_tables or not found.ours for found in before.values()
        )
        self._outstanding.names = tuple(names)
        live.publications = publications.present(catalogue, names, {} if first else publications_of(resume))
        if live.publishes_selection:  # a table that is renamed while we run stays in it, and its rows come
            self._outstanding.selection = Selection(excluded=settings.selection.excluded)
        self._outstanding.look(tables)
        refuse_hidden_exclusions(tables, self._outstanding.tables, settings.selection)
        try:
            self._check_tables(tables)
        except PreconditionError as error:
            if first:
                raise
            log.warning("%s; what is left of its changes still comes", error.what)
        for note in shape_notes(self._outstanding.tables):
            log.warning("%s", note)

    def _foresee(self, tables: Sequence[TableInfo], chosen: Sequence[TableInfo]) -> None:
        """What would be refused once the publication is there is refused before it is made, as far as that can be told:
        under which names partitions come, only the publication says."""
        require_present(tables, self._settings.exact)
        if not chosen and not self._settings.messages_only:
            raise _no_tables()
        if not any(table.partitioned for table in chosen):
            self._approve(self._live.system, chosen)

    def _check_tables(self, tables: Sequence[TableInfo]) -> None:
        settings, chosen = self._settings, self._outstanding
        require_published(tables, chosen.shown, chosen.names, settings.exact)
        if not chosen.tables and not settings.messages_only:
            raise _no_tables()

    def _start_fresh(self, resume: State, stream: bool) -> None:
        """Intent, slot, position, snapshot: a kill between any two of them is understood at the next start."""
        live, settings = self._live, self._settings
        todo = [] if settings.snapshot == "never" else self._outstanding.tables
        check_readable(todo, live.catalogue.info.user)
        here = SlotPosition(
            live.system.identifier,
            live.system.timeline,
            live.system.database,
            settings.slot,
            settings.publications,
            0,
        )
        only = settings.snapshot == "initial_only"
        pending = self._outstanding.first(todo, _begun(resume))
        intent = {} if only else {SLOT: replace(here, created=False).encode()}
        self._save({**dict.fromkeys(resume, b""), **pending, **intent})
        slot = f"liberator_only_{unique()}" if only else settings.slot
        new = self._outstanding.create_slot(
            live.replication, slot, temporary=settings.trial or only, export=bool(todo)
        )
        here = here.at(new.consistent_lsn)
        if not only:
            self._save({SLOT: here.encode(), PUBLICATIONS: encode_publications(live.publications)})
        live.handed = live.saved = new.consistent_lsn
        if not stream:
            return
        if todo:
            live.snapshot = self._outstanding.begin(todo, new)
            if _begun(resume):
                live.ready.extend(self._outstanding.afresh(new.consistent_lsn))
        if not only:
            live.position = here

    def _start_again(self, position: SlotPosition, resume: State) -> None:
        live = self._live
        live.handed = position.lsn
        if self._first:
            # What a process resumes from is saved. A stream that is opened again stands where it was handed on to, and
            # that need not be durable yet (Invariant 1).
            live.saved = position.lsn
        if publications_of(resume) != live.publications:
            self._save({PUBLICATIONS: encode_publications(live.publications)})
        known = tables_of(resume)
        if self._settings.snapshot == "always" and self._first:
            self._outstanding.all_again(known)
        else:
            self._outstanding.resume(known)
        if todo := self._outstanding.todo():
            check_readable(todo, live.catalogue.info.user)
            log.info(
                "%d tables are still to be read, after the stream has caught up; rows that an interrupted snapshot"
                " has published come again",
                len(todo),
            )
        live.catch_up = flush_lsn(live.catalogue)
        live.position = position


def _begun(resume: State) -> dict[str, TablePosition]:
    """The tables of which an earlier life of the connector may have published rows."""
    waiting = SLOT in resume and not SlotPosition.decode(resume[SLOT]).created
    return {name: table for name, table in tables_of(resume).items() if table.afresh or not waiting}


def _no_tables() -> PreconditionError:
    return PreconditionError(
        "there is no table to capture: no table of this database is both configured and published",
        code="source.no_tables",
        where="source.tables",
        fix="check source.tables and source.exclude, and what the publication lists",
    )
