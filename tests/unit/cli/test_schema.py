"""`schema derive`, `check`, `diff`: what they print and how they end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from liberator.build.contracts import Derived
from liberator.contract.diff import Difference
from liberator.contract.registry.http import RegistrySettings
from liberator.errors import ContractError

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


def test_register_tells_subjects_and_ids(liberate: Liberate, build: Build, shop: Path) -> None:
    row = {"connector": "shop", "topic": TOPIC, "part": "value", "subject": f"{TOPIC}-value", "id": 7}
    build.answers["register_schemas"] = [row]
    result = liberate("schema", "register", shop, "--registry", "http://r", "--json")
    assert (result.code, json_lines(result.out)) == (0, [row])
    settings, strategy = build.calls[0][1][2:]
    assert (settings, strategy) == (RegistrySettings("http://r"), None), "what connectors do by default"


def test_register_tells_what_it_registered_before_something_was_refused(
    liberate: Liberate, build: Build, shop: Path
) -> None:
    def registered() -> Iterator[dict[str, object]]:
        yield {"subject": f"{TOPIC}-value", "id": 7}
        raise ContractError("refused", code="registry.incompatible", where="http://r, subject other-value")

    build.answers["register_schemas"] = registered()
    result = liberate("schema", "register", shop, "--registry", "http://r", "--json")
    assert (result.code, json_lines(result.out)) == (1, [{"subject": f"{TOPIC}-value", "id": 7}])
    assert "subject other-value" in result.err


def test_register_takes_secrets_from_variables_and_never_shows_them(
    liberate: Liberate, build: Build, shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIBERATE_REGISTRY", "https://me:hunter2@r")
    monkeypatch.setenv("LIBERATE_REGISTRY_TOKEN", "t0ken-t0ken")
    build.answers["register_schemas"] = [{"said": "hunter2 and t0ken-t0ken"}]
    options = [f"--registry-{name}={name}.pem" for name in ("ca", "certificate", "key")]
    result = liberate("schema", "register", shop, *options, "--subjects", "record_name")
    assert build.calls[0][1][2:] == (
        RegistrySettings(
            "https://me:hunter2@r", "t0ken-t0ken", Path("ca.pem"), Path("certificate.pem"), Path("key.pem")
        ),
        "record_name",
    )
    assert (result.code, result.out.split()) == (0, ["said", "***", "and", "***"])


def test_register_needs_a_registry(liberate: Liberate, build: Build, shop: Path) -> None:
    result = liberate("schema", "register", shop)
    assert result.code == 2
    assert "--registry" in result.err


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
