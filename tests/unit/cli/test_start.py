"""How `liberate` answers before it does anything: help, version, wrong usage, and how fast."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from liberator import __version__
from liberator.cli.app import app

from .conftest import Liberate

HEAVY = (
    "pydantic",
    "yaml",
    "sqlalchemy",
    "psycopg",
    "kafka",
    "confluent_kafka",
    "jsonschema",
    "prometheus_client",
    "rich",
)


def commands(group: click.Group, above: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = []
    for name, command in group.commands.items():
        found.append((*above, name))
        if isinstance(command, click.Group):
            found += commands(command, (*above, name))
    return found


COMMANDS = [(), *commands(app)]


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["run", "--help"], ["checkpoint", "show", "--help"]]
)
def test_help_loads_no_heavy_library(arguments: list[str]) -> None:
    program = (
        "import sys; from liberator.cli import main; code = main(sys.argv[1:]);"
        f"print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True
    )
    assert done.stderr.strip() == "[]"
    assert done.stdout


@pytest.mark.parametrize(("argument", "most"), [("--help", 0.3), ("--version", 0.15)])
def test_answers_at_once(argument: str, most: float) -> None:
    """Seconds of processor time, and the fastest of several calls: other programs on the machine must not decide."""
    taken = []
    for _ in range(8):
        process = subprocess.Popen([sys.executable, "-m", "liberator", argument], stdout=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = status  # so that Popen does not wait for it again
        assert status == 0
        taken.append(used.ru_utime + used.ru_stime)
    assert min(taken) < most


def test_importing_the_package_of_the_command_loads_not_even_click() -> None:
    program = "import sys, liberator.cli; print('click' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_tells_its_version(liberate: Liberate) -> None:
    result = liberate("--version")
    assert (result.code, result.out, result.err) == (0, f"{__version__}\n", "")


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_an_example(liberate: Liberate, command: tuple[str, ...]) -> None:
    result = liberate(*command, "--help")
    assert result.code == 0
    assert result.out.startswith(f"Usage: liberate {' '.join(command)}")
    assert re.search(r"Examples?:\n +liberate", result.out)


def test_the_commands_are_those_that_exist() -> None:
    assert sorted(app.commands) == [
        "checkpoint",
        "demo",
        "dlq",
        "function",
        "graph",
        "init",
        "replay",
        "run",
        "schema",
        "sidecar",
        "slot",
        "status",
        "validate",
    ]


@pytest.mark.parametrize(
    ("arguments", "words", "where"),
    [
        ([], "--source is missing", "liberate"),
        (["--mode", "log"], "--source is missing", "liberate"),
        (["--tabel", "x"], "--tabel", "liberate"),
        (["--source"], "--source", "liberate"),
        (["--max-events", "0", "--source", "x"], "--max-events", "liberate"),
        (["--log-level", "loud"], "--log-level", "liberate"),
        (["unknown"], "unknown", "liberate"),
        (["shop.yaml"], "write `liberate run shop.yaml`", "liberate"),
        (["run"], "FILE", "liberate run"),
        (["run", "x.yaml", "--twice"], "--twice", "liberate run"),
        (["checkpoint"], "Missing command", "liberate checkpoint"),
        (["checkpoint", "show"], "name a FILE", "liberate checkpoint show"),
        (["--source", "x", "run", "shop.yaml"], "--source must stand after `run`", "liberate"),
        (
            ["--once", "--stage", "x", "run", "shop.yaml"],
            "--once, --stage must stand after `run`",
            "liberate",
        ),
    ],
)
def test_wrong_usage_is_one_readable_block(
    liberate: Liberate, arguments: list[str], words: str, where: str
) -> None:
    result = liberate(*arguments)
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("error [usage]: ")
    assert words in result.err
    assert f"  where: {where}\n  fix:   see `{where} --help`\n" in result.err


def test_a_mistyped_option_gets_the_right_one(liberate: Liberate) -> None:
    assert "--table" in liberate("--tabel", "x").err


def test_wrong_usage_shows_no_password(liberate: Liberate) -> None:
    for arguments in (
        ["postgresql://me:hunter2@db/shop"],
        ["run", "--postgresql://me:hunter2@db/shop"],
        ["--source", "postgresql://me:hunter2@db/shop", "--max-events", "postgresql://me:hunter2@db/shop"],
        ["slot", "list", "x", "postgresql://me:hunter2@db/shop"],
    ):
        result = liberate(*arguments)
        assert result.code == 2
        assert "hunter2" not in result.err


def test_python_dash_m_is_the_same_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "liberator", "--tabel"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error [usage]: ")


def test_completes_for_the_shell() -> None:
    environment = {"_LIBERATE_COMPLETE": "bash_complete", "COMP_WORDS": "liberate val", "COMP_CWORD": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "liberator"], capture_output=True, text=True, env=environment, check=True
    )
    assert "validate" in done.stdout


def test_the_reference_names_every_command_and_option() -> None:
    reference = (Path(__file__).parents[3] / "docs" / "reference" / "cli.md").read_text()
    found = [app, *(_command(path) for path in commands(app))]
    options = {
        name for command in found for each in command.params for name in each.opts if name.startswith("--")
    }
    assert [name for name in sorted(options) if f"`{name}" not in reference] == []
    assert [path[0] for path in commands(app) if f"liberate {path[0]}" not in reference] == []


def _command(path: tuple[str, ...]) -> click.Command:
    command: click.Command = app
    for name in path:
        assert isinstance(command, click.Group)
        command = command.commands[name]
    return command
