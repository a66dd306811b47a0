"""A schema registry for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from liberator.testing.servers import Registry, find_registry


@pytest.fixture(scope="session")
def registry() -> Iterator[Registry]:
    """A real registry for all tests: use subjects from `unique`, and leave it running."""
    with find_registry() as server:
        yield server
