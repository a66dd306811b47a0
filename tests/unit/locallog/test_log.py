"""Topics, transactions and reading."""

from __future__ import annotations

from pathlib import Path

import pytest

from liberator.change import ConsumedBatch, TopicPartition
from liberator.locallog import Bounds, LocalLog, LocalLogFailure, Transaction
from tests.unit.locallog.conftest import Clock
from tests.unit.locallog.events import append, keys, read, rows

AT = TopicPartition("t", 0)


# Topics


def test_a_topic_stays_as_it_was_made(log: LocalLog) -> None:
    log.create_topic("t", 3, {"cleanup.policy": "compact"})
    log.create_topic("t", 5)
    assert [(topic.name, len(topic.partitions)) for topic in log.topics().values()] == [("t", 3)]
    assert log.topics()["t"].settings.compact


def test_another_connection_sees_a_new_topic(log: LocalLog) -> None:
    other = LocalLog(log.file.folder)
    assert other.topic("t") is None
    log.create_topic("t")
    assert other.topic("t") is not None
    other.close()


@pytest.mark.parametrize("name", ["", ".", "..", "a b", "ü", "x" * 250, "a/b"])
def test_refuses_names_that_kafka_refuses(log: LocalLog, name: str) -> None:
    with pytest.raises(LocalLogFailure) as refused:
        log.create_topic(name)
    assert refused.value.word == "topic_name"


@pytest.mark.parametrize(
    ("partitions", "settings"),
    [
        (0, {}),
        (1, {"cleanup.policy": "shred"}),
        (1, {"retention.ms": "a week"}),
        (1, {"retention.bytes": "-2"}),
        (1, {"delete.retention.ms": "-1"}),
        (1, {"min.cleanable.dirty.ratio": "2"}),
    ],
)
def test_refuses_settings_that_kafka_refuses(
    log: LocalLog, partitions: int, settings: dict[str, str]
) -> None:
    with pytest.raises(LocalLogFailure) as refused:
        log.create_topic("t", partitions, settings)
    assert refused.value.word == "topic_settings"
    assert log.topics() == {}


def test_keeps_settings_that_mean_nothing_here(log: LocalLog) -> None:
    log.create_topic("t", 1, {"min.insync.replicas": "2"})
    assert "t" in log.topics()


# Transactions


def test_offsets_of_a_partition_have_no_gaps(log: LocalLog) -> None:
    log.create_topic("t", 2)
    append(log, [(b"a", b"1"), (b"b", b"2")])
    append(log, [(b"x", b"9")], partition=1)
    append(log, [(b"c", b"3")])
    assert rows(log) == [(0, b"a", b"1"), (1, b"b", b"2"), (2, b"c", b"3")]
    assert rows(log, partition=1) == [(0, b"x", b"9")]
    assert log.bounds(["t", "unknown"]) == {AT: Bounds(0, 3), TopicPartition("t", 1): Bounds(0, 1)}


def test_a_transaction_spans_topics_and_offsets_or_leaves_nothing(log: LocalLog) -> None:
    log.create_topic("t")
    log.create_topic("u")

    def fill(transaction: Transaction) -> None:
        transaction.append(["t", "u"], [0, 0], [b"1", b"2"], [b"", b""], [None, None])
        transaction.commit_offsets("group", {AT: 1})
        transaction.save_positions("shop", {"slot": b"1"})

    def fill_and_fail(transaction: Transaction) -> None:
        fill(transaction)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), log.transaction() as transaction:
        fill_and_fail(transaction)
    assert read(log, "t").offsets == read(log, "u").offsets == []
    assert log.committed("group") == {}
    assert log.positions("shop") == []
    with log.transaction() as transaction:
        fill(transaction)
    assert keys(log, "t") + keys(log, "u") == [b"1", b"2"]
    assert log.committed("group") == {AT: 1}
    assert [(partition, value) for partition, value, _ in log.positions("shop")] == [("slot", b"1")]


def test_a_transaction_that_is_open_is_not_seen(log: LocalLog) -> None:
    log.create_topic("t")
    other = LocalLog(log.file.folder)
    with log.transaction() as transaction:
        transaction.append(["t"], [0], [b"1"], [b""], [None])
        assert rows(other) == []
    assert len(rows(other)) == 1
    other.close()


