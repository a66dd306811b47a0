"""Configuration -> a dispatch loop: consumer, trigger, function, policy and publisher, wired for one session.

Enters: a checked `SinkConfig`, whatever runs the function, and who watches. Leaves: a `Dispatch` that is connected. Called
by `sink`, and by whoever wants to push a stream somewhere else.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from liberator.build.accepting import sift
from liberator.build.outputs import Outputs
from liberator.build.topics import kafka_topics, local_topics
from liberator.change import Event, TopicPartition
from liberator.config.secrets import redact
from liberator.config.trigger import OF_THE_STREAM, TriggerSettings
from liberator.consume.clock import ClockConsumer
from liberator.consume.files.consumer import FileConsumer, Watched
from liberator.consume.files.seen import Seen
from liberator.consume.ranges import Range, RangeConsumer
from liberator.consume.several import SeveralConsumers
from liberator.dispatch.dead_letter import dead_letters_of
from liberator.dispatch.loop import Dispatch, DispatchSettings
from liberator.dispatch.settle import Retry
from liberator.dispatch.sifting import Sifted
from liberator.dispatch.trigger import Condition, OnLag, OnSchedule, OnStream, Trigger
from liberator.errors import ConfigError
from liberator.function.checked import CheckedInvocations
from liberator.function.circuit import Circuit, CircuitInvocations, CircuitReport, CircuitSettings
from liberator.function.idempotent import DoneIds, IdempotentInvocations
from liberator.protocols import Consumer, DispatchWatch, Invocations, Publisher, ResultsPublisher, Start
from liberator.publish.nowhere import NowherePublisher
from liberator.webhook.desk import AnsweringInvocations

if TYPE_CHECKING:
    from liberator.config import SinkConfig
    from liberator.function.stateful import StatefulInvocations
    from liberator.publish.kafka import Lessons
    from liberator.webhook.desk import Desk
    from liberator.webhook.server import WebhookSettings

LAG_INTERVAL = 10.0
"""Seconds between two looks how far behind the group is, for those who watch."""

COMMIT_INTERVAL = 0.5
"""Seconds between two commits to a broker."""

RESULTS_INTERVAL = 0.1
"""Seconds between two transactions: each costs the brokers a marker in every partition that took part."""

_BESIDES = 5.0
"""Seconds that a request waits beyond the time of the function before it, and its own."""

_FEWEST_CONNECTIONS, _MOST_CONNECTIONS = 8, 512
"""At a time: as many bodies as the memory holds, within these bounds."""

_LAST_ANSWERS = 1.0
"""Seconds for answers that are on their way when a webhook ends."""

DRAIN = 8.0
"""Seconds for what is under way when the connector is asked to end; the rest of ten is for leaving the group."""


@dataclass(frozen=True, slots=True)
class Replay:
    """A part of the stream is done again. group: whose place is moved. again: what is remembered as done, too."""

    group: str
    ranges: Mapping[TopicPartition, Range]
    again: bool = False


@dataclass(frozen=True, slots=True)
class Until:
    """When a connector ends by itself: see `DispatchSettings`. replay: it ends with this part of its stream."""

    once: bool = False
    max_events: int | None = None
    replay: Replay | None = None


def make_dispatch(
    config: SinkConfig,
    invocations: Callable[[], Invocations],
    watch: DispatchWatch,
    until: Until = Until(),  # frozen
    circuit: Circuit | None = None,
    lessons: Lessons | None = None,
) -> Dispatch:
    """A loop over the stream of `config`, with its policy; what it opened is closed by its `run`.

    invocations: makes what runs the function. circuit: see `make_circuit`. lessons: what brokers taught earlier sessions
    of a sink that publishes exactly once.
    Raises `ConfigError`, `ConsumeError`, `PublishError`, `FunctionError`.
    """
    outputs = Outputs(config)
    with ExitStack() as stack:
        desk = None if config.webhook is None else make_desk(config, until)
        consumer = desk or make_consumer(config, until)
        stack.callback(consumer.close)
        exactly_once = config.output.delivery == "exactly_once" and until.replay is None
        publisher = NowherePublisher() if exactly_once else make_publisher(config)
        stack.callback(publisher.close)
        results = make_results(config, consumer, lessons) if exactly_once else None
        if results is not None:
            stack.callback(results.close)
        made = function = invocations()
        stack.callback(made.close, 0.0)
        if circuit is not None:
            function = CircuitInvocations(function, circuit)
        function = CheckedInvocations(function, outputs.check)
        stateful = None if config.state is None else make_stateful(config, function)
        function = stateful or function
        place = make_place(config, consumer, stateful or made)
        idempotent = None if config.policy.idempotency is None else make_idempotent(config, function, until)
        function = idempotent or function
        if desk is not None:
            function = AnsweringInvocations(function, desk)
        stack.pop_all()

    chosen = sift(config)

    def sifted(events: Sequence[Event]) -> Sifted:
        found = chosen(events)
        if desk is not None:
            desk.done(found.unwanted)
            for event, why in found.refused:
                desk.failed(event, why)
        return found

    def remember(events: Sequence[Event]) -> None:
        if stateful is not None:
            stateful.save(events)
        if idempotent is not None:
            idempotent.remember(events)
        if desk is not None:
            desk.done(events)

    return Dispatch(
        consumer,
        (config.stream and config.stream.topics) or config.reads,
        make_trigger(config, until),
        function,
        publisher,
        dispatch_settings(config, until),
        output=outputs.encode,
        given_up=dead_letters_of(config.name, lambda: time.time_ns() // 1_000_000, redact),
        sift=sifted,
        watch=watch,
        remember=remember,
        held=circuit.is_open if circuit else lambda: False,
        place=place,
        results=results,
    )


def make_circuit(
    config: SinkConfig, until: Until, changed: Callable[[CircuitReport], None]
) -> Circuit | None:
    """When the function is left alone; None: never. changed: called when that begins and ends. Whoever wants to be done once
    does not wait for a function that fails every time."""
    breaker = config.circuit_breaker
    if breaker is None:
        return None
    ends = until.once or until.replay is not None
    settings = CircuitSettings(
        breaker.failures, breaker.pause, breaker.max, config.policy.retry.attempts, ends
    )
    return Circuit(settings, changed)


def make_place(
    config: SinkConfig, consumer: Consumer, invocations: Invocations
) -> Callable[[Collection[TopicPartition]], None]:
    """What puts partitions where the function says that keeps their offsets itself."""
    if not config.keeps_offsets:
        return lambda partitions: None
    from liberator.consume.placed import Places, placing

    assert isinstance(invocations, Places)
    assert config.stream is not None, "checked with the configuration"
    start = cast(Start, config.stream.start)
    return placing(consumer, invocations, start, f"liberator_offsets WHERE connector = '{config.name}'")


def make_stateful(config: SinkConfig, function: Invocations) -> StatefulInvocations:
    """The function, whose state and offsets change in one transaction. Raises `LiberatorError`."""
    from liberator.build.functions import state_settings
    from liberator.function.state_store import StateStore
    from liberator.function.stateful import StatefulInvocations

    settings = state_settings(config)
    assert settings is not None
    store = StateStore(settings)
    store.make()
    return StatefulInvocations(function, store)


def make_desk(config: SinkConfig, until: Until) -> Desk:
    """Where requests wait for the function; it listens already. Raises `ConfigError`, `PreconditionError`."""
    from liberator.webhook.desk import Desk
    from liberator.webhook.server import WebhookServer

    hook = config.webhook
    assert hook is not None
    if until.once:
        raise ConfigError(
            "a webhook waits for requests: there is no moment when all of them are done",
            code="config.once",
            where=config.where("trigger"),
            fix="leave --once out, or write --max-events N",
        )
    settings = webhook_settings(config, hook, patience=2 * config.policy.timeout + _BESIDES)
    desk = Desk(config.name, most=settings.connections)
    server = WebhookServer(hook.listen, desk, settings)
    desk.closing = lambda: server.stop(_LAST_ANSWERS)
    return desk


def webhook_settings(config: SinkConfig, hook: TriggerSettings, *, patience: float) -> WebhookSettings:
    """How requests are taken. patience: seconds that they wait."""
    from liberator.signature import secret_of
    from liberator.webhook.server import WebhookSettings

    return WebhookSettings(
        path=hook.path or "/",
        secrets=[secret_of(secret) for secret in hook.secret],
        largest=hook.largest,
        connections=max(_FEWEST_CONNECTIONS, min(_MOST_CONNECTIONS, config.limits.memory // hook.largest)),
        patience=patience,
        accepted=hook.respond == "accepted",
        json=config.stream is not None and config.stream.values == "json",
    )


def make_idempotent(config: SinkConfig, function: Invocations, until: Until) -> IdempotentInvocations:
    """The function, which is not started by an event that it has done. What a new group has done is its own. Raises
    `FunctionError`."""
    from liberator.function.done_ids import PostgresIds, SqliteIds

    settings = config.policy.idempotency
    assert settings is not None
    replay = until.replay
    whose = config.name if replay is None else replay.group
    ids: DoneIds
    if settings.store.startswith("sqlite:"):
        ids = SqliteIds(Path(settings.store.removeprefix("sqlite:")), whose, settings.ttl)
    else:
        ids = PostgresIds(settings.store, whose, settings.ttl)
    return IdempotentInvocations(function, ids, again=replay is not None and replay.again)


def make_consumer(config: SinkConfig, until: Until) -> Consumer:
    """A member of the connector's group; without a stream, what tells the times; and what looks for files. Raises
    `ConfigError`, `ConsumeError`, `PreconditionError`."""
    several: list[Consumer] = []
    with ExitStack() as stack:
        for make in _makers(config, until):
            several.append(make())
            stack.callback(several[-1].close)
        stack.pop_all()
    return several[0] if len(several) == 1 else SeveralConsumers(several)


def _makers(config: SinkConfig, until: Until) -> Iterator[Callable[[], Consumer]]:
    if config.stream is not None:
        yield lambda: stream_consumer(config, until)
    elif any(trigger.on == "schedule" for trigger in config.trigger):
        yield lambda: ClockConsumer(config.name, _following(config), once=until.once)
    if config.files and until.replay is None:
        yield lambda: _file_consumer(config, until)


def stream_consumer(config: SinkConfig, until: Until) -> Consumer:
    """A member of the connector's group, of a sink with a stream. Raises `ConfigError`, `ConsumeError`."""
    from liberator.config.sink import folder_of_broker

    stream = config.stream
    assert stream is not None
    start, replay = cast(Start, stream.start), until.replay
    group = config.name if replay is None else replay.group
    folder = folder_of_broker(stream.url)
    consumer: Consumer
    if folder is not None:
        from liberator.consume.local import LocalConsumer

        consumer = LocalConsumer(folder, group, start=start)
    else:
        from liberator.consume.kafka import kafka_consumer

        consumer = kafka_consumer(stream.url, group, options=stream.options, start=start)
    return consumer if replay is None else RangeConsumer(consumer, replay.ranges)


