"""From the options of the one-liner to a checked connector.

Enters: options by name, an environment, perhaps a file with defaults. Leaves: a `SourceConfig`, or one `ConfigErrors`
with every fault, each blamed on its option. Called by the command line and the Python API.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from liberator.config.document import Document, KeyPath, Mark, parse_path, parse_value, read_file
from liberator.config.faults import ConfigErrors
from liberator.config.load import check
from liberator.config.models import SourceConfig
from liberator.config.patterns import split_names
from liberator.config.secrets import redact
from liberator.config.substitute import substitute
from liberator.config.values import file_of, folder_of
from liberator.errors import ConfigError

OPTIONS: Mapping[str, tuple[str, ...]] = {
    "source": ("source", "url"),
    "mode": ("source", "mode"),
    "table": ("source", "tables"),
    "exclude": ("source", "exclude"),
    "publish": ("publish", "url"),
    "name": ("name",),
    "topic": ("publish", "topic"),
    "envelope": ("format", "envelope"),
    "snapshot": ("source", "log", "snapshot"),
    "slot": ("source", "log", "slot"),
    "publication": ("source", "log", "publication"),
}
"""The one-liner's options and the keys they stand for."""

_SEVERAL = ("table", "exclude")
_FREE_KEYS = (("publish", "options"), ("publish", "create_topics", "config"), ("publish", "key"))
"""Mappings whose keys are the user's own and may hold dots."""
_COMMAND_LINE = Mark("command line")
_TRIAL = "liberator"


def from_options(options: Mapping[str, Any], env: Mapping[str, str] | None = None) -> SourceConfig:
    """The connector of a one-liner.

    options: by the names in `OPTIONS` (`table` and `exclude` are lists), ``config`` (path of a YAML file with
    defaults), ``set`` (list of ``PATH=VALUE``, which win), ``stage``. Absent and None are the same. Without a name it
    is a trial: slot and publication get names of their own. Raises `ConfigErrors`.
    """
    env = os.environ if env is None else env
    faults: list[ConfigError] = []
    document = _options_document(options, faults)
    path_faults = substitute(document, env, redact)
    if options.get("config"):
        documents, wrong = read_file(Path(options["config"]))
        faults += wrong
        if len(documents) > 1:
            what = f"{options['config']} holds {len(documents)} connectors; defaults are one"
            faults.append(ConfigError(what, code="config.documents", where="--config"))
        for defaults in documents[:1]:
            path_faults += substitute(defaults, env, redact)
            document = _merge(_with_absolute_paths(defaults), document)
    trial = document.data.get("name") is None
    if trial:
        _name_trial(document)
    config, found = check(document, path_faults, options.get("stage"))
    if config is None or faults:
        raise ConfigErrors([*faults, *found])
    config._trial = trial
    return config


def _options_document(options: Mapping[str, Any], faults: list[ConfigError]) -> Document:
    document = Document({}, {(): _COMMAND_LINE}, Path.cwd())
    for option, path in OPTIONS.items():
        value = options.get(option)
        if value is None or value in ([], ()):
            continue
        if option in _SEVERAL:
            value = [name for text in value for name in split_names(text)]
        _put(document, path, value, Mark(f"--{option}"))
    for text in options.get("set") or ():
        try:
            key, value = _parse_setting(text)
        except ConfigError as error:
            faults.append(error)
        else:
            _put(document, key, value, Mark("--set"))
    return document


def _parse_setting(text: str) -> tuple[KeyPath, Any]:
    key, equals, value = text.partition("=")
    fix = "write --set source.log.slot=shop"
    if not equals:
        raise ConfigError("--set takes PATH=VALUE", code="config.set", where="--set", fix=fix)
    for free in _FREE_KEYS:
        prefix = ".".join(free) + "."
        if key.startswith(prefix):
            return (*free, key.removeprefix(prefix)), parse_value(value, f"--set {key}")
    try:
        path = parse_path(key)
    except ValueError as error:
        raise ConfigError(f"--set: {error}", code="config.set", where="--set", fix=fix) from None
    return path, parse_value(value, f"--set {key}")


def _put(document: Document, path: KeyPath, value: Any, mark: Mark) -> None:
    section = document.data
    for key in path[:-1]:
        if not isinstance(section.get(str(key)), dict):
            section[str(key)] = {}
        section = section[str(key)]
    section[str(path[-1])] = value
    _mark_all(document, path, value, mark)


def _mark_all(document: Document, path: KeyPath, value: Any, mark: Mark) -> None:
    document.marks[path] = mark
    items: Iterable[tuple[str | int, Any]] = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for key, item in items:
        _mark_all(document, (*path, key), item, mark)


def _merge(below: Document, above: Document) -> Document:
    """One document in which what `above` says wins."""
    marks = {**below.marks, **{path: mark for path, mark in above.marks.items() if path}}
    data = _merge_data(below.data, above.data)
    return Document(data, marks, above.folder, below.substituted | above.substituted)


def _merge_data(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = _merge_data(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def _with_absolute_paths(document: Document) -> Document:
    """The defaults of ``--config`` keep meaning their own folder when they meet options."""
    folder = document.get(("schema", "dir"))
    if isinstance(folder, str) and folder:
        document.data["schema"]["dir"] = str(document.folder / folder)
    for section in ("publish", "checkpoint"):
        url = document.get((section, "url"))
        path = file_of(url) if isinstance(url, str) else None
        if path:
            document.data[section]["url"] = f"file:{document.folder / path}"
        elif isinstance(url, str) and (folder := folder_of(url)):
            document.data[section]["url"] = f"local:{document.folder / folder}"
    return document


def _name_trial(document: Document) -> None:
    """Names of its own, so that two trials do not meet on one server."""
    own = f"{_TRIAL}_trial_{secrets.token_hex(4)}"
    document.data["name"] = _TRIAL
    source = document.data.setdefault("source", {})
    if isinstance(source, dict) and isinstance(source.get("log") or {}, dict):
        source["log"] = {"slot": own, "publication": own, **(source.get("log") or {})}
