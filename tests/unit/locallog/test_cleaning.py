"""Retention, compaction, tombstones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from liberator.change import ConsumedBatch, TopicPartition
from liberator.locallog import LocalLog, cleaning
from tests.unit.locallog.conftest import Clock
from tests.unit.locallog.events import append, keys, rows

AT = TopicPartition("t", 0)
HOUR = 3_600_000
DAY = 24 * HOUR


def clean(log: LocalLog) -> None:
    for _ in log.clean():
        pass


def partition(log: LocalLog) -> tuple[int, int]:
    """Records and bytes, as the log counts them."""
    with log.file.read() as connection:
        records, size = connection.execute(
            "SELECT records, bytes FROM partitions WHERE number = 0"
        ).fetchone()
    return records, size


@pytest.fixture(params=[3, 5_000], ids=["small steps", "one step"])
def any_step(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cleaning in steps of three records, and all at once."""
    monkeypatch.setattr(cleaning, "_STEP", request.param)


@pytest.mark.usefixtures("any_step")
class TestRetention:
    def test_records_go_when_their_time_is_over(self, log: LocalLog, clock: Clock) -> None:
        log.create_topic("t", 1, {"retention.ms": str(HOUR)})
        append(log, [(b"%d" % n, b"old") for n in range(10)])
        clock.now += HOUR
        append(log, [(b"%d" % n, b"new") for n in range(10, 15)])
        clean(log)
        assert len(rows(log)) == 15
        clock.now += 1
        clean(log)
        assert keys(log) == [b"10", b"11", b"12", b"13", b"14"]
        assert log.bounds(["t"])[AT] == (10, 15)
        assert partition(log) == (5, 5 * 5)

    def test_all_may_go_and_offsets_go_on(self, log: LocalLog, clock: Clock) -> None:
        log.create_topic("t")
        append(log, [(b"%d" % n, b"") for n in range(10)])
        clock.now += 8 * DAY
        clean(log)
        assert rows(log) == []
        assert partition(log) == (0, 0)
        append(log, [(b"10", b"")])
        assert rows(log) == [(10, b"10", b"")]

    def test_without_a_limit_nothing_goes(self, log: LocalLog, clock: Clock) -> None:
        log.create_topic("t", 1, {"retention.ms": "-1"})
        append(log, [(b"1", b"")])
        clock.now += 1_000 * DAY
        clean(log)
        assert len(rows(log)) == 1

    def test_the_oldest_go_when_there_are_too_many_bytes(self, log: LocalLog) -> None:
        log.create_topic("t", 2, {"retention.bytes": "1000"})
        append(log, [(b"", b"x" * 100) for _ in range(25)])
        append(log, [(b"", b"x" * 100) for _ in range(5)], partition=1)
        clean(log)
        assert [row.offset for row in rows(log)] == list(range(15, 25))
        assert partition(log) == (10, 1_000)
        assert len(rows(log, partition=1)) == 5

    def test_who_was_too_slow_goes_on_with_what_is_left(
        self, log: LocalLog, clock: Clock, caplog: pytest.LogCaptureFixture
    ) -> None:
        log.create_topic("t")
        append(log, [(b"%d" % n, b"") for n in range(10)])
        clock.now += 8 * DAY
        append(log, [(b"10", b"")])
        clean(log)
        batch = ConsumedBatch()
        assert log.read(AT, 4, 100, 1 << 20, batch) == 11
        assert batch.offsets == [10]
        assert "6 events of t/0 are gone before they were read" in caplog.text


