"""HTTP endpoints as functions: what they are sent, and what their answers mean."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_network
from typing import Any

import pytest
import urllib3

from liberator.change import Event
from liberator.errors import ConfigError
from liberator.function import http
from liberator.function.context import Context
from liberator.function.http import HttpFunction, HttpSettings
from liberator.function.network import may_be_called
from liberator.protocols import Outcome
from liberator.signature import secret_of, signed, why_not_genuine
from tests.unit.function.headed import headed

NOW = 1_700_000_000.0
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def event(n: int, key: bytes | None = b'{"id":7}', value: bytes | None = None, **headers: str) -> Event:
    body = b'{"op":"u","after":{"n":%d,"big":12345678901234567890.10}}' % n if value is None else value
    given = {"id": f"e{n}", **headers}
    return Event(
        "shop.orders", 0, n, 1_700_000_000_123, key, body, tuple((k, v.encode()) for k, v in given.items())
    )


@dataclass
class Endpoint:
    """An endpoint that answers what the test says, and remembers what it was sent."""

    port: int = 0
    status: list[int] = field(default_factory=lambda: [200])
    answer: bytes = b""
    answer_headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    connections: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    it = Endpoint()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            it.connections += 1

        def handle(self) -> None:
            with contextlib.suppress(ConnectionError):  # who does not want all of it hangs up
                super().handle()

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            it.requests.append(({name.lower(): value for name, value in self.headers.items()}, body))
            time.sleep(it.delay)
            self.send_response(it.status[min(len(it.requests), len(it.status)) - 1])
            for name, value in {"content-length": str(len(it.answer)), **it.answer_headers}.items():
                self.send_header(name, value)
            with contextlib.suppress(ConnectionError):  # who waited for it may have gone
                self.end_headers()
                self.wfile.write(it.answer)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    it.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield it
    server.shutdown()
    server.server_close()
    thread.join()


Call = Callable[..., Outcome]


@pytest.fixture
def call(endpoint: Endpoint) -> Iterator[Call]:
    """Calls the endpoint: `call(event(1), format="cloudevents-batch")`."""
    made: list[HttpFunction] = []

    def do(*events: Event, timeout: float | None = None, **settings: Any) -> Outcome:
        if not made or settings:
            made.insert(
                0, HttpFunction(HttpSettings(**{"url": endpoint.url, "allow_private": True, **settings}))
            )
        deadline = None if timeout is None else time.monotonic() + timeout
        return made[0].call(events, Context("hook", 1, deadline))

    yield do
    for one in made:
        one.close()


def test_a_binary_cloudevent_has_its_attributes_in_headers(endpoint: Endpoint, call: Call) -> None:
    assert call(event(1)) == Outcome()
    [(headers, body)] = endpoint.requests
    assert body == event(1).raw_value
    assert {name: value for name, value in headers.items() if name.startswith("ce-")} == {
        "ce-specversion": "1.0",
        "ce-id": "e1",
        "ce-source": "/liberator",
        "ce-type": "shop.orders.updated",
        "ce-time": "2023-11-14T22:13:20.123Z",
        "ce-subject": "{%22id%22:7}",
    }
    assert headers["content-type"] == "application/json"


def test_what_came_as_a_cloudevent_keeps_its_attributes(endpoint: Endpoint, call: Call) -> None:
    call(event(1, ce_id="x9", ce_type="order.paid", ce_source="/shop", ce_traceparent="00-ab"))
    headers = endpoint.requests[0][0]
    assert (headers["ce-id"], headers["ce-type"], headers["ce-source"]) == ("x9", "order.paid", "/shop")
    assert headers["ce-traceparent"] == "00-ab"


def test_the_chain_of_an_event_is_told_as_the_extension_of_cloudevents_does(
    endpoint: Endpoint, call: Call
) -> None:
    call(event(1, correlation="order/7", causation="e0"))
    headers = endpoint.requests[0][0]
    assert (headers["ce-correlationid"], headers["ce-causationid"]) == ("order/7", "e0")


def test_attributes_are_quoted_where_headers_need_it(endpoint: Endpoint, call: Call) -> None:
    call(event(1, key="Grüße 5%".encode()))
    assert endpoint.requests[0][0]["ce-subject"] == "Gr%C3%BC%C3%9Fe%205%25"


def test_an_event_of_an_outbox_keeps_its_type(endpoint: Endpoint, call: Call) -> None:
    call(event(1, value=b'{"total": 1}', type="OrderPlaced"))
    assert endpoint.requests[0][0]["ce-type"] == "OrderPlaced"


def test_a_structured_cloudevent_is_one_document_with_its_very_digits(endpoint: Endpoint, call: Call) -> None:
    call(event(1), format="cloudevents-structured")
    headers, body = endpoint.requests[0]
    assert headers["content-type"] == "application/cloudevents+json; charset=UTF-8"
    assert b"12345678901234567890.10" in body
    document = json.loads(body)
    assert (document["id"], document["type"], document["data"]["after"]["n"]) == (
        "e1",
        "shop.orders.updated",
        1,
    )


@pytest.mark.parametrize("format", ["cloudevents", "cloudevents-structured", "cloudevents-batch", "raw"])
def test_the_head_of_a_registry_is_neither_sent_nor_published(
    endpoint: Endpoint, call: Call, format: str
) -> None:
    endpoint.answer, endpoint.answer_headers = b'{"done":true}', {"content-type": "application/json"}
    plain = call(event(1), format=format)
    assert call(*headed([event(1)]), format=format) == plain
    assert [output.key for output in plain.outputs] == [b'{"id":7}']
    first, second = endpoint.requests
    assert second == first


def test_what_came_structured_and_behind_a_head_is_sent_structured(endpoint: Endpoint, call: Call) -> None:
    whole = b'{"specversion":"1.0","id":"e1","source":"/shop","type":"paid"}'
    structured = Event("t", 0, 1, 0, None, whole, (("content-type", b"application/cloudevents+json"),))
    call(*headed([structured]))
    [(headers, body)] = endpoint.requests
    assert (headers["content-type"].partition(";")[0], body) == ("application/cloudevents+json", whole)


def test_bytes_that_are_no_json_travel_as_base64(endpoint: Endpoint, call: Call) -> None:
    call(event(1, value=b"\xff"), format="cloudevents-structured")
    document = json.loads(endpoint.requests[0][1])
    assert (document["data_base64"], document["datacontenttype"]) == ("/w==", "application/octet-stream")


def test_a_batch_is_one_request(endpoint: Endpoint, call: Call) -> None:
    call(event(1), event(2), event(3), format="cloudevents-batch")
    [(headers, body)] = endpoint.requests
    assert headers["content-type"] == "application/cloudevents-batch+json; charset=UTF-8"
    assert [document["id"] for document in json.loads(body)] == ["e1", "e2", "e3"]


def test_connections_are_kept(endpoint: Endpoint, call: Call) -> None:
    call(event(1), event(2), event(3))
    call(event(4))
    assert (len(endpoint.requests), endpoint.connections) == (4, 1)


def test_is_signed_as_standard_webhooks_say(endpoint: Endpoint, call: Call) -> None:
    call(event(1), sign=SECRET)
    headers, body = endpoint.requests[0]
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    expected = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert headers["webhook-id"] == "e1"
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < 60


def test_batches_that_begin_with_one_event_are_not_taken_for_one_request(
    endpoint: Endpoint, call: Call
) -> None:
    for events in [event(1), event(2)], [event(1), event(2)], [event(1), event(3)], [event(1)]:
        call(*events, sign=SECRET, format="cloudevents-batch")
    first, again, other, alone = [headers["webhook-id"] for headers, _ in endpoint.requests]
    assert first == again
    assert len({first, other, alone}) == 3
    assert alone == "e1"


@pytest.mark.parametrize(
    ("id", "sent"),
    [
        ("shop/\u2603/1", "shop/%E2%98%83/1"),
        ("a\r\nX: 1", "a%0D%0AX: 1"),
        ('shop/{"id": 1}/100%', 'shop/{"id": 1}/100%'),
    ],
)
def test_an_id_that_no_header_can_carry_is_signed_as_it_is_sent(
    endpoint: Endpoint, call: Call, id: str, sent: str
) -> None:
    assert call(event(1, id=id), sign=SECRET).failures == {}
    [(headers, body)] = endpoint.requests
    assert headers["webhook-id"] == sent
    key, at = secret_of(SECRET), headers["webhook-timestamp"]
    assert why_not_genuine([key], sent, at, headers["webhook-signature"], body, float(at)) is None


def test_signs_like_the_example_of_the_specification() -> None:
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = signed(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_headers_of_the_configuration_are_sent(endpoint: Endpoint, call: Call) -> None:
    call(event(1), headers={"authorization": "Bearer x"})
    assert endpoint.requests[0][0]["authorization"] == "Bearer x"


def test_a_json_answer_is_what_the_function_publishes(endpoint: Endpoint, call: Call) -> None:
    endpoint.answer, endpoint.answer_headers = b'{"paid":true}', {"content-type": "application/json"}
    [output] = call(event(1)).outputs
    assert (output.key, output.value) == (b'{"id":7}', b'{"paid":true}')


@pytest.mark.parametrize(
    "answer", [b'{"paid":NaN}', b"[-Infinity]", b"[" * 100_000 + b"]" * 100_000, b"{oops"]
)
def test_what_others_cannot_read_is_not_published(endpoint: Endpoint, call: Call, answer: bytes) -> None:
    endpoint.answer, endpoint.answer_headers = answer, {"content-type": "application/json"}
    assert call(event(1)) == Outcome()


@pytest.mark.parametrize("status", [201, 202, 204, 200])
def test_every_2xx_is_done(endpoint: Endpoint, call: Call, status: int) -> None:
    endpoint.status = [status]
    assert call(event(1)) == Outcome()


@pytest.mark.parametrize(
    ("status", "retryable"),
    [
        (408, True),
        (425, True),
        (429, True),
        (500, True),
        (503, True),
        (522, True),
        (400, False),
        (404, False),
        (501, False),
        (302, False),
    ],
)
def test_what_other_answers_mean(endpoint: Endpoint, call: Call, status: int, retryable: bool) -> None:
    endpoint.status, endpoint.answer_headers = [status], {"location": "http://127.0.0.1:9/"}
    error = call(event(1)).failures[0]
    assert (error.code, error.retryable) == (f"function.http_{status}", retryable)
    assert len(endpoint.requests) == 1


def test_an_endpoint_that_is_gone_wants_no_more(endpoint: Endpoint, call: Call) -> None:
    endpoint.status = [410]
    error = call(event(1)).failures[0]
    assert (error.code, error.retryable) == ("function.gone", False)


@pytest.mark.parametrize(
    ("text", "seconds"), [("7", 7.0), (formatdate(NOW + 60, usegmt=True), 60.0), ("soon", 0.0)]
)
def test_retry_after_is_heard(endpoint: Endpoint, text: str, seconds: float) -> None:
    endpoint.status, endpoint.answer_headers = [429], {"retry-after": text}
    it = HttpFunction(HttpSettings(endpoint.url, allow_private=True), now=lambda: NOW)
    assert it.call([event(1)], Context("hook", 1)).failures[0].retry_after == seconds
    it.close()


def test_what_follows_a_failed_event_of_its_key_waits_with_it(endpoint: Endpoint, call: Call) -> None:
    endpoint.status = [200, 503, 200]
    outcome = call(event(1), event(2), event(3, key=b"other"), event(4))
    assert sorted(outcome.failures) == [1, 3]
    assert len(endpoint.requests) == 3


@pytest.mark.parametrize(
    ("order", "failed"), [("key", [0, 3]), ("partition", [0, 1, 2, 3]), ("none", [0])], ids=str
)
def test_what_keeps_its_order_waits_for_one_that_failed_and_nothing_else(
    endpoint: Endpoint, call: Call, order: str, failed: list[int]
) -> None:
    endpoint.status = [503, 200]
    events = [event(1, key=b"a"), event(2, key=b"b"), event(3, key=b"c"), event(4, key=b"a")]
    assert sorted(call(*events, order=order).failures) == failed
    assert len(endpoint.requests) == 4 - len(failed) + 1


def test_no_answer_in_time_may_pass(endpoint: Endpoint, call: Call) -> None:
    endpoint.delay = 2.0
    error = call(event(1), timeout=0.3).failures[0]
    assert (error.code, error.retryable) == ("function.timeout", True)


def test_events_behind_one_that_takes_all_the_time_were_not_tried(endpoint: Endpoint, call: Call) -> None:
    outcome = call(event(1, key=b"a"), event(2, key=b"b"), timeout=-1.0)
    assert endpoint.requests == []
    assert {(error.code, error.retryable, error.counts) for error in outcome.failures.values()} == {
        ("function.untried", True, False)
    }


def test_nobody_there_may_pass(call: Call) -> None:
    error = call(event(1), url="http://127.0.0.1:1/").failures[0]
    assert (error.code, error.retryable) == ("function.unreachable", True)


def test_a_private_network_is_not_called_unless_that_is_allowed(endpoint: Endpoint, call: Call) -> None:
    error = call(event(1), allow_private=False).failures[0]
    assert (error.code, error.retryable) == ("function.private", False)
    assert endpoint.requests == []


def test_a_private_network_that_is_named_is_called(endpoint: Endpoint, call: Call) -> None:
    for network, done in (("127.0.0.0/8", True), ("10.0.0.0/8", False)):
        failures = call(event(1), allow_private=[ip_network(network)]).failures
        assert (not failures) is done
    assert len(endpoint.requests) == 1


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.0.1", "100.64.0.1", "0.0.0.0", "224.0.0.1"),
        *("169.254.169.254", "::1", "fd00::1", "fe80::1%eth0", "ff02::1", "::ffff:10.0.0.1"),
        *("64:ff9b::a00:1", "2002:a00:1::", "2001:0:4136:e378:8000:63bf:f5ff:fffe"),
    ],
)
def test_addresses_of_private_networks_however_they_are_written(address: str) -> None:
    assert not may_be_called(address)


@pytest.mark.parametrize(
    "address", ["93.184.216.34", "2606:2800:220:1::1", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_public_addresses_may_be_called(address: str) -> None:
    assert may_be_called(address)


def test_a_name_is_resolved_once_and_that_address_is_connected_to(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name server that says something else the second time is not asked a second time."""
    answers = [["93.184.216.34"], ["127.0.0.1"]]
    asked, connected = [], []

    def resolve(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, port)) for ip in answers[len(asked) - 1]]

    def connect(address: tuple[str, int], *_: Any, **__: Any) -> socket.socket:
        connected.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(urllib3.util.connection, "create_connection", connect)
    error = call(event(1), url="http://rebinding.example/", allow_private=False).failures[0]
    assert error.code == "function.unreachable"
    assert (asked, connected) == (["rebinding.example"], [("93.184.216.34", 80)])


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_name_with_any_private_address_is_not_connected_to(
    call: Call, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    def resolve(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, port)) for ip in ("93.184.216.34", "10.0.0.1")
        ]

    connected: list[Any] = []
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(urllib3.util.connection, "create_connection", lambda *a, **_: connected.append(a))
    error = call(event(1), url=f"{scheme}://both.example/", allow_private=False).failures[0]
    assert (error.code, connected) == ("function.private", [])


