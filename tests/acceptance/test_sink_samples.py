"""The sample sinks of `connectors/`, as they are; a database's changes all the way to a function; what people see of it."""

from __future__ import annotations

import json
import shutil
import sqlite3
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psycopg
import pytest

from liberator.signature import secret_of, signed
from liberator.testing.servers import Kafka
from liberator.testing.servers.process import free_port
from tests.acceptance.sink import PATIENCE, Broker, KafkaBroker, LocalBroker, Record, Sink, numbered

CONNECTORS = Path(__file__).parents[2] / "connectors"
ORDERS = "shop.public.orders"


class Shipping(BaseHTTPRequestHandler):
    """An endpoint that answers what the path of its server says for an event, in its attempts one after the other."""

    answers: dict[str, list[int]]
    seen: list[tuple[str, str, Any]]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        id = self.headers["ce-id"]
        self.seen.append((id, self.headers["ce-type"], body))
        left = self.answers.get(id, [])
        self.send_response(left.pop(0) if left else 202)
        self.send_header("Retry-After", "1")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


@pytest.fixture
def shipping() -> Iterator[tuple[str, type[Shipping]]]:
    """The URL of an endpoint, and what it has seen."""
    handler = type("Handler", (Shipping,), {"answers": {}, "seen": []})
    with serving(handler) as url:
        yield f"{url}/events", handler


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """A server of these; its URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Sink]]:
    """A sample in a folder of its own, with a local log of orders."""
    with ExitStack() as stack:

        def copied(file: str) -> Sink:
            broker = LocalBroker(tmp_path / "events")
            sink = Sink(tmp_path / "connectors", "", broker)
            stack.callback(sink.close)
            text = (CONNECTORS / file).read_text()
            sink.path.write_text(text.replace("127.0.0.1:9469", "127.0.0.1:0"))
            shutil.copytree(CONNECTORS / "functions", sink.folder / "functions")
            monkeypatch.setenv("SHOP_STREAM", broker.url)
            broker.create(ORDERS, 1)
            rows = [{"id": n, "status": "paid" if n % 2 else "new"} for n in range(4)]
            values = [json.dumps({"before": None, "after": row, "op": "c"}).encode() for row in rows]
            events = [Record(b"%d" % n, value, (("id", b"e%d" % n),)) for n, value in enumerate(values)]
            broker.append(ORDERS, events)
            return sink

        yield copied


def test_the_python_sample_publishes_what_its_function_returns(sample: Callable[[str], Sink]) -> None:
    sink = sample("sink-python.yaml")
    sink.run()
    published = [json.loads(record.value or b"") for record in sink.broker.read("shipping.notified")]
    assert sorted(one["order"] for one in published) == [0, 1, 2, 3]


def test_the_command_sample_publishes_the_paid_orders(sample: Callable[[str], Sink]) -> None:
    sink = sample("sink-command.yaml")
    sink.run()
    published = [json.loads(record.value or b"") for record in sink.broker.read("shop.orders.paid")]
    assert [one["id"] for one in published] == [1, 3]


def test_the_http_sample_does_what_the_answers_say(
    sample: Callable[[str], Sink], shipping: tuple[str, type[Shipping]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """D84: done, wait, retry, permanent."""
    url, endpoint = shipping
    monkeypatch.setenv("SHIPPING_URL", url)
    monkeypatch.setenv("SHIPPING_PRIVATE", "true")
    endpoint.answers.update({"e0": [204], "e1": [429], "e2": [500, 503], "e3": [404]})
    sink = sample("sink-http.yaml")
    sink.run()
    ids = [id for id, _, _ in endpoint.seen]
    assert {id: ids.count(id) for id in ids} == {"e0": 1, "e1": 2, "e2": 3, "e3": 1}
    _, type, body = endpoint.seen[ids.index("e0")]
    assert (type, body["after"]) == (f"{ORDERS}.created", {"id": 0, "status": "new"})
    dead = sink.broker.read("shipping-endpoint.dead-letters")
    assert [record.header("id") for record in dead] == ["e3"]
    assert "404" in dead[0].header("__connect.errors.exception.message")
    assert sink.broker.committed("shipping-endpoint", ORDERS) == 4


def test_the_webhook_sample_books_what_is_posted(
    sample: Callable[[str], Sink], monkeypatch: pytest.MonkeyPatch
) -> None:
    port, secret = free_port(), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    monkeypatch.setenv("HOOK_LISTEN", f"127.0.0.1:{port}")
    monkeypatch.setenv("HOOK_SECRET", secret)
    sink = sample("sink-webhook.yaml")

    def post(id: str, body: bytes) -> int:
        headers = signed(secret_of(secret), id, int(time.time()), body)
        request = urllib.request.Request(f"http://127.0.0.1:{port}/hook", body, headers)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return int(answer.status)
        except OSError:
            return 0

    process = sink.launch()
    sink.wait_for(lambda: post("p1", b'{"amount": 5}') == 202, "an answer")
    assert post("p2", b'{"amount": 0}') == 202
    sink.wait_for(lambda: sink.broker.committed("payments", "payments.received") == 2, "both done")
    sink.stop(process)
    booked = [json.loads(record.value or b"") for record in sink.broker.read("payments.booked")]
    assert booked == [{"payment": "p1", "amount": 5}]


def test_the_schedule_sample_is_called_once(sample: Callable[[str], Sink]) -> None:
    sink = sample("sink-schedule.yaml")
    sink.run()
    [report] = [json.loads(record.value or b"") for record in sink.broker.read("reports")]
    assert report["report"] == "nightly"


class Elsewhere(BaseHTTPRequestHandler):
    """A gateway of OpenFaaS and an endpoint of Lambda: both answer, or call back, what they were given."""

    seen: list[str]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.seen.append(self.path)
        back = self.headers.get("X-Callback-Url")
        if back is not None:
            threading.Thread(target=self._call_back, args=(back, body)).start()
        answer = b"" if back else json.dumps({"given": json.loads(body)}).encode()
        self.send_response(200 if back is None else 202)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def _call_back(self, url: str, body: bytes) -> None:
        headers = {"X-Function-Status": "200"}
        urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=PATIENCE).close()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


@pytest.fixture
def elsewhere() -> Iterator[tuple[str, list[str]]]:
    """Its URL, and the paths that were called."""
    seen: list[str] = []
    with serving(type("Handler", (Elsewhere,), {"seen": seen})) as url:
        yield url, seen


def test_the_openfaas_sample_waits_for_what_is_called_back(
    sample: Callable[[str], Sink], elsewhere: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, seen = elsewhere
    monkeypatch.setenv("FAAS_GATEWAY", url)
    monkeypatch.setenv("FAAS_PASSWORD", "a password")
    monkeypatch.setenv("CALLBACK_LISTEN", "127.0.0.1:0")
    sink = sample("sink-openfaas.yaml")
    sink.run()
    assert seen == ["/async-function/notify"] * 4
    notified = [json.loads(record.value or b"") for record in sink.broker.read("shipping.notified")]
    assert sorted(one["after"]["id"] for one in notified) == [0, 1, 2, 3]


def test_the_lambda_sample_gives_a_batch(
    sample: Callable[[str], Sink], elsewhere: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, seen = elsewhere
    monkeypatch.setenv("LAMBDA_ENDPOINT", url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a secret of aws")
    sink = sample("sink-lambda.yaml")
    sink.run()
    assert seen == ["/2015-03-31/functions/notify/invocations"]
    [notified] = [json.loads(record.value or b"") for record in sink.broker.read("shipping.notified")]
    (records,) = notified["given"]["records"].values()
    assert len(records) == 4
    assert "a secret of aws" not in sink.log


def test_the_file_sample_loads_what_is_in_files(
    sample: Callable[[str], Sink], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    incoming = tmp_path / "incoming"
    incoming.mkdir()
    for name, content in {"a.json": '{"n": 1}', "torn.json": "{", "empty.json": "", "a.txt": "{}"}.items():
        (incoming / name).write_text(content)
    monkeypatch.setenv("INCOMING", str(incoming))
    monkeypatch.setenv("SETTLE", "0")
    sink = sample("sink-file.yaml")
    sink.run()
    published = [json.loads(record.value or b"") for record in sink.broker.read("intake.loaded")]
    assert published == [{"file": "a.json", "content": {"n": 1}}]
    dead = [json.loads(record.value or b"")["key"] for record in sink.broker.read("intake.dead-letters")]
    assert dead == ["torn.json"]


def test_the_steps_sample_goes_the_way_that_each_order_asks_for(sample: Callable[[str], Sink]) -> None:
    sink = sample("sink-steps.yaml")
    sink.run()
    published = [json.loads(record.value or b"") for record in sink.broker.read("shop.orders.fulfilled")]
    assert sorted(published, key=json.dumps) == sorted(
        [
            {"order": 0, "waits": True},
            {"price": {"order": 1, "total": 10}, "stock": 4},
            {"order": 2, "waits": True},
            {"order": 3, "sorry": "step stock: LookupError: sold out"},
        ],
        key=json.dumps,
    )
    assert sink.broker.committed("fulfil-orders", ORDERS) == 4


class Stock(BaseHTTPRequestHandler):
    """Has nothing of item 3."""

    def do_POST(self) -> None:
        item = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["item"]
        answer = b'{"left": %d}' % (0 if item == 3 else 5)
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


def test_the_calls_sample_asks_others(sample: Callable[[str], Sink], monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(Stock) as url:
        monkeypatch.setenv("STOCK_URL", f"{url}/stock")
        sink = sample("sink-calls.yaml")
        sink.run()
    published = [json.loads(record.value or b"") for record in sink.broker.read("shop.orders.promised")]
    assert published == [{"order": 1, "price": 11}]


def test_the_table_sample_makes_a_table_and_fills_it(
    sample: Callable[[str], Sink], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "copies.db"
    monkeypatch.setenv("COPY_DSN", f"sqlite:///{copy}")
    sink = sample("sink-table.yaml")
    contract = tmp_path / "schemas" / ORDERS / "1.json"
    contract.parent.mkdir(parents=True)
    properties = {"id": {"type": "integer"}, "status": {"type": ["string", "null"]}}
    contract.write_text(json.dumps({"type": "object", "properties": properties, "x-key": ["id"]}))
    sink.run()
    with closing(sqlite3.connect(copy)) as connection:
        rows = connection.execute("SELECT id, status FROM orders_copy ORDER BY id").fetchall()
    assert rows == [(0, "new"), (1, "paid"), (2, "new"), (3, "paid")]


@pytest.fixture(params=["local", "kafka"])
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Broker:
    if request.param == "local":
        return LocalBroker(tmp_path / "events")
    kafka: Kafka = request.getfixturevalue("kafka")
    return KafkaBroker(kafka.bootstrap)


def test_a_source_and_a_sink_in_one_run_bring_rows_to_a_function(
    database: str, broker: Broker, tmp_path: Path, unique: str
) -> None:
    sink = Sink(tmp_path / "sink", f"{unique}.sink", broker)
    sink.write(
        f"""
        stream: {{topics: [{unique}.public.orders]}}
        trigger: {{batch_window: 50ms}}
        function: {{python: "functions:note"}}
        """
    )
    source = tmp_path / "source.yaml"
    source.write_text(
        f"connector: source\nname: {unique}\nsource: {{url: '{database}', tables: [public.orders]}}\n"
        f"publish: {{url: '{broker.url}'}}\n"
    )
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("create table orders (id int primary key, status text)")
        connection.execute("insert into orders values (1, 'new')")
        process = sink.launch(files=[source, sink.path])
        try:
            sink.wait_for(lambda: len(sink.given()) >= 1, "the row that was there")
            connection.execute("update orders set status = 'paid'")
            connection.execute("delete from orders")
            sink.wait_for(lambda: len(sink.given()) >= 4, "update, delete and tombstone")
            sink.stop(process)
        finally:
            sink.close()
    rows = [value and (value["op"], value["after"]) for value in sink.given()]
    assert rows == [
        ("r", {"id": 1, "status": "new"}),
        ("u", {"id": 1, "status": "paid"}),
        ("d", None),
        None,
    ]


def test_the_endpoint_tells_what_a_sink_does(tmp_path: Path, unique: str) -> None:
    broker = LocalBroker(tmp_path / "events")
    sink = Sink(tmp_path / "sink", unique, broker)
    port = free_port()
    sink.write(
        f"""
        stream: {{topics: [{unique}.in]}}
        trigger: {{batch_size: 10, batch_window: 10ms}}
        function: {{python: "functions:picky"}}
        policy: {{retry: {{attempts: 2, initial: 1ms}}, bisect: false}}
        observe: {{listen: "127.0.0.1:{port}"}}
        """,
        """
        def picky(events, context):
            return {"failed": [event.id for event in events if event.value["n"] == 5]}
        """,
    )
    broker.create(f"{unique}.in", 1)
    broker.append(f"{unique}.in", numbered(range(50)))

    def page(path: str) -> str:
        return sink.page(port, path)

    def done() -> bool:
        try:
            return int(json.loads(page("/status"))["events"]["durable"]) == 50
        except OSError:
            return False

    process = sink.launch()
    try:
        sink.wait_for(done, "50 events done")
        status = json.loads(page("/status"))
        assert status["state"] == "streaming"
        calls = status["invocations"]
        assert calls["total"] >= 6
        assert calls["retries"] == 1
        assert calls["failed"] == 2
        assert calls["seconds"]["p50"] <= calls["seconds"]["p95"] <= calls["seconds"]["p99"]
        assert status["dead_letters"]["topics"] == {f"{unique}.in": 1}
        metrics = page("/metrics")
        assert f'liberator_consumed_events_total{{topic="{unique}.in"}} 50.0' in metrics
        assert "liberator_done_events_total 50.0" in metrics
        assert "liberator_invocation_seconds_bucket" in metrics
        assert "liberator_lag_events" in metrics
        assert json.loads(page("/health/ready"))["status"] == "ok"
        sink.wait_for(lambda: broker.committed(unique, f"{unique}.in") == 50, "the commit")
        told = sink.status()
        assert told["running"]["guarantee"] == told["guarantee"]
        assert told["running"]["invocations"]["total"] == calls["total"]
        assert told["live"] == {"group": unique, "lag_events": 0, "topics": {f"{unique}.in": 0}}
        sink.stop(process)
    finally:
        sink.close()