@pytest.mark.usefixtures("any_step")
class TestCompaction:
    @pytest.fixture
    def log(self, log: LocalLog) -> LocalLog:
        log.create_topic("t", 1, {"cleanup.policy": "compact"})
        return log

    def test_the_newest_of_every_key_stays_where_it_was(self, log: LocalLog) -> None:
        append(log, [(b"%d" % (n % 4), b"%d" % n) for n in range(20)])
        append(log, [(b"2", b"last")])
        clean(log)
        assert rows(log) == [(16, b"0", b"16"), (17, b"1", b"17"), (19, b"3", b"19"), (20, b"2", b"last")]
        assert partition(log) == (4, 3 * 3 + 5)

    def test_readers_pass_the_gaps(self, log: LocalLog) -> None:
        append(log, [(b"k", b"%d" % n) for n in range(20)])
        clean(log)
        batch = ConsumedBatch()
        assert log.read(AT, 5, 100, 1 << 20, batch) == 20
        assert batch.offsets == [19]

    def test_what_was_compacted_is_compacted_again_with_what_is_new(self, log: LocalLog) -> None:
        for round in range(5):
            append(log, [(b"%d" % (n % 4), b"%d.%d" % (round, n)) for n in range(8)])
            clean(log)
        assert [row.value for row in rows(log)] == [b"4.4", b"4.5", b"4.6", b"4.7"]

    def test_waits_until_half_is_new(self, log: LocalLog) -> None:
        append(log, [(b"%d" % n, b"") for n in range(100)])
        clean(log)
        append(log, [(b"%d" % n, b"") for n in range(20)])
        clean(log)
        assert len(rows(log)) == 120
        append(log, [(b"%d" % n, b"") for n in range(80, 180)])
        clean(log)
        assert len(rows(log)) == 180

    def test_a_tombstone_removes_its_key_and_goes_after_a_day(self, log: LocalLog, clock: Clock) -> None:
        append(log, [(b"a", b"1"), (b"b", b"1"), (b"a", None)])
        clean(log)
        assert rows(log) == [(1, b"b", b"1"), (2, b"a", None)]
        clock.now += DAY - 1
        clean(log)
        assert len(rows(log)) == 2
        clock.now += 1
        clean(log)
        assert rows(log) == [(1, b"b", b"1")]
        assert log.bounds(["t"])[AT] == (0, 3)

    def test_an_old_tombstone_never_outlives_the_value_it_removes(self, log: LocalLog, clock: Clock) -> None:
        append(log, [(b"a", b"1"), (b"b", b"1")])
        append(log, [(b"a", None)])
        clock.now += 2 * DAY
        for _ in log.clean():
            assert rows(log) in ([(1, b"b", b"1")], [(1, b"b", b"1"), (2, b"a", None)])
        assert rows(log) == [(1, b"b", b"1")]

    def test_nothing_goes_by_its_age(self, log: LocalLog, clock: Clock) -> None:
        append(log, [(b"a", b"1")])
        clock.now += 100 * DAY
        clean(log)
        assert len(rows(log)) == 1

    def test_two_that_clean_at_once_do_no_harm(self, log: LocalLog, tmp_path: Path, clock: Clock) -> None:
        append(log, [(b"%d" % (n % 4), b"%d" % n) for n in range(20)])
        other = LocalLog(tmp_path / "log", now_ms=clock)
        mine, theirs = log.clean(), other.clean()
        next(mine, None)
        append(log, [(b"%d" % (n % 4), b"%d" % n) for n in range(20, 24)])
        clean(other)
        for cleaner in (mine, theirs):
            for _ in cleaner:
                pass
        clean(log)
        assert [row.value for row in rows(log)] == [b"20", b"21", b"22", b"23"]
        assert partition(log) == (4, 4 * 3)
        other.close()


def test_a_topic_may_be_compacted_and_forget_too(log: LocalLog, clock: Clock) -> None:
    log.create_topic("t", 1, {"cleanup.policy": "compact,delete", "retention.ms": str(HOUR)})
    append(log, [(b"a", b"1"), (b"a", b"2"), (b"b", b"1")])
    clean(log)
    assert len(rows(log)) == 2
    clock.now += HOUR + 1
    clean(log)
    assert rows(log) == []


def test_a_large_backlog_is_compacted_a_part_at_a_time(
    log: LocalLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleaning, "_WINDOW", 10)
    log.create_topic("t", 1, {"cleanup.policy": "compact"})
    append(log, [(b"%d" % (n % 4), b"%d" % n) for n in range(40)])
    clean(log)
    assert len(rows(log)) == 34
    for _ in range(10):
        clean(log)
    assert [row.value for row in rows(log)] == [b"36", b"37", b"38", b"39"]


def test_cleaning_is_due_every_half_minute_for_one_of_all(
    log: LocalLog, tmp_path: Path, clock: Clock
) -> None:
    cleaned: list[str] = []

    def count(name: str, of: LocalLog) -> Callable[[], None]:
        def due() -> None:
            if cleaning.claim(of.file, clock()):
                cleaned.append(name)

        return due

    other = LocalLog(tmp_path / "log")
    first, second = count("first", log), count("second", other)
    first()
    second()
    clock.now += cleaning.EVERY_MS - 1
    first()
    clock.now += 1
    second()
    first()
    assert cleaned == ["first", "second"]
    clock.now -= DAY  # the clock was wrong
    first()
    assert cleaned == ["first", "second", "first"]
    other.close()


def test_who_writes_cleans_a_step_at_a_time(
    log: LocalLog, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleaning, "_STEP", 2)
    log.create_topic("t")
    append(log, [(b"%d" % n, b"") for n in range(7)])
    clock.now += 8 * DAY
    left = []
    for _ in range(6):
        log.clean_when_due()
        left.append(len(rows(log)))
    assert left == [5, 3, 1, 0, 0, 0]
