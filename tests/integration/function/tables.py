"""A database that a table is kept in, as a test looks at it."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa


class Base:
    """url: as the YAML has it. dialect: SQLAlchemy's name."""

    def __init__(self, url: str, dialect: str) -> None:
        self.url = url
        self.dialect = dialect
        name = url.replace("postgresql://", "postgresql+psycopg://", 1)
        self._engine = sa.create_engine(name, poolclass=sa.pool.NullPool)

    def execute(self, statement: str) -> None:
        """Run a statement."""
        with self._engine.begin() as connection:
            connection.exec_driver_sql(statement)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What a query finds."""
        with self._engine.connect() as connection:
            return [tuple(row) for row in connection.exec_driver_sql(query)]


def postgres_base(dsn: str) -> Base:
    """Of a dsn as tests have it."""
    return Base(dsn, "postgresql")
