"""`liberate status`: what the connector says itself, and what the live systems say."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from liberator.errors import SourceError
from liberator.observe.server import ObserveServer
from liberator.observe.telemetry import Telemetry

from .conftest import URL, Build, Liberate

LIVE = {"slot": {"slot": "shop", "retained_bytes": 5}, "checkpoint": "0/16B3748", "lag_bytes": None}


@pytest.fixture
def running() -> Iterator[ObserveServer]:
    with ObserveServer("127.0.0.1:0", Telemetry("shop")) as server:
        yield server


@pytest.fixture
def observed(tmp_path: Path, running: ObserveServer) -> Path:
    path = tmp_path / "observed.yaml"
    listen = f"127.0.0.1:{running.address[1]}"
    path.write_text(f"name: shop\nsource: {{url: '{URL}'}}\nobserve: {{listen: '{listen}'}}\n")
    return path


def test_shows_both_sides(liberate: Liberate, build: Build, observed: Path) -> None:
    build.answers["status"] = LIVE
    result = liberate("status", observed, "--json")
    (report,) = [json.loads(line) for line in result.out.splitlines()]
    assert result.code == 0
    assert report["connector"] == "shop"
    assert report["running"]["state"] == "starting"
    assert report["live"] == LIVE
    assert report["live_error"] is None


def test_shows_it_to_people(liberate: Liberate, build: Build, observed: Path) -> None:
    build.answers["status"] = LIVE
    shown = liberate("status", observed).out
    assert shown.startswith("shop\n  running:\n    name: shop\n    state: starting\n")
    assert "  live:\n    slot:\n      slot: shop\n      retained_bytes: 5\n" in shown
    assert shown.endswith("    checkpoint: 0/16B3748\n    lag_bytes: -\n")


def test_shows_the_live_systems_while_the_connector_is_down(
    liberate: Liberate, build: Build, shop: Path
) -> None:
    build.answers["status"] = LIVE
    result = liberate("status", shop)
    assert result.code == 0
    assert "  running: does not answer\n  live:\n" in result.out


def test_shows_the_connector_while_the_database_is_down(
    liberate: Liberate, build: Build, observed: Path
) -> None:
    build.answers["status"] = SourceError("the database does not answer, hunter2", code="source.unreachable")
    result = liberate("status", observed)
    assert result.code == 0
    assert "  live: the database does not answer, ***\n" in result.out


def test_says_so_when_nobody_answers(liberate: Liberate, build: Build, shop: Path) -> None:
    build.answers["status"] = SourceError(
        "the database does not answer", code="source.unreachable", fix="start it"
    )
    result = liberate("status", shop, "--json")
    assert result.code == 1
    assert json.loads(result.out) == {
        "connector": "shop",
        "running": None,
        "live": None,
        "live_error": {
            "code": "source.unreachable",
            "what": "the database does not answer",
            "fix": "start it",
        },
    }


def test_does_not_take_another_connector_for_this_one(
    liberate: Liberate, build: Build, tmp_path: Path, running: ObserveServer
) -> None:
    build.answers["status"] = LIVE
    path = tmp_path / "other.yaml"
    path.write_text(
        f"name: other\nsource: {{url: '{URL}'}}\nobserve: {{listen: '127.0.0.1:{running.address[1]}'}}\n"
    )
    assert json.loads(liberate("status", path, "--json").out)["running"] is None


@pytest.mark.parametrize("host", ["0.0.0.0", ""])
def test_asks_on_this_machine_when_the_endpoint_is_open_to_all(
    liberate: Liberate, build: Build, tmp_path: Path, running: ObserveServer, host: str
) -> None:
    build.answers["status"] = LIVE
    path = tmp_path / "open.yaml"
    path.write_text(
        f"name: shop\nsource: {{url: '{URL}'}}\nobserve: {{listen: '{host}:{running.address[1]}'}}\n"
    )
    assert json.loads(liberate("status", path, "--json").out)["running"]["name"] == "shop"


def test_asks_no_proxy(
    liberate: Liberate, build: Build, observed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    build.answers["status"] = LIVE
    assert json.loads(liberate("status", observed, "--json").out)["running"]


def test_of_a_sink_it_tells_what_is_promised(liberate: Liberate, build: Build, tmp_path: Path) -> None:
    build.answers["status"] = {"group": "notify", "lag_events": 7, "topics": {"orders": 7}}
    path = tmp_path / "sink.yaml"
    path.write_text(
        "connector: sink\nname: notify\nstream: {url: 'local:events', topics: [orders]}\nfunction: {python: 'a:b'}\n"
    )
    (report,) = [json.loads(line) for line in liberate("status", path, "--json").out.splitlines()]
    assert report["guarantee"]["delivery"] == "at_least_once"
    assert report["live"] == build.answers["status"]
    shown = liberate("status", path).out
    assert (
        "  guarantee:\n    delivery: at_least_once\n    order: key\n    words:\n      - no event is lost: "
        in shown
    )
    assert "    lag_events: 7\n" in shown


# A shell lets its background jobs ignore Ctrl-C, and they hand that down: the process takes it back first.
_WATCH = """
import signal, sys, types
signal.signal(signal.SIGINT, signal.default_int_handler)
module = types.ModuleType("liberator.build")
module.status = lambda config: {"lag_bytes": 0}
sys.modules["liberator.build"] = module
import liberator.cli.status
liberator.cli.status._INTERVAL = 0.05
from liberator.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_watches_until_it_is_interrupted(shop: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", _WATCH, "status", str(shop), "--watch", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    reports = [json.loads(process.stdout.readline()) for _ in range(3)]
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, "")
    assert [report["live"] for report in reports] == [{"lag_bytes": 0}] * 3
