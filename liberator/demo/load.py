"""The shop at work: writers that change it as an application does, and a ledger of what they committed.

Enters: the shop's URL. Leaves: transactions in the database, and for the proof the exact number of row changes that were
committed, by table and kind. Called by the demo's story. Never looks at the stream.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import psycopg
from psycopg.types.json import Jsonb

from liberator.demo.shop import ABROAD, AGGREGATE, MISTAKES, PARCELS, SEEDED

Kind = Literal["insert", "update", "delete", "key"]
"""What happened to a row; ``key``: an update that changed its key."""


Changes = Counter[tuple[str, Kind]]
"""(table, kind) -> rows."""


@dataclass(frozen=True)
class Receipt:
    """What one committed transaction changed. lsn: a place of the log that is not after its commit."""

    xid: int
    lsn: int
    changes: Changes


@dataclass
class Ledger:
    """What the writers did. dropped: xids of transactions that were rolled back."""

    receipts: list[Receipt] = field(default_factory=list)
    dropped: list[int] = field(default_factory=list)

    def changes(self) -> int:
        """Row changes committed."""
        return sum(receipt.changes.total() for receipt in self.receipts)


class Cashier:
    """One transaction of the shop's application, and what it has changed so far."""

    def __init__(self, connection: psycopg.Connection[Any], chance: random.Random) -> None:
        self.connection = connection
        self.chance = chance
        self.changes: Changes = Counter()
        self.xid, self._lsn = self._begin()

    def _begin(self) -> tuple[int, int]:
        seen = "SELECT pg_current_xact_id()::text::bigint, pg_current_wal_insert_lsn() - pg_lsn '0/0'"
        found = self.connection.execute(seen.encode()).fetchone()
        assert found is not None
        return int(found[0]), int(found[1])

    def do(self, table: str, kind: Kind, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Run a statement that changes `table` and note how many rows; what it returns."""
        cursor = self.connection.execute(sql.encode(), values)
        self.changes[table, kind] += cursor.rowcount
        return cursor.fetchall() if cursor.description else []

    def commit(self) -> Receipt:
        """Make it last."""
        self.connection.commit()
        return Receipt(self.xid, self._lsn, +self.changes)

    def customer(self) -> int:
        return self.chance.randint(1, SEEDED["customers"])

    def order(self) -> int:
        return self.chance.randint(1, SEEDED["orders"])

    def sku(self) -> str:
        found = self.connection.execute("SELECT sku FROM products ORDER BY random() LIMIT 1").fetchone()
        assert found is not None
        return str(found[0])

    def tell(self, type: str, order: int, **payload: object) -> None:
        """An event of the application itself, in this transaction. No change of a table that the log is read for."""
        insert = "INSERT INTO outbox (aggregatetype, aggregateid, type, payload) VALUES (%s, %s, %s, %s)"
        self.connection.execute(insert.encode(), (AGGREGATE, str(order), type, Jsonb(payload)))

    def log(self, what: str, **detail: object) -> None:
        self.do(
            "audit_log", "insert", "INSERT INTO audit_log (what, detail) VALUES (%s, %s)", what, Jsonb(detail)
        )


class ChangeOfMind(Exception):
    """The application rolls back what it began."""


def open_shop(shop: Cashier) -> None:
    """The first event of the outbox."""
    shop.tell("ShopOpened", 0)


def place_order(shop: Cashier) -> int:
    """Several tables in one transaction; the stock of few products is fought over."""
    customer, total = shop.customer(), round(shop.chance.uniform(1, 900), 2)
    insert = "INSERT INTO orders (customer_id, total, notes) VALUES (%s, %s, %s) RETURNING id"
    [(order,)] = shop.do(
        "orders", "insert", insert, customer, total, shop.chance.choice([None, "gift", "néon ✓"])
    )
    for line in range(1, shop.chance.randint(2, 5)):
        sku, price = shop.sku(), shop.chance.uniform(1, 400)
        shop.do(
            *("order_items", "insert", "INSERT INTO order_items VALUES (%s, %s, %s, 1, %s)"),
            *(order, line, sku, price),
        )
        shop.do("products", "update", "UPDATE products SET stock = stock - 1 WHERE sku = %s", sku)
    see = "UPDATE customers SET last_seen = now(), balance = balance - %s WHERE id = %s"
    shop.do("customers", "update", see, total, customer)
    shop.log("order", order=order, lines=line)
    shop.tell("OrderPlaced", order, customer=customer, total=total)
    return int(order)


def pay(shop: Cashier) -> None:
    order = shop.order()
    insert = "INSERT INTO payments (order_id, amount, method, answer) VALUES (%s, %s, 'card', %s)"
    shop.do("payments", "insert", insert, order, shop.chance.uniform(1, 900), Jsonb({"code": 7, "ok": True}))
    update = "UPDATE orders SET status = 'paid', history = history || 'paid'::order_status WHERE id = %s"
    if shop.do("orders", "update", update + " RETURNING id", order):
        shop.tell("OrderPaid", order)


def ship(shop: Cashier) -> None:
    update = "UPDATE orders SET status = 'shipped', shipped_at = now() WHERE id BETWEEN %s AND %s"
    first = shop.order()
    shop.do("orders", "update", update, first, first + shop.chance.randint(0, 4))


def register(shop: Cashier) -> None:
    number = shop.chance.randint(100_000, 999_999)
    insert = "INSERT INTO customers (cust_no, name, email, country, tags) VALUES (%s, %s, %s, 'IT', %s)"
    shop.do(
        "customers", "insert", insert, f"C{number}", "Zoë “Z” O'Neil", f"z{number}@example.org", ["new", None]
    )


def edit_customer(shop: Cashier) -> None:
    update = "UPDATE customers SET preferences = %s, tags = tags || %s::text WHERE id = %s"
    choice = {
        "newsletter": shop.chance.random() < 0.5,
        "discount": shop.chance.random(),
        "nested": {"a": [1, None]},
    }
    shop.do(
        "customers", "update", update, Jsonb(choice), shop.chance.choice(["vip", "late", ""]), shop.customer()
    )


def reprice(shop: Cashier) -> None:
    """The long description is not touched, so the server does not send it."""
    update = "UPDATE products SET price = round(price * %s::numeric, 2), changed = now() WHERE sku = %s"
    shop.do("products", "update", update, shop.chance.uniform(0.9, 1.1), shop.sku())


def relabel(shop: Cashier) -> None:
    """A product gets another key; its order items follow, as nothing but the application sees to that."""
    old, new = shop.sku(), f"NEW-{shop.chance.randint(0, 9_999_999):07}"
    shop.do("products", "key", "UPDATE products SET sku = %s WHERE sku = %s", new, old)
    shop.do("order_items", "update", "UPDATE order_items SET sku = %s WHERE sku = %s", new, old)
    shop.log("relabel", old=old, new=new)


def delete_order(shop: Cashier) -> None:
    order = shop.order()
    shop.do("order_items", "delete", "DELETE FROM order_items WHERE order_id = %s", order)
    shop.do("payments", "delete", "DELETE FROM payments WHERE order_id = %s", order)
    shop.do("orders", "delete", "DELETE FROM orders WHERE id = %s", order)


def think_again(shop: Cashier) -> None:
    """A whole order, rolled back: readers of the stream must never hear of it."""
    place_order(shop)
    raise ChangeOfMind


def second_thoughts(shop: Cashier) -> None:
    """The order stands, but what came after a savepoint does not."""
    order = place_order(shop)
    kept = shop.changes.copy()
    shop.connection.execute("SAVEPOINT second_thoughts")
    shop.do("orders", "update", "UPDATE orders SET total = -1, notes = 'never seen' WHERE id = %s", order)
    shop.connection.execute("ROLLBACK TO second_thoughts")
    shop.changes = kept


def make_mistakes(shop: Cashier) -> None:
    """The clerk enters customers whose country is none."""
    insert = "INSERT INTO customers (id, cust_no, name, country) VALUES (%s, %s, 'A. Clerk', %s)"
    for mistake in MISTAKES:
        shop.do("customers", "insert", insert, mistake.id, f"X{mistake.id}", mistake.country)


def mend_mistakes(shop: Cashier) -> None:
    """Somebody corrects those that are to be mended."""
    mended = [mistake.id for mistake in MISTAKES if mistake.mended]
    shop.do(
        "customers", "update", "UPDATE customers SET country = upper(country) WHERE id = ANY (%s)", mended
    )


def order_parcels(shop: Cashier) -> None:
    """Ten paid orders at once; for one of them there is no carrier yet."""
    insert = "INSERT INTO orders (id, customer_id, status, total, currency) VALUES (%s, %s, 'paid', 9.90, %s)"
    for order in PARCELS:
        shop.do("orders", "insert", insert, order, shop.customer(), "CHF" if order == ABROAD else "EUR")


Errand = Callable[[Cashier], object]

ERRANDS: tuple[tuple[Errand, int], ...] = (
    (place_order, 24),
    (pay, 16),
    (ship, 12),
    (register, 10),
    (edit_customer, 12),
    (reprice, 12),
    (relabel, 2),
    (delete_order, 6),
    (think_again, 3),
    (second_thoughts, 3),
)
"""What the writers do, and how often relative to each other."""


class Load:
    """`writers` threads, each with `rate` transactions a second on average, between `start` and `stop`."""

    def __init__(self, dsn: str, *, writers: int = 4, rate: float = 40, seed: int = 1) -> None:
        self._dsn = dsn
        self._rate = rate
        self._ledger = Ledger()
        self._changes = 0
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._failure: Exception | None = None
        self._threads = [
            threading.Thread(
                target=self._work, args=(random.Random(seed + n),), name=f"writer-{n}", daemon=True
            )
            for n in range(writers)
        ]

    @property
    def writers(self) -> int:
        """How many threads write."""
        return len(self._threads)

    def start(self) -> None:
        """Begin to write. Once only."""
        for thread in self._threads:
            thread.start()

    def also(self, errand: Errand) -> None:
        """Run one errand more, on a connection of its own."""
        with psycopg.connect(self._dsn) as connection:
            self._run(errand, Cashier(connection, random.Random(0)))

    def progress(self) -> tuple[int, int]:
        """Transactions and row changes committed so far. Raises what a writer died of."""
        if self._failure is not None:
            raise self._failure
        with self._lock:
            return len(self._ledger.receipts), self._changes

    def stop(self) -> Ledger:
        """End after the transactions in hand; what was committed. Raises what a writer died of."""
        self.close()
        if self._failure is not None:
            raise self._failure
        return self._ledger

    def close(self) -> None:
        """End after the transactions in hand. Idempotent."""
        self._ending.set()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    def _work(self, chance: random.Random) -> None:
        errands, weights = zip(*ERRANDS, strict=True)
        try:
            with psycopg.connect(self._dsn) as connection:
                while not self._ending.wait(chance.expovariate(self._rate)):
                    self._run(chance.choices(errands, weights)[0], Cashier(connection, chance))
        except Exception as failure:
            self._failure = failure

    def _run(self, errand: Errand, shop: Cashier) -> None:
        try:
            errand(shop)
        except (ChangeOfMind, psycopg.errors.DeadlockDetected):
            shop.connection.rollback()
            with self._lock:
                self._ledger.dropped.append(shop.xid)
            return
        receipt = shop.commit()
        with self._lock:
            self._ledger.receipts.append(receipt)
            self._changes += receipt.changes.total()
