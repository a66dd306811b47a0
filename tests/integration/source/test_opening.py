"""What a log source leaves on the server when it can't be opened, and what it makes there when it can."""

from __future__ import annotations

import pytest

from liberator.errors import LiberatorError
from tests.integration.source.keeping import Keeping, execute, role


def test_a_source_that_is_refused_replication_leaves_no_connection(database: str, unique: str) -> None:
    """The two that were made before the third one was refused are closed at once, not when memory is tidied up."""
    with role(database, unique, "") as dsn:
        with pytest.raises(LiberatorError) as refused, Keeping(dsn, unique).opened():
            pass
        left = f"select pid from pg_stat_activity where usename = '{unique}'"
        assert execute(database, left) == [], refused
