"""What flows where: the databases, connectors, topics and functions of configurations, and what connects them.

Enters: checked connectors. Leaves: nodes and edges, and the circles among functions. Called by `together` and by ``liberate
graph``. Knows what files say: topics that a function names at run time are not in it. Shows no password.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

from liberator.config.function import CalledSettings, FunctionSettings
from liberator.config.models import SourceConfig
from liberator.config.sidecar import SidecarConfig
from liberator.config.sink import SinkConfig
from liberator.config.trigger import TriggerSettings
from liberator.config.urls import split_url
from liberator.config.values import folder_of

Kind = Literal["database", "source", "topic", "function", "start", "application"]
Config = SourceConfig | SinkConfig | SidecarConfig

_PLACE = re.compile(r"\{[a-z]+\}|\$\{?\d+\}?")
_TABLES_ALONE = re.compile(r'[^"*?\[\]]+')


@dataclass(frozen=True, slots=True)
class Node:
    """label: for people. context: the bounded context of a function; None: none is named."""

    kind: Kind
    name: str
    label: str
    context: str | None = None


@dataclass(frozen=True, slots=True)
class Edge:
    """label: why, where it is not what one expects."""

    tail: Node
    head: Node
    label: str = ""


@dataclass(slots=True)
class Flow:
    """Nodes and edges, in the order in which they were named, each once."""

    nodes: dict[Node, None] = field(default_factory=dict)
    edges: dict[Edge, None] = field(default_factory=dict)

    def connect(self, tail: Node, head: Node, label: str = "") -> None:
        """Something flows from one to the other."""
        self.nodes.update({tail: None, head: None})
        self.edges[Edge(tail, head, label)] = None


def flow_of(configs: Sequence[Config]) -> Flow:
    """All of it."""
    brokers = _Brokers()
    sinks = [sink for config in configs for sink in _sinks_of(config)]
    flow = Flow()
    for config in configs:
        if isinstance(config, SourceConfig):
            _source(flow, config, brokers, sinks)
        elif isinstance(config, SidecarConfig):
            _sidecar(flow, config, brokers, sinks)
    for sink in sinks:
        _sink(flow, sink, brokers, sinks)
    return flow


def circles(sinks: Sequence[SinkConfig]) -> Iterator[list[SinkConfig]]:
    """Functions of which each starts the next, and the last one the first; the shortest way round, once for each function
    that is the first of one."""
    brokers = _Brokers()
    starts = {
        id(sink): [
            other
            for other in sinks
            if calls_webhook(sink, other) or (_feeds(sink, other, brokers) and other is not sink)
        ]
        for sink in sinks
    }
    seen: set[int] = set()
    for sink in sinks:
        if id(sink) in seen:
            continue
        circle = _way_back(sink, starts)
        if circle:
            seen.update(map(id, circle))
            yield circle


def _feeds(sink: SinkConfig, other: SinkConfig, brokers: _Brokers) -> bool:
    topic, url = sink.output.topic, sink.publish_url
    if topic is None or url is None or other.stream is None:
        return False
    return brokers.same(url, other.stream.url) and other.reads(topic)


def calls_webhook(sink: SinkConfig, other: SinkConfig) -> bool:
    """Is one of its functions an endpoint that starts the other?"""
    hooks = {
        (_port(trigger.listen), trigger.path or "/") for trigger in other.trigger if trigger.on == "webhook"
    }
    return bool(hooks & {place for _, function in sink.all_functions() for place in _posts_to(function)})


def _posts_to(function: CalledSettings) -> Iterator[tuple[object, str]]:
    if function.http is None:
        return
    parts = urlsplit(function.http.url)
    host, _, _ = (parts.hostname or "").partition("%")
    local = host in _HERE or host.startswith("127.")
    yield (local or host, parts.port or {"https": 443}.get(parts.scheme, 80)), parts.path or "/"


def _port(listen: str) -> object:
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    return (host in _HERE or host.startswith("127.")) or host, int(port)


_HERE = ("", "localhost", "::1", "0.0.0.0", "::")  # recognized, not listened at


def _way_back(first: SinkConfig, starts: dict[int, list[SinkConfig]]) -> list[SinkConfig]:
    """Breadth first; empty: there is none."""
    ways = [[first]]
    reached: set[int] = set()
    while ways:
        way = ways.pop(0)
        for following in starts[id(way[-1])]:
            if following is first:
                return way
            if id(following) not in reached:
                reached.add(id(following))
                ways.append([*way, following])
    return []


class _Brokers:
    """Tells brokers apart: URLs that have a server in common mean the same one."""

    def __init__(self) -> None:
        self._known: list[set[object]] = []

    def number(self, url: str) -> int:
        """Of the broker."""
        servers = _servers(url)
        for number, known in enumerate(self._known):
            if known & servers:
                known |= servers
                return number
        self._known.append(servers)
        return len(self._known) - 1

    def same(self, one: str, other: str) -> bool:
        """Do they mean one broker?"""
        return self.number(one) == self.number(other)

    def topic(self, url: str, topic: str) -> Node:
        """A topic of a broker."""
        return Node("topic", f"{self.number(url)}/{topic}", topic)


def _servers(url: str) -> set[object]:
    if folder_of(url) is not None or not url.startswith("kafka://"):
        return {url}
    return {(host, port or 9092) for host, port in split_url(url).hosts}


def _sinks_of(config: Config) -> list[SinkConfig]:
    if isinstance(config, SidecarConfig):
        return [push.sink(config) for push in config.push]
    return [config] if isinstance(config, SinkConfig) else []


def _source(flow: Flow, config: SourceConfig, brokers: _Brokers, sinks: Sequence[SinkConfig]) -> None:
    connector = Node("source", config.name, config.name)
    flow.connect(_database(config.source.url), connector)
    for topic in _topics_of(config):
        _publishes(flow, connector, config.publish.url, topic, brokers, sinks)


def _topics_of(config: SourceConfig) -> Iterator[str]:
    """With ``{...}`` where a name comes from the database."""
    yield from dict.fromkeys(_rendered(config))
    for step in config.transform:
        if step.route is not None:
            yield _PLACE.sub("{...}", step.route.topic)
    if config.source.log.messages:
        yield _named(config.source.log.message_topic.text, config.name)


def _rendered(config: SourceConfig) -> Iterator[str]:
    text = _named(config.publish.topic.text, config.name)
    tables = [str(pattern).rpartition(".") for pattern in config.source.tables]
    if tables and all(schema and _TABLES_ALONE.fullmatch(schema + table) for schema, _, table in tables):
        for schema, _, table in tables:
            yield text.replace("{schema}", schema).replace("{table}", table)
    else:
        yield text


def _sidecar(flow: Flow, config: SidecarConfig, brokers: _Brokers, sinks: Sequence[SinkConfig]) -> None:
    application = Node("application", config.name, f"clients of {config.name}")
    connector = Node("source", config.name, config.name)
    flow.connect(application, connector)
    topic = _named(config.publish.topic.text, config.name)
    _publishes(flow, connector, config.publish.url, topic, brokers, sinks)


def _named(template: str, name: str) -> str:
    return template.replace("{name}", name)


def _publishes(
    flow: Flow, tail: Node, url: str, topic: str, brokers: _Brokers, sinks: Sequence[SinkConfig]
) -> None:
    """To the topic; where its name is not known, to those that are read and could be meant."""
    if not _PLACE.search(topic):
        flow.connect(tail, brokers.topic(url, topic))
        return
    fits = re.compile("[A-Za-z0-9._-]*".join(map(re.escape, _PLACE.split(topic))))
    read = {
        one
        for sink in sinks
        if sink.stream is not None and brokers.same(sink.stream.url, url)
        for one in sink.stream.topics
        if fits.fullmatch(one)
    }
    for one in sorted(read) or [topic]:
        flow.connect(tail, brokers.topic(url, one))


def _sink(flow: Flow, config: SinkConfig, brokers: _Brokers, sinks: Sequence[SinkConfig]) -> None:
    function = Node(
        "function", config.name, f"{config.name}: {_called(config.function)}", config.context or None
    )
    flow.nodes[function] = None
    for topic in _read_by(config, flow, brokers):
        flow.connect(topic, function)
    for trigger in config.trigger:
        if start := _start(config, trigger):
            flow.connect(start, _into(config, trigger, brokers) or function)
    _calls(flow, function, config, sinks)
    url = config.publish_url
    for key, topic_name in config.own_topics().items() if url else ():
        is_read = any(
            sink.reads(topic_name) and sink.stream and brokers.same(sink.stream.url, url or "")
            for sink in sinks
        )
        if key != "policy.dead_letter_topic" or is_read:
            flow.connect(function, brokers.topic(url or "", topic_name), _WHY.get(key, ""))


_WHY = {"policy.dead_letter_topic": "dead letters", "policy.on_permanent.topic": "rejected"}


def _read_by(config: SinkConfig, flow: Flow, brokers: _Brokers) -> Iterable[Node]:
    stream = config.stream
    if stream is None:
        return []
    if stream.topics:
        return [brokers.topic(stream.url, topic) for topic in stream.topics]
    known = [node for node in flow.nodes if node.kind == "topic" and config.reads(node.label)]
    ours = [node for node in known if node == brokers.topic(stream.url, node.label)]
    assert stream.pattern is not None
    return ours or [brokers.topic(stream.url, stream.pattern.pattern)]


def _start(config: SinkConfig, trigger: TriggerSettings) -> Node | None:
    told = {
        "schedule": f"{trigger.cron} {trigger.timezone}",
        "webhook": f"POST {trigger.path or '/'}",
        "file": trigger.path,
    }.get(trigger.on)
    return None if told is None else Node("start", f"{config.name}/{told}", told)


def _into(config: SinkConfig, trigger: TriggerSettings, brokers: _Brokers) -> Node | None:
    """The topic that an accepted request is put into; None: it starts the function."""
    if trigger is not config.intake or config.stream is None:
        return None
    return brokers.topic(config.stream.url, config.intake_topic)


def _calls(flow: Flow, function: Node, config: SinkConfig, sinks: Sequence[SinkConfig]) -> None:
    """What it calls by name, what these call, and webhooks that requests go to."""
    named = {
        one.name or "": Node(
            "function", f"{config.name}/{one.name}", f"{one.name}: {_called(one)}", config.context
        )
        for one in config.functions
    }
    for node in named.values():
        flow.connect(function, node, "calls")
    for one in config.functions:
        for called in one.calls:
            flow.connect(named[one.name or ""], named[called], "calls")
    for other in sinks:
        for trigger in other.trigger:
            start = _start(other, trigger)
            if start is not None and trigger.on == "webhook" and calls_webhook(config, other):
                flow.connect(function, start, "calls")


def _called(function: CalledSettings) -> str:
    if function.python is not None:
        return f"python {function.python}"
    if function.http is not None:
        return f"http {_host(function.http.url)}"
    if function.openfaas is not None:
        return f"openfaas {function.openfaas.function}"
    if function.aws_lambda is not None:
        return f"lambda {function.aws_lambda.name}"
    if function.command is not None:
        return f"command {function.command[0]}"
    table = function.table if isinstance(function, FunctionSettings) else None
    return "steps" if table is None else f"table {table.table}"


def _host(url: str) -> str:
    return ",".join(f"{host}:{port}" if port else host for host, port in split_url(url).hosts)


def _database(url: str) -> Node:
    """Host and database, and nothing else of the URL."""
    parts = split_url(url)
    label = f"{parts.path or 'database'} at {_host(url) or 'localhost'}"
    return Node("database", f"{parts.scheme}/{label}", label)
