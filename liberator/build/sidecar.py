"""A sidecar, wired: server, judge, writer, publisher, window and telemetry.

Enters: a checked `SidecarConfig`. Leaves: a sidecar to run. Called by the command line.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from liberator.build.dispatching import Until
from liberator.build.outbox_rules import contract_of_event, topic_of_event
from liberator.build.parts import now_ms, schema_ids
from liberator.build.running import RequestWatch, Signals
from liberator.build.sink import SinkConnector
from liberator.build.topics import kafka_topics, local_topics
from liberator.checkpoint import open_checkpoint
from liberator.config.sidecar import is_loopback
from liberator.observe.metrics import Exposition
from liberator.observe.server import ObserveServer, Pages
from liberator.observe.telemetry import Telemetry
from liberator.plan.outbox import OutboxNames, OutboxSettings, Prefix
from liberator.plan.outbox_wire import EventWire
from liberator.policy import Backoff
from liberator.protocols import Publisher
from liberator.sidecar.judge import Judge
from liberator.sidecar.registering import Registering
from liberator.sidecar.request import Reading
from liberator.sidecar.server import ServerSettings, SidecarServer
from liberator.sidecar.window import Window
from liberator.sidecar.writer import Writer, WriterSettings

if TYPE_CHECKING:
    from liberator.config.sidecar import SidecarConfig
    from liberator.kafka import Client

log = logging.getLogger(__name__)

DRAIN = 8.0
"""Seconds for the way out."""

_LAST = 1.0
"""Seconds for a writer that has nothing to do."""

_PAUSE_MOST = 2.0


class Sidecar:
    """Listens when constructed; `run` answers requests until it is stopped. publisher: makes the publisher of a session;
    None: as configured."""

    def __init__(self, config: SidecarConfig, publisher: Callable[[], Publisher] | None = None) -> None:
        self.config = config
        self.telemetry = Telemetry(config.name)
        self._stopped = threading.Event()
        self._failure: BaseException | None = None
        events, limits = config.events, config.limits
        self._writer = Writer(
            publisher or publishers(config),
            lambda: Window(config.idempotency.file, config.idempotency.ttl),
            RequestWatch(self.telemetry, dict),
            WriterSettings(patience=events.timeout, memory=limits.memory, drain=DRAIN),
            backoff=lambda: Backoff(max=_PAUSE_MOST, random=random.random, tick=time.monotonic),
        )
        self._pushes = [SinkConnector(push.sink(config), Until()) for push in config.push]
        self.server = SidecarServer(
            config.listen,
            Judge(event_settings(config), config.name, now_ms=now_ms, prefix=prefixes(config)),
            self._writer,
            {"": _pages(self.telemetry)}
            | {f"/push/{push.config.name}": _pages(push.telemetry) for push in self._pushes},
            ServerSettings(Reading(events.headers, events.tombstones), limits.event, events.timeout),
        )

    def stop(self) -> None:
        """End soon: requests under way are answered first."""
        self._stopped.set()

    def run(self) -> None:
        """Until stopped, by a signal too. Raises the `LiberatorError` that ends it. Main thread only."""
        with Signals(self.stop):
            self.serve()

    def serve(self) -> None:
        """As `run`, in any thread."""
        with ExitStack() as stack:
            stack.callback(self.server.close)
            if self.config.observe is not None:
                stack.enter_context(ObserveServer(self.config.observe.listen, self.telemetry))
            # A thread of its own: a client that waits for a broker can't be interrupted, and must not keep us.
            writer = threading.Thread(target=self._write, name="writer", daemon=True)
            writer.start()
            pushing = [self._begin(push) for push in self._pushes]
            self.server.start()
            log.info("listening", extra={"url": self.server.url})
            if not is_loopback(self.config.listen):
                log.warning("the sidecar can be reached from other machines and has no password")
            self._stopped.wait()
            self._drain(writer, pushing)

    def _begin(self, push: SinkConnector) -> threading.Thread:
        thread = threading.Thread(
            target=self._push, args=(push,), name=f"push {push.config.name}", daemon=True
        )
        thread.start()
        return thread

    def _drain(self, writer: threading.Thread, pushing: Sequence[threading.Thread]) -> None:
        end = time.monotonic() + DRAIN
        self.telemetry.state("draining")
        for push in self._pushes:
            push.stop()
        answered = self.server.drain(DRAIN)
        self._writer.stop()
        writer.join(_LAST)
        if self._writer.owes:  # else it waits for a broker, and nobody for it
            writer.join(max(0.0, end - time.monotonic()) + _LAST)
        for thread in pushing:
            thread.join(max(0.0, end - time.monotonic()))
        if self._failure is not None:
            raise self._failure
        if not answered:
            log.warning("some requests were not answered in time: their clients send them again")

    def _write(self) -> None:
        self._until_it_ends(self._writer.run)

    def _push(self, push: SinkConnector) -> None:
        self._until_it_ends(push.serve)

    def _until_it_ends(self, run: Callable[[], None]) -> None:
        """In a thread of its own: what ends it ends all, and is raised in the thread that waits."""
        try:
            run()
        except BaseException as error:
            self._failure = self._failure or error
        finally:
            self.stop()


def _pages(telemetry: Telemetry) -> Pages:
    return Pages(telemetry, Exposition(telemetry), {})


def run_sidecar(config: SidecarConfig) -> int:
    """Run a sidecar until it is stopped. Returns the exit code; raises `LiberatorError`."""
    Sidecar(config).run()
    return 0


def event_settings(config: SidecarConfig) -> OutboxSettings:
    """What of the configuration decides about events: the rules of an outbox."""
    return OutboxSettings(
        names=OutboxNames(),
        topic=topic_of_event(config.publish.topic, name=config.name),
        contract=contract_of_event(config, config.schema_.dir),
        tombstones=config.events.tombstones,
    )


def prefixes(config: SidecarConfig) -> Prefix | None:
    """What puts schema ids in front of values; None: there is no registry. Who sends waits no longer for it than for a
    broker."""
    rules = config.schema_
    if rules.registry is None:
        return None
    ids = Registering(schema_ids(rules, timeout=config.events.timeout))
    return EventWire(ids, rules.subjects).prefix


def publishers(config: SidecarConfig, client: Client = "auto") -> Callable[[], Publisher]:
    """What makes the publisher of a session. An event that is too large for its topic has no dead letter: whoever sent it
    hears of it."""
    return (lambda: _local(config)) if config.publish.kind == "local" else _kafka(config, client)


def _local(config: SidecarConfig) -> Publisher:
    from liberator.publish.local import LocalPublisher

    publish = config.publish
    return LocalPublisher(
        publish.path,
        **local_topics(publish.create_topics),
        exactly_once=config.name if publish.delivery == "exactly_once" else None,
        memory=config.limits.memory,
    )


def _kafka(config: SidecarConfig, client: Client) -> Callable[[], Publisher]:
    from liberator.checkpoint.kafka import KafkaCheckpoint
    from liberator.publish.kafka import Lessons, kafka_publisher, transactional_publisher

    publish = config.publish
    wanted = kafka_topics(publish.create_topics)
    memory = config.limits.memory
    if publish.delivery == "at_least_once":
        return lambda: kafka_publisher(
            publish.url,
            options=publish.options,
            create_topics=wanted,
            memory=memory,
            client=client,
            name=config.name,
        )
    positions = open_checkpoint("kafka", config.name, kafka_url=publish.url, options=publish.options)
    assert isinstance(positions, KafkaCheckpoint)
    lessons = Lessons()
    return lambda: transactional_publisher(
        publish.url,
        options=publish.options,
        create_topics=wanted,
        memory=memory,
        client=client,
        name=config.name,
        positions=positions,
        lessons=lessons,
    )
