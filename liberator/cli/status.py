"""`liberate status`: how connectors do, as they say themselves and as the live systems say."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from liberator.cli.listing import lines, to_json
from liberator.cli.options import json_option, option
from liberator.cli.session import Session
from liberator.cli.target import all_connectors, target_options
from liberator.errors import LiberatorError

if TYPE_CHECKING:
    from liberator.config import AnyConfig

_PATIENCE = 2.0
"""Seconds that an endpoint has to answer."""

_INTERVAL = 2.0
_CLEAR_SCREEN = "\x1b[H\x1b[2J"


@click.command()
@target_options
@option("--watch", is_flag=True, help="Show it again every two seconds, until Ctrl-C.")
@json_option
@click.pass_context
def status(context: click.Context, /, file: str | None, watch: bool, as_json: bool, **options: Any) -> int:
    """Show position, lag, throughput and health of connectors.

    Asks the running connector at its observe address, and the database and the checkpoint themselves; of a sink the
    broker, and tells what its configuration promises. Exit code 1 when nobody could be asked.

    \b
    Examples:
      liberate status connectors/postgres-log.yaml --watch
      liberate status connectors/postgres-log.yaml --json
      liberate status connectors/sink-python.yaml
    """
    configs = all_connectors(context, file, options)
    context.ensure_object(Session).start_logging()
    if not watch:
        return _once(configs, as_json, clear=False)
    clear = sys.stdout.isatty() and not as_json
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            _once(configs, as_json, clear)
            time.sleep(_INTERVAL)
    return 0


def _once(configs: list[AnyConfig], as_json: bool, clear: bool) -> int:
    reports = [report(config) for config in configs]
    if clear:
        click.echo(_CLEAR_SCREEN, nl=False)
    for each in reports:
        click.echo(to_json(each) if as_json else "\n".join(_for_people(each)))
    return 0 if all(each["running"] or each["live"] for each in reports) else 1


def report(config: AnyConfig) -> dict[str, Any]:
    """What is known of a connector. guarantee: of a sink, what its configuration promises. running: its own report, None
    when it does not answer. live: what slot and checkpoint say, or a sink's broker, None when they can't be asked; then
    `live_error` says why."""
    from liberator.build import status as live_status
    from liberator.config import SinkConfig

    result: dict[str, Any] = {"connector": config.name}
    if isinstance(config, SinkConfig):
        from liberator.config.guarantee import guarantee

        result["guarantee"] = guarantee(config).report()
    result |= {"running": _ask(config), "live": None, "live_error": None}
    try:
        result["live"] = live_status(config)
    except LiberatorError as error:
        result["live_error"] = {"code": error.code, "what": error.what, "fix": error.fix}
    return result


def _for_people(each: Mapping[str, Any]) -> list[str]:
    running, live, error = each["running"], each["live"], each["live_error"]
    unknown = error["what"] if error else "nothing known"
    promised = {"guarantee": each["guarantee"]} if "guarantee" in each else {}
    if running:  # what the file promises is told once; what runs may be older than the file
        running = {key: value for key, value in running.items() if (key, value) not in promised.items()}
    shown = {**promised, "running": running or "does not answer", "live": live or unknown}
    return [str(each["connector"]), *lines(shown, indent="  ")]


def _ask(config: AnyConfig) -> dict[str, Any] | None:
    """The connector's own report; None when it has no endpoint or another one answers there."""
    if config.observe is None or config.observe.listen.endswith(":0"):
        return None
    from urllib.request import ProxyHandler, build_opener

    try:
        with build_opener(ProxyHandler({})).open(
            _address(config.observe.listen), timeout=_PATIENCE
        ) as answer:
            said = json.load(answer)
    except (OSError, ValueError):
        return None
    return said if isinstance(said, dict) and said.get("name") == config.name else None


def _address(listen: str) -> str:
    host, _, port = listen.rpartition(":")
    reachable = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host)
    return f"http://{reachable}:{port}/status"
