"""Every error becomes one readable block and an exit code; data and messages never mix."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from liberator.errors import (
    CheckpointError,
    ContractError,
    LiberatorError,
    PreconditionError,
    PublishError,
    SourceError,
)

from .conftest import URL, Build, Liberate


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SourceError("gone", code="source.failed"), 1),
        (PublishError("gone"), 1),
        (ContractError("gone"), 1),
        (PreconditionError("gone"), 3),
        (CheckpointError("gone"), 3),
    ],
)
def test_an_error_decides_the_exit_code(
    liberate: Liberate, build: Build, error: LiberatorError, code: int
) -> None:
    build.answers["run_source"] = error
    result = liberate("--source", URL)
    assert (result.code, result.out) == (code, "")
    assert f"error [{error.code}]: gone\n" in result.err


def test_the_block_has_code_what_where_and_fix(liberate: Liberate, build: Build) -> None:
    build.answers["run_source"] = SourceError(
        "it broke", code="source.x", where="public.orders", fix="mend it"
    )
    assert liberate("--source", URL).err == (
        "error [source.x]: it broke\n  where: public.orders\n  fix:   mend it\n"
    )


def test_an_error_is_one_json_object_where_logs_are(liberate: Liberate, build: Build) -> None:
    build.answers["run_source"] = SourceError(
        "it broke at hunter2", code="source.x", where="public.orders", fix="mend it"
    )
    err = liberate("--source", URL, "--log-format", "json", "--log-level", "debug").err
    said = json.loads(err)
    assert [said[name] for name in ("level", "code", "message", "where", "fix")] == [
        "error",
        "source.x",
        "it broke at ***",
        "public.orders",
        "mend it",
    ]
    assert "SourceError" in said["traceback"]
    assert "hunter2" not in err


def test_every_fault_of_a_file_is_a_json_object(liberate: Liberate, tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text("name: x\nsorce: 1\nlimit: 2\n")
    lines = liberate("run", file, "--log-format", "json").err.splitlines()
    assert {json.loads(line)["code"] for line in lines} == {"config.unknown_key", "config.missing"}
    assert len(lines) == 3


@pytest.mark.parametrize(
    ("arguments", "variable", "as_json"),
    [
        (["--log-format", "json"], "", True),
        (["--log-format=json"], "text", True),
        ([], "json", True),
        (["--log-format=text"], "json", False),
        ([], "", False),
    ],
    ids=["written", "written with =", "variable", "written wins", "not asked"],
)
def test_a_command_line_that_nobody_understands_is_answered_in_the_form_of_logs(
    liberate: Liberate,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    variable: str,
    as_json: bool,
) -> None:
    monkeypatch.setenv("LIBERATE_LOG_FORMAT", variable)
    result = liberate("--badly", *arguments)
    assert result.code == 2
    assert result.err.startswith("{") == as_json


def test_an_error_shows_no_secret_and_no_traceback(liberate: Liberate, build: Build) -> None:
    build.answers["run_source"] = SourceError(
        f"no route to {URL}, password hunter2", where="hunter2", fix="hunter2"
    )
    result = liberate("--source", URL)
    assert "hunter2" not in result.err
    assert "Traceback" not in result.err


@pytest.mark.parametrize("place", ["before", "after", "variable"])
def test_a_traceback_is_shown_for_debugging_and_shows_no_secret(
    liberate: Liberate, build: Build, shop: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    build.answers["run_source"] = RuntimeError(f"no route to {URL}, password hunter2")
    if place == "variable":
        monkeypatch.setenv("LIBERATE_LOG_LEVEL", "debug")
    debug = ["--log-level", "debug"]
    result = liberate(
        *(debug if place == "before" else []), "run", shop, *(debug if place == "after" else [])
    )
    assert result.code == 1
    assert "Traceback" in result.err
    assert "hunter2" not in result.err
    assert "error [internal]: unexpected RuntimeError\n" in result.err


def test_an_unexpected_error_shows_no_text_that_could_hold_data(liberate: Liberate, build: Build) -> None:
    build.answers["run_source"] = ValueError("row (7, secret@example.com) is odd")
    result = liberate("--source", URL)
    assert result.code == 1
    assert result.err.startswith("error [internal]: unexpected ValueError\n")
    assert "example.com" not in result.err


def test_an_unexpected_error_of_the_system_says_which(liberate: Liberate, build: Build) -> None:
    build.answers["run_source"] = OSError(28, "No space left on device")
    assert "No space left on device" in liberate("--source", URL).err


def test_an_interrupted_command_ends_quietly(liberate: Liberate, build: Build) -> None:
    build.answers["slot_list"] = KeyboardInterrupt()
    result = liberate("slot", "list", "--source", URL)
    assert (result.code, result.out, result.err) == (130, "", "")


@pytest.mark.parametrize("output", [subprocess.PIPE, subprocess.DEVNULL])
def test_a_lost_connection_is_no_closed_pipe(output: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _RAISES], stdout=output, stderr=subprocess.PIPE, text=True, check=False
    )
    assert done.returncode == 1
    assert "error [internal]: unexpected BrokenPipeError" in done.stderr


def test_a_lost_connection_is_an_error_where_standard_output_is_no_file(
    liberate: Liberate, build: Build
) -> None:
    build.answers["run_source"] = BrokenPipeError(32, "Broken pipe")
    assert liberate("--source", URL).code == 1


_RAISES = """
import sys, types
module = types.ModuleType("liberator.build")
def slot_list(config):
    raise BrokenPipeError(32, 'Broken pipe')
module.slot_list = slot_list
sys.modules["liberator.build"] = module
from liberator.cli import main
sys.exit(main(["slot", "list", "--source", "postgresql://db"]))
"""

_PRINTS = """
import sys, types
module = types.ModuleType("liberator.build")
module.slot_list = lambda config: ({"slot": "x" * 1000} for _ in range(10000))
sys.modules["liberator.build"] = module
from liberator.cli import main
sys.exit(main(["slot", "list", "--source", "postgresql://db", "--json"]))
"""


def test_a_reader_that_leaves_early_is_no_error() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", _PRINTS], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.read(100)
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 0


def test_a_full_disk_under_the_output_is_an_error() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", _PRINTS], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 1
    assert "No space left on device" in done.stderr


def test_errors_go_nowhere_when_nobody_listens() -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "liberator", "--tabel"], stdout=subprocess.PIPE, stderr=write, check=False
    )
    os.close(write)
    assert done.returncode == 2
