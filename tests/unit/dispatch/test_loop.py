"""The dispatch loop between its protocols: what is committed when, in which order a function sees events, what failures
do."""

from __future__ import annotations

import itertools
import random
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence

import pytest

from liberator.change import EncodedBatch, Event, TopicPartition
from liberator.dispatch import loop
from liberator.dispatch.loop import Dispatch, DispatchSettings
from liberator.dispatch.settle import GivenUp, Retry
from liberator.dispatch.sifting import Sifted
from liberator.dispatch.trigger import OnStream, Trigger
from liberator.errors import FunctionError, PermanentError, PublishError
from liberator.function.circuit import Circuit, CircuitInvocations, CircuitSettings
from liberator.protocols import Outcome, Output
from liberator.testing.consumer import MemoryConsumer, MemoryStream
from liberator.testing.function import MemoryFunction
from liberator.testing.publisher import MemoryPublisher, MemoryResults
from liberator.testing.watch import MemoryDispatchWatch

ONE = TopicPartition("orders", 0)
AWAY = FunctionError("no answer", code="function.unreachable", retryable=True)


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "_IDLE", 0.001)
    monkeypatch.setattr(loop, "_BUSY", 0.0)
    monkeypatch.setattr(loop, "_REVOKED", 0.1)


PASSING = FunctionError("503", retryable=True)
AT_ONCE = Retry(attempts=3, initial=0.0, jitter=False)

Answer = Callable[[Sequence[Event], int], Outcome]


def output(outputs: Sequence[Output], events: Sequence[Event]) -> EncodedBatch:
    batch = EncodedBatch()
    for number, one in enumerate(outputs):
        batch.add(one.topic or "out", one.key, one.value, b"%b/%d" % (events[0].id.encode(), number))
    return batch


def record(entry: GivenUp, topic: str) -> EncodedBatch:
    batch = EncodedBatch()
    batch.add(topic, entry.event.raw_key, entry.event.raw_value, entry.event.id.encode())
    return batch


def full_or(window: float, count: int = 100) -> Trigger:
    """`count` events are enough, or one that has waited for `window` seconds."""
    return Trigger(count, 1 << 20, [OnStream(count, window, 1 << 20)])


class Bench:
    """A loop of twins over one stream; several of them are members of one group."""

    def __init__(
        self,
        stream: MemoryStream,
        answer: Answer | None = lambda events, attempt: Outcome(),
        *,
        trigger: Trigger | None = None,
        workers: int = 4,
        sift: Callable[[Sequence[Event]], Sifted] = Sifted,
        circuit: Circuit | None = None,
        exactly_once: bool = False,
        **settings: object,
    ) -> None:
        self.function = MemoryFunction(answer, workers)
        self.publisher = MemoryPublisher()
        self.watch = MemoryDispatchWatch()
        self.consumer: MemoryConsumer = stream.consumer("shipping")
        self.results = MemoryResults(self.consumer.commit)
        self.now = 1_000.0
        fields = {
            "retry": AT_ONCE,
            "dead_letter_topic": "dead",
            "commit_interval": 0.0,
            "until_idle": 0.02,
            **settings,
        }
        self.dispatch = Dispatch(
            self.consumer,
            ["orders"],
            trigger or full_or(0.0),
            self.function if circuit is None else CircuitInvocations(self.function, circuit),
            self.publisher,
            DispatchSettings(**fields),  # type: ignore[arg-type]  # the tests' own keywords
            output=output,
            given_up=record,
            watch=self.watch,
            sift=sift,
            held=circuit.is_open if circuit else lambda: False,
            results=self.results if exactly_once else None,
            now=lambda: self.now,
        )

    def run(self) -> Bench:
        self.dispatch.run()
        return self

    def given(self) -> list[tuple[list[int], int]]:
        """Offsets of each call, and which attempt it was."""
        return [([event.offset for event in events], attempt) for events, attempt in self.function.calls]

    def dead(self) -> list[bytes | None]:
        return [event.value for event in self.publisher.events if event.topic == "dead"]


