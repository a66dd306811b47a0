"""The endpoint over real HTTP on the loopback address."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from liberator.errors import ConfigError, PreconditionError
from liberator.inbound.address import parse_listen
from liberator.observe import server as server_module
from liberator.observe.server import ObserveServer, warn_when_reachable
from liberator.observe.telemetry import Telemetry


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry("shop")


@pytest.fixture
def endpoint(telemetry: Telemetry) -> Iterator[ObserveServer]:
    def pause(arguments: Mapping[str, Any]) -> object:
        if arguments.get("table") == "missing":
            raise PreconditionError("no such table", code="source.no_table", fix="name a captured table")
        return {"paused": arguments["table"]}

    with ObserveServer("127.0.0.1:0", telemetry, control={"pause": pause}) as server:
        yield server


def ask(
    server: ObserveServer, method: str, path: str, body: bytes | None = None, **headers: str
) -> tuple[int, http.client.HTTPMessage, bytes]:
    connection = http.client.HTTPConnection(*server.address, timeout=120)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, named)
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


def control(server: ObserveServer, name: str, body: bytes, **headers: str) -> tuple[int, Any]:
    headers = {"Content_Type": "application/json", **headers}
    status, _, answer = ask(server, "POST", f"/control/{name}", body, **headers)
    return status, json.loads(answer)


@pytest.mark.parametrize(
    ("listen", "address"),
    [
        ("127.0.0.1:9464", ("127.0.0.1", 9464)),
        ("[::1]:9464", ("::1", 9464)),
        (":9464", ("0.0.0.0", 9464)),
        ("0.0.0.0:9464", ("0.0.0.0", 9464)),
        ("localhost:0", ("localhost", 0)),
        (" 127.0.0.1:1 ", ("127.0.0.1", 1)),
    ],
)
def test_understands_an_address(listen: str, address: tuple[str, int]) -> None:
    assert parse_listen(listen) == address


@pytest.mark.parametrize(
    "listen", ["", "9464", "localhost", "host:", "host:http", "host:65536", "::1:9464", "h:-1"]
)
def test_refuses_what_is_no_address(listen: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_listen(listen)
    assert refused.value.code == "observe.listen"
    assert "127.0.0.1:9464" in str(refused.value.fix)


def test_status_is_the_telemetry_as_json(endpoint: ObserveServer, telemetry: Telemetry) -> None:
    telemetry.published({"public.orders": 3}, 30)
    status, headers, body = ask(endpoint, "GET", "/status")
    assert (status, headers["Content-Type"]) == (200, "application/json")
    assert json.loads(body)["events"]["tables"] == {"public.orders": 3}


def test_metrics_are_prometheus_text(endpoint: ObserveServer, telemetry: Telemetry) -> None:
    telemetry.published({"public.orders": 3}, 30)
    status, headers, body = ask(endpoint, "GET", "/metrics")
    assert status == 200
    assert headers["Content-Type"].startswith("text/plain")
    assert b'liberator_events_total{table="public.orders"} 3.0\n' in body


def test_health_says_what_speaks_against(endpoint: ObserveServer, telemetry: Telemetry) -> None:
    assert ask(endpoint, "GET", "/health/live")[0] == 200
    status, _, body = ask(endpoint, "GET", "/health/ready")
    assert status == 503
    assert json.loads(body) == {"status": "failing", "reasons": ["the connector is starting"]}
    telemetry.state("streaming")
    status, _, body = ask(endpoint, "GET", "/health/ready")
    assert (status, json.loads(body)) == (200, {"status": "ok", "reasons": []})
    telemetry.state("failed")
    assert ask(endpoint, "GET", "/health/live")[0] == 503


def test_a_query_string_does_not_change_the_page(endpoint: ObserveServer) -> None:
    assert ask(endpoint, "GET", "/health/live?verbose=1")[0] == 200


def test_head_answers_without_a_body(endpoint: ObserveServer) -> None:
    status, headers, body = ask(endpoint, "HEAD", "/status")
    assert (status, body) == (200, b"")
    assert int(headers["Content-Length"]) > 100


def test_an_unknown_page_is_a_404_that_names_the_pages(endpoint: ObserveServer) -> None:
    status, _, body = ask(endpoint, "GET", "/secrets")
    assert status == 404
    assert "/metrics" in json.loads(body)["pages"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_pages_can_only_be_read(method: str, endpoint: ObserveServer) -> None:
    status, headers, _ = ask(endpoint, method, "/status")
    assert (status, headers["Allow"]) == (405, "GET, HEAD")


def test_a_control_function_gets_the_arguments_and_answers(endpoint: ObserveServer) -> None:
    assert control(endpoint, "pause", b'{"table": "public.orders"}') == (
        200,
        {"result": {"paused": "public.orders"}},
    )


def test_a_control_function_that_refuses_says_why_and_what_to_do(endpoint: ObserveServer) -> None:
    assert control(endpoint, "pause", b'{"table": "missing"}') == (
        409,
        {"error": "no such table", "code": "source.no_table", "where": None, "fix": "name a captured table"},
    )


def test_a_control_function_with_a_bug_is_a_500_without_details(
    endpoint: ObserveServer, caplog: pytest.LogCaptureFixture
) -> None:
    assert control(endpoint, "pause", b"{}") == (500, {"error": "KeyError"})
    assert "the control function failed" in caplog.text


@pytest.mark.parametrize("body", [b"[1]", b"{", b"\xff"])
def test_control_refuses_a_body_that_is_no_json_object(body: bytes, endpoint: ObserveServer) -> None:
    assert control(endpoint, "pause", body)[0] == 400


def test_control_refuses_a_form_that_any_web_page_could_send(endpoint: ObserveServer) -> None:
    assert control(endpoint, "pause", b"{}", Content_Type="text/plain")[0] == 415


def test_control_refuses_a_browser_that_another_page_steers(endpoint: ObserveServer) -> None:
    assert control(endpoint, "pause", b"{}", Origin="http://evil.example")[0] == 403


def test_control_refuses_a_body_beyond_its_bound(endpoint: ObserveServer) -> None:
    assert control(endpoint, "pause", b"{}", Content_Length="65537")[0] == 413


def test_an_unknown_control_function_is_a_404(endpoint: ObserveServer) -> None:
    assert control(endpoint, "explode", b"{}")[0] == 404
    assert ask(endpoint, "GET", "/control/pause")[0] == 404


def test_a_port_in_use_is_a_live_precondition_with_a_way_out(telemetry: Telemetry) -> None:
    """Nothing is wrong with the configuration: it was not found before anything was tried."""
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        with pytest.raises(PreconditionError) as refused:
            ObserveServer(f"127.0.0.1:{port}", telemetry)
    assert refused.value.exit_code == 3
    assert not refused.value.retryable
    assert refused.value.code == "observe.port_in_use"
    assert str(port) in refused.value.what
    assert refused.value.fix == "choose another port in observe.listen"


@pytest.mark.parametrize("listen", ["192.0.2.1:0", "no-such-host.invalid:0"])
def test_an_address_of_another_machine_is_a_live_precondition(listen: str, telemetry: Telemetry) -> None:
    with pytest.raises(PreconditionError) as refused:
        ObserveServer(listen, telemetry)
    assert refused.value.code == "observe.listen"


def test_the_port_is_free_again_after_close(telemetry: Telemetry) -> None:
    server = ObserveServer("127.0.0.1:0", telemetry)
    server.start()
    server.close()
    server.close()
    with ObserveServer(f"127.0.0.1:{server.address[1]}", telemetry) as again:
        assert ask(again, "GET", "/health/live")[0] == 200


def test_a_server_that_never_started_can_be_closed(telemetry: Telemetry) -> None:
    ObserveServer("127.0.0.1:0", telemetry).close()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_warns_when_other_machines_can_reach_it(host: str, caplog: pytest.LogCaptureFixture) -> None:
    warn_when_reachable(host, 9464)
    assert "can be reached from other machines" in caplog.text


def test_says_nothing_when_only_this_machine_can_reach_it(
    telemetry: Telemetry, caplog: pytest.LogCaptureFixture
) -> None:
    ObserveServer("127.0.0.1:0", telemetry).close()
    assert not caplog.records


def test_connections_that_say_nothing_cannot_take_all_places_for_good(
    endpoint: ObserveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module._Handler, "timeout", 0.5)
    idle = [socket.create_connection(endpoint.address) for _ in range(server_module._MAX_CONNECTIONS)]
    try:
        for connection in idle:
            connection.settimeout(10)
            assert connection.recv(1) == b""  # sent away after the time-out
        assert ask(endpoint, "GET", "/health/live")[0] == 200
    finally:
        for connection in idle:
            connection.close()


def test_more_connections_than_places_are_turned_away_at_once(endpoint: ObserveServer) -> None:
    idle = [socket.create_connection(endpoint.address) for _ in range(server_module._MAX_CONNECTIONS)]
    try:
        with socket.create_connection(endpoint.address) as one_more:
            one_more.settimeout(5)
            assert one_more.recv(1) == b""
    finally:
        for connection in idle:
            connection.close()


def test_leaves_no_thread_behind(telemetry: Telemetry) -> None:
    with ObserveServer("127.0.0.1:0", telemetry):
        assert any(thread.name == "observe" for thread in threading.enumerate())
    assert not any(thread.name == "observe" for thread in threading.enumerate())
