"""From files to checked connectors.

Enters: paths and an environment. Leaves: `SourceConfig` and `SinkConfig` objects, or one `ConfigErrors` with every fault of
every file. Called by the command line and the Python API. Never connects to anything. What is about sinks and sidecars
only is imported when there is one: most runs are of one source.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from liberator.config.document import Document, KeyPath, read_file
from liberator.config.envelope import envelope_faults
from liberator.config.faults import ConfigErrors, explain, in_order
from liberator.config.fields import Fields
from liberator.config.models import SourceConfig
from liberator.config.outbox import outbox_faults
from liberator.config.secrets import redact
from liberator.config.stage import apply_stage, check_stage
from liberator.config.substitute import substitute
from liberator.config.transform import transform_faults
from liberator.config.values import FOLDER, kind_of_place
from liberator.errors import ConfigError

if TYPE_CHECKING:
    from liberator.config.sidecar import SidecarConfig
    from liberator.config.sink import SinkConfig

    AnyConfig = SourceConfig | SinkConfig

FIELDS = Fields(SourceConfig)


def load(
    path: str | Path, env: Mapping[str, str] | None = None, *, stage: str | None = None
) -> list[SourceConfig]:
    """The source connectors of one file; its sinks are looked at, and left out. env: default `os.environ`. Raises
    `ConfigErrors`."""
    configs, faults = _read(Path(path), os.environ if env is None else env, stage)
    sources = [config for config in configs if isinstance(config, SourceConfig)]
    if not sources and not faults:
        what = f"{path} holds sinks only, and this is about sources"
        faults = [
            ConfigError(what, code="config.no_source", where=str(path), fix="name the file of a source")
        ]
    if faults:
        raise ConfigErrors(faults)
    return sources


def load_together(
    paths: Iterable[str | Path],
    env: Mapping[str, str] | None = None,
    *,
    stage: str | None = None,
    one_machine: bool = False,
) -> list[AnyConfig]:
    """The connectors of files that belong together. one_machine: they are to run side by side on this one, so they
    can't share a port or a file either. Raises `ConfigErrors` for what is wrong in any of them, or between them."""
    configs: list[AnyConfig] = []
    faults: list[ConfigError] = []
    for path in paths:
        found, wrong = _read(Path(path), os.environ if env is None else env, stage)
        configs += found
        faults += wrong
    if len(configs) > 1 or not all(isinstance(config, SourceConfig) for config in configs):
        from liberator.config.together import contradictions, fed_by_itself

        faults += contradictions(configs, one_machine=one_machine)
        faults += fed_by_itself(configs)
    if one_machine:
        from liberator.config.ports import clashes

        faults += clashes(configs)
    if faults:
        raise ConfigErrors(faults)
    return configs


def _read(path: Path, env: Mapping[str, str], stage: str | None) -> tuple[list[AnyConfig], list[ConfigError]]:
    documents, faults = read_file(path)
    configs: list[AnyConfig] = []
    for document in documents:
        if document.kind == "sidecar":
            what = "a sidecar is run by itself"
            faults.append(document.fault(("connector",), "sidecar", what, f"run `liberate sidecar {path}`"))
            continue
        filled_in = substitute(document, env, redact)
        found: list[ConfigError]
        config: AnyConfig | None
        if document.kind == "sink":
            from liberator.config.sink_file import check_sink

            config, found = check_sink(document, filled_in, stage)
        else:
            config, found = check(document, filled_in, stage)
        faults += found
        if config is not None:
            configs.append(config)
    return configs, faults


def check(
    document: Document, faults: list[tuple[KeyPath, ConfigError]], stage: str | None
) -> tuple[SourceConfig | None, list[ConfigError]]:
    """The source that `document` describes, or everything that is wrong with it. faults: what is known already."""
    if stage:
        check_stage(stage)
    faults = [*faults, *_checkpoint_elsewhere(document), *_not_exactly_once(document)]
    faults += outbox_faults(document)
    faults += envelope_faults(document)
    faults += _registry_for_nobody(document)
    faults += transform_faults(document)
    config = None
    if stage:
        apply_stage(document, stage)
    try:
        config = SourceConfig.model_validate(document.data, context={FOLDER: document.folder})
    except ValidationError as error:
        faults += explain(error, document, FIELDS)
    if config is None or faults:
        return None, in_order(faults, document)
    config._document, config._stage = document, stage
    return config, []


def load_all(
    paths: Iterable[str | Path],
    env: Mapping[str, str] | None = None,
    *,
    stage: str | None = None,
    one_machine: bool = False,
) -> list[AnyConfig | SidecarConfig]:
    """As `load_together`, with sidecars, each of which has a file of its own. Raises `ConfigErrors`."""
    configs: list[AnyConfig | SidecarConfig] = []
    faults: list[ConfigError] = []
    others: list[str | Path] = []
    for path in paths:
        if any(document.kind == "sidecar" for document in read_file(Path(path))[0]):
            from liberator.config.sidecar_file import read_sidecar

            config, found = read_sidecar(Path(path), os.environ if env is None else env, stage)
            configs += [] if config is None else [config]
            faults += found
        else:
            others.append(path)
    try:
        sidecars = len(configs)
        configs += load_together(others, env, stage=stage, one_machine=one_machine)
        if one_machine and sidecars:
            from liberator.config.ports import clashes

            faults += clashes(configs)
    except ConfigErrors as errors:
        faults += errors.faults
    if faults:
        raise ConfigErrors(faults)
    return configs


_WITH_EVENTS = {"kafka": ("Kafka", "kafka://HOST:PORT"), "local": ("a local log", "local:DIR")}


def _checkpoint_elsewhere(document: Document) -> Iterator[tuple[KeyPath, ConfigError]]:
    path = ("checkpoint", "url")
    kept = document.get(path)
    if kept in ("kafka", "local") and kept != kind_of_place(str(document.get(("publish", "url")))):
        name, url = _WITH_EVENTS[kept]
        what = f"positions can be kept in {name} only where events go to {name}"
        yield path, document.fault(path, "checkpoint", what, f"write file:PATH, or publish to {url}")


def _registry_for_nobody(document: Document) -> Iterator[tuple[KeyPath, ConfigError]]:
    """The ids of schemas are for readers of a broker."""
    path: KeyPath = ("schema", "registry")
    if not document.get(path):
        return
    if kind_of_place(str(document.get(("publish", "url")) or "-")) != "kafka":
        what = "events carry the ids of their schemas on Kafka only"
        fix = "publish to kafka://, or leave schema.registry out"
        yield path, document.fault(path, "registry", what, fix)


def _not_exactly_once(document: Document) -> Iterator[tuple[KeyPath, ConfigError]]:
    """Exactly once needs one transaction for events and position."""
    path = ("publish", "delivery")
    if document.get(path) != "exactly_once":
        return
    place = kind_of_place(str(document.get(("publish", "url")) or "-"))
    if place not in _WITH_EVENTS:
        what = "exactly once needs a destination with transactions"
        yield (
            path,
            document.fault(path, "delivery", what, "publish to kafka:// or local:, or leave delivery out"),
        )
    elif document.get(("checkpoint", "url")) not in (None, "", place):
        what = "exactly once keeps the position in the transactions of the events"
        fix = f"leave checkpoint.url out, or write {place}"
        yield path, document.fault(("checkpoint", "url"), "delivery", what, fix)
    elif not document.get(("name",)):
        what = "exactly once needs a connector with a name, whose position is kept"
        yield path, document.fault(path, "delivery", what, "give the connector a name (--name)")
