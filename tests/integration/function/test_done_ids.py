"""Ids of what is done, in a table of PostgreSQL."""

from __future__ import annotations

import pytest

from liberator.errors import FunctionError
from liberator.function.done_ids import PostgresIds


def test_several_members_share_a_table(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1_000.0]
    monkeypatch.setattr("liberator.function.done_ids.time.time", lambda: clock[0])
    one, two = PostgresIds(database, "notify", 60.0), PostgresIds(database, "notify", 60.0)
    other = PostgresIds(database, "other", 60.0)
    one.remember({"a", "b"})
    two.remember({"b", "c"})
    assert two.known({"a", "b", "c", "d"}) == {"a", "b", "c"}
    assert other.known({"a"}) == set()
    clock[0] += 61.0
    assert one.known({"a"}) == set()
    for ids in (one, two, other):
        ids.close()


def test_a_database_that_is_not_there_is_an_error_that_may_pass_and_shows_no_password() -> None:
    with pytest.raises(FunctionError) as caught:
        PostgresIds("postgresql://me:hunter22@127.0.0.1:1/none", "notify", 60.0)
    assert caught.value.retryable
    assert "hunter22" not in caught.value.block()