def _file_consumer(config: SinkConfig, until: Until) -> Consumer:
    watched = [
        Watched(
            *trigger.files,
            kinds=trigger.events,
            settle=trigger.settle,
            interval=trigger.looks_every,
        )
        for trigger in config.files
    ]
    return FileConsumer(config.name, watched, Seen(config.files_seen), once=until.once)


def _following(config: SinkConfig) -> Callable[[float], float]:
    """The next time after one, of all schedules."""
    times = [trigger.schedule.following for trigger in config.trigger if trigger.schedule is not None]
    return lambda after: min(following(after) for following in times)


def make_publisher(config: SinkConfig) -> Publisher:
    """Where outputs and dead letters go. Raises `ConfigError`, `PublishError`."""
    if config.publish_url is None:
        return NowherePublisher()
    return publisher_to(
        config, config.publish_url, config.limits.memory // 2, dead_letter_topic=config.dead_letter_topic
    )


def publisher_to(config: SinkConfig, url: str, memory: int, *, dead_letter_topic: str | None) -> Publisher:
    """Publishes to a broker. memory: bytes. dead_letter_topic: for what is too large for its own; None: that is an error.
    Raises `ConfigError`, `PublishError`."""
    from liberator.config.sink import folder_of_broker

    folder, topics = folder_of_broker(url), config.output.create_topics
    if folder is not None:
        from liberator.publish.local import LocalPublisher

        return LocalPublisher(folder, **local_topics(topics), dead_letter_topic=dead_letter_topic)
    from liberator.publish.kafka import kafka_publisher

    return kafka_publisher(
        url,
        options=publishing_options(config, url),
        create_topics=kafka_topics(topics),
        memory=memory,
        name=config.name,
        dead_letter_topic=dead_letter_topic,
    )


