"""`liberate function`: a function that a stream starts, tried out and begun."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from liberator.cli.listing import to_json
from liberator.cli.options import json_option, logging_options, option, stage_option
from liberator.cli.places import PLACES, place
from liberator.cli.session import Session
from liberator.cli.target import one_sink

if TYPE_CHECKING:
    from liberator.build import Filters
    from liberator.testing.functions import EventOutcome, FunctionRun

_DIFFERENT = 4


@click.group(no_args_is_help=False)
def function() -> None:
    """Try a function out on recorded events, or begin a new one.

    \b
    Examples:
      liberate function new notify-shipping
      liberate function test connectors/sink-python.yaml --events events.ndjson
    """


@function.command("test")
@click.argument("file", type=click.Path(), metavar="FILE")
@option(
    "--events",
    "where",
    required=True,
    metavar="WHERE",
    envvar="LIBERATE_FUNCTION_EVENTS",
    help="A file of JSON lines or CloudEvents, - for standard input; stream, kafka://HOST:PORT, local:DIR; dead-letters.",
)
@option(
    "--from",
    "begin",
    multiple=True,
    default=["earliest"],
    metavar="PLACE",
    envvar="LIBERATE_FUNCTION_FROM",
    help=f"Of a stream: {PLACES}. Default: earliest.",
)
@option(
    "--to",
    "end",
    multiple=True,
    metavar="PLACE",
    envvar="LIBERATE_FUNCTION_TO",
    help="Of a stream: where to end, written the same way. Default: what is there now.",
)
@option("--id", "ids", multiple=True, metavar="ID", help="Of the dead letters: these only. Repeatable.")
@option(
    "--limit",
    type=click.IntRange(min=1),
    default=1_000,
    metavar="N",
    envvar="LIBERATE_FUNCTION_LIMIT",
    help="At most N events (1000).",
)
@option(
    "--twice",
    is_flag=True,
    envvar="LIBERATE_FUNCTION_TWICE",
    help="Give it the same events again, and tell what it did otherwise.",
)
@option(
    "--stub",
    "stubs",
    multiple=True,
    metavar="NAME=JSON",
    envvar="LIBERATE_FUNCTION_STUB",
    help="What stands for a function that it calls by name; the others are really called. Repeatable.",
)
@option("--name", metavar="NAME", help="Which connector, when FILE holds several.")
@stage_option
@json_option
@logging_options
@click.pass_context
def try_out(
    context: click.Context,
    /,
    file: str,
    where: str,
    begin: Sequence[str],
    end: Sequence[str],
    ids: Sequence[str],
    limit: int,
    twice: bool,
    stubs: Sequence[str],
    as_json: bool,
    **options: Any,
) -> int:
    """Run a sink's function on recorded events, and tell what becomes of each. Nothing is published, nothing committed.

    The function is called as the file says: filter, batches, attempts (without the pauses), bisection, contracts. What it
    does to other systems it does. Exit code 4 when an event failed or the second time was otherwise than the first.

    \b
    Examples:
      liberate --source postgresql://me@localhost/shop --mode log --once --topic 'shop.{schema}.{table}' > events.ndjson
      liberate function test connectors/sink-python.yaml --events events.ndjson --twice
      liberate function test connectors/sink-python.yaml --events stream --from 0:100 --to 0:120
      liberate function test connectors/sink-python.yaml --events dead-letters --id 0:17 --json
      liberate function test connectors/sink-calls.yaml --events events.ndjson --stub 'stock={"left": 3}'
    """
    config = one_sink(context, file, options)
    begins, ends = place("--from", begin), place("--to", end) if end else None
    letters, instead = _letters(ids), _stubs(stubs)
    context.ensure_object(Session).start_logging()
    from contextlib import closing, redirect_stdout

    from liberator.testing.functions import Rehearsal, differences, events_from

    events, more = events_from(config, where, begin=begins, end=ends, letters=letters, limit=limit)
    if more:
        click.echo(f"there are more than {limit} events: the rest is left out (--limit)", err=True)
    # What a function prints in this very process is for people.
    with redirect_stdout(sys.stderr), closing(Rehearsal(config, stubs=instead)) as rehearsal:
        run = rehearsal.run(events)
        different = list(differences(run, rehearsal.run(events))) if twice else []
    _tell(run, different, as_json)
    if run.untried:
        topics = ", ".join(sorted({event.topic for event in events})[:5])
        click.echo(f"none of these events is of the stream's topics: they are of {topics}", err=True)
        return _DIFFERENT
    return 0 if run.ok and not different else _DIFFERENT


def _stubs(given: Sequence[str]) -> dict[str, Any]:
    found = {}
    for one in given:
        name, _, text = one.partition("=")
        try:
            found[name] = json.loads(text)
        except ValueError:
            what = f"--stub {name}: what follows = is no JSON; write {name}='{{\"left\": 3}}'"
            raise click.UsageError(what, click.get_current_context()) from None
    return found


def _letters(ids: Sequence[str]) -> Filters:
    from liberator.build import Filters
    from liberator.deadletter.letter import LetterId

    try:
        return Filters(tuple(map(LetterId.parse, ids)))
    except ValueError as error:
        raise click.UsageError(str(error), click.get_current_context()) from None


def _tell(run: FunctionRun, different: Sequence[str], as_json: bool) -> None:
    """Events, outputs, differences on standard output; how many on standard error."""
    rows = [_row(outcome) for outcome in run.outcomes]
    outputs = [
        {"topic": it.topic, "key": it.key, "value": it.value, "headers": dict(it.headers), "of": list(it.of)}
        for it in run.outputs
    ]
    if as_json:
        for kind, records in (("event", rows), ("output", outputs)):
            for record in records:
                click.echo(to_json({"kind": kind, **record}))
        for difference in different:
            click.echo(to_json({"kind": "difference", "what": difference}))
    else:
        from liberator.config.secrets import redact

        told = [*map(_line, rows), *(f"output     {to_json(output)}" for output in outputs)]
        for line in (*told, *(f"different  {difference}" for difference in different)):
            click.echo(redact(line))
    counts = Counter(outcome.fate for outcome in run.outcomes)
    numbers = [f"{count} {fate}" for fate, count in counts.items()] or ["no events"]
    numbers += [f"{len(outputs)} outputs"] + ([f"{len(different)} differences"] if different else [])
    click.echo(", ".join(numbers), err=True)


def _line(row: dict[str, Any]) -> str:
    why = f"  {row['attempts']} attempts" if row["attempts"] > 1 else ""
    why += f"  {row['error']} ({row['code']})" if row["error"] else ""
    return f"{row['outcome']:9}  {row['topic'] or '(no event)'}  {to_json(row['key'])}  {row['id']}{why}"


def _row(outcome: EventOutcome) -> dict[str, Any]:
    event, error = outcome.event, outcome.error
    return {
        "id": event.id,
        "topic": event.topic,
        "partition": event.partition,
        "offset": event.offset,
        "key": event.key,
        "outcome": outcome.fate,
        "attempts": outcome.attempts,
        "code": error.code if error else None,
        "error": str(error) if error else None,
    }


@function.command()
@click.argument("name", metavar="NAME")
@option(
    "--folder",
    type=click.Path(path_type=Path),
    metavar="DIR",
    envvar="LIBERATE_FUNCTION_FOLDER",
    help="Where to; it must be new or empty. Default: a folder called NAME.",
)
@logging_options
def new(name: str, folder: Path | None) -> None:
    """Write a project: a commented connector, a function, a contract, sample events, and a test that passes.

    \b
    Examples:
      liberate function new notify-shipping
      liberate function new notify-shipping --folder services/shipping
    """
    from liberator.testing.functions.new import write_project

    for path in write_project(name, folder or Path(name)):
        click.echo(path)
