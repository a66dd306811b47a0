"""`liberate replay`: a sink does a part of its stream again."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from liberator.testing.servers import Kafka
from tests.acceptance.sink import KafkaBroker, Sink, numbered

NOTING = """
    stream: {{topics: [{topic}]}}
    trigger: {{batch_size: 3, batch_window: 50ms}}
    function: {{python: "functions:note", in_process: true}}
    policy: {{max_age: 1h, {policy}}}
"""


def noting(sink: Sink, topic: str, policy: str = "") -> None:
    """A sink that has done ten events of one partition, and stopped."""
    sink.write(NOTING.format(topic=topic, policy=policy))
    sink.broker.create(topic, 2)
    sink.broker.append(topic, numbered(range(10)))
    sink.run()
    assert len(sink.given()) == 10


def again(sink: Sink) -> list[int]:
    """What the function was given since `noting`."""
    return [value["n"] for value in sink.given()[10:]]


def rows(printed: str) -> list[Any]:
    return [json.loads(line) for line in printed.splitlines()]


def test_a_range_is_done_again_and_the_group_stands_where_it_stood(sink: Sink, unique: str) -> None:
    noting(sink, unique)
    sink.call("replay", "--from", "0:2", "--to", "0:6", "--yes")
    assert again(sink) == [2, 3, 4, 5]
    assert sink.broker.committed(sink.name, unique, 2) == 10
    sink.broker.append(unique, numbered(range(10, 12)))
    sink.run()
    assert again(sink)[4:] == [10, 11], "nothing is done once more, nothing is left out"


def test_without_an_end_it_ends_where_the_group_stands(local: Sink, unique: str) -> None:
    noting(local, unique)
    local.broker.append(unique, numbered(range(10, 12)))
    [told] = rows(local.call("replay", "--from", "7", "--json", "--yes"))
    assert told == {"group": local.name, "complete": True, "events": 3, "dead_letters": 0}
    assert again(local) == [7, 8, 9]


def test_a_group_that_is_at_work_is_not_moved(sink: Sink, unique: str) -> None:
    noting(sink, unique)
    process = sink.launch()
    sink.broker.append(unique, numbered([10]))
    sink.wait_for(lambda: again(sink) == [10], "the member's own work")
    sink.call("replay", "--from", "earliest", "--yes", code=3)
    assert "precondition.active_group" in sink.log
    assert "--new-group" in sink.log
    sink.call("replay", "--from", "earliest", "--new-group", f"{unique}.beside", "--yes")
    assert sorted(again(sink)[1:]) == list(range(11))
    sink.stop(process)
    assert sink.broker.committed(sink.name, unique, 2) == 11
    assert sink.broker.committed(f"{unique}.beside", unique, 2) == 11


def test_a_new_group_is_new(local: Sink, unique: str) -> None:
    noting(local, unique)
    local.call("replay", "--from", "8", "--new-group", "beside", "--yes")
    local.call("replay", "--from", "8", "--new-group", "beside", "--yes", code=3)
    assert "precondition.group_exists" in local.log
    local.call("replay", "--from", "8", "--new-group", local.name, "--yes", code=2)
    assert again(local) == [8, 9]


def test_the_dry_run_shows_ranges_and_moves_nothing(sink: Sink, unique: str) -> None:
    noting(sink, unique)
    [row] = rows(sink.call("replay", "--from", "0:4", "--dry-run", "--json"))
    assert row == {
        "group": sink.name,
        "topic": unique,
        "partition": 0,
        "from": 4,
        "to": 10,
        "events": 6,
        "gone": 0,
        "group_stands_at": 10,
    }
    [row] = rows(sink.call("replay", "--from", "1h", "--dry-run", "--json"))
    assert (row["from"], row["to"]) == (0, 10)
    assert sink.call("replay", "--from", "2999-01-01T00:00", "--dry-run") == ""
    assert "nothing to replay" in sink.log
    assert again(sink) == []
    assert sink.broker.committed(sink.name, unique, 2) == 10


def test_events_in_between_are_not_left_out(local: Sink, unique: str) -> None:
    noting(local, unique)
    local.broker.append(unique, numbered(range(10, 20)))
    local.call("replay", "--from", "15", "--to", "latest", "--yes", code=3)
    assert "precondition.replay_gap" in local.log
    local.call("replay", "--from", "8", "--to", "0:12", "--yes")
    assert again(local) == [8, 9, 10, 11]
    assert local.broker.committed(local.name, unique) == 12


def test_what_is_remembered_as_done_is_left_out_unless_asked_for(local: Sink, unique: str) -> None:
    noting(local, unique, 'idempotency: {store: "sqlite:done.db"}')
    local.call("replay", "--from", "5", "--yes")
    assert again(local) == []
    local.call("replay", "--from", "5", "--again", "--yes")
    assert again(local) == [5, 6, 7, 8, 9]
    local.call("replay", "--from", "8", "--new-group", "beside", "--yes")
    assert again(local)[5:] == [8, 9], "a new group remembers for itself"


def test_a_stage_has_groups_of_its_own(local: Sink, unique: str) -> None:
    local.write(NOTING.format(topic=unique, policy=""))
    local.broker.create(f"test.{unique}", 1)
    local.broker.append(f"test.{unique}", numbered(range(3)))
    local.call("replay", "--from", "1", "--stage", "test", "--new-group", "beside", "--yes")
    assert [value["n"] for value in local.given()] == [1, 2]
    assert local.broker.committed("test.beside", f"test.{unique}") == 3


def test_a_replay_that_is_killed_loses_nothing(local: Sink, unique: str) -> None:
    local.write(
        NOTING.format(topic=unique, policy="").replace("functions:note", "functions:last"),
        """
        import signal
        def last(events, context):
            note(events, context)
            if len(events) == 3 and events[0].value["n"] == 6 and len(list(open(Path(__file__).parent / "calls"))) > 5:
                os.kill(os.getpid(), signal.SIGKILL)
        """,
    )
    local.broker.create(unique, 1)
    local.broker.append(unique, numbered(range(10), keys=1))
    local.run()
    calls = len(local.calls())
    local.call("replay", "--from", "3", "--to", "9", "--yes", code=-9)
    (local.folder / "functions.py").write_text(
        (local.folder / "functions.py").read_text().replace("> 5", "> 999")
    )
    local.run()
    done = {value["n"] for call in local.calls()[calls:] for value in call["events"]}
    assert done == {3, 4, 5, 6, 7, 8, 9}
    assert local.broker.committed(local.name, unique) == 10


@pytest.mark.parametrize(
    "words", [[], ["--from", "yesterday"], ["--from", "1", "--from", "2"], ["--from", "9:0"]]
)
def test_what_is_no_place_is_a_wrong_usage(local: Sink, unique: str, words: list[str]) -> None:
    noting(local, unique)
    local.call("replay", *words, "--yes", code=2)


@pytest.mark.parametrize("kafka_python", [False, True], ids=["confluent-kafka", "kafka-python"])
def test_ends_of_transactions_at_the_end_of_a_range_are_no_events_to_wait_for(
    make_sink: Callable[..., Sink], kafka: Kafka, unique: str, kafka_python: bool
) -> None:
    broker = KafkaBroker(kafka.bootstrap)
    sink = make_sink(broker, kafka_python=kafka_python)
    sink.write(NOTING.format(topic=unique, policy=""))
    broker.create(unique, 1)
    broker.append_in_transactions(unique, [numbered([number]) for number in range(3)])
    sink.run()
    sink.call("replay", "--from", "0:0", "--to", "0:4", "--yes")
    sink.call("replay", "--from", "0:0", "--to", "latest", "--yes")
    assert [value["n"] for value in sink.given()] == [0, 1, 2, 0, 1, 0, 1, 2]


def test_a_table_which_keeps_its_own_offsets_is_not_replayed(local: Sink, unique: str) -> None:
    local.write(
        f"""
        stream: {{topics: [{unique}]}}
        function: {{table: {{url: "sqlite:///{local.folder}/copy.db", table: copy}}}}
        """
    )
    local.broker.create(unique, 1)
    local.call("replay", "--from", "earliest", "--yes", code=2)
    assert "liberator_offsets" in local.log
    local.call("function test", "--events", "stream", code=2)
    assert not (local.folder / "copy.db").exists()
