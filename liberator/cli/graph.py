"""`liberate graph`: what flows where, between the connectors of files."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from liberator.cli.options import json_option, logging_options, option, stage_option

if TYPE_CHECKING:
    from liberator.config.flow import Edge


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(), metavar="FILE...")
@option(
    "--format",
    "form",
    type=click.Choice(["mermaid", "dot", "text"]),
    default="mermaid",
    show_default=True,
    help="Mermaid, as Markdown shows it; dot, for Graphviz; or a tree.",
)
@stage_option
@json_option
@logging_options
def graph(files: tuple[str, ...], form: str, stage: str | None, as_json: bool) -> int:
    """Draw databases, connectors, topics, functions and their contexts, as these files say.

    Connects to nothing. Topics that a source names after its tables are drawn where a function reads them. With --json,
    an edge is a line.

    \b
    Examples:
      liberate graph connectors/*.yaml > flow.mmd
      liberate graph connectors/*.yaml --format dot | dot -Tsvg > flow.svg
    """
    from liberator.cli.drawing import FORMATS
    from liberator.cli.listing import show
    from liberator.config import load_all
    from liberator.config.flow import flow_of
    from liberator.config.secrets import redact

    flow = flow_of(load_all(files, stage=stage))
    if as_json:
        show((_told(edge) for edge in flow.edges), as_json, "")
    else:
        click.echo(redact("\n".join(FORMATS[form](flow))))
    return 0


def _told(edge: Edge) -> dict[str, Any]:
    return {"from": asdict(edge.tail), "to": asdict(edge.head), "label": edge.label}
