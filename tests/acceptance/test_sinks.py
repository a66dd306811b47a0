"""Sinks as users run them: YAML, a function, a stream; what is promised of retries, dead letters, order and offsets."""

from __future__ import annotations

import json
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

from liberator.testing.servers.process import free_port
from tests.acceptance.sink import PATIENCE, LocalBroker, Record, Sink, numbered


def test_every_event_reaches_the_function_and_what_it_returns_is_published(sink: Sink, unique: str) -> None:
    sink.write(
        f"""
        stream: {{topics: [{unique}.orders]}}
        trigger: {{batch_size: 50, batch_window: 100ms}}
        function: {{python: "functions:double"}}
        output: {{topic: {unique}.doubled}}
        """,
        """
        def double(events, context):
            note(events, context)
            return [{"n": event.value["n"] * 2} for event in events]
        """,
    )
    sink.broker.create(f"{unique}.orders", 2)
    sink.broker.append(f"{unique}.orders", numbered(range(300)), partition=0)
    sink.broker.append(f"{unique}.orders", numbered(range(300, 400)), partition=1)
    sink.run("--once")
    assert sorted(value["n"] for value in sink.given()) == list(range(400))
    assert max(len(call["events"]) for call in sink.calls()) == 50
    doubled = sink.broker.read(f"{unique}.doubled")
    assert sorted(json.loads(record.value or b"")["n"] for record in doubled) == list(range(0, 800, 2))
    assert len({record.header("id") for record in doubled}) == 400
    assert sink.broker.committed(sink.name, f"{unique}.orders", 2) == 400
    assert sink.status()["live"]["lag_events"] == 0
    sink.run("--once")
    assert len(sink.given()) == 400, "nothing is done again"


def test_a_function_that_fails_twice_is_tried_again_with_growing_pauses(local: Sink, unique: str) -> None:
    """D78."""
    local.write(
        f"""
        stream: {{topics: [{unique}]}}
        trigger: {{batch_window: 0s}}
        function: {{python: "functions:third_time"}}
        policy: {{retry: {{initial: 200ms, factor: 3, jitter: true}}}}
        """,
        """
        def third_time(events, context):
            note(events, context)
            if context.attempt < 3:
                raise ConnectionError("not yet")
        """,
    )
    local.broker.create(unique, 1)
    local.broker.append(unique, numbered(range(1)))
    local.run("--once")
    calls = local.calls()
    assert [call["attempt"] for call in calls] == [1, 2, 3]
    assert calls[1]["at"] - calls[0]["at"] >= 0.1
    assert calls[2]["at"] - calls[1]["at"] >= 0.3
    assert local.dead_letters() == []
    assert local.broker.committed(local.name, unique) == 1


def test_what_can_not_be_done_becomes_a_dead_letter_and_the_next_events_flow(sink: Sink, unique: str) -> None:
    """D79: the bytes as they were, and why; poison never reaches the function."""
    sink.write(
        f"""
        stream: {{topics: [{unique}]}}
        function: {{python: "functions:picky"}}
        policy: {{retry: {{attempts: 2, initial: 10ms}}}}
        """,
        """
        def picky(events, context):
            note(events, context)
            if any(event.value and event.value["n"] == 3 for event in events):
                raise ValueError("three")
        """,
    )
    sink.broker.create(unique, 1)
    poison = [b"no json", b"", b'{"cut": "\xc3']
    good = numbered(range(6))
    odd = [Record(b"\xff", value, (("trace", b"\x00\x01"),)) for value in poison]
    sink.broker.append(unique, [*good[:2], *odd, *good[2:], Record(b'"k"', None)])
    sink.run("--once")
    dead = sink.dead_letters()
    assert sorted(record.value or b"" for record in dead) == sorted([*poison, b'{"n":3}'])
    assert sink.broker.committed(sink.name, unique) == 10
    seen = [value["n"] for value in sink.given() if value is not None]
    assert set(seen) == set(range(6))
    assert None in sink.given(), "a tombstone is no poison"
    by_value = {record.value: record for record in dead}
    bad = by_value[b"no json"]
    assert bad.key == b"\xff"
    assert ("trace", b"\x00\x01") in bad.headers
    assert [
        bad.header(f"__connect.errors.{name}") for name in ("topic", "partition", "offset", "attempts")
    ] == [
        unique,
        "0",
        "2",
        "0",
    ]
    three = by_value[b'{"n":3}']
    assert "ValueError" in three.header("__connect.errors.exception.message")
    assert int(three.header("__connect.errors.attempts")) >= 2
    assert three.header("id") == "e3"


