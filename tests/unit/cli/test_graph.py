"""`graph` draws what flows where; `validate` refuses what flows in a circle."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .conftest import Liberate

SOURCE = """
name: shop
source: {url: 'postgresql://me:geheim12345@db.example:6432/shop', tables: [public.orders, public.users]}
publish: {url: 'kafka://b1:9092,b2:9092'}
"""
NOTIFY = """
connector: sink
name: notify
context: shipping
stream: {url: 'kafka://b2:9092', topics: [shop.public.orders]}
function: {python: 'ship:notify'}
output: {topic: shipping.notified}
"""
MAIL = """
connector: sink
name: mail
context: "mail & more"
stream: {url: 'kafka://b1:9092', pattern: 'shipping[.].+'}
function: {http: {url: 'https://mail.example/send?key=geheim12345'}}
policy: {on_permanent: {topic: rejected}}
"""


def sink(name: str, reads: str, gives: str | None = None, url: str = "kafka://b") -> str:
    output = f"output: {{topic: {gives}}}\n" if gives else ""
    stream = f"stream: {{url: '{url}', topics: [{reads}]}}\n"
    return f"connector: sink\nname: {name}\n{stream}function: {{python: 'm:f'}}\n{output}"


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Source, and two functions in a row; the brokers are written in several ways."""
    texts = {"source.yaml": SOURCE, "notify.yaml": NOTIFY, "mail.yaml": MAIL}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    return [tmp_path / name for name in texts]


def test_the_tree_goes_from_the_database_to_the_last_function(liberate: Liberate, files: list[Path]) -> None:
    result = liberate("graph", *files, "--format", "text")
    assert result.code == 0, result.err
    assert result.out.splitlines() == [
        "database shop at db.example:6432",
        "  source shop",
        "    topic shop.public.orders",
        "      function notify: python ship:notify [shipping]",
        "        topic shipping.notified",
        "          function mail: http mail.example [mail & more]",
        "            (rejected) topic rejected",
        "    topic shop.public.users",
    ]


def test_mermaid_has_contexts_and_nothing_that_breaks_it(liberate: Liberate, files: list[Path]) -> None:
    lines = liberate("graph", *files).out.splitlines()
    assert lines[0] == "flowchart LR"
    assert '    subgraph c2["mail #amp; more"]' in lines
    assert '    n0[("shop at db.example:6432")]' in lines
    assert '        n4["notify: python ship:notify"]' in lines
    assert "    n2 --> n4" in lines
    assert '    n6 -. "rejected" .-> n7' in lines
    assert lines.count("    end") == 2


def test_dot_has_clusters(liberate: Liberate, files: list[Path]) -> None:
    out = liberate("graph", *files, "--format", "dot").out
    assert out.startswith("digraph liberator {")
    assert 'subgraph cluster_1 { label="shipping"' in out
    assert 'n6 -> n7 [style=dashed, label="rejected"]' in out
    assert out.count("{") == out.count("}")


def test_json_has_a_line_for_each_edge(liberate: Liberate, files: list[Path]) -> None:
    edges = [json.loads(line) for line in liberate("graph", *files, "--json").out.splitlines()]
    assert [(edge["from"]["label"], edge["to"]["label"], edge["label"]) for edge in edges[-2:]] == [
        ("shipping.notified", "mail: http mail.example", ""),
        ("mail: http mail.example", "rejected", "rejected"),
    ]


@pytest.mark.parametrize("form", ["mermaid", "dot", "text"])
def test_no_password_is_drawn(liberate: Liberate, files: list[Path], form: str) -> None:
    assert "geheim" not in liberate("graph", *files, "--format", form).out


def test_topics_of_tables_that_nobody_named_are_drawn_where_they_are_read(
    liberate: Liberate, tmp_path: Path
) -> None:
    (tmp_path / "all.yaml").write_text(
        "name: all\nsource: {url: 'postgresql://db/shop'}\npublish: {url: 'kafka://b'}\n"
        "---\n" + sink("one", "all.public.orders") + "---\n" + sink("other", "elsewhere.orders")
    )
    assert liberate("graph", tmp_path / "all.yaml", "--format", "text").out.splitlines() == [
        "database shop at db",
        "  source all",
        "    topic all.public.orders",
        "      function one: python m:f",
        "topic elsewhere.orders",
        "  function other: python m:f",
    ]


def test_what_starts_a_function_without_a_stream_is_drawn(liberate: Liberate, tmp_path: Path) -> None:
    starts = "[{on: schedule, cron: '0 3 * * *'}, {on: file, path: 'in/*.json'}]"
    (tmp_path / "in.yaml").write_text(
        f"connector: sink\nname: in\ntrigger: {starts}\nfunction: {{command: [./load.sh, -v]}}\n"
        "policy: {on_failure: stop}\n"
    )
    assert liberate("graph", tmp_path / "in.yaml", "--format", "text").out.splitlines() == [
        "start 0 3 * * * UTC",
        "  function in: command ./load.sh",
        "start in/*.json",
        "  function in: command ./load.sh (see above)",
    ]


