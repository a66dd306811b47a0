"""`liberate init`: what has to be there before a connector can run: its file, or an outbox."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from liberator.cli.options import connector_choice, logging_options, option, written
from liberator.cli.session import Session

if TYPE_CHECKING:
    from liberator.postgres.outbox_sql import CapturedTable


_OWN = ("source", "mode", "table", "exclude", "publish", "name", "output")


@click.group(no_args_is_help=False, invoke_without_command=True)
@connector_choice
@option("--mode", type=click.Choice(["log", "query"]), help="Default: log where it can be had.")
@option("--publish", metavar="URL", help="Where events shall go (kafka://localhost:9092).")
@option("--name", metavar="NAME", help="The connector's name. Default: the database's.")
@option("--output", type=click.Path(), metavar="FILE", help="Write the file instead of printing it.")
@logging_options
@click.pass_context
def init(context: click.Context, /, **given: Any) -> None:
    """Look at a live database and write the file of a connector: the mode, and how each table is best read.

    Comments tell the reasons, and what will not be seen. Nothing is changed on the server; the password does not get into
    the file. `init outbox` prints the SQL for an outbox.

    \b
    Examples:
      liberate init --source postgresql://me@localhost/shop --output shop.yaml
      liberate init --source mysql+pymysql://me:secret@localhost/legacy --table 'orders*' > legacy.yaml
      liberate init outbox --writer shop --reader liberator | psql
    """
    if context.invoked_subcommand is not None:
        if misplaced := written(context, _OWN):
            context.fail(f"{', '.join(misplaced)} must not stand before `{context.invoked_subcommand}`")
        return
    if not given["source"]:
        context.fail("--source is missing: which database shall be looked at?")
    from liberator.config import from_options

    asked = {name: given[name] for name in ("source", "table", "exclude", "publish", "name")}
    config = from_options({**asked, "mode": "query"})
    context.ensure_object(Session).start_logging()
    from liberator.build import connector_file

    text = connector_file(
        config, name=given["name"], publish=given["publish"], mode=given["mode"], path=given["output"]
    )
    if given["output"] is None:
        click.echo(text, nl=False)
        return
    try:
        with Path(given["output"]).open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        what = (
            "is there already"
            if isinstance(error, FileExistsError)
            else f"can't be written: {error.strerror}"
        )
        context.fail(f"{given['output']} {what}")


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
