"""The group `liberate`: the one-liner itself, and the commands beside it.

Enters: a parsed command line. Leaves: an exit code. `liberate --source URL ...` without a command is the one-liner.
"""

from __future__ import annotations

from typing import Any

import click

from liberator import __version__
from liberator.cli.checkpoint import checkpoint
from liberator.cli.demo import demo
from liberator.cli.dlq import dlq
from liberator.cli.function import function
from liberator.cli.graph import graph
from liberator.cli.init import init
from liberator.cli.options import CONNECTOR_OPTIONS, connector_options, logging_options, run_options, written
from liberator.cli.replay import replay
from liberator.cli.run import run
from liberator.cli.schema import schema
from liberator.cli.session import Session
from liberator.cli.sidecar import sidecar
from liberator.cli.slot import slot
from liberator.cli.status import status
from liberator.cli.validate import validate

PROGRAM = "liberate"
_ONE_LINER = (*CONNECTOR_OPTIONS, "once", "max_events", "stage")


class _Commands(click.Group):
    """Recognises the file of somebody who left the command out."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0].endswith((".yaml", ".yml")):
            ctx.fail(f"{args[0]} is a file: write `{PROGRAM} run {args[0]}`")
        return super().resolve_command(ctx, args)


@click.group(
    PROGRAM,
    cls=_Commands,
    invoke_without_command=True,
    no_args_is_help=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Every option is also an environment variable: LIBERATE_SOURCE for --source, and so on.",
)
@connector_options
@run_options
@logging_options
@click.version_option(__version__, message="%(version)s")
@click.pass_context
def app(context: click.Context, /, once: bool, max_events: int | None, **options: Any) -> int | None:
    """Turn the changes of a database into a stream of events.

    Without a command, one source connector runs as its options say: as a trial that leaves nothing behind, or with
    --name as a durable one.

    \b
    Examples:
      liberate --source postgresql://me@localhost/shop --mode log
      liberate --source postgresql://me@localhost/shop --mode log --once --table 'public.*' > changes.ndjson
      liberate --source postgresql://me@localhost/shop --mode log --name shop --publish kafka://localhost:9092
      liberate run connectors/postgres-log.yaml
    """
    if context.invoked_subcommand is not None:
        misplaced = written(context, _ONE_LINER)
        if misplaced:
            context.fail(
                f"{', '.join(misplaced)} must stand after `{context.invoked_subcommand}`, if it takes that"
            )
        return None
    return _one_liner(context, once, max_events, options)


def _one_liner(context: click.Context, once: bool, max_events: int | None, options: dict[str, Any]) -> int:
    if not options["source"] and not options["config"] and not options["set"]:
        context.fail("--source is missing: which database shall be read?")
    from liberator.config import from_options

    config = from_options(options)
    context.ensure_object(Session).start_logging()
    from liberator.build import run_source

    return run_source(config, once=once, max_events=max_events, trial=config.trial)


for _command in (
    run,
    validate,
    status,
    checkpoint,
    slot,
    schema,
    dlq,
    replay,
    function,
    graph,
    init,
    sidecar,
    demo,
):
    app.add_command(_command)
