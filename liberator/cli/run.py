"""`liberate run`: the connectors of files, until they are stopped."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from liberator.cli.options import logging_options, option, run_options
from liberator.cli.session import Session
from liberator.cli.target import pick

if TYPE_CHECKING:
    from liberator.config import AnyConfig


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(), metavar="FILE...")
@option("--connector", metavar="NAME", help="Run only this connector of the files.")
@run_options
@logging_options
@click.pass_context
def run(
    context: click.Context,
    /,
    files: tuple[str, ...],
    connector: str | None,
    once: bool,
    max_events: int | None,
    stage: str | None,
) -> int:
    """Run the connectors of these YAML files until they are stopped.

    Several connectors run in a process each, side by side; when one fails, the others are stopped cleanly and the
    exit code is that of the first failure. SIGTERM and Ctrl-C stop cleanly, a second time at once.

    \b
    Examples:
      liberate run connectors/postgres-log.yaml
      liberate run shop.yaml billing.yaml --stage test
      liberate run shop.yaml notify-shipping.yaml
    """
    from liberator.config import load_together

    configs = pick(load_together(files, stage=stage, one_machine=True), connector, stage)
    session = context.ensure_object(Session)
    if len(configs) > 1:
        return _side_by_side(configs, session, once, max_events, stage)
    from liberator.cli.supervise import end_with_supervisor

    end_with_supervisor()
    session.start_logging()
    from liberator.config import SourceConfig

    config = configs[0]
    if isinstance(config, SourceConfig):
        from liberator.build import run_source

        return run_source(config, once=once, max_events=max_events, trial=False)
    from liberator.build import run_sink

    return run_sink(config, once=once, max_events=max_events)


def _side_by_side(
    configs: list[AnyConfig], session: Session, once: bool, max_events: int | None, stage: str | None
) -> int:
    from liberator.cli.supervise import Child, supervise

    shared = ["--log-level", session.log_level, "--log-format", session.log_format]
    shared += ["--once"] if once else []
    shared += ["--max-events", str(max_events)] if max_events else []
    shared += ["--stage", stage] if stage else []
    start = [sys.executable, "-m", "liberator", "run"]
    children = [
        Child(config.name, [*start, str(config.file), "--connector", config.name, *shared])
        for config in configs
    ]
    return supervise(children, as_json=session.log_format == "json")
