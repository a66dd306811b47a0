"""The keys of a sidecar: what they default to, and what can't be."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest
import yaml

from liberator.config import ConfigErrors, SidecarConfig, connector_schema, load, load_all, load_sidecar
from liberator.config.sidecar import is_loopback

PLAIN = "connector: sidecar\nname: shop\npublish: {url: 'local:events'}\n"


def checked(folder: Path, text: str, stage: str | None = None) -> SidecarConfig:
    file = folder / "shop.yaml"
    file.write_text(text)
    return load_sidecar(file, {}, stage=stage)


def fault_of(folder: Path, text: str) -> tuple[str, str]:
    """Code and place of the only fault."""
    with pytest.raises(ConfigErrors) as caught:
        checked(folder, text)
    (fault,) = caught.value.faults
    assert fault.where is not None
    return fault.code, fault.where.rpartition(": ")[2]


def test_a_broker_and_a_name_are_all_it_needs(tmp_path: Path) -> None:
    config = checked(tmp_path, PLAIN)
    assert config.listen == "127.0.0.1:9470"
    assert str(config.publish.topic) == "outbox.event.{aggregatetype}"
    assert config.publish.delivery == "exactly_once"
    assert config.publish.path == tmp_path / "events"
    assert config.schema_.dir == tmp_path / "schemas"
    assert config.idempotency.file == tmp_path / ".liberator" / "shop.ids.db"
    assert config.idempotency.ttl == 86400


def test_the_file_of_ids_follows_the_name_unless_it_is_given(tmp_path: Path) -> None:
    assert checked(tmp_path, PLAIN + "idempotency: {ttl: 1h}\n").idempotency.file.name == "shop.ids.db"
    given = checked(tmp_path, PLAIN + "idempotency: {file: /var/ids.db}\n")
    assert given.idempotency.file == Path("/var/ids.db")


@pytest.mark.parametrize("url", ["-", "file:events.ndjson", "http://broker"])
def test_it_publishes_to_a_broker_only(tmp_path: Path, url: str) -> None:
    text = PLAIN.replace("local:events", url)
    assert fault_of(tmp_path, text) == ("config.url", "publish.url")


@pytest.mark.parametrize("listen", ["0.0.0.0:9470", ":9470", "192.168.0.1:80", "shop.example:80", "[::]:80"])
def test_other_machines_do_not_reach_it_unless_they_may(tmp_path: Path, listen: str) -> None:
    text = PLAIN + f"listen: '{listen}'\n"
    assert fault_of(tmp_path, text)[0] == "config.listen"
    assert checked(tmp_path, text + "allow_remote: true\n").allow_remote


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "127.1.2.3:9470", "[::1]:9470", "localhost:9470"])
def test_the_loopback_is_this_machine(listen: str) -> None:
    assert is_loopback(listen)


def test_a_stage_goes_before_name_and_topics_but_not_before_contracts(tmp_path: Path) -> None:
    config = checked(tmp_path, PLAIN, stage="test")
    assert config.name == "test.shop"
    assert str(config.publish.topic) == "test.outbox.event.{aggregatetype}"
    assert config.without_stage("test.outbox.event.order") == "outbox.event.order"
    assert config.idempotency.file.name == "test.shop.ids.db"


PUSH = "push: [{group: inbox, topics: orders, url: 'http://127.0.0.1:8080/inbox', policy: {timeout: 5s}}]\n"


def test_a_stream_that_is_pushed_is_a_sink_on_the_same_broker(tmp_path: Path) -> None:
    config = checked(tmp_path, PLAIN + PUSH)
    (push,) = config.push
    sink = push.sink(config)
    assert sink.name == "inbox"
    assert sink.stream is not None
    assert sink.stream.url == f"local:{tmp_path / 'events'}"
    assert sink.stream.topics == ("orders",)
    assert sink.dead_letter_topic == "inbox.dead-letters"
    assert sink.policy.timeout == 5
    assert sink.policy.retry.attempts > 1_000_000
    assert sink.function.http is not None
    assert sink.function.http.allow_private


def test_what_is_pushed_is_read_with_the_connection_of_the_publisher(tmp_path: Path) -> None:
    publish = "{url: 'kafka://b:9092', options: {security.protocol: ssl, compression.type: zstd}}"
    text = PLAIN.replace("{url: 'local:events'}", publish) + PUSH
    config = checked(tmp_path, text)
    sink = config.push[0].sink(config)
    assert sink.stream is not None
    assert sink.stream.options == {"security.protocol": "ssl"}
    assert sink.output.options == {"compression.type": "zstd"}


def test_a_stage_goes_before_groups_and_topics_that_are_pushed(tmp_path: Path) -> None:
    config = checked(tmp_path, PLAIN + PUSH, stage="test")
    sink = config.push[0].sink(config)
    assert sink.stream is not None
    assert (sink.name, sink.stream.topics) == ("test.inbox", ("test.orders",))
    assert sink.dead_letter_topic == "test.inbox.dead-letters"


def test_a_group_is_used_once(tmp_path: Path) -> None:
    item = PUSH.partition("[")[2].rpartition("]")[0]
    assert fault_of(tmp_path, f"{PLAIN}push: [{item}, {item}]\n")[0] == "config.same_name"


def test_a_stream_does_not_feed_itself(tmp_path: Path) -> None:
    text = PLAIN + PUSH.replace("orders", "inbox.dead-letters")
    assert fault_of(tmp_path, text)[0] == "config.cycle"


def test_unknown_keys_are_told(tmp_path: Path) -> None:
    assert fault_of(tmp_path, PLAIN + "liste: 1\n") == ("config.unknown_key", "liste")


def test_it_is_not_run_as_a_connector_and_a_connector_not_as_a_sidecar(tmp_path: Path) -> None:
    checked(tmp_path, PLAIN)
    with pytest.raises(ConfigErrors, match="liberate sidecar"):
        load(tmp_path / "shop.yaml", {})
    assert fault_of(tmp_path, "name: shop\nsource: {url: 'postgresql://db'}\n")[0] == "config.sidecar"


def test_it_has_a_file_of_its_own(tmp_path: Path) -> None:
    assert fault_of(tmp_path, f"{PLAIN}---\n{PLAIN}")[0] == "config.documents"


def test_all_faults_of_all_files_are_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "sidecar.yaml").write_text(PLAIN + "listen: here\n")
    (tmp_path / "source.yaml").write_text("name: a b\nsource: {url: 'postgresql://db'}\n")
    with pytest.raises(ConfigErrors) as caught:
        load_all([tmp_path / "sidecar.yaml", tmp_path / "source.yaml"], {})
    assert [fault.code for fault in caught.value.faults] == ["config.listen", "config.name"]


@pytest.mark.parametrize("more", ["listen: here\n", "limits: {event: lots}\n", "source: {}\n", "liste: 1\n"])
def test_an_editor_sees_what_is_wrong(more: str) -> None:
    validator = jsonschema.Draft202012Validator(connector_schema())
    assert validator.is_valid(yaml.safe_load(PLAIN))
    assert not validator.is_valid(yaml.safe_load(PLAIN + more))
