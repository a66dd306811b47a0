"""The store: the highest version holds, whole or not at all, and nothing outside its folder is touched."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from liberator.contract.store import ContractStore
from liberator.errors import ContractError

FIRST: dict[str, Any] = {"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]}
SECOND: dict[str, Any] = {**FIRST, "title": "ünï☃"}


@pytest.fixture
def store(tmp_path: Path) -> ContractStore:
    return ContractStore(tmp_path / "schemas")


def put(tmp_path: Path, name: str, content: str | bytes) -> Path:
    path = tmp_path / "schemas" / "orders" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def refusal(store: ContractStore, topic: str = "orders") -> ContractError:
    with pytest.raises(ContractError) as caught:
        store.load(topic)
    assert caught.value.fix
    return caught.value


def test_a_topic_without_a_contract_has_none(store: ContractStore, tmp_path: Path) -> None:
    assert store.load("orders") is None
    (tmp_path / "schemas" / "orders").mkdir(parents=True)
    assert store.load("orders") is None


def test_the_highest_version_holds(store: ContractStore, tmp_path: Path) -> None:
    for version in (9, 10, 2):
        put(tmp_path, f"{version}.json", json.dumps({"title": str(version)}))
    assert store.load("orders") == (10, {"title": "10"})


def test_writing_makes_the_next_version(store: ContractStore, tmp_path: Path) -> None:
    assert store.write("orders", FIRST) == tmp_path / "schemas" / "orders" / "1.json"
    assert store.write("orders", SECOND) == tmp_path / "schemas" / "orders" / "2.json"
    assert store.load("orders") == (2, SECOND)
    assert "ünï☃" in (tmp_path / "schemas" / "orders" / "2.json").read_text("utf-8")


def test_writing_what_already_holds_makes_no_new_version(store: ContractStore) -> None:
    first = store.write("orders", FIRST)
    assert store.write("orders", dict(reversed(FIRST.items()))) == first
    store.write("orders", SECOND)
    assert store.write("orders", FIRST).name == "3.json"


def test_one_and_true_are_different_contracts(store: ContractStore) -> None:
    store.write("orders", {"const": 1})
    assert store.write("orders", {"const": True}).name == "2.json"


def test_refuses_to_write_a_contract_that_could_not_be_loaded(store: ContractStore) -> None:
    with pytest.raises(ContractError, match="leads out"):
        store.write("orders", {"$ref": "https://example.com/"})
    assert store.load("orders") is None


def test_concurrent_writers_each_get_a_version_of_their_own(store: ContractStore, tmp_path: Path) -> None:
    start = threading.Barrier(6)

    def write(number: int) -> None:
        start.wait()
        store.write("orders", {"title": f"contract {number}"})

    threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    files = sorted((tmp_path / "schemas" / "orders").iterdir())
    assert [path.name for path in files] == [f"{n}.json" for n in range(1, 7)]
    assert {json.loads(path.read_text())["title"] for path in files} == {f"contract {n}" for n in range(6)}


@pytest.mark.parametrize(
    ("text", "place", "reason"),
    [
        ('{\n  "type": object\n}', "line 2, column 11", "JSON"),
        ('{"type": "object"', "line 1, column 18", "JSON"),
        ("", "line 1, column 1", "JSON"),
        (b'{"title": "\xff"}', "1.json", "utf-8"),
        ("[]", "1.json", "is a JSON object"),
        ('{"required": ["a"], "required": ["b"]}', "1.json", "'required' stands twice"),
        ("[" * 100_000, "1.json", "recursion"),
    ],
)
def test_says_where_a_file_is_no_contract(
    store: ContractStore, tmp_path: Path, text: str | bytes, place: str, reason: str
) -> None:
    path = put(tmp_path, "1.json", text)
    error = refusal(store)
    assert error.code == "contract.invalid_json"
    assert str(path) in (error.where or "")
    assert place in (error.where or "")
    assert reason in error.what


@pytest.mark.parametrize(
    ("schema", "code"),
    [
        ({"properties": {"a": {"type": "text"}}}, "contract.invalid_schema"),
        ({"properties": {"a": {"$ref": "https://example.com/a"}}}, "contract.remote_ref"),
        ({"properties": {"a": {"pattern": "(?=a)"}}}, "contract.pattern_not_portable"),
    ],
)
def test_refuses_an_unusable_contract_with_file_and_place(
    store: ContractStore, tmp_path: Path, schema: dict[str, Any], code: str
) -> None:
    path = put(tmp_path, "1.json", json.dumps(schema))
    error = refusal(store)
    assert error.code == code
    assert f"{path}, at /properties/a" in (error.where or "")


def test_reads_a_file_that_begins_with_a_byte_order_mark(store: ContractStore, tmp_path: Path) -> None:
    put(tmp_path, "1.json", b"\xef\xbb\xbf" + json.dumps(FIRST).encode())
    assert store.load("orders") == (1, FIRST)


@pytest.mark.parametrize(
    "name", ["01.json", "v2.json", "1.0.json", "0.json", "-1.json", "latest.json", "².json"]
)
def test_refuses_a_file_that_looks_like_a_version_but_is_none(
    store: ContractStore, tmp_path: Path, name: str
) -> None:
    put(tmp_path, "1.json", json.dumps(FIRST))
    put(tmp_path, name, json.dumps(SECOND))
    assert refusal(store).code == "contract.bad_version"


@pytest.mark.parametrize("name", ["README.md", ".2.json.swp", ".draft.json", "1.json~"])
def test_other_files_may_lie_beside(store: ContractStore, tmp_path: Path, name: str) -> None:
    put(tmp_path, "1.json", json.dumps(FIRST))
    put(tmp_path, name, "anything")
    assert store.load("orders") == (1, FIRST)


@pytest.mark.parametrize(
    "topic", ["", ".", "..", "../orders", "a/b", "/etc", "a\0b", "a b", "x" * 250, "orders\n", "ü"]
)
def test_refuses_names_that_are_no_topics(store: ContractStore, topic: str) -> None:
    assert refusal(store, topic).code == "contract.bad_topic"
    with pytest.raises(ContractError, match="not the name of a topic"):
        store.write(topic, FIRST)


def test_refuses_links_that_lead_out_of_the_folder(store: ContractStore, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "1.json").write_text(json.dumps(FIRST))
    (tmp_path / "schemas").mkdir()
    (tmp_path / "schemas" / "orders").symlink_to(outside)
    assert refusal(store).code == "contract.outside"
    with pytest.raises(ContractError, match="leads out"):
        store.write("orders", SECOND)
    (tmp_path / "schemas" / "payments").mkdir()
    (tmp_path / "schemas" / "payments" / "1.json").symlink_to(outside / "1.json")
    assert refusal(store, "payments").code == "contract.outside"
    assert [path.name for path in outside.iterdir()] == ["1.json"]


def test_follows_links_inside_the_folder(store: ContractStore, tmp_path: Path) -> None:
    data = tmp_path / "schemas" / "..data" / "orders"
    data.mkdir(parents=True)
    (data / "1.json").write_text(json.dumps(FIRST))
    (tmp_path / "schemas" / "orders").mkdir()
    (tmp_path / "schemas" / "orders" / "1.json").symlink_to(data / "1.json")
    assert store.load("orders") == (1, FIRST)


def test_the_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    ContractStore(tmp_path / "link").write("orders", FIRST)
    assert ContractStore(tmp_path / "real").load("orders") == (1, FIRST)


def test_says_when_a_file_stands_where_a_folder_should_be(store: ContractStore, tmp_path: Path) -> None:
    (tmp_path / "schemas").write_text("")
    assert refusal(store).code == "contract.file"
    with pytest.raises(ContractError, match="cannot use the file"):
        store.write("orders", FIRST)


def test_leaves_no_drafts_behind(store: ContractStore, tmp_path: Path) -> None:
    store.write("orders", FIRST)
    assert [path.name for path in (tmp_path / "schemas" / "orders").iterdir()] == ["1.json"]
    assert (tmp_path / "schemas" / "orders" / "1.json").stat().st_mode & 0o777 == 0o644


def test_all_versions_are_there_the_oldest_first(store: ContractStore, tmp_path: Path) -> None:
    assert store.versions("orders") == {}
    for number in (10, 9, 2):
        path = put(tmp_path, f"{number}.json", json.dumps({"title": str(number)}))
        assert store.path("orders", number) == path
    assert list(store.versions("orders").items()) == [
        (number, {"title": str(number)}) for number in (2, 9, 10)
    ]


def test_a_version_that_cannot_be_read_is_not_left_out(store: ContractStore, tmp_path: Path) -> None:
    put(tmp_path, "1.json", "{")
    put(tmp_path, "2.json", "{}")
    with pytest.raises(ContractError) as caught:
        store.versions("orders")
    assert caught.value.code == "contract.invalid_json"


def test_topics_are_those_that_have_a_contract(store: ContractStore, tmp_path: Path) -> None:
    assert store.topics() == []
    put(tmp_path, "1.json", "{}")
    (tmp_path / "schemas/without").mkdir()
    (tmp_path / "schemas/outbox.event.Order/Placed").mkdir(parents=True)
    (tmp_path / "schemas/no topic").mkdir()
    (tmp_path / "schemas/connector.schema.json").write_text("{}")
    assert store.topics() == ["orders"]
