"""`liberate validate`: every fault of the files at once, without connecting to anything."""

from __future__ import annotations

import click

from liberator.cli.listing import show
from liberator.cli.options import json_option, logging_options, option, stage_option


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(), metavar="FILE...")
@option(
    "--apart",
    is_flag=True,
    envvar="LIBERATE_APART",
    help="They run on machines or in containers of their own, so they may use the same ports and output files.",
)
@stage_option
@json_option
@logging_options
def validate(files: tuple[str, ...], apart: bool, stage: str | None, as_json: bool) -> int:
    """Check connector files offline: every fault at once, each with its place and a remedy.

    Exit code 2 if there is any. Files given together must also fit together: no two connectors with the same name,
    slot or port. With --json, faults are listed on standard output.

    \b
    Example:
      liberate validate connectors/*.yaml
    """
    from liberator.config import ConfigErrors, load_all

    try:
        configs = load_all(files, stage=stage, one_machine=not apart)
    except ConfigErrors as errors:
        if not as_json:
            raise
        show((_fault(fault) for fault in errors.faults), as_json, "")
        return errors.exit_code
    show(
        ({"connector": config.name, "file": str(config.file), "valid": True} for config in configs),
        as_json,
        "",
    )
    return 0


def _fault(fault: Exception) -> dict[str, object]:
    return {key: getattr(fault, key) for key in ("code", "what", "where", "fix")}
