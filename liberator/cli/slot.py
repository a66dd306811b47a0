"""`liberate slot`: the replication slots that keep WAL for connectors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from liberator.cli.listing import show
from liberator.cli.options import json_option, yes_option
from liberator.cli.session import Session
from liberator.cli.target import confirm, connectors, one_connector, target_options

if TYPE_CHECKING:
    from liberator.config import SourceConfig


@click.group(no_args_is_help=False)
def slot() -> None:
    """List, create or drop replication slots.

    \b
    Examples:
      liberate slot list --source postgresql://me@localhost/shop
      liberate slot drop connectors/postgres-log.yaml
    """


@slot.command("list")
@target_options
@json_option
@click.pass_context
def list_slots(context: click.Context, /, file: str | None, as_json: bool, **options: Any) -> None:
    """List the logical slots of a server, and how much WAL each holds back.

    \b
    Example:
      liberate slot list --source postgresql://me@localhost/shop --json
    """
    configs = connectors(context, file, options)
    context.ensure_object(Session).start_logging()
    from liberator.build import slot_list

    show((row for config in configs for row in slot_list(config)), as_json, "there is no logical slot")


@slot.command()
@target_options
@click.pass_context
def create(context: click.Context, /, file: str | None, **options: Any) -> None:
    """Create publication and slot of a connector before its first run, which reads existing rows if it wants any.

    \b
    Example:
      liberate slot create connectors/postgres-log.yaml
    """
    config = one_connector(context, file, options)
    context.ensure_object(Session).start_logging()
    from liberator.build import slot_create

    slot_create(config)
    click.echo(f"slot {config.source.log.slot} is there", err=True)


@slot.command()
@target_options
@yes_option
@click.pass_context
def drop(context: click.Context, /, file: str | None, yes: bool, **options: Any) -> None:
    """Drop the slot of a connector, so that the server keeps no WAL for it any more.

    \b
    Example:
      liberate slot drop --source postgresql://me@localhost/shop --slot shop
    """
    config = _drop_target(context, file, options)
    confirm(f"Drop slot {config.source.log.slot}? What it has not delivered can't be read again.", yes)
    context.ensure_object(Session).start_logging()
    from liberator.build import slot_drop

    slot_drop(config)
    click.echo(f"slot {config.source.log.slot} is gone", err=True)


def _drop_target(context: click.Context, file: str | None, options: dict[str, Any]) -> SourceConfig:
    """For a slot its own name is enough: whoever drops one may have lost the rest."""
    if file or not options["slot"]:
        return one_connector(context, file, options)
    return connectors(context, file, options)[0]
