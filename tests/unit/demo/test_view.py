"""How the demo looks, on a terminal and elsewhere."""

from __future__ import annotations

import io
from collections import Counter
from dataclasses import replace

import pytest
from rich.console import Console

from liberator.demo.completeness import WaysProof
from liberator.demo.proof import Proof, TableProof
from liberator.demo.shipments import ShippingProof
from liberator.demo.shop import TABLES
from liberator.demo.stream import Counts, Glance
from liberator.demo.view import LiveView, Outcome, PlainView, picture, summary, view_on
from liberator.demo.watch import Line, Moment


class Terminal(io.StringIO):
    """Somewhere to draw."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def moment() -> Moment:
    """In the middle of the demo, when there is most to see."""
    story = tuple(Line(n, f"the {n}. thing that happened, told in more words than fit") for n in range(12))
    last = [Glance("order_items", "u", f'{{"order_id":{n},"line_no":1}}') for n in range(4)]
    dead = [Glance("customers", "c", f'{{"id":{n}}}', "/country: breaks the pattern") for n in (1, 2)]
    counts = Counts(31_724, 101, Counter({("orders", "c"): 245}), dead, [dead[0], *last[1:]])
    return Moment(
        at=12.3,
        route="PostgreSQL 18 -> liberate run shop.yaml -> Kafka 4.4.0 at 127.0.0.1:29050",
        now="streaming",
        pid=4711,
        rows=dict.fromkeys(TABLES, 12_345),
        counts=counts,
        rate=743.2,
        lag_bytes=94_822,
        lag_seconds=0.8,
        beside=Counts(
            ops=Counter({("shipped", "event"): 1203}), dead=[Glance("orders", "c", "{}", "failed")]
        ),
        transactions=1_100,
        changes=4_440,
        story=story,
    )


@pytest.fixture
def outcome() -> Outcome:
    tables = [TableProof(name, 12_400, 12_400, 0, Counter({"r": 12_345, "u": 1_681}), []) for name in TABLES]
    proof = Proof(tables, 31_724, 101, 1_100, 4_440, 1_000, 39, ['{"id":900001}', '{"id":900002}'])
    return Outcome(
        proof=proof,
        shipping=ShippingProof(1540, 1540, 0, ['{"id":900005}'], []),
        ways=WaysProof(964, 0, 400, Counter({"r": 400, "u": 1013, "d": 32}), []),
        route="PostgreSQL 18 -> a file",
        seconds=41.0,
        peak=9837.0,
        down=3.3,
        recovery=1.9,
        killed=4711,
        kept=None,
        log="",
    )


def shown(part: object, width: int = 110) -> str:
    console = Console(file=io.StringIO(), width=width, no_color=True)
    console.print(part)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_fits_the_smallest_terminal(moment: Moment) -> None:
    lines = shown(picture(moment), width=80).splitlines()
    assert len(lines) < 24
    assert max(map(len, lines)) <= 80


def test_shows_tables_rates_lag_events_and_what_happened(moment: Moment) -> None:
    text = shown(picture(moment))
    for part in ("streaming", "743 events/s", "lag 92.6 KiB, 0.8 s", "connector 4711", "2 dead letters"):
        assert part in text
    for part in ("101 a second time", "12,345", "245", "the 11. thing", '{"order_id":3,"line_no":1}'):
        assert part in text
    assert "-> dead letters" in text
    assert "1,203 shipped" in text


def test_shows_that_the_connector_is_dead(moment: Moment) -> None:
    moment.pid = None
    assert "no connector" in shown(picture(moment))


def test_is_redrawn_in_place_on_a_terminal(moment: Moment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    view, _ = view_on(terminal)
    assert isinstance(view, LiveView)
    view.show(moment)
    view.show(moment)
    view.close()
    view.close()
    assert "\x1b[1A" in terminal.getvalue()
    assert terminal.getvalue().count("\x1b[?25l") == terminal.getvalue().count("\x1b[?25h")


def test_is_plain_lines_elsewhere(moment: Moment) -> None:
    output = io.StringIO()
    view, _ = view_on(output)
    assert isinstance(view, PlainView)
    view.say(Line(1.0, "it begins [really]"))
    view.show(moment)
    view.show(moment)
    lines = output.getvalue().splitlines()
    assert lines[0] == "  1.0 s  it begins [really]"
    assert len(lines) == 2  # the second look came too soon for a line of its own
    assert "743 events/s" in lines[1]
    assert "\x1b" not in output.getvalue()


def test_the_summary_tells_what_is_proved(outcome: Outcome) -> None:
    text = shown(summary(outcome))
    assert "Proved: every change arrived, and all that was paid is shipped." in text
    assert text.count("equal") == len(TABLES)
    for part in (
        "1,100 transactions",
        "39 transactions; none",
        "process 4711",
        "100 events came a second time",
        "1,540 events of paid orders, 1,540 shipments, none of them repeated",
        "964 events of the application",
        "products: 400 rows, as the stream ends; 400 read, 1,013 changed, 32 found to be gone",
    ):
        assert part in text


def test_the_summary_says_nothing_of_what_was_not_there(outcome: Outcome) -> None:
    text = shown(summary(replace(outcome, shipping=None, ways=None)))
    assert "Proved: every change arrived." in text
    assert "101 events came a second time" in text
    assert "paid" not in text
    assert "outbox" not in text


def test_the_summary_fits_one_screen(outcome: Outcome) -> None:
    assert len(shown(summary(outcome)).splitlines()) <= 32


def test_the_summary_names_what_was_not_shipped(outcome: Outcome) -> None:
    assert outcome.shipping is not None
    outcome.shipping.faults.append("order 5: is paid and was not shipped")
    text = shown(summary(outcome))
    assert "NOT proved: 1 fault" in text
    assert "order 5: is paid" in text


def test_the_summary_names_what_is_not_in_the_outboxs_stream(outcome: Outcome) -> None:
    assert outcome.ways is not None
    outcome.ways.faults.append("event 5 (OrderPlaced): is in the outbox and not in its stream")
    text = shown(summary(outcome))
    assert "NOT proved: 1 fault" in text
    assert "event 5 (OrderPlaced)" in text


def test_the_table_of_the_summary_fits_the_smallest_terminal(outcome: Outcome) -> None:
    lines = shown(summary(outcome), width=80).splitlines()
    assert any(line.startswith("order_items ") and line.rstrip().endswith(" equal") for line in lines)


def test_the_summary_names_each_fault(outcome: Outcome) -> None:
    fault = "public.orders key 5: missing [in] the stream"
    outcome.proof.tables[2].faults.append(fault)
    outcome.proof.faults.append(fault)
    text = shown(summary(outcome))
    assert "NOT proved: 1 fault" in text
    assert fault in text
    assert "Proved: every" not in text
    assert text.count("differs") == 1