def test_redirects_lead_nowhere(endpoint: Endpoint, call: Call) -> None:
    endpoint.status, endpoint.answer_headers = [307], {"location": endpoint.url}
    error = call(event(1)).failures[0]
    assert (error.code, error.retryable, len(endpoint.requests)) == ("function.http_307", False, 1)


def test_an_answer_that_is_too_large_is_an_error_and_is_not_read_to_its_end(
    endpoint: Endpoint, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "_MOST_ANSWER", 100_000)
    endpoint.answer_headers = {"content-type": "application/json", "content-length": str(1 << 40)}
    endpoint.answer = b'"' + b"x" * 300_000
    error = call(event(1)).failures[0]
    assert (error.code, error.retryable) == ("function.answer_too_large", False)
    endpoint.answer_headers, endpoint.answer = {}, b""
    assert not call(event(2)).failures, "on another connection"
    assert endpoint.connections == 2


def test_an_answer_that_nobody_wants_may_be_of_any_size(endpoint: Endpoint, call: Call) -> None:
    """The endpoint has done it: that is all that counts."""
    endpoint.answer_headers = {"content-type": "application/json", "content-length": str(1 << 40)}
    endpoint.answer = b'"' + b"x" * 300_000
    assert call(event(1), answers=False) == Outcome()


