"""First and last rows of a snapshot are marked, whatever order the workers finish in."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from liberator.source.snapshot import Marker, SnapshotBatch


def batch(rows: int) -> SnapshotBatch:
    return SnapshotBatch(frames=[b"row\n"] * rows)


def marks(batches: Sequence[SnapshotBatch]) -> list[str]:
    return [b.marks.get(index, "true") for b in batches for index in range(len(b.frames))]


def test_marks_the_rows_of_one_table() -> None:
    marker = Marker()
    out = [
        *marker.rows(1, batch(2)),
        *marker.rows(1, batch(2)),
        *marker.table_ends(1, {"t": b"1"}, last=True),
    ]
    assert marks(out) == ["first", "true", "true", "last"]
    assert out[-1].state == {"t": b"1"}


def test_marks_the_borders_between_tables() -> None:
    marker = Marker()
    out = [
        *marker.rows(1, batch(3)),
        *marker.table_ends(1, None, last=False),
        *marker.rows(2, batch(3)),
        *marker.table_ends(2, None, last=True),
    ]
    assert marks(out) == [
        "first",
        "true",
        "last_in_data_collection",
        "first_in_data_collection",
        "true",
        "last",
    ]


def test_a_single_row_is_the_last_one() -> None:
    marker = Marker()
    assert marks([*marker.rows(1, batch(1)), *marker.table_ends(1, None, last=True)]) == ["last"]


def test_the_last_row_is_marked_though_empty_tables_follow() -> None:
    marker = Marker()
    out = [
        *marker.rows(1, batch(2)),
        *marker.table_ends(1, {"a": b"1"}, last=False),
        *marker.table_ends(2, {"b": b"1"}, last=True),
    ]
    assert marks(out) == ["first", "last"]
    assert [b.state for b in out] == [{"a": b"1"}, {"b": b"1"}]


def test_a_snapshot_without_rows_still_ends_its_tables() -> None:
    out = Marker().table_ends(1, {"a": b"1"}, last=True)
    assert [(list(b.frames), b.state) for b in out] == [([], {"a": b"1"})]


@given(
    st.lists(st.lists(st.integers(1, 3), max_size=4), min_size=1, max_size=4),
    st.randoms(use_true_random=False),
)
def test_no_row_and_no_state_is_lost_and_states_come_after_their_rows(
    tables: list[list[int]], random: object
) -> None:
    """Chunks of several tables interleave in any order; each table ends after its own."""
    steps = [(oid, size) for oid, sizes in enumerate(tables) for size in sizes]
    random.shuffle(steps)  # type: ignore[attr-defined]  # hypothesis gives a random.Random
    marker = Marker()
    out: list[SnapshotBatch] = []
    left = {oid: len(sizes) for oid, sizes in enumerate(tables)}
    ended = 0

    def end(oid: int) -> None:
        nonlocal ended
        ended += 1
        out.extend(marker.table_ends(oid, {str(oid): b"1"}, last=ended == len(tables)))

    for oid in [oid for oid, count in left.items() if count == 0]:
        end(oid)
    for oid, size in steps:
        out.extend(marker.rows(oid, SnapshotBatch(frames=[b"%d" % oid] * size)))
        left[oid] -= 1
        if left[oid] == 0:
            end(oid)
    assert sorted(row for b in out for row in b.frames) == sorted(
        b"%d" % oid for oid, sizes in enumerate(tables) for size in sizes for _ in range(size)
    )
    seen = [marks([b]) for b in out]
    flat = [mark for each in seen for mark in each]
    assert flat.count("last") == (1 if flat else 0)
    assert flat[-1:] in ([], ["last"])
    for oid in range(len(tables)):
        at = next(index for index, b in enumerate(out) if str(oid) in (b.state or {}))
        assert not any(b"%d" % oid in b.frames for b in out[at + 1 :])
