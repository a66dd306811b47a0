"""Requests to a registry: who asks, over what, how often, and what an answer means."""

from __future__ import annotations

import base64
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import urllib3
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from liberator.contract.registry.client import RegistryClient
from liberator.contract.registry.http import RegistrySettings, Transport
from liberator.errors import ConfigError, ContractError
from liberator.testing.certificates import Authority


class Answers:
    """A registry that gives the answers of the test, the last one again and again, and notes what it was asked."""

    def __init__(self, server: ThreadingHTTPServer, scheme: str) -> None:
        self.url = f"{scheme}://127.0.0.1:{server.server_address[1]}"
        self.answers: list[tuple[int, Any]] = [(200, {"id": 7})]
        self.headers: dict[str, str] = {}
        self.asked: list[tuple[str, str, Any]] = []

    def next(self) -> tuple[int, Any]:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


Serve = Callable[..., Answers]


@pytest.fixture
def serve() -> Iterator[Serve]:
    with ExitStack() as servers:

        def serve(context: ssl.SSLContext | None = None) -> Answers:
            server = servers.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), _Handler))
            if context:
                server.socket = context.wrap_socket(server.socket, server_side=True)
            answers = Answers(server, "https" if context else "http")
            server.answers = answers  # type: ignore[attr-defined]  # where the handler finds it
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
            servers.callback(server.shutdown)
            return answers

        yield serve


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        answers: Answers = self.server.answers  # type: ignore[attr-defined]  # put there by `serve`
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        answers.headers = dict(self.headers.items())
        answers.asked.append((self.command, self.path, json.loads(body) if body else None))
        status, content = answers.next()
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        if 300 <= status < 400:
            self.send_header("Location", answers.url + "/elsewhere")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_PUT = do_POST

    def log_message(self, *_: Any) -> None:
        """Nothing on standard error."""


def transport(settings: RegistrySettings, pauses: list[float] | None = None) -> Transport:
    return Transport(settings, (pauses if pauses is not None else []).append)


def refusal(settings: RegistrySettings, pauses: list[float] | None = None) -> ContractError:
    with pytest.raises(ContractError) as caught:
        transport(settings, pauses).send("GET", "/subjects")
    return caught.value


def test_user_and_password_of_the_address_are_basic_authentication(serve: Serve) -> None:
    registry = serve()
    url = registry.url.replace("//", "//me:p%40ss%3Aword@") + "/apis/ccompat/v7/"
    asked = transport(RegistrySettings(url))
    asked.send("GET", "/subjects")
    assert registry.headers["Authorization"] == "Basic " + base64.b64encode(b"me:p@ss:word").decode()
    assert registry.asked == [("GET", "/apis/ccompat/v7/subjects", None)]
    assert asked.address == registry.url + "/apis/ccompat/v7"


def test_a_token_is_bearer_authentication(serve: Serve) -> None:
    registry = serve()
    transport(RegistrySettings(registry.url, token="t0ken")).send("GET", "/subjects")
    assert registry.headers["Authorization"] == "Bearer t0ken"


def test_nobody_is_named_without_either(serve: Serve) -> None:
    registry = serve()
    transport(RegistrySettings(registry.url)).send("GET", "/subjects")
    assert "Authorization" not in registry.headers


def test_secrets_are_not_shown(serve: Serve) -> None:
    settings = RegistrySettings("http://me:hunter2@localhost:1", token="t0ken", attempts=1)
    error = refusal(settings)
    shown = repr(settings) + error.block() + repr(error)
    assert "hunter2" not in shown
    assert "t0ken" not in shown


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_what_may_pass_is_asked_again_after_growing_pauses(serve: Serve, status: int) -> None:
    registry, pauses = serve(), list[float]()
    registry.answers = [(status, {}), (status, b"busy"), (200, {"id": 3})]
    assert transport(RegistrySettings(registry.url), pauses).send("GET", "/x") == {"id": 3}
    assert len(pauses) == 2
    assert 0 < pauses[0] <= 0.1
    assert 0.1 <= pauses[1] <= 0.2


