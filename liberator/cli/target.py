"""Which connector a command is about: one of a file, or one described by the one-liner's options.

Enters: a FILE argument and options. Leaves: `SourceConfig` objects. Never runs anything.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from liberator.cli.options import (
    CONNECTOR_OPTIONS,
    Decorated,
    connector_options,
    logging_options,
    stage_option,
    together,
    written,
)

if TYPE_CHECKING:
    from liberator.config import AnyConfig, SidecarConfig, SinkConfig, SourceConfig

_Config = TypeVar("_Config", bound="AnyConfig | SidecarConfig")

_BESIDE_A_FILE = ("name", "stage")


def target_options(command: Decorated) -> Decorated:
    """FILE, or the options of the one-liner."""
    return together(
        click.argument("file", required=False, type=click.Path(), metavar="[FILE]"),
        connector_options,
        stage_option,
        logging_options,
    )(command)


def connectors(context: click.Context, /, file: str | None, options: dict[str, Any]) -> list[SourceConfig]:
    """The connectors that are meant. With a file ``--name`` picks one of them."""
    from liberator.config import load

    if not file:
        return [_described(context, options)]
    stage = _stage_beside_a_file(context, options)
    return pick(load(file, stage=stage), _name_beside_a_file(context, options), stage)


def publishing(
    context: click.Context, /, file: str | None, options: dict[str, Any]
) -> list[SourceConfig] | list[SidecarConfig]:
    """As `connectors`, or the sidecar of a file that holds one."""
    from liberator.config import load_sidecar
    from liberator.config.document import read_file

    if file and any(document.kind == "sidecar" for document in read_file(Path(file))[0]):
        stage = _stage_beside_a_file(context, options)
        return pick([load_sidecar(file, stage=stage)], _name_beside_a_file(context, options), stage)
    return connectors(context, file, options)


def all_connectors(context: click.Context, /, file: str | None, options: dict[str, Any]) -> list[AnyConfig]:
    """As `connectors`, with sinks. Each has a name, since what has none keeps nothing."""
    from liberator.config import load_together

    if not file:
        return [*durable_connectors(context, file, options)]
    stage = _stage_beside_a_file(context, options)
    return pick(load_together([file], stage=stage), _name_beside_a_file(context, options), stage)


def _described(context: click.Context, options: dict[str, Any]) -> SourceConfig:
    from liberator.config import from_options

    if not options["source"] and not options["config"] and not options["set"]:
        context.fail("name a FILE, or a database with --source")
    return from_options(options)


def _stage_beside_a_file(context: click.Context, options: dict[str, Any]) -> str | None:
    """The stage. Raises `click.UsageError` for options that describe a connector: the file does."""
    misplaced = written(context, [name for name in CONNECTOR_OPTIONS if name not in _BESIDE_A_FILE])
    if misplaced:
        context.fail(f"{', '.join(misplaced)} can't be given together with a file")
    stage: str | None = options["stage"]
    return stage


def _name_beside_a_file(context: click.Context, options: dict[str, Any]) -> str | None:
    return options["name"] if written(context, ["name"]) else None


def pick(configs: list[_Config], name: str | None, stage: str | None) -> list[_Config]:
    """The connector called `name`, with or without its stage; all without a name. Raises `click.UsageError`."""
    if name is None:
        return configs
    wanted = {name, f"{stage}.{name}"} if stage else {name}
    found = [config for config in configs if config.name in wanted]
    if not found:
        there = ", ".join(config.name for config in configs)
        raise click.UsageError(
            f"there is no connector {name} here; there is {there}", click.get_current_context()
        )
    return found


def durable_connectors(
    context: click.Context, file: str | None, options: dict[str, Any]
) -> list[SourceConfig]:
    """The connectors that are meant; each has a name, since what has none keeps nothing."""
    configs = connectors(context, file, options)
    if any(config.trial for config in configs):
        context.fail("which connector? Name it with --name")
    return configs


def one_connector(context: click.Context, file: str | None, options: dict[str, Any]) -> SourceConfig:
    """The one connector that is meant, for commands that change something."""
    configs = durable_connectors(context, file, options)
    if len(configs) > 1:
        context.fail(f"{file} holds {len(configs)} connectors: choose one with --name")
    return configs[0]


def one_sink(context: click.Context, file: str, options: dict[str, Any]) -> SinkConfig:
    """The one sink of a file that is meant. options: name, stage. Raises `click.UsageError`."""
    from liberator.config import SinkConfig, load_together

    stage = options["stage"]
    configs = pick(load_together([file], stage=stage), _name_beside_a_file(context, options), stage)
    sinks = [config for config in configs if isinstance(config, SinkConfig)]
    if not sinks:
        context.fail(f"{file} holds no sink: this is about functions that a stream starts")
    if len(sinks) > 1:
        context.fail(f"{file} holds {len(sinks)} sinks: choose one with --name")
    return sinks[0]


def confirm(question: str, yes: bool) -> None:
    """Ask a person before something is lost; scripts are not asked. Raises `click.Abort` for a no."""
    if not yes and sys.stdin.isatty():
        click.confirm(question, abort=True, err=True)
