"""The schema registry that other tests stand on: starts, forgets when it stops, is found, dies with its parent."""

from __future__ import annotations

import subprocess
import sys

import pytest

from liberator.contract.registry.client import RegistryClient
from liberator.contract.registry.http import RegistrySettings
from liberator.testing.servers import ApicurioServer, GivenRegistry, ServerError, find_registry
from liberator.testing.servers.process import alive, wait_until


def test_starts_again_on_its_port_and_remembers_nothing() -> None:
    with ApicurioServer() as server:
        url = server.url
        client = RegistryClient(RegistrySettings(url))
        client.register("orders", {"type": "object", "properties": {}})
        with pytest.raises(ServerError, match="already running"):
            server.start()
        server.stop()
        with pytest.raises(ServerError, match="not running"):
            server.stop()
        server.start()
        assert (server.url, client.versions("orders")) == (url, [])
        folder = server.folder
        assert folder.exists()
    assert not folder.exists()
    server.close()


def test_dies_with_the_process_that_started_it() -> None:
    program = (
        "from liberator.testing.servers import ApicurioServer\n"
        "server = ApicurioServer().start()\n"
        "print(server._process.pid, flush=True)\n"
        "input()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert alive(pid)
        parent.kill()
        parent.wait()
    assert wait_until(lambda: not alive(pid), timeout=120)


def test_a_given_registry_wins_and_is_left_alone() -> None:
    with find_registry({"LIBERATOR_TEST_REGISTRY": "https://registry.test"}) as found:
        assert isinstance(found, GivenRegistry)
        assert found.url == "https://registry.test"
        with pytest.raises(ServerError) as caught:
            found.stop()
        assert caught.value.code == "server.not_ours"


def test_one_of_our_own_is_the_last_resort() -> None:
    found = find_registry({})
    assert isinstance(found, ApicurioServer)
    found.close()


def test_says_what_to_install_when_java_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    server = ApicurioServer()
    with pytest.raises(ServerError) as caught:
        server.start()
    server.close()
    assert caught.value.code == "server.missing"
    assert caught.value.fix is not None
    assert "LIBERATOR_TEST_REGISTRY" in caught.value.fix
