"""`liberate dlq redrive`, killed with -9 again and again: nothing is lost, nothing is doubled, and keys keep their order."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from liberator.testing.servers import Kafka
from tests.integration.deadletter.stands import KafkaStand, LocalStand, Stand

SOAK = os.environ.get("LIBERATOR_SOAK") == "1"
LETTERS = 20_000 if SOAK else 5_000
KEYS = 50
KILLS = 60 if SOAK else 4
"""Besides the first, which comes when a part is done."""


@pytest.fixture(params=["local", "confluent", "kafka-python"])
def stand(
    request: pytest.FixtureRequest, tmp_path: Path, unique: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Stand]:
    """Topics full of letters, in each technology in turn."""
    made: Stand
    if request.param == "local":
        made = LocalStand(tmp_path / "log", unique)
    else:
        if request.param == "kafka-python":
            (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['confluent_kafka'] = None\n")
            path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
            monkeypatch.setenv("PYTHONPATH", path)
        kafka: Kafka = request.getfixturevalue("kafka")
        made = KafkaStand(kafka.bootstrap, "confluent", unique)
    yield made
    made.close()


def test_a_redrive_that_is_killed_loses_and_doubles_nothing(stand: Stand, tmp_path: Path) -> None:
    stand.letters((f"7/shop/0/{number + 1:X}/0" for number in range(LETTERS)), KEYS)
    command = _command(stand, tmp_path)
    chance = random.Random(7)
    began = time.monotonic()
    first = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert first.stdout is not None
    assert first.stdout.readline(), "it ended without a word"
    first_round = time.monotonic() - began
    _kill(first)
    for _ in range(KILLS):
        running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(first_round * chance.uniform(0.3, 1.2))
        _kill(running)
    ended = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert ended.returncode == 0, ended.stderr
    found = stand.records(stand.topic)
    numbers: dict[bytes | None, list[int]] = {}
    for record in found:
        id = dict(record.headers)["id"] or b""
        numbers.setdefault(record.key, []).append(int(id.split(b"/")[3], 16))
    counts = Counter(number for of_key in numbers.values() for number in of_key)
    assert [number for number, count in counts.items() if count > 1] == []
    assert len(counts) == LETTERS
    assert all(of_key == sorted(of_key) for of_key in numbers.values())
    assert stand.pending() == []


def _kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _command(stand: Stand, folder: Path) -> list[str]:
    if isinstance(stand, LocalStand):
        url = f"local:{stand.folder}"
    else:
        assert isinstance(stand, KafkaStand)
        url = f"kafka://{stand.bootstrap}"
    file = folder / "shop.yaml"
    file.write_text(
        "name: shop\nsource: {url: 'postgresql://127.0.0.1:9/nowhere'}\n"
        f"publish: {{url: '{url}', dead_letter_topic: '{stand.dead}', create_topics: {{partitions: 1}}}}\n"
    )
    return [sys.executable, "-u", "-m", "liberator", "dlq", "redrive", str(file), "--all", "--yes"]
