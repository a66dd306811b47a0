"""`liberate schema`: the contracts of the streams."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from liberator.cli.listing import to_json
from liberator.cli.options import json_option, option
from liberator.cli.session import Session
from liberator.cli.target import connectors, target_options


@click.group(no_args_is_help=False)
def schema() -> None:
    """Derive the contracts of the streams from their tables.

    \b
    Example:
      liberate schema derive connectors/postgres-log.yaml
    """


@schema.command()
@target_options
@option("--dir", "folder", type=click.Path(), metavar="DIR", help="Where to write them. Default: schema.dir.")
@json_option
@click.pass_context
def derive(
    context: click.Context, /, file: str | None, folder: str | None, as_json: bool, **options: Any
) -> None:
    """Write the JSON Schema of each captured table as its stored contract; prints the files written.

    \b
    Examples:
      liberate schema derive connectors/postgres-log.yaml
      liberate schema derive --source postgresql://me@localhost/shop --name shop --table public.orders --dir schemas
    """
    configs = connectors(context, file, options)
    context.ensure_object(Session).start_logging()
    from liberator.build import derive_schemas

    for config in configs:
        for path in derive_schemas(config, Path(folder) if folder else config.schema_.dir):
            click.echo(to_json({"connector": config.name, "path": path}) if as_json else str(path))
