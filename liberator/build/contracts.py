"""What the commands about contracts do: derive them, check them against the live tables, tell what differs.

Enters: a checked `SourceConfig` and the folder of the stored contracts. Leaves: what was found, and files for those who
asked for them. Each call makes its own connections and gives them back.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from liberator.build.event_contracts import check_events, diff_events, nothing_to_derive
from liberator.build.event_contracts import event_schemas as outbox_schemas
from liberator.build.parts import make_envelope, selection
from liberator.build.query import default_schema
from liberator.build.streams import Stream, streams_of
from liberator.contract.diff import Difference, differences
from liberator.contract.migration import Break, Contract, breaks, objections, readers, successor
from liberator.contract.registry.subjects import Strategy, subject
from liberator.contract.store import ContractStore
from liberator.errors import ContractError
from liberator.plan.outbox_wire import event_subject
from liberator.plan.wire import event_schemas

if TYPE_CHECKING:
    from liberator.config import SidecarConfig, SourceConfig
    from liberator.contract.registry.http import RegistrySettings

log = logging.getLogger(__name__)

_DATABASE, _SCHEMA, _TABLE = "0database0", "0schema0", "0table0"
"""Stand in a topic for the names that it is made of."""

LIVE = "table"
"""What stands in the place of a version for the table as it is now."""


@dataclass(frozen=True, slots=True)
class Derived:
    """What `schema derive` did about one stream.

    version, path: of the contract that holds now. written: by this call. due: what a next version would say, when there
    should be one and none was asked for.
    """

    topic: str
    version: int
    path: Path
    written: bool
    due: tuple[Difference, ...]


def derive_schemas(
    config: SourceConfig, folder: Path, *, write: bool = False, force: bool = False
) -> list[Derived]:
    """Store a first contract for every captured table that has none; with `write` also next versions.

    A version is never changed. Raises `ContractError` before anything is written when a next version would break
    `schema.compatibility` or what a consumer reads, unless it is forced.
    """
    if config.source.mode == "outbox":
        raise nothing_to_derive()
    store = ContractStore(folder)
    streams = streams_of(config, store)
    following = {
        stream.topic: successor(stream.held, stream.derived) if stream.versions else stream.derived
        for stream in streams
    }
    if write and not force:
        _refuse_breaks(config, streams, following)
    derived = []
    for stream in streams:
        contract = following[stream.topic]
        due = differences(stream.held, contract) if stream.versions else []
        if due and not write:
            version = max(stream.versions)
            path = store.path(stream.topic, version)
            derived.append(Derived(stream.topic, version, path, False, tuple(due)))
            continue
        path = store.write(stream.topic, contract)
        version = int(path.stem)
        derived.append(Derived(stream.topic, version, path, version not in stream.versions, ()))
    return derived


def check_schemas(config: SourceConfig, folder: Path) -> Iterator[dict[str, Any]]:
    """One row for everything that a table as it is now, or its absence, breaks of its stored contract. Of an outbox: that a
    version breaks of those before it."""
    store = ContractStore(folder)
    if config.source.mode == "outbox":
        for topic, version, broken in check_events(config, store):
            yield _finding(config, topic, version, broken)
        return
    streams = [stream for stream in streams_of(config, store) if stream.versions]
    gone = list(_without_a_table(config, store, {stream.topic for stream in streams}))
    if not streams and not gone:
        log.warning(
            "nothing was checked: no table that %s captures has a contract in %s", config.name, folder
        )
    for topic, table in gone:
        held = store.versions(topic)
        consumers = readers(held[max(held)])
        what = f"there is no table {table} any more, or it is no longer captured"
        yield _finding(config, topic, max(held), Break("", "table", what, consumers))
    for stream in streams:
        for each in breaks(stream.versions, stream.derived, stream.columns, config.schema_.compatibility):
            yield _finding(config, stream.topic, max(stream.versions), each)


def _finding(config: SourceConfig, topic: str, version: int, found: Break) -> dict[str, Any]:
    return {
        "connector": config.name,
        "topic": topic,
        "version": version,
        "field": found.field,
        "rule": found.rule,
        "consumers": found.consumers,
        "what": found.message,
    }


def _without_a_table(
    config: SourceConfig, store: ContractStore, there: set[str]
) -> Iterator[tuple[str, str]]:
    """Stored topics of this connector that no table is published to, with the name of the table that they were for.

    Told by the template: only where it holds the connector's name can others have no such topics.
    """
    template = config.publish.topic
    if "name" not in template.places:
        return
    spelled = template.render(name=config.name, db=_DATABASE, schema=_SCHEMA, table=_TABLE)
    pattern = re.escape(config.without_stage(spelled)).replace(_DATABASE, ".+")
    pattern = pattern.replace(_SCHEMA, "(?P<schema>.+?)").replace(_TABLE, "(?P<table>.+)")
    default = default_schema(config)
    wanted = selection(config, default)
    for topic in store.topics():
        found = re.fullmatch(pattern, topic)
        if found and topic not in there:
            schema, table = found.groupdict().get("schema", default), found.groupdict().get("table", "*")
            if wanted.included(schema, table) and not wanted.excluded(schema, table):
                yield topic, f"{schema}.{table}"


def diff_schemas(
    config: SourceConfig, folder: Path, old: int | None = None, new: int | None = None
) -> Iterator[tuple[dict[str, Any], Difference]]:
    """What differs between two stored versions, or between one (the newest) and the table as it is now.

    Each difference with its connector, topic and the two sides. Raises `ContractError` for a version that is not there. Of
    an outbox there is no table: the newest version from the one before it.
    """
    if config.source.mode == "outbox":
        for topic, one, other, each in diff_events(config, ContractStore(folder), old, new):
            yield {"connector": config.name, "topic": topic, "from": one, "to": other}, each
        return
    for stream in streams_of(config, ContractStore(folder)):
        if not stream.versions:
            continue
        before = max(stream.versions) if old is None else old
        after = stream.derived if new is None else _version(stream, new, folder)
        sides = {"from": before, "to": LIVE if new is None else new}
        for each in differences(_version(stream, before, folder), after):
            yield {"connector": config.name, "topic": stream.topic, **sides}, each


def register_schemas(
    config: SourceConfig | SidecarConfig, folder: Path, settings: RegistrySettings, strategy: Strategy | None
) -> Iterator[dict[str, Any]]:
    """Register the schemas of the values and keys of every captured table, of an outbox and a sidecar those of the values of
    every event type with a stored contract; one row for each. strategy: None: as connectors do by default.

    Raises `ContractError` for the first that the registry does not take.
    """
    from liberator.contract.registry.client import RegistryClient

    client = RegistryClient(settings)
    if config.connector == "sidecar" or config.source.mode == "outbox":
        for topic, type, schema in outbox_schemas(config, ContractStore(folder)):
            name = event_subject(strategy or "topic_record_name", topic, type)
            schema_id = client.register(name, schema)
            row = {"connector": config.name, "topic": topic, "part": "value", "subject": name}
            yield {**row, "id": schema_id}
        return
    envelope = make_envelope(config, "")
    for stream in streams_of(config, ContractStore(folder)):
        row = stream.held if stream.versions else stream.following
        schemas = event_schemas(
            stream.published, row, stream.types, stream.key, stream.naming, envelope.schema
        )
        for part, registered in schemas.items():
            name = subject(strategy or "topic_name", stream.published, registered["title"], part)
            schema_id = client.register(name, registered)
            yield {
                "connector": config.name,
                "topic": stream.published,
                "part": part,
                "subject": name,
                "id": schema_id,
            }


def _version(stream: Stream, number: int, folder: Path) -> Contract:
    if number not in stream.versions:
        there = ", ".join(map(str, stream.versions))
        raise ContractError(
            f"{stream.topic} has no version {number}",
            code="contract.no_version",
            where=str(folder / stream.topic),
            fix=f"there is {there}",
        )
    return stream.versions[number]


def _refuse_breaks(config: SourceConfig, streams: list[Stream], following: dict[str, Contract]) -> None:
    mode = config.schema_.compatibility
    for stream in streams:
        if not stream.versions:
            continue
        found = objections(stream.versions, following[stream.topic], stream.derived, stream.columns, mode)
        if found:
            raise ContractError(
                f"the next version of {stream.topic} would break what is promised ({mode}): {'; '.join(found)}",
                code="contract.incompatible",
                where=f"{stream.topic}, version {max(stream.versions)}",
                fix="change the table so that it keeps the contract, publish it to a new topic, "
                "or write the version anyway with --force when no reader depends on it",
            )
