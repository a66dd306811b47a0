"""What executors ask of an envelope, whichever it is. Three steps, so that what is the same is put together once:

    envelope.table(schema, table)        -> a form,      once per table version
    form.logged(transaction)             -> its changes, once per transaction
    form.queried(when)                   -> its rows,    once per batch that a query read
    changes.row(op, before, after, ...)  -> value and headers, per event

Enters: JSON of rows as bytes, places and times. Leaves: values and headers. An implementation never parses rows, never
reads a clock, and gives `before` and `after` in the very bytes that it got. Headers are those of the envelope alone, None
for none; the id of an event, its key and further headers are the executor's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from liberator.change import Headers

NO_ROW = b"null"
"""In the place of `before` or `after`; also of metadata that there is none of."""


@dataclass(slots=True)
class Transaction:
    """Where the changes that follow come from.

    commit_lsn: LSN of the commit record, 0 in a snapshot. committed_us: microseconds since the Unix epoch.
    last_commit: the LSN of the commit before, None for none. number: counts transactions, so that what was put together
    for one is not used for another.
    """

    commit_lsn: int
    committed_us: int
    xid: int | None
    last_commit: int | None
    number: int


class LogForm(Protocol):
    """Changes of one table in one transaction, or rows of its snapshot.

    lsn: of the change. key: JSON, None for none. id: of the event. metadata: JSON of the place in the transaction, or null.
    """

    number: int
    """Of the transaction."""

    def row(
        self,
        op: bytes,
        before: bytes,
        after: bytes,
        lsn: int,
        key: bytes | None,
        id: bytes,
        unchanged: tuple[bytes, ...] = (),
        metadata: bytes = NO_ROW,
    ) -> tuple[bytes, Headers | None]:
        """Op ``c``, ``u`` or ``r``. unchanged: columns (JSON strings) whose value the server did not send."""

    def removed(
        self, before: bytes, lsn: int, key: bytes | None, id: bytes, forget: bool, metadata: bytes = NO_ROW
    ) -> tuple[bytes | None, Headers | None]:
        """Op ``d``. before: what the server sent of the row. forget: a tombstone follows, unless this is one already."""

    def tombstone(self, lsn: int, key: bytes | None, id: bytes) -> Headers | None:
        """The headers of what follows. id: its own."""

    def truncated(
        self, options: Sequence[str], lsn: int, id: bytes, metadata: bytes = NO_ROW
    ) -> tuple[bytes | None, Headers | None]:
        """Op ``t``. options: ``cascade``, ``restart_identity``."""

    def message(
        self, prefix: bytes, content: bytes, lsn: int, key: bytes, id: bytes
    ) -> tuple[bytes, Headers | None]:
        """Op ``m``, a logical message. prefix: JSON string; content: base64 as a JSON string."""


class QueryForm(Protocol):
    """Rows of one table that a query read. version: the transaction that wrote a row (JSON), or null."""

    def row(
        self, op: bytes, after: bytes, key: bytes | None, id: bytes, version: bytes = NO_ROW
    ) -> tuple[bytes, Headers | None]:
        """One row."""

    def rows(
        self,
        ops: Sequence[bytes],
        template: bytes,
        cells: Iterable[tuple[bytes, ...]],
        keys: Sequence[bytes | None],
        ids: Sequence[bytes],
        *,
        versions: bool,
    ) -> tuple[list[bytes], list[Headers | None]]:
        """Many rows at once. template: a row's JSON with a place for each cell. versions: behind its cells, each row has its
        version."""

    def removed(
        self, before: bytes, key: bytes | None, id: bytes, forget: bool, version: bytes = NO_ROW
    ) -> tuple[bytes | None, Headers | None]:
        """As in `LogForm`."""

    def tombstone(self, key: bytes | None, id: bytes, version: bytes = NO_ROW) -> Headers | None:
        """As in `LogForm`."""


class TableForm(Protocol):
    """What is the same for all events of a table."""

    def logged(self, transaction: Transaction, mark: bytes = b"false") -> LogForm:
        """For its changes in a transaction. mark: is it a snapshot, and where in it?"""

    def queried(self, read_us: int, mark: bytes) -> QueryForm:
        """For rows read at `read_us`, microseconds since the Unix epoch."""

    def described(self) -> Mapping[str, Any]:
        """All that `logged` knows, as data that JSON can say, for executors in other languages. kind: which form it is."""


class Envelope(Protocol):
    """The form of a connector's events."""

    def now(self, now_us: int) -> None:
        """Processing time of what follows, microseconds since the Unix epoch. It holds in forms made before, too."""

    def table(self, schema: str, table: str, contract: str | None = None) -> TableForm:
        """For the events of a table; both names are empty for messages that belong to none. contract: the URI of the
        stored contract that its rows keep, None for none."""

    def schema(self, topic: str, row: Mapping[str, Any]) -> dict[str, Any]:
        """The JSON Schema of the values of `topic`. row: that of the rows, whose references lead into ``#/$defs/row``."""


def names_array(names: Sequence[bytes]) -> bytes:
    """A JSON array of names that are JSON strings."""
    return b"[%b]" % b",".join(names)


def rows_of(
    template: bytes, cells: Iterable[tuple[bytes, ...]], *, versions: bool
) -> Iterator[tuple[bytes, bytes]]:
    """What `QueryForm.rows` gets, row by row: the JSON, and the version."""
    if versions:
        return ((template % row[:-1], row[-1]) for row in cells)
    return ((template % row, NO_ROW) for row in cells)