def test_a_function_that_hangs_is_ended_and_its_worker_replaced(local: Sink, unique: str) -> None:
    """D80: a time-out is a failure."""
    local.write(
        f"""
        stream: {{topics: [{unique}]}}
        trigger: {{batch_size: 1}}
        function: {{python: "functions:sleepy"}}
        scale: {{workers: {{max: 1}}}}
        policy: {{timeout: 1s, retry: {{initial: 10ms}}}}
        """,
        """
        def sleepy(events, context):
            note(events, context)
            if context.attempt == 1 and events[0].value["n"] == 0:
                time.sleep(600)
        """,
    )
    local.broker.create(unique, 1)
    local.broker.append(unique, numbered(range(3)))
    local.run("--once")
    assert [value["n"] for value in local.given()].count(0) >= 2
    assert {value["n"] for value in local.given()} == {0, 1, 2}
    assert local.dead_letters() == []


def test_what_was_with_the_function_at_kill_9_comes_again(sink: Sink, unique: str) -> None:
    """D80."""
    sink.write(
        f"""
        stream: {{topics: [{unique}]}}
        trigger: {{batch_size: 5}}
        function: {{python: "functions:slow_at_first"}}
        """,
        """
        def slow_at_first(events, context):
            note(events, context)
            if not (Path(__file__).parent / "quick").exists():
                time.sleep(600)
        """,
    )
    sink.broker.create(unique, 1)
    sink.broker.append(unique, numbered(range(5), keys=1))
    process = sink.launch()
    sink.wait_for(lambda: bool(sink.calls()), "a call")
    process.kill()
    process.wait()
    (sink.folder / "quick").touch()
    first = sink.given()
    sink.run("--once")
    again = [value for call in sink.calls()[1:] for value in call["events"]]
    assert [value["n"] for value in again] == [0, 1, 2, 3, 4]
    assert first == again[: len(first)]
    assert sink.broker.committed(sink.name, unique) == 5


def test_members_that_join_are_killed_and_leave_lose_nothing(sink: Sink, unique: str) -> None:
    """D82."""
    partitions, keys = 4, 40
    sink.write(
        f"""
        stream: {{topics: [{unique}]}}
        trigger: {{batch_size: 5, batch_window: 10ms}}
        function: {{python: "functions:slow", in_process: true}}
        """,
        """
        def slow(events, context):
            time.sleep(0.02)
            note(events, context)
        """,
    )
    sink.broker.create(unique, partitions)
    rounds = 0

    def append() -> None:
        nonlocal rounds
        for partition in range(partitions):
            mine = range(keys * rounds + partition, keys * (rounds + 1), partitions)
            sink.broker.append(unique, numbered(mine, keys), partition)
        rounds += 1

    def joined() -> subprocess.Popen[bytes]:
        """A member that has had a turn. There is always something to do until then."""
        member = sink.launch()

        def had_a_turn() -> bool:
            if len({value["n"] for value in sink.given()}) > keys * (rounds - 2):
                append()
            return any(call["pid"] == member.pid for call in sink.calls())

        sink.wait_for(had_a_turn, "a member's turn")
        return member

    first, second = joined(), joined()
    first.kill()
    first.wait()
    third = joined()
    sink.stop(second)
    sink.wait_for(lambda: len({value["n"] for value in sink.given()}) == keys * rounds, "the last event")
    sink.stop(third)
    assert sink.broker.committed(sink.name, unique, partitions) == keys * rounds
    for process in (first, second, third):
        done: dict[str, list[int]] = defaultdict(list)
        for call in sink.calls():
            for key, value in zip(call["keys"], call["events"], strict=True):
                if call["pid"] == process.pid:
                    done[key].append(value["n"])
        assert all(list(dict.fromkeys(numbers)) == sorted(set(numbers)) for numbers in done.values())


def test_the_order_of_a_key_holds_while_eight_workers_fail_and_retry(local: Sink, unique: str) -> None:
    """D81."""
    local.write(
        f"""
        stream: {{topics: [{unique}]}}
        trigger: {{batch_size: 7, batch_window: 10ms}}
        function: {{python: "functions:moody", in_process: true}}
        scale: {{workers: {{max: 8}}, lag_per_worker: 1}}
        policy: {{retry: {{attempts: 50, initial: 1ms, max: 20ms}}}}
        """,
        """
        import random
        def moody(events, context):
            time.sleep(random.uniform(0, 0.02))
            if random.random() < 0.2:
                raise OSError("mood")
            note(events, context)
        """,
    )
    local.broker.create(unique, 2)
    for partition in range(2):
        local.broker.append(unique, numbered(range(partition, 400, 2), keys=20), partition)
    local.run("--once")
    done: dict[str, list[int]] = defaultdict(list)
    for call in local.calls():
        for key, value in zip(call["keys"], call["events"], strict=True):
            done[key].append(value["n"])
    assert all(numbers == sorted(set(numbers)) for numbers in done.values())
    assert sum(map(len, done.values())) == 400
    assert local.broker.committed(local.name, unique) == 400


