"""A row that breaks its contract, from the database to its topic after all: `liberate run` and `liberate dlq`, as a user
calls them, into Kafka with each client and into a local log."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from liberator.testing.servers import Kafka
from tests.acceptance.sink import Broker, KafkaBroker, LocalBroker, Record, Sink, numbered
from tests.fault.brokers import Topics
from tests.integration.deadletter.stands import Ended, Found, LocalStand


class Shop:
    """A connector of a database with a table of orders, whose status is agreed on."""

    def __init__(self, folder: Path, dsn: str, url: str, name: str) -> None:
        self.name = name
        self.topic = f"{name}.public.orders"
        self._folder = folder
        self._dsn = dsn
        self._file = folder / "shop.yaml"
        self._file.write_text(
            f"name: {name}\nsource: {{url: '{dsn}', tables: [public.orders]}}\nschema: {{dir: schemas}}\n"
            f"publish: {{url: '{url}', create_topics: {{partitions: 1}}}}\n"
        )
        self.execute("create table orders (id int primary key, status text)")

    def agree(self, *statuses: str) -> None:
        """The next version of the contract."""
        folder = self._folder / "schemas" / self.topic
        folder.mkdir(parents=True, exist_ok=True)
        status = {"type": "string", "enum": list(statuses)}
        contract = {"type": "object", "properties": {"id": {"type": "integer"}, "status": status}}
        (folder / f"{len(list(folder.iterdir())) + 1}.json").write_text(json.dumps(contract))

    def execute(self, *statements: str) -> None:
        with psycopg.connect(self._dsn, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def run(self) -> None:
        """Publish everything up to now."""
        ended = self.liberate("run", "--once")
        assert ended.code == 0, ended.err

    def dlq(self, command: str, *words: str) -> Ended:
        return self.liberate("dlq", command, *words)

    def liberate(self, *words: str) -> Ended:
        head = 2 if words[0] == "dlq" else 1
        command = [sys.executable, "-m", "liberator", *words[:head], str(self._file), *words[head:]]
        environ = {name: value for name, value in os.environ.items() if not name.startswith("LIBERATE_")}
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=240, cwd=self._folder, env=environ, check=False
        )
        return Ended(done.returncode, done.stdout, done.stderr)


Events = Callable[[str], list[Found]]


@pytest.fixture(params=["local", "confluent", "kafka-python"])
def shop(
    request: pytest.FixtureRequest,
    database: str,
    tmp_path: Path,
    unique: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Shop:
    """The connector, with each destination in turn."""
    if request.param == "kafka-python":
        (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['confluent_kafka'] = None\n")
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    if request.param == "local":
        url = "local:log"
    else:
        kafka: Kafka = request.getfixturevalue("kafka")
        url = f"kafka://{kafka.bootstrap}"
    return Shop(tmp_path, database, url, unique)


@pytest.fixture
def events(request: pytest.FixtureRequest, shop: Shop, tmp_path: Path) -> Iterator[Events]:
    """What is on a topic, to a reader of committed events."""
    if request.node.callspec.params["shop"] != "local":
        bootstrap = request.getfixturevalue("kafka").bootstrap

        def read(topic: str) -> list[Found]:
            found = Topics(bootstrap, topic).records()
            return [Found(it.key, it.value, tuple(it.headers.items())) for it in found if it.topic == topic]

        yield read
        return
    stand = LocalStand(tmp_path / "log", "none")
    yield stand.records
    stand.close()


def ids(found: list[Found]) -> list[str]:
    return [(dict(record.headers)["id"] or b"").decode() for record in found]


def test_a_row_that_broke_its_contract_is_published_when_the_contract_allows_it(
    shop: Shop, events: Events
) -> None:
    """D77, to its end."""
    shop.agree("new", "paid")
    shop.execute("insert into orders values (1, 'new'), (2, 'a secret')")
    shop.run()
    [row] = shop.dlq("list", "--json").rows
    assert {name: row[name] for name in ("topic", "error", "rule", "path", "attempts", "state", "key")} == {
        "topic": shop.topic,
        "error": "liberator.ContractError",
        "rule": "enum",
        "path": "/status",
        "attempts": "1",
        "state": "pending",
        "key": '{"id":2}',
    }
    shown = shop.dlq("show", row["id"])
    assert "a secret" not in shown.out + shop.dlq("list").out
    assert "what_to_do" in shown.out
    [whole] = shop.dlq("show", row["id"], "--value", "--json").rows
    assert json.loads(whole["value"])["after"] == {"id": 2, "status": "a secret"}

    refused = shop.dlq("redrive", row["id"], "--json")
    assert (refused.code, refused.rows[0]["outcome"]) == (1, "refused")
    assert "/status" in refused.rows[0]["why"]
    assert "a secret" not in refused.out + refused.err

    shop.agree("new", "paid", "a secret")
    assert shop.dlq("redrive", "--all", "--dry-run", "--json").rows[0]["outcome"] == "redriven"
    assert len(events(shop.topic)) == 1
    done = shop.dlq("redrive", row["id"], "--json")
    assert (done.code, done.rows[0]["outcome"]) == (0, "redriven"), done.err
    first, second = events(shop.topic)
    assert second.key == b'{"id":2}'
    assert second.value == whole["value"].encode()
    assert dict(second.headers) == {"id": whole["event"].encode()}
    assert dict(first.headers).keys() == {"id"}
    assert shop.dlq("list", "--json").rows == []
    [kept] = shop.dlq("list", "--all", "--json").rows
    assert (kept["id"], kept["state"]) == (row["id"], "redriven")
    assert shop.dlq("redrive", row["id"]).code == 1
    assert len(events(shop.topic)) == 2


def test_the_old_row_is_refused_behind_the_newer_one(shop: Shop, events: Events) -> None:
    shop.agree("new", "paid")
    shop.execute("insert into orders values (1, 'unheard of')")
    shop.run()
    shop.execute("update orders set status = 'paid'")
    shop.run()
    assert len(events(shop.topic)) == 1
    refused = shop.dlq("redrive", "--all", "--no-validate")
    assert refused.code == 1
    assert "a newer event of its key is on its topic" in refused.out
    assert len(events(shop.topic)) == 1
    assert shop.dlq("discard", "--all").code == 2, "without a reason"
    assert shop.dlq("discard", "--all", "--reason", "the shop has corrected it").code == 0
    assert shop.dlq("list", "--json").rows == []
    [kept] = shop.dlq("list", "--all", "--json").rows
    [shown] = shop.dlq("show", kept["id"], "--json").rows
    assert (shown["state"], shown["done_because"]) == ("discarded", "the shop has corrected it")
    assert shop.dlq("redrive", kept["id"], "--no-validate", "--force").code == 0
    assert len(events(shop.topic)) == 2


def test_what_the_connector_publishes_afterwards_is_in_order_behind_it(shop: Shop, events: Events) -> None:
    shop.agree("new", "paid")
    shop.execute("insert into orders values (1, 'late')")
    shop.run()
    shop.agree("new", "paid", "late")
    assert shop.dlq("redrive", "--all").code == 0
    shop.execute("update orders set status = 'paid'")
    shop.run()
    statuses = [json.loads(found.value or b"{}")["after"]["status"] for found in events(shop.topic)]
    assert statuses == ["late", "paid"]


@pytest.fixture(params=["local", "confluent", "kafka-python"])
def sink(request: pytest.FixtureRequest, tmp_path: Path, unique: str) -> Iterator[Sink]:
    """A sink, with each broker in turn."""
    broker: Broker
    if request.param == "local":
        broker = LocalBroker(tmp_path / "events")
    else:
        broker = KafkaBroker(request.getfixturevalue("kafka").bootstrap)
    made = Sink(tmp_path / "sink", f"{unique}.sink", broker, kafka_python=request.param == "kafka-python")
    yield made
    made.close()


def test_an_event_that_a_function_could_not_do_comes_to_it_again(sink: Sink, unique: str) -> None:
    """D79, to its end."""
    sink.write(
        f"""
        stream: {{topics: [{unique}]}}
        trigger: {{batch_size: 1, batch_window: 0s}}
        function: {{python: "functions:ship"}}
        """,
        """
        import pathlib
        import liberator

        def ship(events, context):
            mended = (pathlib.Path(__file__).parent / "mended").exists()
            if events[0].value["n"] == 3 and not mended:
                raise liberator.PermanentError("no such street")
            note(events, context)
        """,
    )
    sink.broker.create(unique, 1)
    sink.broker.append(unique, numbered(range(5), keys=5))
    sink.run("--once")
    dlq = Dlq(sink)
    [row] = dlq("list").rows
    assert {name: row[name] for name in ("topic", "key", "state", "connector")} == {
        "topic": unique,
        "key": '"k3"',
        "state": "pending",
        "connector": sink.name,
    }
    [shown] = dlq("show", row["id"], "--value").rows
    assert (shown["read_at"], shown["event"], shown["value"]) == ("partition 0, offset 3", "e3", '{"n":3}')
    assert "no such street" in shown["message"] + shown["stacktrace"]
    (sink.folder / "mended").touch()
    assert dlq("redrive", row["id"]).rows[0]["outcome"] == "redriven"
    sink.run("--once")
    assert sorted(value["n"] for value in sink.given()) == [0, 1, 2, 3, 4]
    assert dlq("list").rows == []
    sink.broker.append(unique, numbered(range(3, 4), keys=5))
    (sink.folder / "mended").unlink()
    sink.run("--once")
    sink.broker.append(unique, [Record(b'"k3"', b'{"n":4}', (("id", b"newer"),))])
    refused = dlq("redrive", "--all")
    assert (refused.code, refused.rows[0]["outcome"]) == (1, "refused")
    assert dlq("discard", "--all", "--reason", "the newer one will do").code == 0


class Dlq:
    """`liberate dlq COMMAND FILE ... --json` for a sink."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def __call__(self, command: str, *words: str) -> Ended:
        whole = [sys.executable, "-m", "liberator", "dlq", command, str(self._sink.path), *words, "--json"]
        environ = {name: value for name, value in os.environ.items() if not name.startswith("LIBERATE_")}
        environ["PYTHONPATH"] = os.pathsep.join(self._sink._import_path())
        done = subprocess.run(whole, capture_output=True, text=True, timeout=240, env=environ, check=False)
        return Ended(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize(
    "words",
    [
        ("redrive",),
        ("redrive", "0:1", "--all"),
        ("redrive", "0:1", "--topic", "x"),
        ("redrive", "first"),
        ("discard", "0:1"),
        ("list", "--since", "yesterday"),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_found_before_anything_is_connected_to(tmp_path: Path, words: tuple[str, ...]) -> None:
    file = tmp_path / "shop.yaml"
    file.write_text(
        "name: shop\nsource: {url: 'postgresql://localhost/x'}\npublish: {url: 'kafka://127.0.0.1:9'}\n"
    )
    command = [sys.executable, "-m", "liberator", "dlq", words[0], str(file), *words[1:]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error [")


def test_a_destination_that_keeps_no_topics_says_where_its_dead_letters_are(tmp_path: Path) -> None:
    file = tmp_path / "shop.yaml"
    file.write_text(
        "name: shop\nsource: {url: 'postgresql://localhost/x'}\npublish: {url: 'file:events.ndjson'}\n"
    )
    command = [sys.executable, "-m", "liberator", "dlq", "list", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "lines among its events" in done.stderr