def stream(count: int, *, keys: int = 3, partitions: int = 1) -> MemoryStream:
    it = MemoryStream()
    it.create("orders", partitions)
    for number in range(count):
        it.append("orders", b"%d" % (number % keys), b'{"n":%d}' % number, partition=number % partitions)
    return it


def committed(it: MemoryStream) -> Mapping[TopicPartition, int]:
    return it.committed("shipping")


def failing(*offsets: int, error: FunctionError = PASSING, times: int = 99) -> Answer:
    """A function that names the events it fails, in their first attempts."""

    def answer(events: Sequence[Event], attempt: int) -> Outcome:
        return Outcome(
            {
                index: error
                for index, event in enumerate(events)
                if event.offset in offsets and attempt <= times
            }
        )

    return answer


def test_all_events_are_given_to_the_function_and_committed() -> None:
    events = stream(10)
    it = Bench(events).run()
    assert sorted(offset for offsets, _ in it.given() for offset in offsets) == list(range(10))
    assert committed(events) == {ONE: 10}
    assert it.function.closed
    assert it.publisher.closed


def test_a_batch_is_full_or_its_oldest_event_has_waited() -> None:
    it = Bench(stream(7), trigger=full_or(0.05, 3))
    it.dispatch.run()
    assert sorted(len(offsets) for offsets, _ in it.given()) == [1, 3, 3]


def even(events: Sequence[Event]) -> Sifted:
    return Sifted(
        [event for event in events if event.value["n"] % 2 == 0],
        [event for event in events if event.value["n"] % 2 == 1],
    )


def test_what_the_filter_turns_down_is_done() -> None:
    events = stream(10)
    it = Bench(events, sift=even).run()
    assert sorted(offset for offsets, _ in it.given() for offset in offsets) == [0, 2, 4, 6, 8]
    assert committed(events) == {ONE: 10}


def test_an_offset_is_committed_only_when_all_before_it_are_done() -> None:
    """Invariant 10: events of other keys end first."""
    events = stream(3)
    it = Bench(events, None, trigger=full_or(0.0, 1))
    it.consumer.subscribe(["orders"], it.dispatch)
    while len(it.function.running) < 3:
        it.dispatch._turn()
    it.function.end(2)
    it.function.end(3)
    it.dispatch._turn()
    assert committed(events) == {}
    it.function.end(1)
    it.dispatch._turn()
    assert committed(events) == {ONE: 3}


def test_what_fails_is_tried_again_and_its_key_waits_for_it() -> None:
    it = Bench(stream(6), failing(0, times=1), trigger=full_or(0.0, 2)).run()
    assert it.given()[0] == ([0, 1], 1)
    assert ([0], 2) in it.given()
    order = [offset for offsets, _ in it.given() for offset in offsets]
    assert order.index(3) > [number for number, given in enumerate(order) if given == 0][1]
    assert sorted(order) == [0, 0, 1, 2, 3, 4, 5]


def test_what_keeps_failing_becomes_a_dead_letter_and_is_committed() -> None:
    events = stream(5)
    it = Bench(events, failing(2)).run()
    assert it.dead() == [b'{"n":2}']
    assert [attempt for offsets, attempt in it.given() if offsets == [2]] == [2, 3]
    assert committed(events) == {ONE: 5}


def test_what_fails_for_good_is_not_tried_again() -> None:
    it = Bench(stream(5), failing(2, error=PermanentError("no such customer"))).run()
    assert it.dead() == [b'{"n":2}']
    assert all(attempt == 1 for _, attempt in it.given())


def test_what_fails_for_good_can_be_an_event_of_its_own() -> None:
    it = Bench(
        stream(5), failing(2, error=PermanentError("no such customer")), permanent_topic="rejected"
    ).run()
    assert [(event.topic, event.value) for event in it.publisher.events] == [("rejected", b'{"n":2}')]


