"""A schema registry for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from liberator.testing.proxy import Proxy
from liberator.testing.servers import Registry, find_registry
from tests.integration.contract.wire_format import Reader


@pytest.fixture(scope="session")
def registry() -> Iterator[Registry]:
    """A real registry for all tests: use subjects from `unique`, and leave it running."""
    with find_registry() as server:
        yield server


@pytest.fixture
def reader(registry: Registry) -> Reader:
    return Reader(registry.url)


@pytest.fixture
def weather(registry: Registry) -> Iterator[Proxy]:
    port = int(registry.url.removeprefix("http://").partition("/")[0].partition(":")[2])
    with Proxy("127.0.0.1", port) as proxy:
        yield proxy
