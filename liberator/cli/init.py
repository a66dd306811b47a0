"""`liberate init`: what has to be there before a connector can run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from liberator.cli.options import logging_options, option

if TYPE_CHECKING:
    from liberator.postgres.outbox_sql import CapturedTable


@click.group(no_args_is_help=False)
def init() -> None:
    """Print what has to be there before a connector can run.

    \b
    Example:
      liberate init outbox --writer shop --reader liberator | psql
    """


@init.command()
@click.argument("file", required=False, type=click.Path(), metavar="[FILE]")
@option("--table", metavar="TABLE", envvar="LIBERATE_OUTBOX_TABLE", help="The outbox (public.outbox).")
@option("--capture", type=click.Choice(["log", "poll", "message"]), help="How it will be read (log).")
@option("--prefix", metavar="PREFIX", help="With --capture message: of the messages (outbox).")
@option("--publication", metavar="NAME", help="Publication to make for the connector (outbox).")
@option(
    "--from",
    "captured",
    multiple=True,
    metavar="TABLE[=COLUMN,...]",
    help="Make events of the changes of this table, by a trigger; COLUMNs (id) name a row. Repeatable.",
)
@option(
    "--writer",
    "writers",
    multiple=True,
    metavar="ROLE",
    help="Let ROLE write events. Repeatable.",
)
@option("--reader", metavar="ROLE", help="Let ROLE, the connector's, read them.")
@logging_options
def outbox(
    file: str | None,
    captured: tuple[str, ...],
    writers: tuple[str, ...],
    reader: str | None,
    **given: Any,
) -> None:
    """Print the SQL for an outbox: the table, the triggers that fill it from other tables, publication and grants.

    With the FILE of a connector its table, columns, prefix and publication are taken from there. Nothing is run: look at it,
    then give it to psql as an owner of the tables. It is one transaction.

    \b
    Examples:
      liberate init outbox connectors/outbox-log.yaml
      liberate init outbox --writer shop --reader liberator
      liberate init outbox --from public.orders --from public.lines=order_id,line
      liberate init outbox --capture message --from public.orders
    """
    from liberator.config.models import OutboxSettings
    from liberator.postgres.outbox_sql import OutboxScript

    settings, publication = OutboxSettings(), "outbox"
    if file is not None:
        settings, publication = _of_file(file)
    columns = settings.columns
    script = OutboxScript(
        table=_one_table(given["table"], "--table") if given["table"] else _name(settings.table),
        columns=(columns.id, columns.aggregate_type, columns.aggregate_id, columns.type, columns.payload),
        further=tuple(
            name
            for name in dict.fromkeys((*settings.headers, *settings.envelope))
            if name != columns.timestamp
        ),
        timestamp=columns.timestamp,
        capture=given["capture"] or settings.capture,
        prefix=given["prefix"] or settings.prefix,
        publication=given["publication"] or publication,
        captured=tuple(map(_captured, captured)),
        writers=writers,
        reader=reader,
    )
    click.echo(script.text(), nl=False)


def _of_file(file: str) -> tuple[Any, str]:
    """The settings of the file's outbox, and its publication."""
    from liberator.config import load

    for config in load(file):
        if config.source.mode == "outbox":
            return config.source.outbox, config.source.log.publication[0]
    raise click.UsageError(f"{file} holds no connector of mode outbox", click.get_current_context())


def _captured(text: str) -> CapturedTable:
    from liberator.config.patterns import split_names
    from liberator.postgres.outbox_sql import CapturedTable

    table, _, key = text.partition("=")
    return CapturedTable(_one_table(table, "--from"), tuple(split_names(key)) or ("id",))


def _one_table(text: str, where: str) -> tuple[str, str]:
    from liberator.config.patterns import TablePattern

    try:
        pattern = TablePattern.parse(text)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint=where) from None
    if not pattern.exact:
        raise click.BadParameter("name one table, without globs", param_hint=where)
    return _name(pattern)


def _name(pattern: Any) -> tuple[str, str]:
    return pattern.schema or "public", pattern.table