def test_a_dead_letter_is_durable_before_its_offset_is_committed() -> None:
    events = stream(1)
    it = Bench(events, failing(0, error=PermanentError("no")), drain=0.0)
    it.publisher.stall()
    it.consumer.subscribe(["orders"], it.dispatch)
    for _ in range(5):
        it.dispatch._turn()
    assert committed(events) == {}
    it.publisher.go_on()
    it.dispatch._turn()
    assert committed(events) == {ONE: 1}


def test_outputs_are_durable_before_their_events_are_committed() -> None:
    events = stream(2)
    it = Bench(events, lambda given, attempt: Outcome(outputs=[Output(None, b"k", b"paid")]))
    it.publisher.stall()
    it.consumer.subscribe(["orders"], it.dispatch)
    for _ in range(5):
        it.dispatch._turn()
    assert committed(events) == {}
    it.publisher.go_on()
    it.dispatch._turn()
    assert committed(events) == {ONE: 2}
    assert {(event.topic, event.value) for event in it.publisher.events} == {("out", b"paid")}


def test_a_poison_event_is_found_and_the_rest_of_its_batch_is_done() -> None:
    def answer(events: Sequence[Event], attempt: int) -> Outcome:
        whole = FunctionError("it crashed", retryable=True)
        bad = any(event.value["n"] == 11 for event in events)
        return Outcome(dict.fromkeys(range(len(events)), whole) if bad else {})

    events = stream(20)
    it = Bench(events, answer, trigger=full_or(0.0, 20)).run()
    assert it.dead() == [b'{"n":11}']
    assert committed(events) == {ONE: 20}


def test_stop_ends_with_the_error_and_the_offset_stands_before_the_event() -> None:
    events = stream(9, keys=9)
    it = Bench(
        events,
        failing(4, error=PermanentError("no")),
        trigger=full_or(0.0, 1),
        on_failure="stop",
        workers=1,
    )
    with pytest.raises(FunctionError) as ended:
        it.run()
    assert "orders/0 at offset 4" in (ended.value.where or "")
    assert committed(events) == {ONE: 4}
    assert it.dead() == []


def test_a_function_that_wants_no_more_ends_the_loop_whatever_the_policy() -> None:
    events = stream(3, keys=1)
    gone = FunctionError("gone", code="function.gone")
    it = Bench(events, failing(1, error=gone), trigger=full_or(0.0, 1), workers=1)
    with pytest.raises(FunctionError):
        it.run()
    assert committed(events) == {ONE: 1}
    assert it.dead() == []


def test_a_step_that_can_not_be_made_ready_ends_the_session_and_gives_up_no_event() -> None:
    events = stream(3)
    unready = FunctionError("step b: no database", code="function.init", retryable=True)
    it = Bench(events, failing(1, error=unready), trigger=full_or(0.0, 1), workers=1)
    with pytest.raises(FunctionError) as caught:
        it.run()
    assert caught.value is unready
    assert committed(events) == {ONE: 1}
    assert it.dead() == []


def test_skip_goes_on() -> None:
    events = stream(5)
    it = Bench(events, failing(2), on_failure="skip").run()
    assert it.publisher.events == []
    assert committed(events) == {ONE: 5}


def test_events_that_are_too_old_are_given_up_untried() -> None:
    events = stream(3)
    it = Bench(events, max_age=60.0)
    it.now = events.events[ONE][0][0] / 1000 + 61.0
    it.run()
    assert it.given() == []
    assert len(it.dead()) == 3
    assert committed(events) == {ONE: 3}


def test_commit_before_commits_before_the_call() -> None:
    """At most once, on request."""
    events = stream(4)
    seen: list[int] = []

    def answer(given: Sequence[Event], attempt: int) -> Outcome:
        seen.append(committed(events).get(ONE, 0))
        return Outcome()

    Bench(events, answer, trigger=full_or(0.0, 4), workers=1, commit_before=True).run()
    assert seen == [4]