def test_it_gives_up_after_some_attempts(serve: Serve) -> None:
    registry, pauses = serve(), list[float]()
    registry.answers = [(503, {"message": "no room"})]
    error = refusal(RegistrySettings(registry.url, attempts=3), pauses)
    assert (error.code, error.retryable, len(registry.asked), len(pauses)) == ("registry.failed", True, 3, 2)
    assert error.what == "the schema registry answers 503: no room"


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (401, "registry.unauthorized"),
        (403, "registry.unauthorized"),
        (409, "registry.incompatible"),
        (422, "registry.invalid"),
        (400, "registry.failed"),
        (302, "registry.redirected"),
    ],
)
def test_what_will_not_pass_is_asked_once(serve: Serve, status: int, code: str) -> None:
    registry = serve()
    registry.answers = [(status, {"error_code": status, "message": "because"})]
    error = refusal(RegistrySettings(registry.url))
    assert (error.code, error.retryable, len(registry.asked)) == (code, False, 1)
    assert error.what.endswith(": because")
    assert error.fix


def test_what_is_not_there_is_none(serve: Serve) -> None:
    registry = serve()
    registry.answers = [(404, {"error_code": 40401})]
    assert transport(RegistrySettings(registry.url)).send("GET", "/x") is None


@pytest.mark.parametrize("answer", [b"default backend - 404", {"error_code": 404}, {"error_code": 0}, []])
def test_a_404_of_somebody_else_is_not_taken_for_the_registrys(serve: Serve, answer: Any) -> None:
    registry = serve()
    registry.answers = [(404, answer)]
    with pytest.raises(ContractError) as caught:
        RegistryClient(RegistrySettings(registry.url)).find("s", {})
    assert caught.value.code == "registry.failed"
    assert "address" in (caught.value.fix or "")


def test_an_answer_that_comes_too_slowly_is_not_waited_for(serve: Serve) -> None:
    registry = serve()
    clock = count(step=0.4)
    asked = Transport(RegistrySettings(registry.url, timeout=1, attempts=1), tick=lambda: next(clock))
    registry.answers = [(200, b" " * 1_000_000)]  # at least 16 pieces
    with pytest.raises(ContractError) as caught:
        asked.send("GET", "/x")
    assert (caught.value.code, caught.value.retryable) == ("registry.unreachable", True)
    assert caught.value.what.endswith("no answer in time")


def test_all_attempts_together_have_a_limit(serve: Serve) -> None:
    """A connector that is told to stop waits for no more than this."""
    registry, now, pauses = serve(), [0.0], list[float]()
    registry.answers = [(503, {})]

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        now[0] += seconds

    asked = Transport(RegistrySettings(registry.url, attempts=9, within=0.25), sleep, lambda: now[0])
    with pytest.raises(ContractError):
        asked.send("GET", "/x")
    assert 2 <= len(registry.asked) <= 3
    assert sum(pauses) < 0.25


def test_of_a_long_complaint_the_beginning_is_told(serve: Serve) -> None:
    registry = serve()
    registry.answers = [(409, {"message": "because " * 10_000})]
    assert len(refusal(RegistrySettings(registry.url)).what) < 3000


@pytest.mark.parametrize("answer", [b"<html>", b"\xff", b"", b"null", b"[" * 100_000])
def test_an_answer_that_is_no_json_is_an_error(serve: Serve, answer: bytes) -> None:
    registry = serve()
    registry.answers = [(200, answer)]
    error = refusal(RegistrySettings(registry.url))
    assert (error.code, error.retryable) == ("registry.failed", False)


@pytest.mark.parametrize("answer", [{}, [], {"id": "7"}, {"id": True}, {"id": -1}, {"id": 2**32}, None])
def test_an_answer_without_an_id_is_an_error(serve: Serve, answer: Any) -> None:
    registry = serve()
    registry.answers = [(200, answer)]
    with pytest.raises(ContractError) as caught:
        RegistryClient(RegistrySettings(registry.url)).register("s", {})
    assert caught.value.code == "registry.failed"


@pytest.mark.parametrize("answer", [(409, {}), (422, {}), (404, {"error_code": 40401}), (200, {})], ids=str)
def test_what_is_refused_has_a_subject(serve: Serve, answer: tuple[int, Any]) -> None:
    registry = serve()
    registry.answers = [answer]
    with pytest.raises(ContractError) as caught:
        RegistryClient(RegistrySettings(registry.url)).find("orders-value", {})
    assert caught.value.where == f"{registry.url}, subject orders-value"


