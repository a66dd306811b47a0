"""The stored contracts of an outbox's events: what `schema check` and `schema diff` say of them.

Enters: a checked `SourceConfig` of mode outbox, or of a sidecar, and the stored contracts. Leaves: breaks between versions,
and differences. There is no table that says what events hold, so versions are compared with each other; the application's
own events are checked when it writes them (`liberator.outbox.add`) and when they are published. Connects to nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from liberator.contract.compatibility import compatible_with
from liberator.contract.diff import Difference, differences
from liberator.contract.migration import Break, Contract, readers
from liberator.contract.store import ContractStore, folder_of_type
from liberator.errors import ConfigError
from liberator.plan.outbox_wire import event_schema

if TYPE_CHECKING:
    from liberator.config import SidecarConfig, SourceConfig

_PLACE = "0place0"


def nothing_to_derive() -> ConfigError:
    """Why no contract of an event can be made from a database."""
    return ConfigError(
        "what the events of an outbox hold is the application's to say: there is no table to derive it from",
        code="config.not_supported",
        where="source.mode",
        fix="write <dir>/<topic>/<type>/1.json by hand; `schema check` compares its versions",
    )


def check_events(config: SourceConfig, store: ContractStore) -> Iterator[tuple[str, int, Break]]:
    """(stream, version, what it breaks of those before it) by `schema.compatibility`, for every version there is."""
    for stream, versions in _stored(config, store):
        for number in sorted(versions)[1:]:
            before = {older: versions[older] for older in versions if older < number}
            consumers = readers(versions[number])
            mode = config.schema_.compatibility
            for each in compatible_with(before, versions[number], mode):
                towards = f" (version {each.version})"
                yield stream, number, Break(each.path, each.rule, each.message + towards, consumers)


def diff_events(
    config: SourceConfig, store: ContractStore, old: int | None, new: int | None
) -> Iterator[tuple[str, int, int, Difference]]:
    """(stream, from, to, difference) of two versions; by default of the newest from the one before it. A stream that lacks
    one of them is left out."""
    for stream, versions in _stored(config, store):
        after = max(versions) if new is None else new
        before = max((n for n in versions if n < after), default=after) if old is None else old
        if before in versions and after in versions:
            for each in differences(versions[before], versions[after]):
                yield stream, before, after, each


def event_schemas(
    config: SourceConfig | SidecarConfig, store: ContractStore
) -> Iterator[tuple[str, str, Contract]]:
    """(topic, type, schema of the values) of every event type with a contract, of which the newest version holds. The topic
    is the one that is published to."""
    envelope = config.source.outbox.envelope if config.connector == "source" else ()
    for topic, type, published in _types(config, store):
        held = store.load(topic, type)
        if held is not None:
            yield published, type, event_schema(type, held[1], envelope)


def _stored(config: SourceConfig, store: ContractStore) -> Iterator[tuple[str, dict[int, Contract]]]:
    """What is stored under topics that this connector may publish to: ``<topic>/<folder of the type>``."""
    for topic, type, _ in _types(config, store):
        yield f"{topic}/{folder_of_type(type)}", store.versions(topic, type)


def _types(config: SourceConfig | SidecarConfig, store: ContractStore) -> Iterator[tuple[str, str, str]]:
    """(topic, type, topic with the stage) of everything that is stored under topics of this connector."""
    template = config.publish.topic
    places = dict.fromkeys(("schema", "table", "db", "aggregatetype", "type"), _PLACE)
    published = template.render(name=config.name, **places)
    spelled = config.without_stage(published)
    stage = published.removesuffix(spelled)
    pattern = re.compile(re.escape(spelled).replace(_PLACE, ".+"))
    for topic, type in store.event_types():
        if pattern.fullmatch(topic):
            yield topic, type, stage + topic
