"""`liberate dlq`: dead letters, and what becomes of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from liberator.cli.listing import lines, show, text, to_json
from liberator.cli.moments import moment
from liberator.cli.options import (
    Decorated,
    json_option,
    logging_options,
    option,
    stage_option,
    together,
    written,
    yes_option,
)
from liberator.cli.session import Session
from liberator.cli.target import confirm, pick

if TYPE_CHECKING:
    from liberator.build import Filters
    from liberator.config import AnyConfig

_FAILED = 1

_SHOWN = 1_000
"""Rows of a table for people, whose columns are as wide as their widest value."""


def _option(name: str, *names: str, **settings: Any) -> Callable[[Decorated], Decorated]:
    """As `option`, as ``LIBERATE_DLQ_...``: what other commands understand by such a variable is something else."""
    variable = "LIBERATE_DLQ_" + name.removeprefix("--").upper().replace("-", "_")
    return option(name, *names, envvar=variable, **settings)


_target = together(
    click.argument("file", type=click.Path(), metavar="FILE"),
    option("--name", metavar="NAME", help="Which connector, when FILE holds several."),
    stage_option,
    logging_options,
)
_ids = click.argument("ids", nargs=-1, metavar="[ID...]")
_dry_run = _option("--dry-run", is_flag=True, help="Only tell what would be done.")


def _filters(command: Decorated) -> Decorated:
    return together(
        _option("--topic", metavar="GLOB", default="*", help="Only events that were meant for these topics."),
        _option(
            "--error",
            metavar="GLOB",
            default="*",
            help="Only these classes (ContractError) or rules of a contract (enum).",
        ),
        _option(
            "--since",
            metavar="TIME",
            help="Only from this time on: 2h, 7d, or 2026-01-31T12:00 (UTC unless it says otherwise).",
        ),
    )(command)


@click.group(no_args_is_help=False)
def dlq() -> None:
    """List, show, redrive and discard dead letters.

    \b
    Examples:
      liberate dlq list connectors/postgres-log.yaml
      liberate dlq show connectors/postgres-log.yaml 0:17
      liberate dlq redrive connectors/postgres-log.yaml --all
    """


@dlq.command("list")
@_target
@_filters
@_option("--all", "done", is_flag=True, help="Those too that were redriven or discarded.")
@_option(
    "--limit", type=click.IntRange(min=1), metavar="N", help="At most N. A table ends at 1000 without it."
)
@json_option
@click.pass_context
def list_letters(
    context: click.Context, /, file: str, done: bool, limit: int | None, as_json: bool, **options: Any
) -> None:
    """List what is waiting in the dead-letter topic: what is wrong with which key, never the row.

    \b
    Examples:
      liberate dlq list connectors/postgres-log.yaml --error enum --since 2h
      liberate dlq list connectors/postgres-log.yaml --all --json
    """
    configs = _connectors(context, file, options)
    filters = _filtered(options)
    from liberator.build import dlq_list

    rows = (row for config in configs for row in dlq_list(config, filters, done=done))
    if as_json:
        for row in islice(rows, limit):
            click.echo(to_json(row))
        return
    most = limit or _SHOWN
    first = list(islice(rows, most))
    show(first, False, "no dead letters")
    if limit is None and len(first) == most and next(rows, None) is not None:
        click.echo(f"there are more than {most}: use a filter, --limit or --json", err=True)


@dlq.command("show")
@_target
@click.argument("id", metavar="ID")
@_option("--value", is_flag=True, help="Also what the event holds: it may be personal data.")
@json_option
@click.pass_context
def show_letter(
    context: click.Context, /, file: str, id: str, value: bool, as_json: bool, **options: Any
) -> None:
    """Show everything about one dead letter, and what can be done.

    \b
    Examples:
      liberate dlq show connectors/postgres-log.yaml 0:17
      liberate dlq show connectors/postgres-log.yaml 0:17 --value --json
    """
    config = _connector(context, file, options)
    (parsed,) = _parsed([id])
    from liberator.build import dlq_show

    row = dlq_show(config, parsed, value=value)
    for line in [to_json(row)] if as_json else lines(row):
        click.echo(line)


@dlq.command()
@_target
@_ids
@_option("--all", "everything", is_flag=True, help="All that wait, as far as the filters let them through.")
@_filters
@_option("--no-validate", is_flag=True, help="Publish what breaks the contract, too.")
@_option("--force", is_flag=True, help="Publish an old row behind a newer one of its key, too.")
@_dry_run
@json_option
@yes_option
@click.pass_context
def redrive(
    context: click.Context,
    /,
    file: str,
    ids: tuple[str, ...],
    everything: bool,
    no_validate: bool,
    force: bool,
    dry_run: bool,
    as_json: bool,
    yes: bool,
    **options: Any,
) -> int:
    """Publish dead letters to the topics that they were meant for: same key, value, headers and id.

    Each is judged by the contract that holds now, and refused when a newer event of its key is on the topic already.
    What was redriven is not redriven twice, whatever happens in between. Exit code 1 when one was refused.

    \b
    Examples:
      liberate dlq redrive connectors/postgres-log.yaml 0:17 0:18
      liberate dlq redrive connectors/postgres-log.yaml --all --error enum --dry-run
    """
    config = _connector(context, file, options)
    filters = _chosen(context, ids, everything, options)
    if everything and not dry_run:
        confirm(f"Publish all dead letters of {config.name} that are meant?", yes)
    from liberator.build import dlq_redrive

    rows = dlq_redrive(config, filters, validate=not no_validate, force=force, dry_run=dry_run)
    return _tell(rows, as_json, dry_run)


@dlq.command()
@_target
@_ids
@_option("--all", "everything", is_flag=True, help="All that wait, as far as the filters let them through.")
@_filters
@_option("--reason", required=True, metavar="TEXT", help="Why; it is kept in the topic.")
@_dry_run
@json_option
@yes_option
@click.pass_context
def discard(
    context: click.Context,
    /,
    file: str,
    ids: tuple[str, ...],
    everything: bool,
    reason: str,
    dry_run: bool,
    as_json: bool,
    yes: bool,
    **options: Any,
) -> int:
    """Give dead letters up. They stay in their topic, and in `list --all`, until it forgets them.

    \b
    Examples:
      liberate dlq discard connectors/postgres-log.yaml 0:17 --reason 'corrected in the shop'
      liberate dlq discard connectors/postgres-log.yaml --all --topic 'shop.public.audit*' --reason 'not needed'
    """
    config = _connector(context, file, options)
    filters = _chosen(context, ids, everything, options)
    if not dry_run:
        what = "all dead letters that are meant" if everything else f"{len(ids)} dead letters"
        confirm(f"Give up {what} of {config.name}?", yes)
    from liberator.build import dlq_discard

    return _tell(dlq_discard(config, filters, reason, dry_run=dry_run), as_json, dry_run)


def _tell(rows: Iterable[Mapping[str, Any]], as_json: bool, dry_run: bool) -> int:
    """Each as soon as it is done; how many in the end. The exit code."""
    counts: Counter[str] = Counter()
    try:
        for row in rows:
            counts[row["outcome"]] += 1
            if as_json:
                click.echo(to_json({**row, "dry_run": dry_run}))
            else:
                why = f": {row['why']}" if row["why"] else ""
                click.echo(f"{row['id']}  {row['outcome']}  {row['topic']}  {text(row['key'])}{why}")
    finally:
        told = ", ".join(f"{count} {outcome}" for outcome, count in counts.items()) or "no dead letters"
        click.echo(f"would be: {told}" if dry_run and counts else told, err=True)
    return _FAILED if counts["refused"] else 0


def _connectors(context: click.Context, file: str, options: dict[str, Any]) -> list[AnyConfig]:
    from liberator.config import load_together

    name = options["name"] if written(context, ["name"]) else None
    configs = pick(load_together([file], stage=options["stage"]), name, options["stage"])
    context.ensure_object(Session).start_logging()
    return configs


def _connector(context: click.Context, file: str, options: dict[str, Any]) -> AnyConfig:
    configs = _connectors(context, file, options)
    if len(configs) > 1:
        context.fail(f"{file} holds {len(configs)} connectors: choose one with --name")
    return configs[0]


def _chosen(
    context: click.Context, ids: tuple[str, ...], everything: bool, options: dict[str, Any]
) -> Filters:
    if bool(ids) == everything:
        context.fail("name the dead letters by their ids, or say --all")
    misplaced = written(context, ["topic", "error", "since"])
    if ids and misplaced:
        context.fail(f"{', '.join(misplaced)} can't be given together with ids")
    return _filtered(options, ids)


def _filtered(options: dict[str, Any], ids: Iterable[str] = ()) -> Filters:
    from liberator.build import Filters

    return Filters(tuple(_parsed(ids)), options["topic"], options["error"], _since(options["since"]))


def _parsed(ids: Iterable[str]) -> list[Any]:
    from liberator.deadletter.letter import LetterId

    try:
        return [LetterId.parse(id) for id in ids]
    except ValueError as error:
        raise click.UsageError(str(error), click.get_current_context()) from None


def _since(given: str | None) -> int | None:
    """Milliseconds since the Unix epoch."""
    return None if given is None else int(moment("--since", given).timestamp() * 1000)
