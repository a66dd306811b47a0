"""`liberate replay`: a sink does a part of its stream again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from liberator.cli.listing import show, to_json
from liberator.cli.options import (
    Decorated,
    json_option,
    logging_options,
    option,
    stage_option,
    together,
    yes_option,
)
from liberator.cli.places import PLACES, place
from liberator.cli.session import Session
from liberator.cli.target import confirm, one_sink


def _options(command: Decorated) -> Decorated:
    return together(
        option(
            "--from",
            "begin",
            multiple=True,
            required=True,
            metavar="PLACE",
            envvar="LIBERATE_REPLAY_FROM",
            help=f"Where to begin: {PLACES}.",
        ),
        option(
            "--to",
            "end",
            multiple=True,
            metavar="PLACE",
            envvar="LIBERATE_REPLAY_TO",
            help="Where to end, written the same way. Default: where the group stands; of a new one, where the stream ends.",
        ),
        option(
            "--new-group",
            metavar="NAME",
            envvar="LIBERATE_REPLAY_NEW_GROUP",
            help="Into a group of its own, beside the connector at work.",
        ),
        option(
            "--again",
            is_flag=True,
            envvar="LIBERATE_REPLAY_AGAIN",
            help="Also events that policy.idempotency remembers as done.",
        ),
        option(
            "--dry-run",
            is_flag=True,
            envvar="LIBERATE_REPLAY_DRY_RUN",
            help="Only show the ranges.",
        ),
    )(command)


@click.command()
@click.argument("file", type=click.Path(), metavar="FILE")
@_options
@option("--name", metavar="NAME", help="Which connector, when FILE holds several.")
@stage_option
@json_option
@yes_option
@logging_options
@click.pass_context
def replay(
    context: click.Context,
    /,
    file: str,
    begin: Sequence[str],
    end: Sequence[str],
    new_group: str | None,
    again: bool,
    dry_run: bool,
    as_json: bool,
    yes: bool,
    **options: Any,
) -> None:
    """Start a sink's function again on a part of its stream.

    The function gets the events of the range as it did before: policy, output and dead letters are those of the file. The
    connector's own group is moved back for that, so it must not be at work (exit code 3), and stands afterwards where it
    stood. With --new-group it may go on meanwhile.

    \b
    Examples:
      liberate replay connectors/sink-python.yaml --from 2h --dry-run
      liberate replay connectors/sink-python.yaml --from 2026-01-31T12:00 --to 2026-01-31T13:00
      liberate replay connectors/sink-python.yaml --from 0:100 --to 0:200
      liberate replay connectors/sink-python.yaml --from earliest --new-group notify-again
    """
    config = one_sink(context, file, options)
    from liberator.build.replay import Part, Replaying

    part = Part(place("--from", begin), place("--to", end) if end else None, new_group, again)
    context.ensure_object(Session).start_logging()
    replaying = Replaying(config, part)
    rows = list(replaying.rows())
    if dry_run or not rows:
        show(rows, as_json, "nothing to replay")
        return
    events = sum(row["events"] for row in rows)
    confirm(f"Start the function of {config.name} again on up to {events} events?", yes)
    told = replaying.run()
    done, dead = told["events"], told["dead_letters"]
    if as_json:
        click.echo(to_json(told))
    known = config.policy.idempotency is not None and not again
    left_out = "; of those that policy.idempotency remembers the function was given none" if known else ""
    click.echo(f"{done} events done again, {dead} of them dead letters{left_out}", err=True)