WORDLESS = [
    [],
    5,
    "text",
    {"schemaType": "JSON"},
    {"schemaType": "JSON", "schema": "{"},
    {"is_compatible": 1},
]


@pytest.mark.parametrize("answer", WORDLESS, ids=str)
@pytest.mark.parametrize(
    "ask",
    [
        lambda client: client.schema(3),
        lambda client: client.latest("s"),
        lambda client: client.may_follow("s", {}),
    ],
    ids=["schema", "latest", "may_follow"],
)
def test_an_answer_that_no_registry_gives_is_an_error(
    serve: Serve, ask: Callable[[RegistryClient], Any], answer: Any
) -> None:
    registry = serve()
    registry.answers = [(200, answer)]
    with pytest.raises(ContractError) as caught:
        ask(RegistryClient(RegistrySettings(registry.url)))
    assert caught.value.code == "registry.failed"


@pytest.mark.parametrize("answer", [5, {"versions": [1]}, [1, "2"]], ids=str)
def test_a_list_of_versions_is_one(serve: Serve, answer: Any) -> None:
    registry = serve()
    registry.answers = [(200, answer)]
    with pytest.raises(ContractError) as caught:
        RegistryClient(RegistrySettings(registry.url)).versions("s")
    assert caught.value.code == "registry.failed"


def test_a_registry_that_is_not_there_cannot_be_reached() -> None:
    pauses: list[float] = []
    error = refusal(RegistrySettings("http://127.0.0.1:1", attempts=2), pauses)
    assert (error.code, error.retryable, error.where) == ("registry.unreachable", True, "http://127.0.0.1:1")
    assert error.what.endswith("Connection refused")
    assert len(pauses) == 1


