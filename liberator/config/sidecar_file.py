"""From a file to a checked sidecar.

Enters: a path and an environment. Leaves: a `SidecarConfig`, or faults. Called by `load` and the command line.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from liberator.config.document import Document, KeyPath, read_file
from liberator.config.faults import ConfigErrors, explain, in_order
from liberator.config.fields import Fields
from liberator.config.secrets import redact
from liberator.config.sidecar import SidecarConfig
from liberator.config.stage import apply_stage, check_stage
from liberator.config.substitute import substitute
from liberator.config.values import FOLDER
from liberator.errors import ConfigError

SIDECAR_FIELDS = Fields(SidecarConfig)


def load_sidecar(
    path: str | Path, env: Mapping[str, str] | None = None, *, stage: str | None = None
) -> SidecarConfig:
    """The sidecar of a file, which holds nothing else. env: default `os.environ`. Raises `ConfigErrors`."""
    config, faults = read_sidecar(Path(path), os.environ if env is None else env, stage)
    if config is None or faults:
        raise ConfigErrors(faults)
    return config


def read_sidecar(
    path: Path, env: Mapping[str, str], stage: str | None
) -> tuple[SidecarConfig | None, list[ConfigError]]:
    """The sidecar of a file, and everything that is wrong with it."""
    documents, faults = read_file(path)
    if len(documents) > 1:
        what = f"{path} holds {len(documents)} connectors; a sidecar has a file of its own"
        faults.append(ConfigError(what, code="config.documents", where=str(path)))
    config = None
    for document in documents[:1]:
        if document.kind != "sidecar":
            what = "this is no sidecar"
            faults.append(document.fault(("connector",), "sidecar", what, f"run `liberate run {path}`"))
            continue
        config, found = _check(document, substitute(document, env, redact), stage)
        faults += found
    return config, faults


def _check(
    document: Document, faults: list[tuple[KeyPath, ConfigError]], stage: str | None
) -> tuple[SidecarConfig | None, list[ConfigError]]:
    """The sidecar that `document` describes, or everything that is wrong with it. faults: what is known already."""
    if stage:
        check_stage(stage)
        apply_stage(document, stage)
    config = None
    try:
        config = SidecarConfig.model_validate(document.data, context={FOLDER: document.folder})
    except ValidationError as error:
        faults = [*faults, *explain(error, document, SIDECAR_FIELDS)]
    if config is None or faults:
        return None, in_order(faults, document)
    config._document, config._stage = document, stage
    return config, []
