"""AWS Lambda, called through an endpoint that speaks Invoke and runs the handler: a wrong payload fails."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from liberator.change import Event
from liberator.errors import FunctionError
from liberator.function.aws_lambda import LambdaFunction, LambdaSettings
from liberator.function.context import Context
from liberator.protocols import Outcome
from tests.unit.function.headed import headed

EVENTS = [
    Event("orders", 0, 5, 1_700, b'{"id":1}', b'{"n":1}', (("id", b"e1"), ("raw", b"\xff"))),
    Event("orders", 0, 6, 1_701, b'{"id":2}', None),
    Event("orders", 1, 9, 1_702, None, b'{"n":3}'),
]

Handler = Callable[[dict[str, Any]], Any]


class Invoke:
    """Lambda's Invoke, for one function. handler: as a user writes it, given the event. error: what is answered instead."""

    def __init__(self) -> None:
        self.handler: Handler = lambda event: None
        self.error: tuple[int, str] | None = None
        self.kinds: list[str] = []
        self.url = ""

    def answer(self, path: str, kind: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        assert path == "/2015-03-31/functions/notify/invocations", path
        self.kinds.append(kind)
        if self.error is not None:
            status, code = self.error
            return status, {"x-amzn-errortype": code}, b'{"Message":"no"}'
        if kind == "Event":
            return 202, {}, b""
        try:
            return 200, {}, json.dumps(self.handler(json.loads(body))).encode()
        except Exception as error:
            told = {"errorType": type(error).__name__, "errorMessage": str(error)}
            return 200, {"x-amz-function-error": "Unhandled"}, json.dumps(told).encode()


@pytest.fixture
def invoke(monkeypatch: pytest.MonkeyPatch) -> Iterator[Invoke]:
    it = Invoke()

    class Serve(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            status, headers, answer = it.answer(
                self.path, self.headers.get("x-amz-invocation-type", ""), body
            )
            self.send_response(status)
            for name, value in {**headers, "content-length": str(len(answer))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Serve)
    server.daemon_threads = True
    it.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    yield it
    server.shutdown()
    server.server_close()
    thread.join()


def call(invoke: Invoke, events: list[Event] = EVENTS, **settings: Any) -> Outcome:
    given = {
        "name": "notify",
        "region": "eu-west-1",
        "endpoint": invoke.url,
        "bootstrap_servers": "b:9092",
        **settings,
    }
    it = LambdaFunction(LambdaSettings(**given))
    try:
        return it.call(events, Context("notify", 1))
    finally:
        it.close()


def test_a_handler_written_for_a_kafka_trigger_understands_the_payload(invoke: Invoke) -> None:
    def handler(event: dict[str, Any]) -> Any:
        assert event["eventSource"] == "SelfManagedKafka"
        assert event["bootstrapServers"] == "b:9092"
        seen = []
        for partition, records in event["records"].items():
            for record in records:
                assert partition == f"{record['topic']}-{record['partition']}"
                assert record["timestampType"] == "CREATE_TIME"
                key = json.loads(base64.b64decode(record["key"])) if "key" in record else None
                value = json.loads(base64.b64decode(record["value"])) if "value" in record else None
                headers = {
                    name: bytes(value) for header in record["headers"] for name, value in header.items()
                }
                seen.append([record["offset"], record["timestamp"], key, value, sorted(headers)])
                assert headers.get("raw", b"\xff") == b"\xff"
        return seen

    invoke.handler = handler
    [output] = call(invoke, EVENTS).outputs
    assert json.loads(output.value or b"") == [
        [5, 1700, {"id": 1}, {"n": 1}, ["id", "raw"]],
        [6, 1701, {"id": 2}, None, []],
        [9, 1702, None, {"n": 3}, []],
    ]


def test_json_behind_a_head_comes_without_it_and_with_the_id_beside_it(invoke: Invoke) -> None:
    """As Lambda's own trigger gives it where a schema registry is configured."""
    invoke.handler = lambda event: event["records"]
    plain, registered = (
        json.loads(call(invoke, given).outputs[0].value or b"") for given in (EVENTS, headed(EVENTS))
    )
    for records in registered.values():
        for record in records:
            ids = {"key": "7", "value": "8"}
            assert {name: record.pop(f"{name}SchemaMetadata") for name in ids if name in record} == {
                name: {"schemaId": id, "dataFormat": "JSON"} for name, id in ids.items() if name in record
            }
    assert registered == plain


def test_what_the_handler_returns_is_published(invoke: Invoke) -> None:
    invoke.handler = lambda event: {"count": sum(map(len, event["records"].values()))}
    [output] = call(invoke).outputs
    assert (output.key, output.value) == (b'{"id":1}', b'{"count": 3}')


def test_returning_nothing_means_that_all_is_done(invoke: Invoke) -> None:
    assert call(invoke) == Outcome()


@pytest.mark.parametrize("empty", [[], None])
def test_an_empty_list_of_failures_means_that_all_is_done(invoke: Invoke, empty: Any) -> None:
    invoke.handler = lambda event: {"batchItemFailures": empty}
    assert call(invoke) == Outcome()


def test_a_named_offset_and_all_behind_it_in_its_partition_come_again(invoke: Invoke) -> None:
    invoke.handler = lambda event: {
        "batchItemFailures": [{"itemIdentifier": {"partition": "orders-0", "offset": 5}}]
    }
    outcome = call(invoke)
    assert sorted(outcome.failures) == [0, 1]
    assert all(error.retryable for error in outcome.failures.values())


@pytest.mark.parametrize(
    "item",
    [
        {"itemIdentifier": {"partition": "other-0", "offset": 1}},
        {"itemIdentifier": {"partition": "orders-0", "offset": 99}},
        {"itemIdentifier": "5"},
        {},
        {"itemIdentifier": {"partition": "orders-0", "offset": "x"}},
    ],
)
def test_failures_that_cannot_be_read_fail_all(invoke: Invoke, item: Any) -> None:
    invoke.handler = lambda event: {"batchItemFailures": [item]}
    outcome = call(invoke)
    assert len(outcome.failures) == 3
    assert outcome.failures[0].code == "function.result"


def test_a_handler_that_raises_fails_all_and_may_pass(invoke: Invoke) -> None:
    def handler(event: dict[str, Any]) -> Any:
        raise ValueError("no route")

    invoke.handler = handler
    outcome = call(invoke)
    assert (len(outcome.failures), outcome.failures[0].retryable) == (3, True)
    assert str(outcome.failures[0]) == "ValueError: no route"


def test_a_handler_can_say_that_its_events_will_never_work(invoke: Invoke) -> None:
    class PermanentError(Exception):
        pass

    def handler(event: dict[str, Any]) -> Any:
        raise PermanentError("no such customer")

    invoke.handler = handler
    error = call(invoke).failures[0]
    assert (error.code, error.retryable) == ("function.permanent", False)


def test_asynchronously_lambda_takes_it_and_no_more_is_known(invoke: Invoke) -> None:
    assert call(invoke, invocation="async") == Outcome()
    assert invoke.kinds == ["Event"]


@pytest.mark.parametrize(
    ("status", "code", "retryable"),
    [
        (429, "TooManyRequestsException", True),
        (500, "ServiceException", True),
        (502, "EC2UnexpectedException", True),
        (404, "ResourceNotFoundException", False),
        (403, "AccessDeniedException", False),
        (400, "InvalidParameterValueException", False),
    ],
)
def test_what_refusals_mean(invoke: Invoke, status: int, code: str, retryable: bool) -> None:
    invoke.error = (status, code)
    error = call(invoke).failures[0]
    assert (error.retryable, len(invoke.kinds)) == (retryable, 1)
    assert code in str(error)


def test_nobody_there_may_pass(invoke: Invoke) -> None:
    error = call(invoke, endpoint="http://127.0.0.1:1").failures[0]
    assert (error.code, error.retryable) == ("function.unreachable", True)


def test_a_batch_that_is_too_large_may_be_halved_and_a_single_event_is_given_up(invoke: Invoke) -> None:
    large = [Event("orders", 0, n, 0, b"k", b"x" * 3_000_000) for n in range(2)]
    assert call(invoke, large).failures[0].retryable
    assert not call(invoke, [Event("orders", 0, 0, 0, b"k", b"x" * 6_000_000)]).failures[0].retryable
    assert invoke.kinds == []


def test_without_a_region_it_says_what_is_missing(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    with pytest.raises(FunctionError) as refused:
        call(invoke, region=None)
    assert "region" in (refused.value.fix or "")