@pytest.mark.parametrize("at", [TopicPartition("u", 0), TopicPartition("t", 1), TopicPartition("t", -1)])
def test_refuses_to_write_where_nothing_is(log: LocalLog, at: TopicPartition) -> None:
    log.create_topic("t")
    with pytest.raises(LocalLogFailure) as refused:
        append(log, [(b"k", b"v")], at.topic, at.partition)
    assert refused.value.word == "unknown_topic"
    with pytest.raises(LocalLogFailure), log.transaction() as transaction:
        transaction.commit_offsets("group", {at: 1})


def test_a_compacted_topic_takes_no_event_without_a_key(log: LocalLog) -> None:
    log.create_topic("t", 1, {"cleanup.policy": "compact"})
    with pytest.raises(LocalLogFailure) as refused:
        append(log, [(b"k", b"v"), (None, b"v")])
    assert refused.value.word == "record_refused"
    assert rows(log) == []


def test_an_operator_may_commit_for_a_group_without_members(log: LocalLog) -> None:
    log.create_topic("t")
    with log.transaction() as transaction:
        transaction.commit_offsets("group", {AT: 7})
    assert log.committed("group") == {AT: 7}


def test_who_does_not_own_a_partition_cannot_commit_it(log: LocalLog) -> None:
    log.create_topic("t")
    with pytest.raises(LocalLogFailure) as refused, log.transaction() as transaction:
        transaction.commit_offsets("group", {AT: 7}, member="somebody")
    assert refused.value.word == "lost"


# Reading


def test_reads_as_much_as_asked_for(log: LocalLog) -> None:
    log.create_topic("t")
    append(log, [(b"%d" % n, b"x" * 100) for n in range(10)])
    batch = ConsumedBatch()
    assert log.read(AT, 2, 3, 1 << 20, batch) == 5
    assert log.read(AT, 5, 100, 250, batch) == 8
    assert batch.offsets == [2, 3, 4, 5, 6, 7]
    assert log.read(AT, 10, 100, 1 << 20, batch) == 10
    assert len(batch) == 6


def test_gives_one_event_however_large_it_is(log: LocalLog) -> None:
    log.create_topic("t")
    append(log, [(b"1", b"x" * 10_000), (b"2", b"")])
    batch = ConsumedBatch()
    assert log.read(AT, 0, 100, 10, batch) == 1
    assert batch.keys == [b"1"]


def test_finds_the_first_event_of_a_time(log: LocalLog, clock: Clock) -> None:
    log.create_topic("t")
    start = clock.now
    for _ in range(50):
        append(log, [(b"k", b"v")] * 3)
        clock.now += 10
    assert log.offset_at(AT, start - 1) == log.offset_at(AT, start) == 0
    for step in range(50):
        assert log.offset_at(AT, start + 10 * step) == 3 * step
        assert log.offset_at(AT, start + 10 * step + 1) == 3 * step + 3
    assert log.offset_at(AT, start + 1_000_000) == 150


def test_timestamps_never_go_back(log: LocalLog, clock: Clock) -> None:
    log.create_topic("t")
    append(log, [(b"1", b"")])
    clock.now -= 60_000
    append(log, [(b"2", b"")])
    first, second = read(log).timestamps
    assert second == first


def test_survives_closing(log: LocalLog, tmp_path: Path) -> None:
    log.create_topic("t", 2, {"retention.ms": "-1"})
    append(log, [(b"1", b"x"), (None, None)])
    log.close()
    again = LocalLog(tmp_path / "log")
    assert rows(again) == [(0, b"1", b"x"), (1, None, None)]
    assert again.topics()["t"].settings.retention_ms == -1
    again.close()


def test_a_damaged_position_is_told(log: LocalLog) -> None:
    with log.transaction() as transaction:
        transaction.save_positions("shop", {"slot": b"16/B374D848"})
    with log.file.write() as connection:
        connection.execute("UPDATE positions SET value = x'00'")
    with pytest.raises(LocalLogFailure) as refused:
        log.positions("shop")
    assert refused.value.word == "corrupt"