def test_reads_no_more_than_the_memory_holds() -> None:
    events = MemoryStream()
    events.create("orders")
    for _ in range(5_000):
        events.append("orders", b"k", b"x" * 1_000)
    it = Bench(events, None, trigger=full_or(0.0, 10), memory=100_000, workers=1)
    it.consumer.subscribe(["orders"], it.dispatch)
    for _ in range(20):
        it.dispatch._turn()
    assert it.dispatch._backlog.size < 100_000 + 1_000 * 1_500
    while it.function.running:
        it.function.end(next(iter(it.function.running)))
        it.dispatch._turn()
        if sum(len(given) for given, _ in it.function.calls) == 5_000:
            break
    assert sum(len(given) for given, _ in it.function.calls) == 5_000


def test_a_partition_that_goes_is_committed_first_and_nothing_of_it_is_lost() -> None:
    """D82: another member joins while work is under way."""
    events = stream(40, keys=8, partitions=4)
    first = Bench(events, None, trigger=full_or(0.0, 4))
    first.consumer.subscribe(["orders"], first.dispatch)
    while len(first.function.running) < 4:
        first.dispatch._turn()
    first.function._answer = lambda given, attempt: Outcome()
    for number in list(first.function.running):
        first.function.end(number)
    second = Bench(events)
    second.consumer.subscribe(["orders"], second.dispatch)
    for _ in range(30):
        first.dispatch._turn()
        second.dispatch._turn()
    assert sum(committed(events).values()) == 40
    done = [event.value["n"] for it in (first, second) for given, _ in it.function.calls for event in given]
    assert sorted(done) == list(range(40)), "done once each: nothing had to be done again"
    for watch in (first.watch, second.watch):
        assert watch.read == watch.finished + watch.left_to_others
    assert first.watch.left_to_others
    assert second.function.calls


