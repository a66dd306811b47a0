"""The one-liner: options, `--set`, `--config`, and the trial."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from liberator.config import ConfigErrors, SourceConfig, from_options
from liberator.errors import ConfigError

URL = "postgresql://db/shop"


def given(*settings: str, env: dict[str, str] | None = None, **options: Any) -> SourceConfig:
    return from_options({"source": URL, "name": "shop", "set": settings, **options}, env or {})


def wrong(*settings: str, **options: Any) -> list[ConfigError]:
    with pytest.raises(ConfigErrors) as caught:
        given(*settings, **options)
    return list(caught.value.faults)


def test_every_option_stands_for_its_key() -> None:
    config = from_options(
        {
            "source": URL,
            "mode": "log",
            "table": ["public.a", "b, c.*"],
            "exclude": ["c.tmp"],
            "publish": "kafka://localhost:9092",
            "name": "shop",
            "topic": "{table}",
            "envelope": "debezium",
            "snapshot": "never",
            "slot": "my_slot",
            "publication": "one,two",
        },
        {},
    )
    assert [str(pattern) for pattern in config.source.tables] == ["public.a", "b", "c.*"]
    assert [str(pattern) for pattern in config.source.exclude] == ["c.tmp"]
    assert config.publish.url == "kafka://localhost:9092"
    assert config.publish.topic.text == "{table}"
    assert config.source.log.snapshot == "never"
    assert config.source.log.slot == "my_slot"
    assert config.source.log.publication == ("one", "two")
    assert not config.trial


def test_options_that_were_not_given_leave_the_defaults() -> None:
    nothing = dict.fromkeys(
        ["mode", "publish", "topic", "envelope", "snapshot", "slot", "publication", "config"]
    )
    config = from_options(
        {"source": URL, "name": "shop", "table": (), "exclude": (), "set": (), **nothing}, {}
    )
    assert config.model_dump() == given().model_dump()


def test_without_a_name_it_is_a_trial_with_names_of_its_own() -> None:
    one, two = (from_options({"source": URL}, {}) for _ in range(2))
    assert one.trial
    assert one.name == two.name == "liberator"
    assert one.source.log.slot.startswith("liberator_trial_")
    assert one.source.log.slot != two.source.log.slot
    assert one.source.log.publication == (one.source.log.slot,)


def test_a_trial_takes_the_slot_and_publication_that_are_given() -> None:
    config = from_options({"source": URL, "slot": "mine", "publication": "theirs"}, {})
    assert config.trial
    assert config.source.log.slot == "mine"
    assert config.source.log.publication == ("theirs",)


@pytest.mark.parametrize(
    ("setting", "path", "value"),
    [
        ("source.log.heartbeat=5s", "source.log.heartbeat", 5.0),
        ("source.log.failover=true", "source.log.failover", True),
        ("source.log.messages=[a, b]", "source.log.messages", ("a", "b")),
        ("publish.options.linger.ms=5", "publish.options", {"compression.type": "lz4", "linger.ms": "5"}),
        ('publish.options["linger.ms"]=5', "publish.options", {"compression.type": "lz4", "linger.ms": "5"}),
        ("publish.options={linger.ms: 5}", "publish.options", {"compression.type": "lz4", "linger.ms": "5"}),
        ("publish.create_topics=false", "publish.create_topics", None),
        (
            "publish.create_topics.config.retention.ms=1",
            "publish.create_topics.config",
            {"retention.ms": "1"},
        ),
        ("observe.listen=127.0.0.1:1", "observe.listen", "127.0.0.1:1"),
        ("source.log.heartbeat_query=SELECT 1 = 1", "source.log.heartbeat_query", "SELECT 1 = 1"),
        ("limits.memory=", "limits.memory", 256 * 1024 * 1024),
        ("types.json=embed", "types.json_", "embed"),
    ],
)
def test_set_reaches_any_key(setting: str, path: str, value: object) -> None:
    found: object = given(setting)
    for name in path.split("."):
        found = getattr(found, name)
    assert found == value


def test_set_reaches_keys_with_dots() -> None:
    config = given("publish.key.public.orders=[customer_id]")
    assert config.publish.key_columns("public", "orders") == ("customer_id",)


def test_set_wins_over_options_and_the_last_one_wins() -> None:
    config = given("source.log.slot=first", "source.log.slot=second", slot="option")
    assert config.source.log.slot == "second"


def test_a_name_that_is_set_makes_it_durable() -> None:
    config = from_options({"source": URL, "set": ["name=shop"]}, {})
    assert not config.trial
    assert config.source.log.slot == "shop"


@pytest.mark.parametrize(
    ("setting", "code", "where"),
    [
        ("source.log.slot", "config.set", "--set"),
        ("=x", "config.set", "--set"),
        ("a b=x", "config.set", "--set"),
        ("source..log=x", "config.set", "--set"),
        ("limits.memory=[", "config.yaml", "--set limits.memory"),
        ("limits.memory=!!set x", "config.tag", "--set limits.memory"),
        ("limits.memroy=1", "config.unknown_key", "--set: limits.memroy"),
        ("source.log.slot=My-Slot", "config.slot_name", "--set: source.log.slot"),
        ("source.tables=[a, b.c.d]", "config.table_pattern", "--set: source.tables[1]"),
    ],
)
def test_a_fault_of_set_says_which(setting: str, code: str, where: str) -> None:
    (fault,) = wrong(setting)
    assert (fault.code, fault.where) == (code, where)


def test_a_fault_of_an_option_names_the_option() -> None:
    found = wrong("limits.memory=x", slot="My-Slot", table=["a", "b.c.d"], envelope="flatt", mode="logs")
    assert {(fault.code, fault.where) for fault in found} == {
        ("config.slot_name", "--slot: source.log.slot"),
        ("config.table_pattern", "--table: source.tables[1]"),
        ("config.value", "--envelope: format.envelope"),
        ("config.value", "--mode: source.mode"),
        ("config.size", "--set: limits.memory"),
    }


def test_a_missing_source_is_a_fault_of_the_command_line() -> None:
    with pytest.raises(ConfigErrors) as caught:
        from_options({"name": "shop"}, {})
    assert (caught.value.code, caught.value.where) == ("config.missing", "command line: source")


def test_options_are_filled_in_like_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pw").write_text("s3cret\n")
    monkeypatch.chdir(tmp_path)
    config = given(
        "publish.options.sasl.password=${file:pw}", source="${DSN}", env={"DSN": "postgresql://other/x"}
    )
    assert config.source.url == "postgresql://other/x"
    assert config.publish.options["sasl.password"] == "s3cret"


def test_paths_of_options_start_at_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = given(publish="file:out.ndjson")
    assert config.publish.path == tmp_path / "out.ndjson"
    assert config.schema_.dir == tmp_path / "schemas"
    assert config.checkpoint.url == f"file:{tmp_path}/.liberator/shop.db"


@pytest.fixture
def defaults(tmp_path: Path) -> Path:
    (tmp_path / "conf").mkdir()
    path = tmp_path / "conf" / "defaults.yaml"
    path.write_text(
        "source:\n"
        "  url: ${DSN}\n"
        "  tables: [public.a, public.b]\n"
        "  log: {heartbeat: 3s, snapshot: never}\n"
        "schema: {dir: contracts}\n"
        "publish: {url: 'file:out.ndjson', options: {linger.ms: 5}}\n"
    )
    return path


def test_options_win_over_the_defaults_of_a_file(defaults: Path, tmp_path: Path) -> None:
    config = from_options(
        {
            "config": str(defaults),
            "name": "shop",
            "table": ["public.c"],
            "snapshot": "always",
            "set": ["publish.options.acks=all"],
        },
        {"DSN": URL},
    )
    assert config.source.url == URL
    assert [str(pattern) for pattern in config.source.tables] == ["public.c"]
    assert (config.source.log.heartbeat, config.source.log.snapshot) == (3.0, "always")
    assert config.publish.options == {"compression.type": "lz4", "linger.ms": "5", "acks": "all"}


def test_paths_in_the_file_of_defaults_start_at_its_folder(
    defaults: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = from_options({"config": "conf/defaults.yaml", "name": "shop"}, {"DSN": URL})
    assert config.schema_.dir == tmp_path / "conf/contracts"
    assert config.publish.path == tmp_path / "conf/out.ndjson"
    assert config.checkpoint.url == f"file:{tmp_path}/.liberator/shop.db"


def test_faults_of_the_defaults_and_of_the_options_are_told_together(defaults: Path) -> None:
    with pytest.raises(ConfigErrors) as caught:
        from_options({"config": str(defaults), "name": "sh op", "set": ["x"]}, {})
    assert {(fault.code, fault.where) for fault in caught.value.faults} == {
        ("config.set", "--set"),
        ("config.name", "--name: name"),
        ("config.env", f"{defaults}:2: source.url"),
    }


def test_an_overridden_value_is_blamed_on_the_option(defaults: Path) -> None:
    with pytest.raises(ConfigErrors) as caught:
        from_options({"config": str(defaults), "name": "shop", "table": ["a.b.c"]}, {"DSN": URL})
    assert caught.value.where == "--table: source.tables[0]"


def test_a_file_of_defaults_holds_one_connector(tmp_path: Path) -> None:
    path = tmp_path / "two.yaml"
    path.write_text(f"name: a\nsource: {{url: {URL}}}\n---\nname: b\n")
    with pytest.raises(ConfigErrors, match="holds 2 connectors"):
        from_options({"config": str(path)}, {})


def test_a_missing_file_of_defaults_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors, match="no such file"):
        from_options({"source": URL, "config": str(tmp_path / "gone.yaml")}, {})
