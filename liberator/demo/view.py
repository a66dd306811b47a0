"""How the demo looks: redrawn in place on a terminal, plain lines elsewhere; and its summary.

Enters: `Moment`s and, at the end, an `Outcome`. Leaves: standard output, which is the data of this command. Called by
`watch` and the demo's story. Decides nothing.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from liberator.demo.completeness import WaysProof
from liberator.demo.proof import Proof
from liberator.demo.shipments import ShippingProof
from liberator.demo.shop import QUERIED, TABLES
from liberator.demo.stream import Glance
from liberator.demo.watch import Line, Moment, View
from liberator.observe.progress import readable_bytes

_PLAIN_EVERY = 2.0
"""Seconds between two lines of progress where nothing can be redrawn."""

_PLAIN_WIDTH = 110
_STORY_SHOWN = 6
_OPS = {"c": "created", "u": "updated", "d": "deleted", "r": "read", "t": "truncated"}


def view_on(output: TextIO) -> tuple[View, Console]:
    """The view that fits `output`, and what the summary is printed with."""
    if output.isatty() and os.environ.get("TERM") != "dumb":
        console = Console(file=output)
        return LiveView(console), console
    console = Console(file=output, width=_PLAIN_WIDTH, no_color=True, highlight=False)
    return PlainView(console), console


class PlainView:
    """A line for each thing that happens, and one for how it goes every two seconds."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._due = _PLAIN_EVERY

    def say(self, line: Line) -> None:
        """Something happened."""
        self._print(line.at, line.text)

    def show(self, moment: Moment) -> None:
        """How things stand now."""
        if moment.at >= self._due and moment.rows:
            self._due = moment.at + _PLAIN_EVERY
            self._print(moment.at, f"  {pace(moment)}  {totals(moment)}")

    def close(self) -> None:
        """Nothing to give back."""

    def _print(self, at: float, text: str) -> None:
        self._console.print(f"{at:5.1f} s  {text}", markup=False, soft_wrap=True)


class LiveView:
    """Everything at a glance, redrawn in place."""

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, auto_refresh=False, vertical_overflow="crop")
        self._live.start()

    def say(self, line: Line) -> None:
        """Something happened: the next moment tells."""

    def show(self, moment: Moment) -> None:
        """How things stand now."""
        self._live.update(picture(moment), refresh=True)

    def close(self) -> None:
        """Give the terminal back. Idempotent."""
        self._live.stop()


def pace(moment: Moment) -> str:
    """How fast, how far behind, and who does it."""
    lag = "no slot yet" if moment.lag_bytes is None else f"lag {readable_bytes(max(0, moment.lag_bytes))}"
    seconds = "" if moment.lag_seconds is None else f", {moment.lag_seconds:.1f} s"
    connector = "no connector" if moment.pid is None else f"connector {moment.pid}"
    return f"{moment.rate:,.0f} events/s  {lag}{seconds}  {connector}"


def totals(moment: Moment) -> str:
    """What was written, and what has come of it."""
    counts = moment.counts
    parts = [f"{moment.changes:,} changes committed", f"{counts.events:,} events"]
    parts += [f"{len(counts.dead):,} dead letters"] if counts.dead else []
    parts += [f"{counts.again:,} a second time"] if counts.again else []
    shipped = moment.beside.ops["shipped", "event"]
    parts += [f"{shipped:,} shipped"] if shipped else []
    parts += [f"{moment.ways.events:,} events of outbox and queries"] if moment.ways.events else []
    return "  ".join(parts)


def picture(moment: Moment) -> RenderableType:
    """The whole display of one moment: 22 lines, so that it fits the smallest terminal."""
    alive = "bold green" if moment.pid is not None else "bold red"
    return Group(
        _line((moment.route, "cyan")),
        _line(("● ", alive), (moment.now, "bold"), f"  {pace(moment)}"),
        _line(f"{moment.at:4.0f} s  {totals(moment)}"),
        _tables(moment),
        _line(("what happened", "dim")),
        *_story(moment),
        _line(("last events", "dim")),
        *map(_glance, moment.counts.last),
    )


def _line(*parts: str | tuple[str, str]) -> Text:
    return Text.assemble(*parts, no_wrap=True, overflow="ellipsis")


def _story(moment: Moment) -> list[Text]:
    told = [_line(f"{line.at:5.1f} s  {line.text}") for line in moment.story[-_STORY_SHOWN:]]
    return told + [Text("")] * (_STORY_SHOWN - len(told))


def _glance(glance: Glance) -> Text:
    where = "" if glance.dead is None else ("  -> dead letters", "bold yellow")
    return _line(f"  {_OPS.get(glance.op, glance.op):<8} {glance.table:<12} {glance.key}", where)


def _tables(moment: Moment) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("table")
    for heading in ("in PostgreSQL", "snapshot", "created", "updated", "deleted", "dead letters"):
        table.add_column(heading, justify="right")
    counts = moment.counts
    dead_of = Counter(letter.table for letter in (*counts.dead, *moment.beside.dead))
    for name in TABLES:
        dead = dead_of[name]
        table.add_row(
            name,
            f"{moment.rows.get(name, 0):,}",
            *(f"{counts.ops[name, op]:,}" for op in ("r", "c", "u", "d")),
            Text(f"{dead:,}", style="bold yellow" if dead else "dim"),
        )
    return table


