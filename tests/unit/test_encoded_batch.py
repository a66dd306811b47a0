"""Events that are still together, among others that are columns."""

from __future__ import annotations

from dataclasses import dataclass

from liberator.capture import cut
from liberator.change import Columns, EncodedBatch, Record
from liberator.publish.ndjson import encode


@dataclass
class Together:
    """So many events of one topic, in the place of the native executor's."""

    count: int
    given: int = 0

    def __len__(self) -> int:
        return self.count

    def size(self) -> int:
        return 2 * self.count

    def counts(self) -> dict[str, int]:
        return {"t": self.count}

    def lines(self) -> bytes | None:
        return b"packed\n" * self.count

    def give(self, columns: Columns) -> None:
        self.given += 1
        topics, keys, values, ids, headers = columns
        topics += ["t"] * self.count
        keys += [b"k"] * self.count
        values += [b"v"] * self.count
        ids += [b"p/%d" % number for number in range(self.count)]
        headers += [None] * self.count


def test_events_stay_together_until_somebody_looks_at_a_column() -> None:
    batch, events = EncodedBatch(), Together(2)
    batch.take(events)
    assert (len(batch), batch.size(), dict(batch.counts()), batch.packed()) == (2, 4, {"t": 2}, [events])
    assert events.given == 0
    assert batch.ids == [b"p/0", b"p/1"]
    assert (len(batch), batch.size(), dict(batch.counts()), batch.packed()) == (2, 4, {"t": 2}, None)
    assert (batch.topics, batch.headers, events.given) == (["t", "t"], [None, None], 1)


def test_others_come_in_their_order() -> None:
    batch = EncodedBatch()
    batch.take(Together(1))
    batch.add("u", b"1", b"2", b"own", timestamp=5)
    batch.take(Together(2))
    assert (len(batch), dict(batch.counts()), batch.packed()) == (4, {"t": 3, "u": 1}, None)
    assert batch.ids == [b"p/0", b"own", b"p/0", b"p/1"]
    assert batch.timestamps == [None, 5, None, None]


def test_a_batch_is_cut_in_the_middle_of_what_is_together() -> None:
    batch = EncodedBatch()
    batch.take(Together(3))
    assert cut(batch, 2)
    assert batch.ids == [b"p/0", b"p/1"]


def test_control_records_come_to_their_places_among_them() -> None:
    batch = EncodedBatch(control=[Record("c", None, None, b"control", before=1)])
    batch.take(Together(2))
    assert batch.with_control().ids == [b"p/0", b"control", b"p/1"]


def test_lines_of_what_is_not_together_any_more_are_made_of_columns() -> None:
    batch = EncodedBatch()
    batch.take(Together(1))
    batch.add("u", b"1", b"2", b"own")
    assert encode(batch).splitlines()[0].endswith(b'"position":"p/0"}')
