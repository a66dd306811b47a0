"""`validate`, `checkpoint`, `slot`, `schema`, `demo`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

import liberator.demo

from .conftest import URL, Build, Liberate


def json_lines(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]


def test_validate_names_the_connectors_of_good_files(liberate: Liberate, shop: Path, two: Path) -> None:
    result = liberate("validate", shop, two)
    assert (result.code, result.err) == (0, "")
    assert result.out.split() == [
        *("connector", "file", "valid"),
        *("shop", str(shop), "yes", "one", str(two), "yes", "two", str(two), "yes"),
    ]


def test_validate_needs_no_live_system(
    liberate: Liberate, shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "liberator.build", None)
    assert liberate("validate", shop).code == 0


def test_validate_tells_every_fault_of_every_file(liberate: Liberate, tmp_path: Path, shop: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("name: shop\nsource: {url: '${GONE}', log: {slot: My-Slot}}\npublsh: {}\n")
    result = liberate("validate", bad, shop, tmp_path / "missing.yaml")
    assert (result.code, result.out) == (2, "")
    codes = ["config.env", "config.slot_name", "config.unknown_key", "config.file"]
    assert [line.split("]")[0] for line in result.err.splitlines() if line.startswith("error")] == [
        f"error [{code}" for code in codes
    ]


def test_validate_finds_two_connectors_of_one_name(liberate: Liberate, tmp_path: Path, shop: Path) -> None:
    copy = tmp_path / "copy.yaml"
    copy.write_text(shop.read_text())
    result = liberate("validate", shop, copy)
    assert result.code == 2
    assert "error [config.same_name]: the connector shop is used twice" in result.err


def test_validate_lists_as_json(liberate: Liberate, tmp_path: Path, shop: Path) -> None:
    assert json_lines(liberate("validate", shop, "--json").out) == [
        {"connector": "shop", "file": str(shop), "valid": True}
    ]
    bad = tmp_path / "bad.yaml"
    bad.write_text("name: shop\n")
    result = liberate("validate", bad, "--json")
    assert (result.code, result.err) == (2, "")
    assert json_lines(result.out) == [
        {
            "code": "config.missing",
            "what": "source is missing",
            "where": f"{bad}:1: source",
            "fix": "add `source: {url: postgresql://USER@HOST/DATABASE}`",
        }
    ]


def test_validate_applies_the_stage(liberate: Liberate, shop: Path) -> None:
    assert "test.shop" in liberate("validate", shop, "--stage", "test").out


@pytest.mark.parametrize(
    ("command", "function"),
    [
        (["checkpoint", "show"], "checkpoint_show"),
        (["checkpoint", "adopt"], "checkpoint_adopt"),
        (["checkpoint", "reset"], "checkpoint_reset"),
        (["slot", "list"], "slot_list"),
        (["slot", "create"], "slot_create"),
        (["slot", "drop"], "slot_drop"),
        (["schema", "derive"], "derive_schemas"),
        (["schema", "check"], "check_schemas"),
        (["schema", "diff"], "diff_schemas"),
    ],
)
def test_a_command_is_about_a_file_or_about_options(
    liberate: Liberate, build: Build, shop: Path, command: list[str], function: str
) -> None:
    for target in ([shop], ["--source", URL, "--name", "shop"], [shop, "--name", "shop"]):
        assert liberate(*command, *target).code == 0
        assert build.calls[-1][0] == function
        assert build.config.name == "shop"


@pytest.mark.parametrize(
    "command", [["checkpoint", "show"], ["slot", "list"], ["schema", "derive"], ["status"]]
)
def test_a_file_and_options_do_not_mix(
    liberate: Liberate, build: Build, shop: Path, command: list[str]
) -> None:
    result = liberate(*command, shop, "--source", URL, "--slot", "x")
    assert result.code == 2
    assert "--source, --slot can't be given together with a file" in result.err


def test_variables_do_not_get_into_the_way_of_a_file(
    liberate: Liberate, build: Build, shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIBERATE_SOURCE", "postgresql://other")
    monkeypatch.setenv("LIBERATE_NAME", "other")
    assert liberate("slot", "list", shop).code == 0
    assert (build.config.name, build.config.source.url) == ("shop", URL)


@pytest.mark.parametrize(
    "command", [["checkpoint", "adopt"], ["checkpoint", "reset"], ["slot", "drop"], ["slot", "create"]]
)
def test_what_changes_something_is_about_one_connector(
    liberate: Liberate, build: Build, two: Path, command: list[str]
) -> None:
    result = liberate(*command, two)
    assert result.code == 2
    assert "choose one with --name" in result.err
    assert build.calls == []
    assert liberate(*command, two, "--name", "two").code == 0
    assert build.config.name == "two"


def test_a_name_that_is_not_in_the_file_is_refused(liberate: Liberate, build: Build, two: Path) -> None:
    result = liberate("slot", "drop", two, "--name", "three")
    assert result.code == 2
    assert "there is no connector three here; there is one, two" in result.err


def test_a_name_is_found_with_and_without_its_stage(liberate: Liberate, build: Build, two: Path) -> None:
    for name in ("two", "test.two"):
        assert liberate("slot", "drop", two, "--stage", "test", "--name", name).code == 0
        assert build.config.name == "test.two"


@pytest.mark.parametrize(
    "command",
    [["checkpoint", "show"], ["checkpoint", "reset"], ["slot", "create"], ["slot", "drop"], ["status"]],
)
def test_what_is_kept_is_found_by_a_name_only(liberate: Liberate, build: Build, command: list[str]) -> None:
    result = liberate(*command, "--source", URL)
    assert result.code == 2
    assert "which connector? Name it with --name" in result.err
    assert build.calls == []


def test_a_slot_can_be_dropped_by_its_own_name(liberate: Liberate, build: Build) -> None:
    assert liberate("slot", "drop", "--source", URL, "--slot", "left_over").code == 0
    assert build.config.source.log.slot == "left_over"


def test_a_checkpoint_is_shown_without_knowing_the_database(
    liberate: Liberate, build: Build, tmp_path: Path
) -> None:
    assert liberate("checkpoint", "show", "--name", "shop").code == 0
    assert build.config.checkpoint.url == f"file:{tmp_path}/.liberator/shop.db"


ROWS = [{"slot": "shop", "active": True, "retained": 5}, {"slot": "old", "active": False, "retained": None}]


def test_a_listing_is_a_table_for_people(liberate: Liberate, build: Build) -> None:
    build.answers["slot_list"] = ROWS
    result = liberate("slot", "list", "--source", URL)
    assert result.out.splitlines() == [
        "slot  active  retained",
        "shop  yes     5",
        "old   no      -",
    ]


def test_a_listing_is_json_lines_for_programs(liberate: Liberate, build: Build) -> None:
    build.answers["slot_list"] = iter(ROWS)
    result = liberate("slot", "list", "--source", URL, "--json")
    assert json_lines(result.out) == ROWS


def test_an_empty_listing_leaves_standard_output_empty(liberate: Liberate, build: Build) -> None:
    result = liberate("slot", "list", "--source", URL)
    assert (result.out, result.err) == ("", "there is no logical slot\n")
    assert liberate("slot", "list", "--source", URL, "--json").out == ""


def test_a_listing_shows_no_secret(liberate: Liberate, build: Build) -> None:
    build.answers["slot_list"] = [{"slot": "x", "why": f"{URL} hunter2"}]
    for arguments in ([], ["--json"]):
        assert "hunter2" not in liberate("slot", "list", "--source", URL, *arguments).out


def test_a_file_of_several_connectors_is_listed_whole(liberate: Liberate, build: Build, two: Path) -> None:
    liberate("checkpoint", "show", two)
    assert [call[1][0].name for call in build.calls] == ["one", "two"]


def test_scripts_are_not_asked(
    liberate: Liberate, build: Build, shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = liberate("checkpoint", "reset", shop)
    assert (result.code, result.out) == (0, "")
    assert result.err == "shop will start anew\n"


class Terminal:
    """A person at the keyboard."""

    def __init__(self, answer: str) -> None:
        self._answer = answer

    def isatty(self) -> bool:
        return True

    def readline(self, *_: int) -> str:
        return f"{self._answer}\n"

    def fileno(self) -> int:
        raise OSError


@pytest.mark.parametrize(
    ("answer", "arguments", "code", "calls"), [("n", [], 130, 0), ("y", [], 0, 1), ("n", ["--yes"], 0, 1)]
)
def test_a_person_is_asked_before_something_is_lost(
    liberate: Liberate,
    build: Build,
    shop: Path,
    monkeypatch: pytest.MonkeyPatch,
    answer: str,
    arguments: list[str],
    code: int,
    calls: int,
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    result = liberate("checkpoint", "reset", shop, *arguments)
    assert (result.code, len(build.calls)) == (code, calls)
    assert ("Forget the position of shop" in result.err) is (not arguments)


@pytest.mark.parametrize("arguments", [[], ["--publish", "kafka://b:9092"]])
def test_the_demo_is_told_where_to_publish(
    liberate: Liberate, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    told: list[str | None] = []

    def demo(publish: str | None) -> int:
        told.append(publish)
        return 4

    monkeypatch.setattr(liberator.demo, "main", demo, raising=False)
    assert liberate("demo", *arguments).code == 4
    assert told == [arguments[1] if arguments else None]
