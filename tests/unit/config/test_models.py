"""What a file means once it is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from liberator.config import SourceConfig

from .conftest import Load, Write

MINIMAL = "name: shop\nsource: {url: postgresql://db/shop}\n"


def test_defaults_are_those_of_the_reference(loaded: Load, tmp_path: Path) -> None:
    config = loaded("name: Shop.eu-1\nsource: {url: postgresql://db/shop}\n")
    assert config.model_dump(by_alias=True) == {
        "connector": "source",
        "name": "Shop.eu-1",
        "source": {
            "url": "postgresql://db/shop",
            "mode": "log",
            "tables": (),
            "exclude": (),
            "log": {
                "slot": "shop_eu_1",
                "publication": ("shop_eu_1",),
                "publication_autocreate": "filtered",
                "publish_via_partition_root": True,
                "snapshot": "initial",
                "snapshot_workers": 2,
                "heartbeat": 10.0,
                "heartbeat_query": None,
                "transaction_topic": False,
                "messages": (),
                "message_topic": "{name}.messages",
                "context": True,
                "failover": False,
            },
            "query": {
                "strategy": None,
                "timestamp_column": None,
                "incrementing_column": None,
                "poll_interval": 5.0,
                "delay": 0.0,
                "batch_rows": 10_000,
                "deletes": "ignore",
                "reconcile_interval": 3600.0,
                "key_file": tmp_path / ".liberator/Shop.eu-1.keys.db",
                "sql": None,
                "discovery_interval": 10.0,
                "statement_timeout": 600.0,
                "rows_per_second": None,
                "tables": {},
            },
            "outbox": {
                "table": "public.outbox",
                "capture": "log",
                "prefix": "outbox",
                "columns": {
                    "id": "id",
                    "aggregate_type": "aggregatetype",
                    "aggregate_id": "aggregateid",
                    "type": "type",
                    "payload": "payload",
                    "timestamp": None,
                },
                "headers": (),
                "envelope": (),
                "tombstones": False,
                "on_update": "warn",
                "after_publish": "delete",
                "order_column": None,
                "poll_interval": 1.0,
            },
        },
        "types": {"int64": "number", "json": "string", "array_bounds": "drop", "char": "keep"},
        "transform": (),
        "schema": {
            "dir": tmp_path / "schemas",
            "compatibility": "backward",
            "on_invalid": "dead_letter",
            "on_change": "compatible",
            "registry": None,
            "registry_token": None,
            "registry_ca": None,
            "registry_certificate": None,
            "registry_key": None,
            "registry_register": True,
            "registry_cache": tmp_path / ".liberator/registry",
            "subjects": "topic_name",
            "change_topic": "{name}.schema-changes",
        },
        "format": {"envelope": "debezium", "cloudevents_mode": "binary", "tombstones": True},
        "publish": {
            "url": "-",
            "topic": "{name}.{schema}.{table}",
            "create_topics": {"partitions": 6, "replication": -1, "config": {"cleanup.policy": "delete"}},
            "key": {},
            "delivery": "at_least_once",
            "dead_letter_topic": "{name}.dead-letters",
            "options": {"compression.type": "lz4"},
        },
        "checkpoint": {"url": f"file:{tmp_path}/.liberator/Shop.eu-1.db"},
        "observe": None,
        "limits": {"memory": 256 * 1024 * 1024},
    }


def test_a_slot_made_from_a_long_name_is_cut_to_63_bytes(loaded: Load) -> None:
    config = loaded(f"name: {'x' * 100}\nsource: {{url: postgresql://db/shop}}\n")
    assert config.source.log.slot == "x" * 63


def test_positions_are_kept_in_kafka_when_events_go_there(loaded: Load) -> None:
    config = loaded(MINIMAL + "publish: {url: kafka://localhost:9092}\n")
    assert config.checkpoint.url == "kafka"


def test_positions_can_be_kept_in_a_file_though_events_go_to_kafka(loaded: Load, tmp_path: Path) -> None:
    config = loaded(MINIMAL + "publish: {url: kafka://localhost:9092}\ncheckpoint: {url: file:pos.db}\n")
    assert config.checkpoint.url == f"file:{tmp_path}/pos.db"


def test_relative_paths_start_at_the_folder_of_the_file(loaded: Load, tmp_path: Path) -> None:
    config = loaded(MINIMAL + "schema: {dir: ../contracts}\npublish: {url: file:out/events.ndjson}\n")
    assert config.schema_.dir == tmp_path / "../contracts"
    assert config.publish.path == tmp_path / "out/events.ndjson"


@pytest.mark.parametrize("url", ["file:/var/events", "file:///var/events"])
def test_absolute_paths_stay_as_they_are(loaded: Load, url: str) -> None:
    assert loaded(MINIMAL + f"publish: {{url: '{url}'}}\n").publish.path == Path("/var/events")


def test_events_can_go_to_a_local_log_that_keeps_positions_too(loaded: Load, tmp_path: Path) -> None:
    config = loaded(MINIMAL + "publish: {url: local:out/log}\n")
    assert config.publish.kind == "local"
    assert config.publish.path == tmp_path / "out/log"
    assert config.checkpoint.url == "local"


def test_positions_of_a_local_log_can_be_kept_in_a_file(loaded: Load, tmp_path: Path) -> None:
    config = loaded(MINIMAL + "publish: {url: local:log}\ncheckpoint: {url: file:pos.db}\n")
    assert config.checkpoint.url == f"file:{tmp_path}/pos.db"


def test_events_can_go_to_several_brokers(loaded: Load) -> None:
    config = loaded(MINIMAL + "publish: {url: 'kafka://one:9093,two,[::1]:9094'}\n")
    assert config.publish.kind == "kafka"
    assert config.publish.url == "kafka://one:9093,two,[::1]:9094"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("10s", 10), ("500ms", 0.5), ("1h", 3600), ("7d", 604800), ("1.5m", 90), ("3", 3), ("0.25", 0.25)],
)
def test_reads_durations(loaded: Load, text: str, seconds: float) -> None:
    config = loaded(f"name: shop\nsource: {{url: postgresql://db/shop, log: {{heartbeat: {text}}}}}\n")
    assert config.source.log.heartbeat == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("256MiB", 268435456),
        ("2MB", 2000000),
        ("1.5GiB", 1610612736),
        ("2048 KiB", 2097152),
        ("1048576", 1048576),
        ("3mib", 3145728),
    ],
)
def test_reads_sizes(loaded: Load, text: str, size: int) -> None:
    assert loaded(MINIMAL + f"limits: {{memory: {text}}}\n").limits.memory == size


@pytest.mark.parametrize("text", ["[orders, audit_log]", "orders,audit_log", '"orders, audit_log"'])
def test_publications_are_a_list_or_text_with_commas(loaded: Load, text: str) -> None:
    config = loaded(
        f"name: shop\nsource: {{url: postgresql://db/shop, log: {{publication: {_quoted(text)}}}}}\n"
    )
    assert config.source.log.publication == ("orders", "audit_log")


def _quoted(text: str) -> str:
    return text if text.startswith(("[", '"')) else f'"{text}"'


def test_the_first_key_pattern_that_matches_counts(loaded: Load) -> None:
    config = loaded(MINIMAL + "publish: {key: {public.orders: [customer_id, id], 'public.*': tenant}}\n")
    assert config.publish.key_columns("public", "orders") == ("customer_id", "id")
    assert config.publish.key_columns("public", "users") == ("tenant",)
    assert config.publish.key_columns("sales", "users") is None


def test_client_settings_become_text_and_keep_the_default_compression(loaded: Load) -> None:
    config = loaded(MINIMAL + "publish: {options: {linger.ms: 5, enable.idempotence: true}}\n")
    assert config.publish.options == {
        "compression.type": "lz4",
        "linger.ms": "5",
        "enable.idempotence": "true",
    }


@pytest.mark.parametrize("name", ["compression.type", "compression.codec"])
def test_a_compression_that_is_given_holds(loaded: Load, name: str) -> None:
    assert loaded(MINIMAL + f"publish: {{options: {{{name}: none}}}}\n").publish.options == {name: "none"}


@pytest.mark.parametrize("text", ["false", '"false"', "no"])
def test_topics_need_not_be_made(loaded: Load, text: str) -> None:
    assert loaded(MINIMAL + f"publish: {{create_topics: {text}}}\n").publish.create_topics is None


@pytest.mark.parametrize("text", ["true", "{}", "{listen: 127.0.0.1:9464}"])
def test_the_endpoint_is_on_when_it_is_asked_for(loaded: Load, text: str) -> None:
    observe = loaded(MINIMAL + f"observe: {text}\n").observe
    assert observe is not None
    assert observe.listen == "127.0.0.1:9464"


@pytest.mark.parametrize("text", ["", "null", "false"])
def test_the_endpoint_is_off_otherwise(loaded: Load, text: str) -> None:
    assert loaded(MINIMAL + f"observe: {text}\n").observe is None


def test_a_key_without_a_value_means_its_default(loaded: Load) -> None:
    config = loaded(
        """
        name: shop
        source:
          url: postgresql://db/shop
          tables:
          log:
            heartbeat:
        publish:
        checkpoint: {url: }
        """
    )
    assert config.source.log.heartbeat == 10
    assert config.source.log.slot == "shop"
    assert config.publish.url == "-"
    assert config.checkpoint.url.endswith("/.liberator/shop.db")


def test_a_model_shows_no_password(loaded: Load) -> None:
    config = loaded(
        """
        name: shop
        source: {url: "postgresql://me:hunter2@db/shop"}
        publish: {url: kafka://b:9092, options: {sasl.password: hunter3}}
        """
    )
    for shown in (repr(config), str(config), repr(config.source), repr(config.publish), f"{config.source!r}"):
        assert "hunter" not in shown
    assert config.source.url == "postgresql://me:hunter2@db/shop"
    assert config.publish.options["sasl.password"] == "hunter3"


def test_a_checked_connector_cannot_be_changed(loaded: Load) -> None:
    with pytest.raises(ValueError, match="frozen"):
        loaded(MINIMAL).name = "other"


def test_knows_where_its_keys_are_written(write: Write, loaded: Load) -> None:
    text = "name: shop\nsource:\n  url: postgresql://db/shop\n  log:\n    slot: my_slot\n"
    config = loaded(text)
    path = write(text)
    assert config.where("source", "log", "slot") == f"{path}:5: source.log.slot"
    assert config.where("source", "log", "heartbeat") == f"{path}:4: source.log.heartbeat"
    assert config.file == path


def test_can_be_made_without_a_file() -> None:
    config = SourceConfig.model_validate({"name": "shop", "source": {"url": "postgresql://db/shop"}})
    assert config.source.log.slot == "shop"
    assert config.schema_.dir == Path.cwd() / "schemas"
    assert config.where("source", "log", "slot") == "source.log.slot"
    assert config.file is None


def test_a_table_that_is_read_by_its_own_sql_has_its_own_cursor_or_none(loaded: Load) -> None:
    query = loaded(
        "name: shop\nsource:\n  url: postgresql://db/shop\n  mode: query\n  query:\n    strategy: timestamp\n"
        "    timestamp_column: changed\n    poll_interval: 7s\n    tables:\n"
        "      public.totals: {sql: SELECT 1 AS a}\n      public.days: {sql: SELECT 1 AS d, incrementing_column: d}\n"
    ).source.query
    totals, days, other = (query.of("public", name) for name in ("totals", "days", "other"))
    assert (totals.strategy, totals.timestamp_column, totals.poll_interval) == (None, None, 7.0)
    assert (days.strategy, days.timestamp_column, days.incrementing_column) == (None, None, "d")
    assert (other.strategy, other.timestamp_column) == ("timestamp", "changed")
