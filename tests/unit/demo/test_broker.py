"""Which broker the demo takes."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

from liberator.demo.broker import Cluster, Local, Machine, choose
from liberator.errors import ConfigError, LiberatorError
from liberator.locallog import LocalLog


@pytest.fixture
def said() -> list[str]:
    """What the demo told people."""
    return []


@pytest.fixture
def bare(tmp_path: Path, said: list[str]) -> Machine:
    """A machine without Java, Maven, Docker and jars."""
    environ = {"PATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path), "DOCKER_HOST": f"unix://{tmp_path}/no"}
    return Machine(tmp_path, said.append, lambda seconds: None, environ)


def test_takes_a_local_log_when_no_kafka_is_at_hand(bare: Machine, tmp_path: Path) -> None:
    broker = choose(None, bare)
    assert broker.url == f"local:{tmp_path}/events"
    assert not broker.shared


def test_says_what_is_missing_for_a_kafka_and_how_to_give_one(bare: Machine, said: list[str]) -> None:
    choose(None, bare)
    told = "\n".join(said)
    assert "no Java" in told
    assert "no Docker" in told
    assert "no Maven" in told
    assert "--publish kafka://HOST:PORT" in told


def test_takes_a_local_log_when_the_jars_can_not_be_fetched_and_says_why(
    bare: Machine, said: list[str]
) -> None:
    for program, answer in (("java", "exit 0"), ("mvn", "echo the repository is on fire; exit 1")):
        script = bare.folder / program
        script.write_text(f"#!/bin/sh\n{answer}\n")
        script.chmod(0o755)
    assert isinstance(choose(None, bare), Local)
    assert "on fire" in said[-2]


def test_ends_a_download_that_takes_too_long_with_all_it_has_started(
    bare: Machine, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not a file of the half made download stays."""
    monkeypatch.setattr("liberator.demo.broker.PATIENCE", 2.0)
    for program, answer in (("java", "exit 0"), ("mvn", f"touch {bare.folder}/began; exec sleep 100")):
        script = bare.folder / program
        script.write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\n{answer}\n")
        script.chmod(0o755)
    assert isinstance(choose(None, bare), Local)
    assert (bare.folder / "began").exists()
    assert "not fetched within 2 s" in said[-2]
    assert list((bare.folder / "liberator").iterdir()) == []


def test_writes_the_file_that_was_asked_for(bare: Machine, tmp_path: Path) -> None:
    assert choose(f"file:{tmp_path}/mine.ndjson", bare).url == f"file:{tmp_path}/mine.ndjson"


def test_writes_the_local_log_that_was_asked_for(bare: Machine, tmp_path: Path) -> None:
    assert choose(f"local:{tmp_path}", bare).url == f"local:{tmp_path}"


def test_refuses_a_file_that_holds_other_events(bare: Machine, tmp_path: Path) -> None:
    path = tmp_path / "mine.ndjson"
    path.write_text("{}\n")
    with pytest.raises(ConfigError) as refused:
        choose(f"file:{path}", bare)
    assert refused.value.where == str(path)


def test_refuses_a_local_log_that_holds_other_events(bare: Machine, tmp_path: Path) -> None:
    LocalLog(tmp_path).close()
    with pytest.raises(ConfigError) as refused:
        choose(f"local:{tmp_path}", bare)
    assert refused.value.where == str(tmp_path)


@pytest.mark.parametrize("publish", ["-", "local:", "http://localhost", "", "file:"])
def test_refuses_what_it_can_not_read_back(bare: Machine, publish: str) -> None:
    with pytest.raises(ConfigError) as refused:
        choose(publish, bare)
    assert refused.value.fix is not None


def test_refuses_a_cluster_that_does_not_answer(bare: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("liberator.demo.broker._ANSWER_WITHIN", 1.0)
    with pytest.raises(LiberatorError) as refused:
        choose("kafka://127.0.0.1:9", bare)
    assert refused.value.code.startswith("publish.")


@pytest.mark.filterwarnings("ignore:Exception ignored in. <socket")
def test_says_which_topics_are_left_behind_when_they_can_not_be_deleted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("liberator.demo.broker._ANSWER_WITHIN", 0.5)
    with pytest.raises(LiberatorError) as failed:
        Cluster("kafka://127.0.0.1:9", "a cluster that is gone").remove(
            ["shop-1.public.orders"], ["shop-1-shipping"]
        )
    assert failed.value.code == "demo.left_behind"
    assert "shop-1.public.orders, shop-1-shipping" in (failed.value.fix or "")
    del failed
    gc.collect()  # kafka-python forgets to close the socket of a broker that it could not reach