def test_sigterm_drains_what_is_under_way_and_ends_with_0(sink: Sink, unique: str) -> None:
    sink.write(
        f"""
        stream: {{topics: [{unique}]}}
        trigger: {{batch_size: 1, batch_window: 0s}}
        function: {{python: "functions:takes_its_time"}}
        scale: {{workers: {{max: 1}}}}
        """,
        """
        def takes_its_time(events, context):
            note(events, context)
            time.sleep(0.5)
        """,
    )
    sink.broker.create(unique, 1)
    sink.broker.append(unique, numbered(range(100)))
    process = sink.launch()
    sink.wait_for(lambda: len(sink.calls()) >= 2, "two calls")
    sink.stop(process)
    done = len(sink.given())
    assert done < 100
    assert sink.broker.committed(sink.name, unique) == done


def test_a_function_that_hangs_does_not_hold_up_the_end(
    make_sink: Callable[..., Sink], tmp_path: Path, unique: str
) -> None:
    broker = LocalBroker(tmp_path / "events")
    broker.create(unique, 1)
    broker.append(unique, numbered(range(1)))
    sinks = {in_process: make_sink(broker, called=f"hangs-{in_process}") for in_process in ("true", "false")}
    processes = []
    for in_process, sink in sinks.items():
        sink.write(
            f"""
            stream: {{topics: [{unique}]}}
            function: {{python: "functions:hang", in_process: {in_process}}}
            """,
            """
            def hang(events, context):
                note(events, context)
                time.sleep(600)
            """,
        )
        processes.append(sink.launch())
    sinks["true"].wait_for(lambda: all(sink.calls() for sink in sinks.values()), "a call of each")
    for process in processes:
        process.terminate()
    for process, sink in zip(processes, sinks.values(), strict=True):
        assert process.wait(PATIENCE) == 0, sink.log
        assert broker.committed(sink.name, unique) == 0


def test_stop_ends_with_1_in_front_of_the_event(local: Sink, unique: str) -> None:
    local.write(
        f"""
        stream: {{topics: [{unique}]}}
        trigger: {{batch_size: 1}}
        function: {{python: "functions:refuse"}}
        scale: {{workers: {{max: 1}}}}
        policy: {{on_failure: stop, retry: {{attempts: 2, initial: 1ms}}}}
        """,
        """
        def refuse(events, context):
            note(events, context)
            if events[0].value["n"] == 2:
                raise RuntimeError("no")
        """,
    )
    local.broker.create(unique, 1)
    local.broker.append(unique, numbered(range(4), keys=1))
    local.run(code=1)
    assert "function.raised" in local.log
    assert "offset 2" in local.log
    assert local.broker.committed(local.name, unique) == 2


def test_an_error_that_says_so_goes_to_the_topic_of_its_own_without_another_attempt(
    local: Sink, unique: str
) -> None:
    local.write(
        f"""
        stream: {{topics: [{unique}]}}
        trigger: {{batch_size: 1}}
        function: {{python: "functions:reject"}}
        policy: {{on_permanent: {{topic: {unique}.rejected}}}}
        """,
        """
        from liberator import PermanentError
        def reject(events, context):
            note(events, context)
            if events[0].value["n"] == 1:
                raise PermanentError("never")
        """,
    )
    local.broker.create(unique, 1)
    local.broker.append(unique, numbered(range(3)))
    local.run()
    assert [record.value for record in local.broker.read(f"{unique}.rejected")] == [b'{"n":1}']
    assert [value["n"] for value in local.given()].count(1) == 1
    assert local.dead_letters() == []