def publishing_options(config: SinkConfig, url: str) -> dict[str, str]:
    """Options of the Kafka client that publishes there; of a stream in the same broker those of the connection too."""
    from liberator.consume.kafka.options import split

    if config.stream is None or url != config.stream.url:
        return dict(config.output.options)
    return {**split(config.stream.options)[0], **config.output.options}


def make_results(config: SinkConfig, consumer: Consumer, lessons: Lessons | None) -> ResultsPublisher:
    """Where outputs and dead letters go, with the offsets of their events. Raises `ConfigError`, `PublishError`."""
    from liberator.consume.kafka import KafkaConsumer
    from liberator.publish.kafka import Lessons, results_publisher

    assert isinstance(consumer, KafkaConsumer), "checked with the configuration"
    assert config.stream is not None
    return results_publisher(
        config.stream.url,
        options=publishing_options(config, config.stream.url),
        create_topics=kafka_topics(config.output.create_topics),
        name=config.name,
        dead_letter_topic=config.dead_letter_topic,
        member=consumer.member,
        committed=consumer.was_committed,
        lessons=lessons or Lessons(),
    )


def make_trigger(config: SinkConfig, until: Until) -> Trigger:
    """When what waits is enough. Whoever wants to be done once waits for no lag and no time; what no stream holds has no
    company to wait for."""
    if config.stream is None:
        alone = [trigger for trigger in config.trigger if trigger.on != "file"]
        # The batches of files are as large as asked for, and those of others are one.
        count = max(
            (one.batch_size for one in config.files if "batch_size" in one.model_fields_set), default=1
        )
        size = max((one.batch_bytes for one in config.files), default=1)
        return Trigger(1 if alone else count, size, [OnStream(1, 0.0, 1)])
    count = max(trigger.batch_size for trigger in config.trigger)
    size = max(trigger.batch_bytes for trigger in config.trigger)
    one_by_one = config.function.one_by_one
    conditions = [
        _condition(trigger, one_by_one) for trigger in config.trigger if trigger.on in OF_THE_STREAM
    ]
    if not conditions:
        conditions.append(OnStream(count, _window(TriggerSettings(), one_by_one), size))
    if until.once and all(trigger.on != "stream" for trigger in config.trigger):
        conditions.append(OnStream(count, 0.0, size))
    return Trigger(count, size, conditions, spread=one_by_one)


