"""From files to checked connectors.

Enters: paths and an environment. Leaves: `SourceConfig` objects, or one `ConfigErrors` with every fault of every file.
Called by the command line and the Python API. Never connects to anything.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from pydantic import ValidationError

from liberator.config.document import Document, KeyPath, read_file
from liberator.config.faults import ConfigErrors, explain, in_order
from liberator.config.fields import Fields
from liberator.config.models import SourceConfig
from liberator.config.not_yet import take_out
from liberator.config.outbox import outbox_faults
from liberator.config.secrets import redact
from liberator.config.stage import apply_stage, check_stage
from liberator.config.substitute import substitute
from liberator.config.together import contradictions
from liberator.config.values import FOLDER, kind_of_place
from liberator.errors import ConfigError

FIELDS = Fields(SourceConfig)


def load(
    path: str | Path, env: Mapping[str, str] | None = None, *, stage: str | None = None
) -> list[SourceConfig]:
    """The connectors of one file. env: default `os.environ`. Raises `ConfigErrors`."""
    configs, faults = _read(Path(path), os.environ if env is None else env, stage)
    if faults:
        raise ConfigErrors(faults)
    return configs


def load_together(
    paths: Iterable[str | Path],
    env: Mapping[str, str] | None = None,
    *,
    stage: str | None = None,
    one_machine: bool = False,
) -> list[SourceConfig]:
    """The connectors of files that belong together. one_machine: they are to run side by side on this one, so they
    can't share a port or a file either. Raises `ConfigErrors` for what is wrong in any of them, or between them."""
    configs: list[SourceConfig] = []
    faults: list[ConfigError] = []
    for path in paths:
        found, wrong = _read(Path(path), os.environ if env is None else env, stage)
        configs += found
        faults += wrong
    faults += contradictions(configs, one_machine=one_machine)
    if faults:
        raise ConfigErrors(faults)
    return configs


def _read(
    path: Path, env: Mapping[str, str], stage: str | None
) -> tuple[list[SourceConfig], list[ConfigError]]:
    documents, faults = read_file(path)
    configs = []
    for document in documents:
        config, found = check(document, substitute(document, env, redact), stage)
        faults += found
        if config is not None:
            configs.append(config)
    return configs, faults


def check(
    document: Document, faults: list[tuple[KeyPath, ConfigError]], stage: str | None
) -> tuple[SourceConfig | None, list[ConfigError]]:
    """The connector that `document` describes, or everything that is wrong with it. faults: what is known already."""
    if stage:
        check_stage(stage)
    is_sink = document.data.get("connector") == "sink"
    faults = [*faults, *take_out(document), *_checkpoint_elsewhere(document), *_not_exactly_once(document)]
    faults += outbox_faults(document)
    config = None
    if not is_sink:
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


_WITH_EVENTS = {"kafka": ("Kafka", "kafka://HOST:PORT"), "local": ("a local log", "local:DIR")}


def _checkpoint_elsewhere(document: Document) -> Iterator[tuple[KeyPath, ConfigError]]:
    path = ("checkpoint", "url")
    kept = document.get(path)
    if kept in ("kafka", "local") and kept != kind_of_place(str(document.get(("publish", "url")))):
        name, url = _WITH_EVENTS[kept]
        what = f"positions can be kept in {name} only where events go to {name}"
        yield path, document.fault(path, "checkpoint", what, f"write file:PATH, or publish to {url}")


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