def test_a_pattern_never_matches_what_the_sink_itself_publishes(local: Sink, unique: str) -> None:
    local.write(
        f"""
        stream: {{pattern: "^{unique}.*"}}
        function: {{python: "functions:echo"}}
        output: {{topic: {unique}.echo}}
        policy: {{dead_letter_topic: {unique}.dead, retry: {{attempts: 1}}}}
        """,
        """
        def echo(events, context):
            note(events, context)
            if any(event.value["n"] == 9 for event in events):
                raise ValueError("nine")
            return [event.value for event in events]
        """,
    )
    local.broker.create(f"{unique}.a", 1)
    local.broker.create(f"{unique}.b", 1)
    local.broker.append(f"{unique}.a", numbered(range(5)))
    local.broker.append(f"{unique}.b", [*numbered(range(5, 8)), *numbered([9])])
    local.run()
    local.run()
    assert {value["n"] for value in local.given()} == {*range(8), 9}
    assert len(local.broker.read(f"{unique}.echo")) == 8
    assert len(local.broker.read(f"{unique}.dead")) == 1


def test_a_function_can_not_publish_into_its_own_stream(local: Sink, unique: str) -> None:
    local.write(
        f"""
        stream: {{topics: [{unique}]}}
        function: {{python: "functions:loop"}}
        """,
        f"""
        def loop(events, context):
            context.publish(1, topic="{unique}")
        """,
    )
    local.broker.create(unique, 1)
    local.broker.append(unique, numbered(range(1)))
    local.run(code=1)
    assert "function.cycle" in local.log
    assert len(local.broker.read(unique)) == 1


def test_an_output_that_breaks_its_contract_is_not_published(local: Sink, unique: str) -> None:
    local.write(
        f"""
        stream: {{topics: [{unique}]}}
        function: {{python: "functions:forward"}}
        output: {{topic: {unique}.out}}
        policy: {{retry: {{attempts: 1}}}}
        """,
        """
        def forward(events, context):
            note(events, context)
            return [event.value for event in events]
        """,
    )
    contract = local.folder / "schemas" / f"{unique}.out"
    contract.mkdir(parents=True)
    (contract / "1.json").write_text(
        json.dumps({"type": "object", "properties": {"n": {"type": "integer", "maximum": 5}}})
    )
    local.broker.create(unique, 1)
    local.broker.append(unique, numbered(range(8)))
    local.run()
    published = sorted(json.loads(record.value or b"")["n"] for record in local.broker.read(f"{unique}.out"))
    assert published == [0, 1, 2, 3, 4, 5]
    assert sorted(record.value or b"" for record in local.dead_letters()) == [b'{"n":6}', b'{"n":7}']
    assert "function.output_invalid" in local.dead_letters()[0].header("__connect.errors.exception.message")


def test_events_that_the_filter_turns_down_are_done_and_never_reach_the_function(
    local: Sink, unique: str
) -> None:
    local.write(
        f"""
        stream: {{topics: [{unique}]}}
        trigger: {{filter: "after.n % 2 == 0"}}
        function: {{python: "functions:note"}}
        """
    )
    local.broker.create(unique, 1)
    local.broker.append(unique, [*numbered(range(10)), Record(None, b'{"m": 1}')])
    local.run()
    assert sorted(value["n"] for value in local.given()) == [0, 2, 4, 6, 8]
    assert [record.value for record in local.dead_letters()] == [b'{"m": 1}']
    assert local.broker.committed(local.name, unique) == 11


def test_lag_starts_the_function_on_all_that_the_stream_holds(sink: Sink, unique: str) -> None:
    sink.write(
        f"""
        stream: {{topics: [{unique}]}}
        trigger: {{on: lag, threshold: 50, max_wait: 1h, poll_interval: 100ms, batch_size: 20}}
        function: {{python: "functions:note"}}
        """
    )
    sink.broker.create(unique, 1)
    sink.broker.append(unique, numbered(range(30)))
    process = sink.launch()
    sink.broker.append(unique, numbered(range(30, 40)))
    assert sink.given() == []
    sink.broker.append(unique, numbered(range(40, 60)))
    sink.wait_for(lambda: len(sink.given()) == 60, "everything")
    sink.stop(process)
    assert sink.broker.committed(sink.name, unique) == 60


def test_a_schedule_drains_the_stream_at_its_time_and_once_at_once(local: Sink, unique: str) -> None:
    port, every = free_port(), 10
    local.write(
        f"""
        stream: {{topics: [{unique}]}}
        trigger: {{on: schedule, cron: "*/{every} * * * * *"}}
        function: {{python: "functions:note", in_process: true}}
        observe: {{listen: "127.0.0.1:{port}"}}
        """
    )
    local.broker.create(unique, 1)
    local.broker.append(unique, numbered(range(10)))
    local.run("--once")
    assert len(local.given()) == 10
    process = local.launch()

    def streams() -> bool:
        try:
            return bool(json.loads(local.page(port, "/status"))["state"] == "streaming")
        except OSError:
            return False

    # In the middle between two times, when what the first of them has started is over.
    local.wait_for(lambda: streams() and 4 < time.time() % every < 7, "the middle")
    following = time.time() // every * every + every
    local.broker.append(unique, numbered(range(10, 15)))
    local.wait_for(lambda: len(local.given()) == 15, "the next time")
    assert local.calls()[-1]["at"] >= following, "at its time, and not at once"
    local.stop(process)