@pytest.mark.parametrize("seed", range(10))
def test_every_event_is_done_and_the_order_of_every_key_kept_whatever_fails(seed: int) -> None:
    """Invariant 3, through retries and rebalances: what was done of a key never goes back behind what was done before."""
    chance = random.Random(seed)
    events = stream(300, keys=12, partitions=3)
    done: dict[bytes | None, list[int]] = defaultdict(list)

    def answer(given: Sequence[Event], attempt: int) -> Outcome:
        if chance.random() < 0.2:
            return Outcome(dict.fromkeys(range(len(given)), FunctionError("crash", retryable=True)))
        failed = next((n for n in range(len(given)) if chance.random() < 0.05), len(given))
        for event in given[:failed]:
            done[event.raw_key].append(event.value["n"])
        return Outcome({n: FunctionError("503", retryable=True) for n in range(failed, len(given))})

    retry = Retry(attempts=1_000, initial=0.0, jitter=False)
    members = [Bench(events, None, trigger=full_or(0.0, 7), retry=retry) for _ in range(2)]
    joined = members[:1]
    members[0].consumer.subscribe(["orders"], members[0].dispatch)
    for turn in range(4_000):
        if turn == 40:
            members[1].consumer.subscribe(["orders"], members[1].dispatch)
            joined = members
        for it in joined:
            it.dispatch._turn()
            for number in chance.sample(sorted(it.function.running), len(it.function.running) // 2 + 0):
                it.function.end(number, answer(it.function.running[number], 1))
            if chance.random() < 0.3 and it.function.running:
                number = min(it.function.running)
                it.function.end(number, answer(it.function.running[number], 1))
        if sum(committed(events).values()) == 300:
            break
    assert sum(committed(events).values()) == 300
    for key, numbers in done.items():
        firsts = list(dict.fromkeys(numbers))
        assert firsts == sorted(firsts), f"key {key!r} out of order"
        assert set(firsts) == {n for n in range(300) if b"%d" % (n % 12) == key}


def test_once_ends_when_everything_is_done_that_was_there() -> None:
    events = stream(20, partitions=2)

    def answer(given: Sequence[Event], attempt: int) -> Outcome:
        events.append("orders", b"0", b"{}")  # somebody goes on writing
        return Outcome()

    Bench(events, answer, trigger=full_or(0.0, 5), once=True, until_idle=None).run()
    assert all(offset >= 10 for offset in committed(events).values())


def test_once_on_an_empty_stream_ends() -> None:
    it = Bench(MemoryStream(), once=True, until_idle=None).run()
    assert it.given() == []


def test_no_more_events_are_begun_than_asked_for() -> None:
    events = stream(20, keys=1)
    it = Bench(events, trigger=full_or(0.0, 4), max_events=6, until_idle=None, workers=1).run()
    assert [offsets for offsets, _ in it.given()] == [[0, 1, 2, 3], [4, 5]]
    assert committed(events) == {ONE: 6}


def test_an_event_that_the_filter_can_not_judge_is_given_up_untried() -> None:
    def sift(events: Sequence[Event]) -> Sifted:
        first, poison, *others = events
        return Sifted([first, *others], refused=[(poison, FunctionError("no JSON", code="function.poison"))])

    events = stream(3)
    it = Bench(events, sift=lambda events: sift(events) if events else Sifted(events)).run()
    assert it.dead() == [b'{"n":1}']
    assert sorted(offset for offsets, _ in it.given() for offset in offsets) == [0, 2]
    assert committed(events) == {ONE: 3}


def test_while_a_function_is_away_nothing_is_read_or_given_up_and_then_all_is_done() -> None:
    states: list[str] = []
    settings = CircuitSettings(failures=3, pause=0.01, longest=0.02, attempts=3)
    looks = itertools.count()  # time goes by from turn to turn, however long one takes
    circuit = Circuit(settings, lambda report: states.append(report.state), lambda: next(looks) * 0.0005)
    events = stream(40, keys=20)
    paused: list[bool] = []

    def answer(given: Sequence[Event], attempt: int) -> Outcome:
        if circuit.is_open():
            paused.append(it.dispatch._paused)
        return Outcome() if len(paused) > 5 else Outcome(dict.fromkeys(range(len(given)), AWAY))

    it = Bench(events, answer, trigger=full_or(0.0, 2), circuit=circuit)
    it.run()
    assert paused == [True] * 6, "one call at a time finds out, and nothing is read"
    assert states == ["closed", "open", *["half_open", "open"] * 5, "half_open", "closed"]
    assert it.dead() == []
    assert max(attempt for _, attempt in it.function.calls) <= 3
    assert sum(committed(events).values()) == 40


def test_leaving_does_not_wait_for_a_function_that_is_away() -> None:
    circuit = Circuit(CircuitSettings(failures=1, pause=3_600.0))
    away = Outcome(dict.fromkeys(range(4), AWAY))
    it = Bench(stream(4), lambda given, attempt: away, circuit=circuit, drain=3_600.0)
    it.consumer.subscribe(["orders"], it.dispatch)
    while not circuit.is_open():
        it.dispatch._turn()
    it.dispatch.stop()
    began = time.monotonic()
    it.run()
    assert time.monotonic() - began < 60.0, "it would have drained for an hour"


def test_the_watch_is_told_what_happens() -> None:
    it = Bench(stream(4, keys=1), failing(2), trigger=full_or(0.0, 4)).run()
    assert it.watch.states == ["streaming", "draining"]
    assert it.watch.read == it.watch.finished == 4
    assert it.watch.calls == [(4, 1), (1, 2), (1, 3)]
    assert it.watch.failed == [{PASSING.code}] * 3
    assert it.watch.dead == ["orders"]
    assert it.watch.behind
    assert it.watch.commits


def test_in_turn_nothing_begins_while_a_dead_letter_is_not_durable() -> None:
    """Who keeps offsets himself says of an event that all before it are done."""
    refused = FunctionError("no", retryable=False)
    it = Bench(
        stream(4),
        failing(1, error=refused),
        trigger=full_or(0.0, 2),
        workers=1,
        order="partition",
        in_turn=True,
    )
    it.publisher.stall()
    it.dispatch._consumer.subscribe(["orders"], it.dispatch)
    for _ in range(5):
        it.dispatch._turn()
    assert it.given() == [([0, 1], 1)]
    it.publisher.go_on()
    for _ in range(5):
        it.dispatch._turn()
    assert it.given() == [([0, 1], 1), ([2, 3], 1)]


def test_in_turn_what_is_too_old_is_durably_given_up_before_the_others_are_done() -> None:
    events = stream(1)
    it = Bench(events, trigger=full_or(0.0, 2), workers=1, order="partition", in_turn=True, max_age=60.0)
    it.now = events.events[ONE][0][0] / 1000 + 90
    events.append("orders", b"0", b"{}")
    at, key, value, headers = events.events[ONE][1]
    events.events[ONE][1] = (at + 60_000, key, value, headers)
    it.publisher.stall()
    it.dispatch._consumer.subscribe(["orders"], it.dispatch)
    for _ in range(5):
        it.dispatch._turn()
    assert it.given() == []
    it.publisher.go_on()
    for _ in range(5):
        it.dispatch._turn()
    assert it.given() == [([1], 1)]


def test_partitions_are_placed_before_anything_is_read_of_them() -> None:
    it = Bench(stream(5))

    def place(partitions: Collection[TopicPartition]) -> None:
        for one in partitions:
            it.consumer.seek(one, 3)

    it.dispatch._place = place
    assert [offset for offsets, _ in it.run().given() for offset in offsets] == [3, 4]


def doubling(events: Sequence[Event], attempt: int) -> Outcome:
    """A function that fails for one event at first, and gives something for all others."""
    failures = {index: PASSING for index, event in enumerate(events) if event.offset == 2 and attempt < 3}
    outputs = [
        Output(None, event.raw_key, b"%d" % (2 * event.value["n"]), event=index)
        for index, event in enumerate(events)
        if index not in failures
    ]
    return Outcome(failures, outputs)


def test_exactly_once_results_and_offsets_are_published_together() -> None:
    events = stream(20, keys=5)
    it = Bench(events, doubling, trigger=full_or(0.0, 3), exactly_once=True).run()
    assert it.publisher.events == []
    published = [event.value for transaction, _ in it.results.transactions for event in transaction]
    assert sorted(published, key=lambda value: int(value or b"")) == [b"%d" % (2 * n) for n in range(20)]
    done = 0
    for transaction, offsets in it.results.transactions:
        done += len(transaction)
        assert offsets.get(ONE, done) == done, "an offset stands behind as many results as were published"
    assert committed(events) == {ONE: 20}
    assert it.results.closed


def test_exactly_once_a_dead_letter_is_published_with_the_offset_behind_it() -> None:
    it = Bench(stream(3), failing(1, error=PermanentError("never")), exactly_once=True).run()
    [(dead, _)] = [one for one in it.results.transactions if one[0]]
    assert [event.topic for event in dead] == ["dead"]
    assert it.dead() == []


def test_exactly_once_nothing_is_published_after_a_transaction_that_may_have_failed() -> None:
    events = stream(6)
    it = Bench(events, doubling, trigger=full_or(0.0, 3), exactly_once=True)
    it.results.fail(PublishError("no answer", retryable=True))
    with pytest.raises(PublishError):
        it.run()
    assert (it.results.transactions, committed(events)) == ([], {})
    again = Bench(events, doubling, exactly_once=True).run()
    assert len([event for transaction, _ in again.results.transactions for event in transaction]) == 6


def test_exactly_once_a_partition_that_goes_with_half_of_an_invocation_ends_the_session() -> None:
    """What came of both partitions' events can't be told apart."""
    events = stream(4, partitions=2, keys=4)
    it = Bench(events, None, trigger=full_or(0.0, 3), exactly_once=True, commit_interval=60.0)
    it.consumer.subscribe(["orders"], it.dispatch)
    while not it.function.running:
        it.dispatch._turn()
    [(first, _), *_] = it.function.calls
    assert {event.partition for event in first} == {0, 1}
    it.function.end(1, doubling(first, 3))
    it.dispatch._turn()
    it.dispatch.lost([TopicPartition("orders", 1)])
    with pytest.raises(PublishError) as caught:
        it.dispatch._turn()
    assert caught.value.retryable
    assert it.results.transactions == []
