"""An application that writes while things break: several sessions at once, every kind of change, some rolled back.

Enters: a dsn and a seed. Leaves: nothing; it writes until it is stopped. Tables are made by `prepare`.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from types import TracebackType
from typing import Any

import psycopg

TABLES = ("public.account", "public.ledger")

_SETUP = (
    "create table account (id bigint primary key, owner text not null, balance numeric(12,2), note text)",
    "create table ledger (branch int, nr int, amount numeric, memo text, primary key (nr, branch))",
    "alter table account alter note set storage external",
)


def prepare(dsn: str, rows: int) -> None:
    """Make the tables, with `rows` rows each."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        for statement in _SETUP:
            connection.execute(statement)
        connection.execute(
            "insert into account select g, 'owner ' || g, g * 0.25, repeat('n', 1 + g %% 3000)"
            " from generate_series(1, %s) g",
            (rows,),
        )
        connection.execute(
            "insert into ledger select g %% 7, g, g, 'memo' from generate_series(1, %s) g", (rows,)
        )


class Writers:
    """Sessions that write until the block ends. Lost connections are made again, as applications do."""

    def __init__(self, dsn: str, seed: int, *, sessions: int = 4, pause: float = 0.0) -> None:
        self._dsn = dsn
        self._pause = pause
        self._stop = threading.Event()
        self.transactions = 0
        self._threads = [
            threading.Thread(
                target=self._write, args=(random.Random(f"{seed}/{number}"), number), daemon=True
            )
            for number in range(sessions)
        ]

    def __enter__(self) -> Writers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _write(self, chance: random.Random, number: int) -> None:
        fresh = 1_000_000 * (number + 1)
        while not self._stop.is_set():
            with (
                contextlib.suppress(psycopg.Error),
                psycopg.connect(self._dsn, autocommit=True) as connection,
            ):
                while not self._stop.is_set():
                    fresh = self._transaction(connection, chance, fresh)
                    self.transactions += 1
                    time.sleep(self._pause)
            time.sleep(0.05)

    def _transaction(self, connection: psycopg.Connection[Any], chance: random.Random, fresh: int) -> int:
        """One to six changes; one in ten is rolled back."""
        with contextlib.suppress(psycopg.errors.DeadlockDetected), connection.transaction() as transaction:
            for _ in range(chance.randint(1, 6)):
                fresh += 1
                self._change(connection, chance, fresh)
            if chance.random() < 0.1:
                raise psycopg.Rollback(transaction)
        return fresh

    def _change(self, connection: psycopg.Connection[Any], chance: random.Random, fresh: int) -> None:
        some = (
            "(select id from account order by random() limit 1)"
            if chance.random() < 0.02
            else str(chance.randint(1, 20_000))
        )
        kind = chance.choice(["insert", "insert", "update", "update", "big", "delete", "key", "ledger"])
        statements = {
            "insert": f"insert into account values ({fresh}, 'new', 1, repeat('x', {chance.randint(0, 4000)}))",
            "update": f"update account set balance = balance + 1, owner = 'o{fresh}' where id = {some}",
            "big": f"update account set note = repeat('y', {chance.randint(0, 5000)}) where id = {some}",
            "delete": f"delete from account where id = {some}",
            "key": f"update account set id = {fresh} + 500000 where id = {some}",
            "ledger": f"insert into ledger values (1, {fresh}, {fresh}, null)"
            f" on conflict (nr, branch) do update set memo = 'again'",
        }
        connection.execute(statements[kind].encode())