def test_an_answer_that_comes_drop_by_drop_does_not_outlast_the_time_out() -> None:
    """Each drop is in time; the whole would take for ever."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        ended = threading.Event()

        def drip() -> None:
            connection, _ = server.accept()
            with connection, contextlib.suppress(OSError):
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
                while not ended.is_set():
                    connection.sendall(b" ")
                    ended.wait(0.01)

        thread = threading.Thread(target=drip)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        function = HttpFunction(HttpSettings(url, allow_private=True))
        outcome = function.call([event(1)], Context("hook", 1, time.monotonic() + 0.5))
        ended.set()
        thread.join()
        function.close()
    assert (outcome.failures[0].code, outcome.failures[0].retryable) == ("function.timeout", True)


@pytest.mark.parametrize("url", ["ftp://x/", "hook", "https://", ""])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(ConfigError):
        HttpFunction(HttpSettings(url))


def test_a_secret_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError) as refused:
        HttpFunction(HttpSettings("https://x.example/", sign="whsec_???"))
    assert refused.value.where == "function.http.sign"


def test_a_structured_cloudevent_is_passed_on_as_it_is(endpoint: Endpoint, call: Call) -> None:
    kind = "application/cloudevents+json; charset=UTF-8"
    document = b'{"specversion":"1.0","id":"e1","source":"/s","type":"t","data":{"n":1.10}}'
    given = Event("shop.orders", 0, 0, 0, None, document, (("content-type", kind.encode()),))
    for format in ("cloudevents", "cloudevents-structured"):
        call(given, format=format)
        headers, body = endpoint.requests[-1]
        assert (headers["content-type"], body) == (kind, document)
        assert not [name for name in headers if name.startswith("ce-")]
    call(given, format="cloudevents-batch")
    assert endpoint.requests[-1][1] == b"[%b]" % document


def test_what_happened_to_a_flat_row_is_in_its_header(endpoint: Endpoint, call: Call) -> None:
    call(event(1, value=b'{"op":"d","id":1}', __op="u"))
    assert endpoint.requests[0][0]["ce-type"] == "shop.orders.updated"
