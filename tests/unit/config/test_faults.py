"""Everything that can be wrong with a file: said at once, with place and remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from liberator.config import ConfigErrors, load

from .conftest import Faults, Write

SOURCE = "source: {url: postgresql://db/shop}\n"


def log(setting: str) -> str:
    return f"name: shop\nsource: {{url: postgresql://db/shop, log: {{{setting}}}}}\n"


def publish(setting: str) -> str:
    return f"name: shop\n{SOURCE}publish: {{{setting}}}\n"


@pytest.mark.parametrize(
    ("text", "code", "path"),
    [
        (SOURCE, "config.missing", ""),
        ("name: shop\n", "config.missing", ""),
        ("name: shop\nsource: {mode: log}\n", "config.missing", "source"),
        ("name: shop\nsource: {url: }\n", "config.missing", "source.url"),
        ("name: 5\n" + SOURCE, "config.type", "name"),
        ("name: my shop\n" + SOURCE, "config.name", "name"),
        ("name: ''\n" + SOURCE, "config.name", "name"),
        ("name: shop\nsource: here\n", "config.type", "source"),
        ("name: shop\nsource: {url: 5}\n", "config.type", "source.url"),
        ("name: shop\nsource: {url: shop}\n", "config.url", "source.url"),
        ("name: shop\nsource: {url: 'mysql://db/shop'}\n", "config.url", "source.url"),
        ("name: shop\nsource: {url: 'postgresql+psycopg://db/shop'}\n", "config.url", "source.url"),
        ("name: shop\nsource: {url: 'postgresql://me:p@ss@db/shop'}\n", "config.url", "source.url"),
        ("name: shop\nsource: {url: postgresql://db, mode: tail}\n", "config.value", "source.mode"),
        ("name: shop\nsource: {url: postgresql://db, tables: []}\n", "config.value", "source.tables"),
        (
            "name: shop\nsource: {url: postgresql://db, tables: [a.b.c]}\n",
            "config.table_pattern",
            "source.tables[0]",
        ),
        ("name: shop\nsource: {url: postgresql://db, tables: [a, 5]}\n", "config.type", "source.tables[1]"),
        ("name: shop\nsource: {url: postgresql://db, exclude: {a: b}}\n", "config.type", "source.exclude"),
        (log("slot: My-Slot"), "config.slot_name", "source.log.slot"),
        (log(f"slot: {'x' * 64}"), "config.slot_name", "source.log.slot"),
        (log("publication: ''"), "config.value", "source.log.publication"),
        (log(f"publication: [{'x' * 64}]"), "config.name", "source.log.publication[0]"),
        (log("publication_autocreate: yes"), "config.value", "source.log.publication_autocreate"),
        (log("publish_via_partition_root: maybe"), "config.type", "source.log.publish_via_partition_root"),
        (log("snapshot: 3"), "config.value", "source.log.snapshot"),
        (log("snapshot_workers: 0"), "config.value", "source.log.snapshot_workers"),
        (log("snapshot_workers: 65"), "config.value", "source.log.snapshot_workers"),
        (log("snapshot_workers: true"), "config.type", "source.log.snapshot_workers"),
        (log("snapshot_workers: 1.5"), "config.type", "source.log.snapshot_workers"),
        (log("snapshot_workers: many"), "config.type", "source.log.snapshot_workers"),
        (log("heartbeat: soon"), "config.duration", "source.log.heartbeat"),
        (log("heartbeat: -1"), "config.duration", "source.log.heartbeat"),
        (log("heartbeat: 0s"), "config.duration", "source.log.heartbeat"),
        (log("heartbeat: .inf"), "config.duration", "source.log.heartbeat"),
        (log("heartbeat: true"), "config.duration", "source.log.heartbeat"),
        (log("heartbeat: [1]"), "config.duration", "source.log.heartbeat"),
        (log("heartbeat_query: ''"), "config.value", "source.log.heartbeat_query"),
        (log("message_topic: '{table}'"), "config.topic", "source.log.message_topic"),
        (log("message_topic: 5"), "config.type", "source.log.message_topic"),
        ("name: shop\n" + SOURCE + "types: {json: yes}\n", "config.value", "types.json"),
        ("name: shop\n" + SOURCE + "schema: {dir: ''}\n", "config.path", "schema.dir"),
        ("name: shop\n" + SOURCE + "schema: {dir: 5}\n", "config.type", "schema.dir"),
        ("name: shop\n" + SOURCE + "schema: []\n", "config.type", "schema"),
        ("name: shop\n" + SOURCE + "format: {tombstones: 5}\n", "config.type", "format.tombstones"),
        (publish("url: http://localhost"), "config.url", "publish.url"),
        (publish("url: 'file:'"), "config.url", "publish.url"),
        (publish("url: file://host/path"), "config.url", "publish.url"),
        (publish("url: 'kafka://me:secret@b:9092'"), "config.url", "publish.url"),
        (publish("url: kafka://b:9092/topic"), "config.url", "publish.url"),
        (publish("url: 'kafka://'"), "config.url", "publish.url"),
        (publish("url: [kafka://b]"), "config.type", "publish.url"),
        (publish("topic: '{tabel}'"), "config.topic", "publish.topic"),
        (publish("topic: 'my topic'"), "config.topic", "publish.topic"),
        (publish("create_topics: {partitions: 0}"), "config.value", "publish.create_topics"),
        (publish("create_topics: {config: {a: [1]}}"), "config.type", "publish.create_topics.config.a"),
        (publish("key: {a.b.c: [id]}"), "config.table_pattern", 'publish.key["a.b.c"]'),
        (publish("key: {orders: []}"), "config.value", "publish.key.orders"),
        (publish("options: {a: {b: c}}"), "config.type", "publish.options.a"),
        (publish("options: [a]"), "config.type", "publish.options"),
        ("name: shop\n" + SOURCE + "checkpoint: {url: s3://b}\n", "config.url", "checkpoint.url"),
        ("name: shop\n" + SOURCE + "checkpoint: {url: kafka}\n", "config.checkpoint", "checkpoint.url"),
        ("name: shop\n" + SOURCE + "checkpoint: {url: local}\n", "config.checkpoint", "checkpoint.url"),
        (publish("url: 'local:'"), "config.url", "publish.url"),
        (publish("url: local://host/log"), "config.url", "publish.url"),
        ("name: shop\n" + SOURCE + "observe: {listen: 9464}\n", "config.listen", "observe.listen"),
        (
            "name: shop\n" + SOURCE + "observe: {listen: 'localhost:99999'}\n",
            "config.listen",
            "observe.listen",
        ),
        ("name: shop\n" + SOURCE + "observe: 9464\n", "config.type", "observe"),
        ("name: shop\n" + SOURCE + "limits: {memory: lots}\n", "config.size", "limits.memory"),
        ("name: shop\n" + SOURCE + "limits: {memory: 5kB}\n", "config.value", "limits.memory"),
        ("name: shop\n" + SOURCE + "limits: {memory: -5}\n", "config.size", "limits.memory"),
        ("name: shop\n" + SOURCE + "connector: pump\n", "config.value", "connector"),
        (publish("url: 'kafka://h', options: {acks: 1}"), "config.option", "publish.options"),
        (publish("url: 'kafka://h', options: {max.in.flight: 6}"), "config.option", "publish.options"),
    ],
)
def test_refuses(faults: Faults, write: Write, text: str, code: str, path: str) -> None:
    (fault,) = faults(text)
    assert fault.code == code
    file = str(write(text))
    assert fault.where is not None
    assert fault.where.startswith(f"{file}:")
    assert path in fault.where
    assert fault.exit_code == 2


def test_tells_every_fault_at_once_in_the_order_of_the_file(faults: Faults, write: Write) -> None:
    found = faults(
        """
        connector: source
        name: my shop
        source:
          url: ${NOT_SET}
          mode: outbox
          tables: [a]
          log:
            slot: My-Slot
            snapshot: initail
        publish:
          tpoic: x
        sink: {}
        """
    )
    assert [(fault.code, str(fault.where).removeprefix(str(write("")))) for fault in found] == [
        ("config.name", ":2: name"),
        ("config.env", ":4: source.url"),
        ("config.outbox", ":6: source.tables"),
        ("config.slot_name", ":8: source.log.slot"),
        ("config.value", ":9: source.log.snapshot"),
        ("config.unknown_key", ":11: publish.tpoic"),
        ("config.unknown_key", ":12: sink"),
    ]


def test_the_block_shows_every_fault_with_code_place_and_remedy(write: Write) -> None:
    path = write("name: shop\nsource: {url: postgresql://db, log: {slot: My-Slot, snapsot: never}}\n")
    with pytest.raises(ConfigErrors) as caught:
        load(path, {})
    assert caught.value.block() == (
        'error [config.slot_name]: "My-Slot" is no slot name: PostgreSQL allows lower-case letters, digits and _,'
        " at most 63\n"
        f"  where: {path}:2: source.log.slot\n"
        "  fix:   write my_slot\n"
        'error [config.unknown_key]: unknown key "snapsot"\n'
        f"  where: {path}:2: source.log.snapsot\n"
        '  fix:   did you mean "snapshot"?'
    )
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("text", "fix"),
    [
        ("publsh: {}", 'did you mean "publish"?'),
        ("slot: x", "it belongs at source.log.slot"),
        ("url: x", "it belongs at source.url or publish.url or checkpoint.url"),
        (
            "xyzzy: 1",
            "known here: connector, name, source, types, transform, schema, format, publish, checkpoint, observe, limits",
        ),
    ],
)
def test_an_unknown_key_gets_the_nearest_known_one(faults: Faults, text: str, fix: str) -> None:
    (fault,) = faults(f"name: shop\n{SOURCE}{text}\n")
    assert (fault.code, fault.fix) == ("config.unknown_key", fix)


def test_a_mistyped_value_gets_the_nearest_one(faults: Faults) -> None:
    (fault,) = faults(log("snapshot: allways"))
    assert fault.what == '"allways" is none of initial, initial_only, always, never, when_needed'
    assert fault.fix == 'did you mean "always"?'


@pytest.mark.parametrize(
    ("format", "mode", "where", "words"),
    [
        ("{envelope: flat, tombstones: false}", "log", "format.tombstones", "no delete would be told"),
        ("{envelope: flat}", "outbox", "format.envelope", "what the application wrote"),
        ("{envelope: cloudevents}", "outbox", "format.envelope", "what the application wrote"),
        ("{cloudevents_mode: structured}", "log", "format.cloudevents_mode", "about envelope cloudevents"),
        (
            "{envelope: cloudevents, cloudevents_mode: structured}\n"
            "schema: {registry: 'http://r'}\npublish: {url: 'kafka://b:9092'}",
            "log",
            "format.cloudevents_mode",
            "JSON alone",
        ),
    ],
)
def test_an_envelope_that_cannot_keep_its_promise_is_refused(
    faults: Faults, format: str, mode: str, where: str, words: str
) -> None:
    text = f"name: s\nsource: {{url: postgresql://db, mode: {mode}}}\nformat: {format}\n"
    (fault,) = faults(text)
    assert fault.code == "config.envelope"
    assert str(fault.where).endswith(where)
    assert words in fault.what
    assert fault.fix


@pytest.mark.parametrize(
    "format",
    [
        "{envelope: flat}",
        "{envelope: debezium, cloudevents_mode: binary, tombstones: false}",
        "{envelope: cloudevents, cloudevents_mode: structured, tombstones: false}",
    ],
)
def test_every_envelope_can_be_chosen(write: Write, format: str) -> None:
    assert load(write(f"name: s\nsource: {{url: postgresql://db}}\nformat: {format}\n"), {})


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("source: {url: postgresql://db}\n", "config.registry", "on Kafka only"),
        ("source: {url: postgresql://db}\npublish: {url: 'local:x'}\n", "config.registry", "on Kafka only"),
        ("source: {url: postgresql://db, mode: outbox}\n", "config.registry", "on Kafka only"),
    ],
)
def test_a_registry_is_for_kafka(faults: Faults, text: str, code: str, words: str) -> None:
    (fault,) = faults(f"name: shop\n{text}schema: {{registry: 'http://r:8081'}}\n")
    assert fault.code == code
    assert words in fault.what


@pytest.mark.parametrize("token", ["hunter2\\nX-Other: 1", "hunter2€", " "])
def test_a_token_of_a_registry_is_one_that_a_header_can_carry(faults: Faults, token: str) -> None:
    start = "name: shop\nsource: {url: postgresql://db}\npublish: {url: 'kafka://b:9092'}\n"
    (fault,) = faults(f'{start}schema: {{registry: "http://r", registry_token: "{token}"}}\n')
    assert (fault.code, str(fault.where).rpartition(": ")[2]) == ("config.value", "schema.registry_token")
    assert "hunter2" not in fault.block()


@pytest.mark.parametrize(
    "address",
    [
        "registry:8081",
        "kafka://registry",
        "7",
        "http://r:port",
        "http://[::1",
        "http://a,b",
        "http://me:12#x@r",
        "http://me:12/x@r",
    ],
)
def test_a_registry_is_reached_over_http(faults: Faults, address: str) -> None:
    start = "name: shop\nsource: {url: postgresql://db}\npublish: {url: 'kafka://b'}\n"
    (fault,) = faults(f"{start}schema: {{registry: '{address}'}}\n")
    assert (fault.code, str(fault.where).rpartition(": ")[2]) == ("config.url", "schema.registry")


def test_changes_of_tables_need_not_be_announced(write: Write) -> None:
    (config,) = load(write(f"name: shop\n{SOURCE}schema: {{change_topic: false}}\n"), {})
    assert config.schema_.change_topic is None


def test_a_later_part_that_is_left_empty_is_no_fault(write: Write) -> None:
    text = f"name: shop\n{SOURCE}transform: []\nschema: {{registry: null}}\n"
    assert load(write(text), {})


@pytest.mark.parametrize(
    ("raw", "code", "words"),
    [
        (b"", "config.empty", "holds no connector"),
        (b"# nothing\n---\n", "config.empty", "holds no connector"),
        (b"\xff\xfen\x00", "config.encoding", "UTF-16"),
        (b"name: shop\nx: \xe9\n", "config.encoding", "not UTF-8"),
        (b"name:\tshop\n\tsource: 1\n", "config.yaml", "not readable as YAML"),
        (b"name: [a\n", "config.yaml", "expected"),
        (b"name: 'a\n", "config.yaml", "quoted scalar"),
        (b"name: a: b\n", "config.yaml", "mapping values"),
        (b"name: *gone\n", "config.yaml", "undefined alias"),
        (b"name: a\x07\n", "config.yaml", "control character"),
        (b"- a\n- b\n", "config.type", "not a list"),
        (b"shop\n", "config.type", "not text"),
        (b"name: a\nname: b\n", "config.duplicate_key", "twice, first in line 1"),
        (b"? [a]\n: b\n", "config.key", "a key must be text"),
        (b"name: !!python/object:os.system x\n", "config.tag", "not understood"),
        (b"name: !!set {a}\n", "config.tag", "not understood"),
        (b"x: &a [*a]\n", "config.alias", "inside what it names"),
        (b"name: " + b"9" * 5000 + b"\n", "config.type", "usable size"),
    ],
)
def test_a_text_that_is_no_clear_yaml_is_refused(tmp_path: Path, raw: bytes, code: str, words: str) -> None:
    path = tmp_path / "shop.yaml"
    path.write_bytes(raw)
    with pytest.raises(ConfigErrors) as caught:
        load(path, {})
    fault = next(fault for fault in caught.value.faults if fault.code == code)
    assert words in fault.what
    assert str(path) in str(fault.where)


def test_a_tab_gets_its_place_and_remedy(tmp_path: Path) -> None:
    path = tmp_path / "shop.yaml"
    path.write_text("name: shop\nsource:\n\turl: x\n")
    with pytest.raises(ConfigErrors) as caught:
        load(path, {})
    (fault,) = caught.value.faults
    assert fault.where == f"{path}:3:1"
    assert fault.fix == "indent with blanks; YAML allows no tabs there"


def test_a_parser_error_shows_nothing_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "shop.yaml"
    path.write_text("name: shop\npassword: 'hunter2\n")
    with pytest.raises(ConfigErrors) as caught:
        load(path, {})
    assert "hunter2" not in caught.value.block()


def test_aliases_that_multiply_are_refused_quickly(tmp_path: Path) -> None:
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    path = tmp_path / "shop.yaml"
    path.write_text("\n".join(levels))
    with pytest.raises(ConfigErrors) as caught:
        load(path, {})
    assert "config.size" in {fault.code for fault in caught.value.faults}


@pytest.mark.parametrize(("name", "words"), [("missing.yaml", "no such file"), (".", "is a directory")])
def test_a_file_that_cannot_be_read_says_why(tmp_path: Path, name: str, words: str) -> None:
    with pytest.raises(ConfigErrors, match=words) as caught:
        load(tmp_path / name, {})
    assert caught.value.code == "config.file"


def test_several_connectors_in_one_file_are_all_checked(write: Write) -> None:
    text = f"name: one\n{SOURCE}---\nname: two\n{SOURCE}"
    assert [config.name for config in load(write(text), {})] == ["one", "two"]
    with pytest.raises(ConfigErrors) as caught:
        load(write(text.replace("one", "o n e").replace("two", "t w o")), {})
    assert [str(fault.where)[-8:] for fault in caught.value.faults] == [":1: name", ":4: name"]


@pytest.mark.parametrize("word", ["no", "off", "on", "yes", "12:30:00", "2024-01-01", "1_000"])
def test_words_that_older_yaml_took_for_something_else_stay_text(write: Write, word: str) -> None:
    (config,) = load(write(f"name: shop\n{SOURCE}publish: {{key: {{orders: {word}}}}}\n"), {})
    assert config.publish.key_columns("public", "orders") == (word,)


def test_a_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "shop.yaml"
    path.write_text(f"name: shop\n{SOURCE}", encoding="utf-8-sig")
    assert load(path, {})[0].name == "shop"


@pytest.mark.parametrize(
    ("publish", "rest", "where", "fix"),
    [
        ("url: file:events.ndjson", "", "delivery", "kafka:// or local:"),
        ("url: '-'", "", "delivery", "kafka:// or local:"),
        ("url: kafka://b", "checkpoint: {url: 'file:p.db'}", "checkpoint.url", "or write kafka"),
        ("url: local:log", "checkpoint: {url: 'file:p.db'}", "checkpoint.url", "or write local"),
    ],
)
def test_exactly_once_needs_events_and_position_in_one_place(
    faults: Faults, publish: str, rest: str, where: str, fix: str
) -> None:
    text = (
        f"name: s\nsource: {{url: postgresql://db}}\npublish: {{{publish}, delivery: exactly_once}}\n{rest}\n"
    )
    [fault] = faults(text)
    assert fault.code == "config.delivery"
    assert where in (fault.where or "")
    assert fix in (fault.fix or "")


@pytest.mark.parametrize("checkpoint", ["", "checkpoint: {url: kafka}"])
def test_exactly_once_with_kafka_is_accepted(write: Write, checkpoint: str) -> None:
    text = f"name: s\n{SOURCE}publish: {{url: kafka://b, delivery: exactly_once}}\n{checkpoint}\n"
    [config] = load(write(text), {})
    assert config.publish.delivery == "exactly_once"