@pytest.mark.parametrize("token", ["hunter2\n", "hunter2\r\nX-Other: 1", "hunter2€"])
def test_a_token_that_no_header_can_carry_is_refused_and_not_shown(token: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Transport(RegistrySettings("http://localhost:1", token=token))
    assert caught.value.code == "config.registry"
    assert "hunter2" not in caught.value.block() + repr(caught.value)


@pytest.mark.parametrize("password", ["12#hunter2", "12?hunter2", "12/hunter2", "hunter2#", "[hunter2"])
def test_a_password_that_ends_the_host_is_refused_and_not_shown(password: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Transport(RegistrySettings(f"http://me:{password}@localhost:1"))
    assert "hunter2" not in caught.value.block() + repr(caught.value)


@pytest.mark.parametrize(
    "url", ["localhost:8081", "kafka://r", "https://", "file:///etc/passwd", "http://h:port", "http://[::1"]
)
def test_an_address_that_is_no_http_is_refused(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Transport(RegistrySettings(url))
    assert caught.value.code == "config.registry"


def test_the_same_schema_is_asked_for_once(serve: Serve) -> None:
    registry = serve()
    registry.answers = [(200, {"id": 7})]
    client = RegistryClient(RegistrySettings(registry.url))
    assert [client.register("s", {"type": "object"}) for _ in range(3)] == [7, 7, 7]
    assert client.schema(7) == {"type": "object"}
    body = {"schemaType": "JSON", "schema": '{"type": "object"}'}
    assert registry.asked == [("POST", "/subjects/s/versions", body)]


def test_a_start_without_the_registry_waits_for_it_once(
    serve: Serve, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    registry, now = serve(), [100.0]
    settings = RegistrySettings(registry.url, attempts=1)
    for subject in ("a", "b", "c"):
        RegistryClient(settings, tmp_path).register(subject, {"title": subject})
    registry.asked.clear()
    registry.answers = [(503, {})]
    client = RegistryClient(settings, tmp_path, tick=lambda: now[0])
    assert [client.register(subject, {"title": subject}) for subject in ("a", "b")] == [7, 7]
    assert [path for _, path, _ in registry.asked] == ["/subjects/a/versions"]
    assert "is taken from the cache" in caplog.text
    with pytest.raises(ContractError):
        client.register("new", {})
    now[0] += 60
    client.register("c", {"title": "c"})
    assert [path for _, path, _ in registry.asked[1:]] == ["/subjects/new/versions", "/subjects/c/versions"]


def test_a_schema_of_another_kind_is_not_taken_for_json(serve: Serve) -> None:
    registry = serve()
    registry.answers = [(200, {"schema": '"string"'})]
    with pytest.raises(ContractError) as caught:
        RegistryClient(RegistrySettings(registry.url)).schema(1)
    assert caught.value.code == "registry.not_json_schema"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ca")


def server_context(authority: Authority, host: str = "127.0.0.1", *, expired: bool = False) -> ssl.SSLContext:
    shown = authority.issue(host, file=f"server-{host}-{expired}", expired=expired)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(shown.certificate, shown.key)
    return context


def test_a_registry_is_trusted_by_its_authority(serve: Serve, authority: Authority) -> None:
    registry = serve(server_context(authority))
    settings = RegistrySettings(registry.url, ca=authority.file)
    assert transport(settings).send("GET", "/x") == {"id": 7}


@pytest.mark.parametrize("wrong", ["authority", "host", "expired"])
def test_a_registry_that_cannot_prove_who_it_is_is_refused_at_once(
    serve: Serve, authority: Authority, wrong: str
) -> None:
    context = server_context(
        authority, "elsewhere.example" if wrong == "host" else "127.0.0.1", expired=wrong == "expired"
    )
    registry, pauses = serve(context), list[float]()
    ca = None if wrong == "authority" else authority.file
    error = refusal(RegistrySettings(registry.url, ca=ca), pauses)
    assert (error.code, error.retryable, pauses) == ("registry.untrusted", False, [])
    assert registry.asked == []


def test_a_client_shows_its_certificate(serve: Serve, authority: Authority) -> None:
    context = server_context(authority)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(authority.file)
    registry = serve(context)
    own = authority.issue("client")
    settings = RegistrySettings(registry.url, ca=authority.file, certificate=own.certificate, key=own.key)
    assert transport(settings).send("GET", "/x") == {"id": 7}
    assert (
        refusal(RegistrySettings(registry.url, ca=authority.file, attempts=1)).code == "registry.unreachable"
    )


@pytest.mark.parametrize(
    ("error", "words", "fix"),
    [
        (urllib3.exceptions.SSLError(ssl.SSLError(1, "[SSL] x")), "TLS failed", "registry_certificate"),
        (urllib3.exceptions.ProtocolError("aborted"), "closed before the answer", "check that it runs"),
        (urllib3.exceptions.ReadTimeoutError(None, "/", ""), "no answer in time", "check that it runs"),  # type: ignore[arg-type]  # no pool
    ],
    ids=lambda given: type(given).__name__,
)
def test_why_there_is_no_answer_is_told(
    monkeypatch: pytest.MonkeyPatch, error: Exception, words: str, fix: str
) -> None:
    asked = transport(RegistrySettings("https://r", attempts=1))
    monkeypatch.setattr(asked._pool, "request", Mock(side_effect=error))
    with pytest.raises(ContractError) as caught:
        asked.send("GET", "/x")
    assert words in caught.value.what
    assert fix in (caught.value.fix or "")


def test_a_key_with_a_passphrase_is_refused_and_nobody_is_asked_for_it(
    authority: Authority, tmp_path: Path
) -> None:
    own = authority.issue("client")
    locked = tmp_path / "locked.pem"
    key = load_pem_private_key(own.key.read_bytes(), None)
    cipher = BestAvailableEncryption(b"passphrase")
    locked.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, cipher))
    with pytest.raises(ConfigError) as caught:
        Transport(RegistrySettings("https://r", certificate=own.certificate, key=locked))
    assert caught.value.code == "config.registry"
    assert "passphrase" in (caught.value.fix or "")


def test_tls_files_that_cannot_be_read_are_named_as_such(tmp_path: Path) -> None:
    (tmp_path / "bad.pem").write_text("no pem")
    for settings in (
        RegistrySettings("https://r", ca=tmp_path / "missing.pem"),
        RegistrySettings("https://r", ca=tmp_path / "bad.pem"),
        RegistrySettings("https://r", certificate=tmp_path / "bad.pem"),
        RegistrySettings("https://r", key=tmp_path / "bad.pem"),
    ):
        with pytest.raises(ConfigError) as caught:
            Transport(settings)
        assert caught.value.code == "config.registry"
