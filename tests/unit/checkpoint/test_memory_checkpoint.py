"""The in-memory twin passes the suite that the real checkpoints pass."""

from __future__ import annotations

import pytest

from liberator.testing.checkpoint import MemoryCheckpoint, MemoryStore
from liberator.testing.conformance.checkpoint import CheckpointConformance, Store


class Memory(Store):
    def __init__(self) -> None:
        self.store = MemoryStore()

    def open(self, name: str = "shop") -> MemoryCheckpoint:
        return MemoryCheckpoint(name, self.store)

    def damage(self, name: str, partition: str) -> None:
        record = self.store.records[name][partition]
        self.store.records[name][partition] = record.replace(b'"value":"', b'"value":"AAAA')

    def come_from_the_future(self, name: str, partition: str) -> None:
        record = self.store.records[name][partition]
        self.store.records[name][partition] = record.replace(b'"format":1', b'"format":2')


class TestMemoryCheckpoint(CheckpointConformance):
    @pytest.fixture
    def store(self) -> Memory:
        return Memory()


def test_a_checkpoint_without_a_store_has_one_of_its_own() -> None:
    first, second = MemoryCheckpoint("shop"), MemoryCheckpoint("shop")
    first.save({"slot": b"1"}, first.acquire())
    assert second.load() == {}
