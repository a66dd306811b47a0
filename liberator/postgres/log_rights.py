"""May this user read the write-ahead log of this server? What stands in the way, each with its remedy.

Enters: a connection, and the tables that are meant. Leaves: findings, none when nothing stands in the way. Called before a
mode is chosen. Changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import psycopg

from liberator.postgres.catalogue import TableInfo
from liberator.postgres.replication import identifier

_OLDEST = 140000
_STANDBYS = 160000
"""Versions of the server: the first that is supported, and the first whose standbys decode."""

_QUESTION = """
SELECT pg_catalog.current_setting('server_version_num')::int AS version,
       pg_catalog.current_setting('wal_level') AS wal_level,
       pg_catalog.pg_is_in_recovery() AS is_standby,
       r.rolsuper AS is_super,
       r.rolsuper OR r.rolreplication OR EXISTS (
           SELECT FROM pg_catalog.pg_roles g
            WHERE g.rolname = 'rds_replication' AND pg_catalog.pg_has_role(r.oid, g.oid, 'USAGE')) AS may_replicate,
       pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE') AS may_create,
       EXISTS (SELECT FROM pg_catalog.pg_publication p WHERE p.pubname = %(publication)s) AS is_published,
       pg_catalog.current_setting('max_replication_slots')::int
           - (SELECT pg_catalog.count(*) FROM pg_catalog.pg_replication_slots) AS slots,
       ARRAY(SELECT c.oid
               FROM pg_catalog.pg_class c
              WHERE c.oid = ANY (%(tables)s) AND NOT pg_catalog.pg_has_role(r.oid, c.relowner, 'USAGE')) AS of_others
  FROM pg_catalog.pg_roles r
 WHERE r.rolname = current_user
"""


class Finding(NamedTuple):
    """What stands in the way, and what would take it away."""

    what: str
    remedy: str


def obstacles(
    connection: psycopg.Connection[Any], tables: Sequence[TableInfo], publication: str
) -> list[Finding]:
    """Everything that keeps this user from streaming `tables`. publication: one that exists is used as it is."""
    asked = {"tables": [table.oid for table in tables], "publication": publication}
    row = connection.execute(_QUESTION, asked).fetchone()
    assert row is not None
    version, wal_level, is_standby, is_super, may_replicate, may_create, is_published, slots, of_others = row
    user, database = identifier(connection.info.user), identifier(connection.info.dbname)
    found = []
    if version < _OLDEST:
        found.append(
            Finding(f"the server has version {version // 10000}", "PostgreSQL 14 to 18 are supported")
        )
    if wal_level != "logical":
        remedy = "ALTER SYSTEM SET wal_level = logical; then restart the server"
        found.append(Finding(f"wal_level is {wal_level}", remedy))
    if not may_replicate:
        found.append(Finding(f"user {user} may not replicate", f"ALTER ROLE {user} REPLICATION"))
    if is_standby and (version < _STANDBYS or not is_published):
        remedy = "connect to the primary; or PostgreSQL 16 and a publication that is made there"
        found.append(Finding("this is a standby", remedy))
    elif not is_published:
        if not may_create:
            remedy = f"GRANT CREATE ON DATABASE {database} TO {user}"
            found.append(Finding(f"user {user} may make no publication", remedy))
        if of_others and not is_super:
            foreign = set(of_others)
            names = ", ".join(table.qualified for table in tables if table.oid in foreign)
            remedy = (
                f"let an owner make the publication {identifier(publication)}, which is used as it is then"
            )
            found.append(Finding(f"user {user} is no owner of {names}", remedy))
    if slots <= 0:
        remedy = "raise max_replication_slots, or drop a slot that is no longer used"
        found.append(Finding("all replication slots are taken", remedy))
    return found
