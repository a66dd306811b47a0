"""`liberate checkpoint`: look at a connector's saved position, take the server's over, or forget it."""

from __future__ import annotations

from typing import Any

import click

from liberator.cli.listing import show
from liberator.cli.options import json_option, option, yes_option
from liberator.cli.session import Session
from liberator.cli.target import confirm, durable_connectors, one_connector, target_options

_LIBPQ_DEFAULT = "postgresql://"
"""The database that libpq's own variables name (PGHOST, PGDATABASE...), for who gives only ``--name``."""


@click.group(no_args_is_help=False)
def checkpoint() -> None:
    """Show, adopt or reset the position of a connector.

    \b
    Examples:
      liberate checkpoint show connectors/postgres-log.yaml
      liberate checkpoint reset --name shop --source postgresql://me@localhost/shop
    """


@checkpoint.command("show")
@target_options
@json_option
@click.pass_context
def show_checkpoint(context: click.Context, /, file: str | None, as_json: bool, **options: Any) -> None:
    """Show where a connector stands. With --name alone, its checkpoint is .liberator/NAME.db.

    \b
    Example:
      liberate checkpoint show --name shop --json
    """
    configs = durable_connectors(context, file, _with_source(file, options))
    context.ensure_object(Session).start_logging()
    from liberator.build import checkpoint_show

    show((row for config in configs for row in checkpoint_show(config)), as_json, "no checkpoint is saved")


@checkpoint.command()
@target_options
@yes_option
@click.pass_context
def adopt(context: click.Context, /, file: str | None, yes: bool, **options: Any) -> None:
    """Go on from the position that the slot has on the server. What changed in between is not published.

    \b
    Example:
      liberate checkpoint adopt connectors/postgres-log.yaml
    """
    config = one_connector(context, file, _with_source(file, options))
    confirm(f"Let {config.name} go on from the server's position, without what may lie between?", yes)
    context.ensure_object(Session).start_logging()
    from liberator.build import checkpoint_adopt

    checkpoint_adopt(config)
    click.echo(f"{config.name} goes on from the server's position", err=True)


@checkpoint.command()
@target_options
@option(
    "--read",
    "tables",
    multiple=True,
    metavar="TABLE",
    help="Keep the position; only read this table's rows again.",
)
@yes_option
@click.pass_context
def reset(
    context: click.Context, /, file: str | None, tables: tuple[str, ...], yes: bool, **options: Any
) -> None:
    """Forget the position and drop its slot: the next run starts anew, with a snapshot if its mode takes one.

    With --read the position stays: the next run reads the rows of these tables again, at a place of the stream.

    \b
    Examples:
      liberate checkpoint reset connectors/postgres-log.yaml
      liberate checkpoint reset connectors/postgres-log.yaml --read public.orders
    """
    config = one_connector(context, file, _with_source(file, options))
    if not tables:
        confirm(f"Forget the position of {config.name} and drop slot {config.source.log.slot}?", yes)
    context.ensure_object(Session).start_logging()
    from liberator.build import checkpoint_reset

    checkpoint_reset(config, tables)
    again = f"reads {', '.join(tables)} again at its next start" if tables else "will start anew"
    click.echo(f"{config.name} {again}", err=True)


def _with_source(file: str | None, options: dict[str, Any]) -> dict[str, Any]:
    if file or options["source"] or options["config"] or not options["name"]:
        return options
    return {**options, "source": _LIBPQ_DEFAULT}