def _condition(trigger: TriggerSettings, one_by_one: bool) -> Condition:
    if trigger.on == "lag":
        return OnLag(trigger.threshold, trigger.max_wait)
    if trigger.on == "schedule":
        assert trigger.schedule is not None, "checked with the configuration"
        return OnSchedule(trigger.schedule.following, time.time)
    return OnStream(trigger.batch_size, _window(trigger, one_by_one), trigger.batch_bytes)


def _window(trigger: TriggerSettings, one_by_one: bool) -> float:
    """Seconds that an event waits for others, where it has anything of their company."""
    return 0.0 if one_by_one and "batch_window" not in trigger.model_fields_set else trigger.batch_window


def _commit_interval(config: SinkConfig) -> float:
    """Seconds. What waits for its offset is not kept waiting for long."""
    if not config.keeps_events:
        return 0.0
    return RESULTS_INTERVAL if config.output.delivery == "exactly_once" else COMMIT_INTERVAL


def dispatch_settings(config: SinkConfig, until: Until) -> DispatchSettings:
    """What the policy says."""
    policy = config.policy
    keeps_offsets = config.keeps_offsets
    retry, given_up = policy.retry, policy.on_failure
    # Who posts an event has it, and is told: trying again is up to him.
    attempts = 1 if config.webhook else retry.attempts
    if not config.keeps_events and given_up == "dead_letter":
        # There is no event to keep: the next time calls again. Whoever calls once wants to know.
        given_up = "stop" if until.once else "skip"
    return DispatchSettings(
        order="partition" if keeps_offsets else policy.order if config.keeps_events else "none",
        retry=Retry(attempts, retry.initial, retry.max, retry.factor, retry.jitter),
        bisect=policy.bisect,
        on_failure=given_up,
        dead_letter_topic=config.dead_letter_topic,
        permanent_topic=policy.on_permanent.topic if policy.on_permanent else None,
        # Who replays asks for what is old.
        max_age=None if until.replay else policy.max_age,
        commit_before=policy.commit == "before",
        memory=config.limits.memory,
        drain=DRAIN,
        commit_interval=_commit_interval(config),
        once=until.once,
        max_events=until.max_events,
        in_turn=keeps_offsets,
        lag_interval=min([LAG_INTERVAL, *(one.looks_every for one in config.trigger if one.on == "lag")]),
    )
