"""What connectors that run side by side must not share, and how they must not be connected.

Enters: checked connectors. Leaves: faults. Whether two tables meet in one topic is known only to the databases, so it
is checked when they are connected to.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence

from liberator.config.flow import calls_webhook, circles
from liberator.config.models import SourceConfig
from liberator.config.patterns import TablePattern
from liberator.config.sink import SinkConfig
from liberator.config.urls import split_url
from liberator.errors import ConfigError

_Any = SourceConfig | SinkConfig
_Share = Callable[[_Any], Hashable | None]


def _server(config: SourceConfig) -> Hashable:
    parts = split_url(config.source.url)
    hosts = tuple((host or "localhost", port or 5432) for host, port in parts.hosts)
    return hosts, tuple(parts.parameters()) if not parts.hosts[0][0] else ()


def _slot(config: _Any) -> Hashable | None:
    if isinstance(config, SinkConfig) or not config.source.reads_log:
        return None
    return _server(config), config.source.log.slot


def _output(config: _Any) -> Hashable | None:
    return (
        None
        if isinstance(config, SinkConfig) or config.publish.kind in ("kafka", "local")
        else config.publish.url
    )


_Rule = tuple[str, tuple[str, ...], str, str, _Share]
_EVERYWHERE: tuple[_Rule, ...] = (
    (
        "same_name",
        ("name",),
        "the connector {name}",
        "give each connector a name of its own",
        lambda config: config.name,
    ),
    (
        "same_slot",
        ("source", "log", "slot"),
        "the slot {slot}",
        "give each connector a slot of its own",
        _slot,
    ),
)
_ON_ONE_MACHINE: tuple[_Rule, ...] = (
    (
        "same_output",
        ("publish", "url"),
        "the output {url}",
        "publish each connector to a file of its own",
        _output,
    ),
)
"""code, key, what is shared, remedy, the thing itself."""


def contradictions(configs: Sequence[_Any], *, one_machine: bool) -> Iterator[ConfigError]:
    """A fault for every connector that takes what an earlier one has."""
    for code, path, what, fix, share in _EVERYWHERE + (_ON_ONE_MACHINE if one_machine else ()):
        owners: dict[Hashable, _Any] = {}
        for config in configs:
            thing = share(config)
            if thing is None:
                continue
            owner = owners.setdefault(thing, config)
            if owner is not config:
                yield ConfigError(
                    f"{_named(what, config)} is used twice, first at {owner.where(*path)}",
                    code=f"config.{code}",
                    where=config.where(*path),
                    fix=fix,
                )
    yield from _flows_back(configs)


def _flows_back(configs: Sequence[_Any]) -> Iterator[ConfigError]:
    """A fault for every table of a sink that a source of the same files captures: what it writes would come for ever."""
    sources = [config for config in configs if isinstance(config, SourceConfig)]
    for sink in configs:
        table = sink.function.table if isinstance(sink, SinkConfig) else None
        if table is None:
            continue
        for source in sources:
            if _database(source.source.url) == _database(table.url) and _captures(source, table.table):
                yield ConfigError(
                    f"the table {table.table} is captured by {source.name}, so what is written there would flow back",
                    code="config.cycle",
                    where=sink.where("function", "table", "table"),
                    fix=f"write to another table, or leave it out of {source.where('source', 'exclude')}",
                )


def _database(url: str) -> Hashable:
    """Which database a URL means, as far as it tells."""
    parts = split_url(url)
    kind = parts.scheme.partition("+")[0]
    family = {"postgres": "postgresql", "mariadb": "mysql"}.get(kind, kind)
    port = {"postgresql": 5432, "mysql": 3306}.get(family)
    hosts = frozenset((_LOCAL.get(host, host), given or port) for host, given in parts.hosts)
    return family, hosts, parts.path, tuple(parts.parameters()) if not parts.hosts[0][0] else ()


_LOCAL = {"": "localhost", "127.0.0.1": "localhost", "[::1]": "localhost"}


def _captures(config: SourceConfig, table: TablePattern) -> bool:
    """Does a source read this table? Without a schema both mean the default one."""
    source = config.source
    schema = table.schema or "public"
    if source.mode == "outbox":
        return source.outbox.capture != "message" and source.outbox.table.matches(schema, table.table)
    if any(pattern.matches(schema, table.table) for pattern in source.exclude):
        return False
    return not source.tables or any(pattern.matches(schema, table.table) for pattern in source.tables)


def fed_by_itself(configs: Sequence[_Any]) -> Iterator[ConfigError]:
    """A fault for every circle of functions, each of which publishes what starts the next one."""
    for circle in circles([config for config in configs if isinstance(config, SinkConfig)]):
        following = [*circle[1:], circle[0]]
        ways = [
            f"{sink.name} calls" if calls_webhook(sink, other) else f"{sink.name} -> {sink.output.topic} ->"
            for sink, other in zip(circle, following, strict=True)
        ]
        yield ConfigError(
            f"functions start each other in a circle: {' '.join(ways)} {circle[0].name}",
            code="config.cycle",
            where=circle[0].where(*(("function",) if ways[0].endswith("calls") else ("output", "topic"))),
            fix="publish what one of them gives to a topic that none of the others reads, or call none of their webhooks",
        )


def _named(what: str, config: _Any) -> str:
    if isinstance(config, SinkConfig):
        return what.format(name=config.name)
    return what.format(name=config.name, slot=config.source.log.slot, url=config.publish.url)
