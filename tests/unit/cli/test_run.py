"""`liberate run`: one connector in this process, several under a supervisor."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from liberator.cli import supervise
from liberator.cli.supervise import Child

from .conftest import Build, Liberate


def test_one_connector_runs_in_this_process(liberate: Liberate, build: Build, shop: Path) -> None:
    build.answers["run_source"] = 3
    assert liberate("run", shop, "--once", "--max-events", "5").code == 3
    assert build.config.name == "shop"
    assert build.calls[0][2] == {"once": True, "max_events": 5, "trial": False}


def test_one_of_several_runs_in_this_process(liberate: Liberate, build: Build, two: Path) -> None:
    assert liberate("run", two, "--connector", "two").code == 0
    assert [call[1][0].name for call in build.calls] == ["two"]


def test_a_connector_that_is_not_there_is_refused(liberate: Liberate, build: Build, two: Path) -> None:
    result = liberate("run", two, "--connector", "three")
    assert result.code == 2
    assert "there is no connector three here; there is one, two" in result.err


def test_faults_of_all_files_are_found_before_anything_starts(
    liberate: Liberate, build: Build, two: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("name: x y\n")
    result = liberate("run", two, bad)
    assert (result.code, build.calls) == (2, [])


def test_connectors_that_would_share_standard_output_are_refused(
    liberate: Liberate, build: Build, shop: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(shop.read_text().replace("name: shop", "name: other"))
    result = liberate("run", shop, other)
    assert result.code == 2
    assert "error [config.same_output]: the output - is used twice" in result.err


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Child]:
    """The children that a supervisor would start."""
    children: list[Child] = []

    def note(given: list[Child], *, as_json: bool) -> int:
        children.extend(given)
        return 7 if as_json else 6

    monkeypatch.setattr(supervise, "supervise", note)
    return children


def test_several_connectors_run_in_a_process_each(
    liberate: Liberate, two: Path, started: list[Child]
) -> None:
    result = liberate("--log-format", "json", "run", two, "--once", "--max-events", "5", "--stage", "test")
    assert result.code == 7
    assert [child.name for child in started] == ["test.one", "test.two"]
    assert started[0].command == [
        *(sys.executable, "-m", "liberator", "run", str(two), "--connector", "test.one"),
        *("--log-level", "info", "--log-format", "json", "--once", "--max-events", "5", "--stage", "test"),
    ]


def test_a_child_runs_the_connector_it_was_started_for(
    liberate: Liberate, build: Build, two: Path, started: list[Child]
) -> None:
    assert liberate("run", two, "--stage", "test").code == 6
    assert liberate(*started[1].command[3:]).code == 0
    assert build.config.name == "test.two"


def test_no_secret_stands_in_the_command_of_a_child(
    liberate: Liberate, two: Path, started: list[Child]
) -> None:
    liberate("run", two)
    assert "hunter2" not in str(started)


def test_a_child_whose_supervisor_is_gone_already_ends_at_once() -> None:
    program = "from liberator.cli.supervise import end_with_supervisor as e; e(); print('still here')"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "LIBERATE_SUPERVISOR_PID": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (-15, "")
