"""`liberate demo`: everything on embedded parts."""

from __future__ import annotations

import click

from liberator.cli.options import logging_options, option
from liberator.cli.session import Session


@click.command()
@option(
    "--publish",
    metavar="URL",
    help="Where events go: kafka://HOST:PORT, or local:DIR or file:PATH, to be kept. Default: the best broker at hand.",
)
@logging_options
@click.pass_context
def demo(context: click.Context, /, publish: str | None) -> int:
    """Show liberator at work on a small legacy shop, and prove that every change arrived.

    Brings its own PostgreSQL; takes about a minute, ends by itself and removes what it created.

    \b
    Example:
      liberate demo
    """
    context.ensure_object(Session).start_logging()
    from liberator.demo import main

    return main(publish=publish)
