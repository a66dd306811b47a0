"""The cache: what was answered once is known again, and a broken cache is an empty one."""

from __future__ import annotations

from pathlib import Path

from liberator.contract.registry.cache import SchemaCache, fingerprint

SCHEMA = {"type": "object", "title": "Ü☃"}


def test_another_process_finds_what_was_kept(tmp_path: Path) -> None:
    SchemaCache(tmp_path / "new", "http://r").keep_id("orders-value", SCHEMA, 7)
    cache = SchemaCache(tmp_path / "new", "http://r")
    assert cache.id("orders-value", dict(reversed(SCHEMA.items()))) == 7
    assert cache.schema(7) == SCHEMA


def test_nothing_is_known_of_another_registry_subject_or_schema(tmp_path: Path) -> None:
    SchemaCache(tmp_path, "http://r").keep_id("orders-value", SCHEMA, 7)
    assert SchemaCache(tmp_path, "http://other").schema(7) is None
    cache = SchemaCache(tmp_path, "http://r")
    assert cache.id("orders-key", SCHEMA) is None
    assert cache.id("orders-value", {}) is None
    assert cache.schema(8) is None


def test_a_damaged_file_is_as_good_as_none(tmp_path: Path) -> None:
    cache = SchemaCache(tmp_path, "http://r")
    cache.keep_id("orders-value", SCHEMA, 7)
    for path in tmp_path.rglob("*.json"):
        path.write_text('{"half')
    assert cache.schema(7) is None
    assert cache.id("orders-value", SCHEMA) is None
    cache.keep_schema(7, SCHEMA)
    assert cache.schema(7) == SCHEMA


def test_a_folder_that_cannot_be_written_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = SchemaCache(tmp_path / "file", "http://r")
    cache.keep_schema(7, SCHEMA)
    assert cache.schema(7) is None


def test_no_drafts_are_left_behind(tmp_path: Path) -> None:
    SchemaCache(tmp_path, "http://r").keep_id("orders-value", SCHEMA, 7)
    assert {path.suffix for path in tmp_path.rglob("*") if path.is_file()} == {".json"}


def test_a_fingerprint_does_not_depend_on_the_order() -> None:
    assert (
        fingerprint({"a": 1, "b": [1]}) == fingerprint({"b": [1], "a": 1}) != fingerprint({"a": 1, "b": [2]})
    )