@dataclass(frozen=True)
class Outcome:
    """What the summary tells. seconds: of the whole demo. peak: events a second. down: seconds without a connector.
    recovery: seconds from the restart until all was caught up. kept: a file or log that was asked for. log: the ends of the
    connectors'. shipping, ways: None: there was no function, no outbox and no query.
    """

    proof: Proof
    shipping: ShippingProof | None
    ways: WaysProof | None
    route: str
    seconds: float
    peak: float
    down: float
    recovery: float
    killed: int
    kept: str | None
    log: str

    @property
    def faults(self) -> list[str]:
        """All that were found; none: everything is proved."""
        shipping, ways = (part.faults if part else [] for part in (self.shipping, self.ways))
        return [*self.proof.faults, *shipping, *ways]


def summary(outcome: Outcome) -> RenderableType:
    """The proof for people."""
    proof = outcome.proof
    verdict = (_proved(outcome), "bold green")
    faults = outcome.faults
    if faults:
        verdict = (f"NOT proved: {len(faults)} fault{'s' * (len(faults) > 1)}, above.", "bold red")
    return Group(
        Text(""),
        Text(outcome.route, style="cyan"),
        _proof_table(proof),
        Text(""),
        _pairs(_facts(outcome)),
        *(Text(f"FAULT  {fault}", style="red") for fault in faults),
        Text(""),
        Text(*verdict),
        Text(""),
        _pairs(_next_steps(outcome)),
    )


def _proved(outcome: Outcome) -> str:
    return "Proved: every change arrived" + (
        ", and all that was paid is shipped." if outcome.shipping else "."
    )


def _proof_table(proof: Proof) -> Table:
    table = Table(box=None, pad_edge=False, collapse_padding=True, header_style="bold")
    table.add_column("table")
    for heading in ("PostgreSQL", "stream", "withheld", "read", "created", "updated", "deleted", "rows"):
        table.add_column(heading, justify="right")
    for each in proof.tables:
        table.add_row(
            each.name,
            f"{each.rows:,}",
            f"{each.streamed:,}",
            f"{each.withheld:,}",
            *(f"{each.ops[op]:,}" for op in ("r", "c", "u", "d")),
            Text("differs", style="bold red") if each.faults else Text("equal", style="green"),
        )
    return table


def _facts(outcome: Outcome) -> dict[str, str]:
    proof, shipping = outcome.proof, outcome.shipping
    again = proof.again - (
        len(shipping.dead) if shipping else 0
    )  # what was redriven came again for that reason
    function = {} if shipping is None else {"function": _function(shipping)}
    ways = {} if outcome.ways is None else _ways(outcome.ways)
    return {
        "committed": f"{proof.transactions:,} transactions with {proof.changes:,} row changes; {proof.seen:,} came as "
        f"events, each one whole, {proof.transactions - proof.seen:,} were there before the snapshot and are in its rows",
        "rolled back": f"{proof.dropped:,} transactions; none of them was published",
        "published": f"{proof.events:,} events, at most {outcome.peak:,.0f} a second; every key's in the order of commits",
        "kill -9": f"process {outcome.killed}; {outcome.down:.1f} s without a connector, caught up in "
        f"{outcome.recovery:.1f} s; {again:,} events came a second time, with the same ids and content",
        "dead letters": f"{len(proof.dead)}: {', '.join(proof.dead)}; what was not mended is withheld from the stream",
        **function,
        **ways,
    }


def _ways(ways: WaysProof) -> dict[str, str]:
    return {
        "outbox": f"{ways.told:,} events of the application, each in the stream, in order per order, "
        f"{ways.again or 'none'} of them repeated",
        "queries": f"{QUERIED}: {ways.rows:,} rows, as the stream ends; {ways.ops['r']:,} read, {ways.ops['u']:,} changed, "
        f"{ways.ops['d']:,} found to be gone",
    }


def _function(shipping: ShippingProof) -> str:
    return (
        f"{shipping.paid:,} events of paid orders, {shipping.shipments:,} shipments, {shipping.again or 'none'} of them "
        f"repeated; it failed on {', '.join(shipping.dead)}, a dead letter until it was redriven"
    )


def _next_steps(outcome: Outcome) -> dict[str, str]:
    kept = f"{outcome.kept}, as you asked for it; all else" if outcome.kept else "nothing; all"
    return {
        "left behind": f"{kept} that the demo made is removed, {outcome.seconds:.0f} s after it began",
        "your database": "liberate --source postgresql://USER@HOST/DATABASE --mode log",
        "a connector": "connectors/postgres-log.yaml, to copy; run it with: liberate run FILE",
        "what this was": "docs/guide/demo.md, step by step",
    }


def _pairs(pairs: Mapping[str, str]) -> Table:
    grid = Table.grid(padding=(0, 2))
    for name, text in pairs.items():
        grid.add_row(Text(name, style="bold"), Text(text))
    return grid
