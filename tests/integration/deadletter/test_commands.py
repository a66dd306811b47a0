"""`liberate dlq` on a local log: what it prints, what it leaves, its exit codes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from liberator.cli import dlq, main
from tests.integration.deadletter.stands import Ended, LocalStand

Call = Callable[..., Ended]


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[LocalStand]:
    made = LocalStand(tmp_path / "log", "shop")
    yield made
    made.close()


@pytest.fixture
def call(stand: LocalStand, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Call:
    """`call("list", "--json")`"""
    file = tmp_path / "shop.yaml"
    connectors = [
        f"name: {name}\nsource: {{url: 'postgresql://localhost/{name}'}}\n"
        f"publish: {{url: 'local:log', dead_letter_topic: '{stand.dead}'}}\n"
        for name in ("shop", "other")
    ]
    file.write_text("---\n".join(connectors))

    def call(command: str, *words: str) -> Ended:
        code = main(["dlq", command, str(file), *words])
        return Ended(code, *capsys.readouterr())

    return call


def test_a_listing_ends_at_its_limit(stand: LocalStand, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    stand.letters(map(str, range(5)), 5)
    assert [row["id"] for row in call("list", "--limit", "2", "--json").rows] == ["0:0", "0:1"]
    assert len(call("list", "--json").rows) == 5
    monkeypatch.setattr(dlq, "_SHOWN", 3)
    shown = call("list")
    assert (len(shown.out.splitlines()), "more than 3" in shown.err) == (4, True)
    assert len(call("list", "--limit", "4").out.splitlines()) == 5


def test_without_letters_it_says_so(call: Call) -> None:
    assert call("list") == (0, "", "no dead letters\n")
    assert call("redrive", "--all", "--yes", "--name", "shop").code == 0


def test_what_changes_something_is_about_one_connector(stand: LocalStand, call: Call) -> None:
    stand.letter("a")
    stand.letter("b", connector="other")
    assert [row["connector"] for row in call("list", "--json").rows] == ["shop", "other"]
    refused = call("redrive", "--all")
    assert (refused.code, "choose one with --name" in refused.err) == (2, True)
    assert [row["id"] for row in call("redrive", "--all", "--name", "other", "--json").rows] == ["0:1"]


def test_variables_of_the_one_liner_hide_no_letters(
    stand: LocalStand, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand.letter("a")
    monkeypatch.setenv("LIBERATE_TOPIC", "{name}.{table}")
    monkeypatch.setenv("LIBERATE_NAME", "other")
    assert len(call("list", "--json").rows) == 1
    monkeypatch.setenv("LIBERATE_DLQ_TOPIC", "none")
    assert call("list", "--json").rows == []


def test_a_letter_that_is_not_there_is_an_error_after_the_others_are_done(
    stand: LocalStand, call: Call
) -> None:
    stand.letter("a")
    done = call("redrive", "0:0", "0:7", "--name", "shop", "--json")
    assert [row["outcome"] for row in done.rows] == ["redriven"]
    assert (done.code, "dead_letter.unknown" in done.err) == (1, True)
    assert stand.ids() == ["a"]


def test_a_dry_run_of_a_discard_leaves_everything(stand: LocalStand, call: Call) -> None:
    stand.letter("a")
    [row] = call("discard", "--all", "--name", "shop", "--reason", "r", "--dry-run", "--json").rows
    assert (row["outcome"], row["dry_run"]) == ("discarded", True)
    assert len(call("list", "--json").rows) == 1


def test_since_takes_durations_and_times(stand: LocalStand, call: Call) -> None:
    """The letter is of 2023-11-14T22:13:20Z."""
    stand.letter("a")
    assert len(call("list", "--since", "2023-11-14T22:13:20Z", "--json").rows) == 1
    assert len(call("list", "--since", "2023-11-14T22:13:21", "--json").rows) == 0
    assert len(call("list", "--since", "1h", "--json").rows) == 0
