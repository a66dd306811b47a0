"""Results that are called back: each to the call that waits for it, and to nobody else."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from liberator.function.callbacks import Callbacks


@pytest.fixture
def callbacks() -> Iterator[Callbacks]:
    it = Callbacks("127.0.0.1:0")
    yield it
    it.close()


def post(url: str, body: bytes = b"1", method: str = "POST", **headers: str) -> int:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=120)
    try:
        connection.request(method, parts.path, body, headers)
        return connection.getresponse().status
    finally:
        connection.close()


def test_each_call_gets_its_own_result(callbacks: Callbacks) -> None:
    with callbacks.expected() as one, callbacks.expected() as other:
        assert one.url != other.url
        assert post(other.url, b"other", Status="1") == 200
        assert post(one.url, b"one") == 200
        first, second = one.wait(120), other.wait(120)
    assert first is not None
    assert second is not None
    assert (first.body, second.body, second.headers["status"]) == (b"one", b"other", "1")


def test_a_result_is_taken_once(callbacks: Callbacks) -> None:
    with callbacks.expected() as waiting:
        assert post(waiting.url, b"first") == 200
        assert post(waiting.url, b"second") == 404
        result = waiting.wait(120)
    assert result is not None
    assert result.body == b"first"


def test_nobody_else_can_give_a_result(callbacks: Callbacks) -> None:
    with callbacks.expected() as waiting:
        base = waiting.url.rpartition("/")[0]
        assert post(f"{base}/guessed") == 404
        assert post(waiting.url, Origin="https://foreign.example") == 404
        assert post(waiting.url, method="GET") == 405
        assert waiting.wait(0) is None
    assert post(waiting.url) == 404, "nobody waits any more"


def test_a_result_that_is_too_large_ends_the_call(
    callbacks: Callbacks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("liberator.function.callbacks._LARGEST", 10)
    with callbacks.expected() as waiting:
        assert post(waiting.url, b"x" * 11) == 413
        result = waiting.wait(120)
    assert result is not None
    assert result.headers == {"x-function-status": "413"}


def test_others_may_know_it_by_another_name() -> None:
    callbacks = Callbacks("127.0.0.1:0", "http://sink.shipping:8081/")
    with callbacks.expected() as waiting:
        assert waiting.url.startswith("http://sink.shipping:8081/")
        assert len(waiting.url) > 60
    callbacks.close()
