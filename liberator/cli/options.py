"""Options that several commands have. Each is also the environment variable ``LIBERATE_<OPTION>``.

Enters: click commands. Leaves: the same with options. Knows names and help texts, never what they lead to.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from liberator.cli.session import Session

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
Decorator = Callable[[Decorated], Decorated]

_QUOTED_WORDS = re.compile(r'(?:[^\s"]|"(?:[^"]|"")*")+')


def option(*names: str, **settings: Any) -> Callable[[Decorated], Decorated]:
    """`click.option` with its environment variable."""
    spelled = next(name for name in names if name.startswith("--"))
    settings.setdefault("envvar", "LIBERATE_" + spelled.removeprefix("--").upper().replace("-", "_"))
    return click.option(*names, **settings)


def together(*options: Callable[[Any], Any]) -> Callable[[Decorated], Decorated]:
    """Several options as one decorator, shown in this order."""

    def decorate(command: Decorated) -> Decorated:
        for each in reversed(options):
            command = each(command)
        return command

    return decorate


class _Patterns(click.types.StringParamType):
    """Table patterns; in an environment variable separated by white space, quoted names kept whole."""

    name = "pattern"

    def split_envvar_value(self, rv: str) -> Sequence[str]:
        return _QUOTED_WORDS.findall(rv)


class _Settings(click.types.StringParamType):
    """PATH=VALUE; in an environment variable one a line, since values may hold blanks."""

    name = "setting"

    def split_envvar_value(self, rv: str) -> Sequence[str]:
        return [line for line in rv.splitlines() if line.strip()]


def _remember(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    session = context.find_object(Session)
    if session is not None and value is not None and parameter.name is not None:
        setattr(session, parameter.name, value)


logging_options = together(
    option(
        "--log-level",
        type=click.Choice(["debug", "info", "warning", "error"]),
        callback=_remember,
        expose_value=False,
        is_eager=True,
        help="How much is logged to standard error (info). debug adds tracebacks.",
    ),
    option(
        "--log-format",
        type=click.Choice(["text", "json"]),
        callback=_remember,
        expose_value=False,
        is_eager=True,
        help="Form of the log lines (text).",
    ),
)

_source = option("--source", metavar="URL", help="The database: postgresql://USER:PASSWORD@HOST/DATABASE.")
_table = option(
    "--table",
    type=_Patterns(),
    multiple=True,
    metavar="PATTERN",
    help="Tables to capture: schema.table or globs; repeatable. Default: all user tables.",
)
_exclude = option(
    "--exclude",
    type=_Patterns(),
    multiple=True,
    metavar="PATTERN",
    help="Tables to leave out; repeatable.",
)
connector_choice = together(_source, _table, _exclude)
"""Which database, and what of it."""

connector_options = together(
    _source,
    option(
        "--mode",
        metavar="MODE",
        help="How changes are found: log reads the write-ahead log (the default), query asks the tables, outbox takes the"
        " events that the application writes.",
    ),
    _table,
    _exclude,
    option(
        "--publish",
        metavar="URL",
        help="kafka://HOST:PORT, local:DIR, file:PATH, or - for JSON lines on standard output (the default).",
    ),
    option(
        "--name",
        metavar="NAME",
        help="Makes the connector durable: the next run goes on where this one ended.",
    ),
    option("--topic", metavar="TEMPLATE", help="Topic of each table ({name}.{schema}.{table})."),
    option(
        "--envelope", metavar="FORM", help="Form of the events: debezium (the default), cloudevents, flat."
    ),
    option(
        "--snapshot",
        metavar="MODE",
        help="Read existing rows: initial (the default), initial_only, always, never, when_needed.",
    ),
    option("--slot", metavar="NAME", help="Replication slot. Default: made from --name."),
    option("--publication", metavar="NAME", help="Publication; an existing one is used as it is."),
    option(
        "--set",
        type=_Settings(),
        multiple=True,
        metavar="PATH=VALUE",
        help="Any key of the YAML; repeatable.",
    ),
    option(
        "--config",
        type=click.Path(),
        metavar="FILE",
        help="A connector YAML with defaults for these options.",
    ),
)
CONNECTOR_OPTIONS = (
    "source",
    "mode",
    "table",
    "exclude",
    "publish",
    "name",
    "topic",
    "envelope",
    "snapshot",
    "slot",
    "publication",
    "set",
    "config",
)
"""Parameter names of `connector_options`."""

stage_option = option(
    "--stage",
    metavar="NAME",
    help="Put NAME before topics, slots, publications, groups and the connector's name.",
)
run_options = together(
    option(
        "--once", is_flag=True, help="Stop when everything that was committed before the start is published."
    ),
    option("--max-events", type=click.IntRange(min=1), metavar="N", help="Stop after N events."),
    stage_option,
)
json_option = option(
    "--json", "as_json", is_flag=True, envvar="LIBERATE_JSON", help="One JSON object a line."
)
yes_option = option("--yes", is_flag=True, help="Do not ask.")


def written(context: click.Context, names: Sequence[str]) -> list[str]:
    """Which of these options stand on the command line, as the user knows them."""
    source = click.core.ParameterSource.COMMANDLINE
    return [f"--{name.replace('_', '-')}" for name in names if context.get_parameter_source(name) is source]
