"""Connectors that query, and applications that write meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.integration.query.reading import Looks

MakeLooks = Callable[..., Looks]
Session = psycopg.Connection[Any]


@pytest.fixture
def looks(database: str, tmp_path: Path, unique: str) -> MakeLooks:
    """Makes a connector of an empty database: `looks("public.t", strategy="xmin")`."""

    def make(*tables: str, **settings: Any) -> Looks:
        return Looks(database, tmp_path, unique, *tables, **settings)

    return make


@pytest.fixture
def sessions(database: str) -> Iterator[Callable[[], Session]]:
    """Opens sessions of the application, in autocommit."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(psycopg.connect(database, autocommit=True))


@pytest.fixture
def db(sessions: Callable[[], Session]) -> Session:
    """A session of the application."""
    return sessions()
