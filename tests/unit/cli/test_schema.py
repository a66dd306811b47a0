"""`schema derive`, `check`, `diff`: what they print and how they end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from liberator.build.contracts import Derived
from liberator.contract.diff import Difference

from .conftest import Build, Liberate

TOPIC = "shop.public.orders"
ADDED = Difference("/note", "added", "", None, {"type": "string"})


def json_lines(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]


def derived(folder: Path, version: int, *, written: bool, due: tuple[Difference, ...] = ()) -> Derived:
    return Derived(TOPIC, version, folder / f"{TOPIC}/{version}.json", written, due)


def test_derive_prints_the_files_that_hold(liberate: Liberate, build: Build, shop: Path) -> None:
    build.answers["derive_schemas"] = [derived(shop.parent, 1, written=True)]
    result = liberate("schema", "derive", shop)
    assert (result.code, result.out, result.err) == (0, f"{shop.parent}/{TOPIC}/1.json\n", "")
    assert build.calls[0][1][1] == shop.parent / "schemas"
    assert build.calls[0][2] == {"write": False, "force": False}
    assert json_lines(liberate("schema", "derive", shop, "--json").out) == [
        {
            "connector": "shop",
            "topic": TOPIC,
            "version": 1,
            "path": f"{shop.parent}/{TOPIC}/1.json",
            "written": True,
            "due": False,
        }
    ]


def test_derive_says_that_a_version_is_due(liberate: Liberate, build: Build, shop: Path) -> None:
    build.answers["derive_schemas"] = [derived(shop.parent, 1, written=False, due=(ADDED,))]
    result = liberate("schema", "derive", shop)
    assert result.code == 0
    assert result.err.splitlines() == [
        f"{TOPIC}: the table has changed; --write adds version 2:",
        "  + /note: added, string",
    ]


def test_derive_writes_and_forces_on_request(liberate: Liberate, build: Build, shop: Path) -> None:
    assert liberate("schema", "derive", shop, "--write", "--force").code == 0
    assert build.calls[0][2] == {"write": True, "force": True}


@pytest.mark.parametrize("command", ["derive", "check", "diff"])
def test_the_folder_can_be_given(liberate: Liberate, build: Build, shop: Path, command: str) -> None:
    liberate("schema", command, shop, "--dir", "elsewhere")
    assert build.calls[0][1][1] == Path("elsewhere")


def test_check_ends_with_0_where_nothing_breaks(liberate: Liberate, build: Build, shop: Path) -> None:
    result = liberate("schema", "check", shop)
    assert (result.code, result.out, result.err) == (0, "", "every table keeps its stored contract\n")


def test_check_ends_with_4_and_names_field_rule_and_consumers(
    liberate: Liberate, build: Build, shop: Path
) -> None:
    row = {
        "topic": TOPIC,
        "field": "/status",
        "rule": "required",
        "consumers": ("shipping", "billing"),
        "what": "x",
    }
    build.answers["check_schemas"] = [row]
    result = liberate("schema", "check", shop)
    assert result.code == 4
    assert result.out.splitlines()[1].split("  ") == [TOPIC, "/status", "required", "shipping, billing", "x"]
    assert json_lines(liberate("schema", "check", shop, "--json").out) == [
        {**row, "consumers": ["shipping", "billing"]}
    ]


def test_diff_ends_with_0_where_nothing_differs(liberate: Liberate, build: Build, shop: Path) -> None:
    result = liberate("schema", "diff", shop)
    assert (result.code, result.out) == (0, "")
    assert build.calls[0][1][2:] == (None, None)


def test_diff_ends_with_4_and_tells_what_differs(liberate: Liberate, build: Build, shop: Path) -> None:
    sides = {"connector": "shop", "topic": TOPIC, "from": 1, "to": "table"}
    changed = Difference("/id", "changed", "minimum", 1, 2)
    build.answers["diff_schemas"] = [(sides, ADDED), (sides, changed)]
    result = liberate("schema", "diff", shop)
    assert result.code == 4
    assert result.out.splitlines() == [
        f"{TOPIC}: version 1 -> table",
        "  + /note: added, string",
        "  ~ /id: minimum 1 -> 2",
    ]
    assert json_lines(liberate("schema", "diff", shop, "--json").out)[1] == {
        **sides,
        "path": "/id",
        "change": "changed",
        "keyword": "minimum",
        "old": 1,
        "new": 2,
    }


def test_diff_compares_two_versions(liberate: Liberate, build: Build, shop: Path) -> None:
    liberate("schema", "diff", shop, "--from", "1", "--to", "2")
    assert build.calls[0][1][2:] == (1, 2)
    assert liberate("schema", "diff", shop, "--from", "0").code == 2