def test_requests_that_are_kept_go_into_the_stream(liberate: Liberate, tmp_path: Path) -> None:
    trigger = "trigger: {on: webhook, path: /hook, respond: accepted}\n"
    (tmp_path / "in.yaml").write_text(sink("in", "hooks") + trigger)
    assert liberate("graph", tmp_path / "in.yaml", "--format", "text").out.splitlines() == [
        "start POST /hook",
        "  topic hooks",
        "    function in: python m:f",
    ]


@pytest.mark.parametrize(
    ("sinks", "way"),
    [
        ([sink("a", "one", "two"), sink("b", "two", "one")], "a -> two -> b -> one -> a"),
        (
            [sink("a", "one", "two"), sink("b", "two", "three"), sink("c", "three", "one")],
            "a -> two -> b -> three -> c -> one -> a",
        ),
        (
            [sink("start", "zero", "one"), sink("a", "one", "two"), sink("b", "two", "one")],
            "a -> two -> b -> one -> a",
        ),
        (
            [sink("a", "one", "two", "kafka://x:9092,y:9092"), sink("b", "two", "one", "kafka://y")],
            "a -> two -> b -> one -> a",
        ),
    ],
    ids=["two", "three", "behind another", "written otherwise"],
)
def test_functions_that_start_each_other_in_a_circle_are_refused(
    liberate: Liberate, tmp_path: Path, sinks: list[str], way: str
) -> None:
    paths = [tmp_path / f"{number}.yaml" for number in range(len(sinks))]
    for path, text in zip(paths, sinks, strict=True):
        path.write_text(text)
    result = liberate("validate", *paths)
    assert result.code == 2
    assert result.err.count("error [config.cycle]") == 1
    assert f"in a circle: {way}" in result.err


@pytest.mark.parametrize(
    "sinks",
    [
        [sink("a", "one", "two"), sink("b", "two", "three")],
        [sink("a", "one", "two"), sink("b", "two", "one", "kafka://elsewhere")],
        [sink("a", "one", "three"), sink("b", "two", "three")],
    ],
    ids=["in a row", "another broker", "side by side"],
)
def test_functions_in_no_circle_are_not(liberate: Liberate, tmp_path: Path, sinks: list[str]) -> None:
    (tmp_path / "all.yaml").write_text("---\n".join(sinks))
    assert liberate("validate", tmp_path / "all.yaml").code == 0


CALLER = """
connector: sink
name: promise
context: sales
stream: {url: 'kafka://b', topics: [orders]}
function: {python: 'm:promise'}
functions:
  - {name: stock, http: {url: 'http://localhost:8080/stock?key=geheim12345', allow_private: true}}
  - {name: quote, python: 'm:quote', calls: [rate]}
  - {name: rate, command: ['./rate.sh']}
"""
STOCK = """
connector: sink
name: stock-keeper
trigger: {on: webhook, listen: '127.0.0.1:8080', path: /stock}
"""


def test_what_a_function_calls_is_drawn(liberate: Liberate, tmp_path: Path) -> None:
    (tmp_path / "caller.yaml").write_text(CALLER)
    (tmp_path / "stock.yaml").write_text(STOCK + "function: {python: 'm:stock'}\n")
    result = liberate("graph", tmp_path / "caller.yaml", tmp_path / "stock.yaml", "--format", "text")
    assert result.out.splitlines() == [
        "topic orders",
        "  function promise: python m:promise [sales]",
        "    (calls) function stock: http localhost:8080 [sales]",
        "    (calls) function quote: python m:quote [sales]",
        "      (calls) function rate: command ./rate.sh [sales]",
        "    (calls) function rate: command ./rate.sh [sales] (see above)",
        "    (calls) start POST /stock",
        "      function stock-keeper: python m:stock",
    ]


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080/back", "http://10.0.0.1:8080/stock"])
def test_functions_that_call_only_one_way_are_no_circle(liberate: Liberate, tmp_path: Path, url: str) -> None:
    (tmp_path / "caller.yaml").write_text(CALLER)
    (tmp_path / "stock.yaml").write_text(
        STOCK + f"function: {{http: {{url: '{url}', allow_private: true}}}}\n"
    )
    assert liberate("validate", tmp_path / "caller.yaml", tmp_path / "stock.yaml").code == 0


def test_webhooks_that_call_each_other_are_refused(liberate: Liberate, tmp_path: Path) -> None:
    back = "function: {python: 'm:f'}\nfunctions: [{name: b, http: {url: 'http://localhost:8081/b', allow_private: true}}]\n"
    (tmp_path / "a.yaml").write_text(STOCK + back)
    (tmp_path / "b.yaml").write_text(
        STOCK.replace("stock-keeper", "b").replace("8080", "8081").replace("/stock", "/b")
        + "function: {http: {url: 'http://127.0.0.1:8080/stock', allow_private: true}}\n"
    )
    result = liberate("validate", tmp_path / "a.yaml", tmp_path / "b.yaml")
    assert result.code == 2
    assert "functions start each other in a circle: stock-keeper calls b calls stock-keeper" in result.err


def test_a_webhook_that_calls_itself_is_refused(liberate: Liberate, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        STOCK + "function: {http: {url: 'http://localhost:8080/stock', allow_private: true}}\n"
    )
    (tmp_path / "b.yaml").write_text(sink("b", "t"))
    result = liberate("validate", tmp_path / "a.yaml", tmp_path / "b.yaml")
    assert result.code == 2
    assert "stock-keeper calls stock-keeper" in result.err
