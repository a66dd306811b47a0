"""`liberate sidecar`: events of an application by HTTP."""

from __future__ import annotations

import click

from liberator.cli.options import logging_options, stage_option
from liberator.cli.session import Session


@click.command()
@click.argument("file", type=click.Path(), metavar="FILE")
@stage_option
@logging_options
@click.pass_context
def sidecar(context: click.Context, /, file: str, stage: str | None) -> int:
    """Take an application's events by HTTP, and publish them; push streams to it.

    For applications that can't write an outbox. An event is answered 202 when it is durable at the broker; sent again
    with the same id it is not published again. SIGTERM and Ctrl-C stop cleanly.

    \b
    Examples:
      liberate sidecar connectors/sidecar.yaml
      curl -i http://127.0.0.1:9470/events/order/OrderPlaced -H 'Event-Id: 7-1' -H 'Aggregate-Id: 7' \\
        --json '{"total": "9.90"}'
    """
    from liberator.config import load_sidecar

    config = load_sidecar(file, stage=stage)
    context.ensure_object(Session).start_logging()
    from liberator.build.sidecar import run_sidecar

    return run_sidecar(config)