def test_an_event_that_comes_twice_starts_the_function_once(local: Sink, unique: str) -> None:
    """D83."""
    local.write(
        f"""
        stream: {{topics: [{unique}]}}
        trigger: {{batch_size: 3}}
        function: {{python: "functions:picky"}}
        output: {{topic: {unique}.out}}
        policy: {{idempotency: {{store: "sqlite:state/done.db"}}, retry: {{attempts: 1}}}}
        """,
        """
        def picky(events, context):
            note(events, context)
            failed = [event.id for event in events if event.value["n"] == 4]
            return {"failed": failed, "outputs": [event.value for event in events if event.id not in failed]}
        """,
    )
    local.broker.create(unique, 1)
    local.broker.append(unique, [*numbered(range(5)), *numbered(range(3))])
    local.run()
    local.broker.append(unique, numbered(range(6)))
    local.run()
    given = [value["n"] for value in local.given()]
    assert sorted(given) == [0, 1, 2, 3, 4, 4, 5], "what became a dead letter may be driven in again"
    assert len(local.broker.read(f"{unique}.out")) == 5
    assert local.broker.committed(local.name, unique) == 14
    assert (local.folder / "state" / "done.db").exists()


def test_max_events_ends_after_so_many(local: Sink, unique: str) -> None:
    local.write(
        f"""
        stream: {{topics: [{unique}]}}
        trigger: {{batch_size: 4, batch_window: 0s}}
        function: {{python: "functions:note", in_process: true}}
        """
    )
    local.broker.create(unique, 1)
    local.broker.append(unique, numbered(range(20), keys=1))
    local.run("--max-events", "6")
    assert [value["n"] for value in local.given()] == [0, 1, 2, 3, 4, 5]
    assert local.broker.committed(local.name, unique) == 6


def test_a_stage_goes_before_group_and_topics(local: Sink, unique: str) -> None:
    local.write(
        f"""
        stream: {{pattern: "{unique}.*"}}
        function: {{python: "functions:both"}}
        output: {{topic: {unique}.out}}
        """,
        f"""
        def both(events, context):
            note(events, context)
            context.publish(2, topic="other.{unique}")
            return [1]
        """,
    )
    for topic in (f"test.{unique}.in", f"{unique}.in"):
        local.broker.create(topic, 1)
        local.broker.append(topic, numbered(range(1)))
    local.run("--once", "--stage", "test")
    assert len(local.given()) == 1
    assert len(local.broker.read(f"test.{unique}.out")) == 1
    assert len(local.broker.read(f"test.other.{unique}")) == 1
    assert local.broker.committed(f"test.{local.name}", f"test.{unique}.in") == 1


def test_a_module_that_is_not_there_is_a_wrong_configuration(local: Sink, unique: str) -> None:
    local.write(f"stream: {{topics: [{unique}]}}\nfunction: {{python: 'funktions:note'}}")
    local.broker.create(unique, 1)
    local.run(code=2)
    assert "there is no module funktions" in local.log


def test_a_program_that_is_kept_does_one_batch_after_the_other(local: Sink, unique: str) -> None:
    local.write(
        f"""
        stream: {{topics: [{unique}]}}
        trigger: {{batch_size: 10}}
        function: {{command: [python3, kept.py], keep: true}}
        output: {{topic: {unique}.out}}
        scale: {{workers: {{max: 1}}}}
        """
    )
    (local.folder / "kept.py").write_text(
        dedent(
            """
            import json, os, sys
            done = 0
            for line in sys.stdin:
                if line.strip():
                    event = json.loads(line)
                    done += 1
                    print(json.dumps({"value": [event["value"]["n"], done, os.getpid()], "cause": event["id"]}))
                else:
                    print(flush=True)
            """
        )
    )
    local.broker.create(unique, 1)
    local.broker.append(unique, numbered(range(35)))
    local.run("--once")
    values = [json.loads(record.value or b"") for record in local.broker.read(f"{unique}.out")]
    assert sorted(n for n, _, _ in values) == list(range(35))
    assert sorted(done for _, done, _ in values) == list(range(1, 36)), "one program did all of them"
    assert len({pid for _, _, pid in values}) == 1
    assert local.broker.committed(local.name, unique) == 35
