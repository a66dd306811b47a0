"""One instance at a time: under what name it locks itself in, and what the other ones are told. No I/O.

The lock belongs to the session that reads, so it ends with it, however that ends; nothing has to be cleaned up.
"""

from __future__ import annotations

import hashlib

from liberator.errors import PreconditionError

PATIENCE = 1.0
"""Seconds to wait for the lock: a session that has just been closed is still ending in the server."""


def lock_name(*scope: str) -> bytes:
    """Eight bytes that all instances of a connector agree on. scope: the connector's name, behind whatever tells it apart
    from others of that name."""
    return hashlib.blake2b("\0".join(("liberator query", *scope)).encode(), digest_size=8).digest()


def in_use(name: str, database: str, session: object) -> PreconditionError:
    """Another session reads under this name. session: what the server calls it, None where it does not tell."""
    who = "" if session is None else f" (session {session} of the server)"
    return PreconditionError(
        f'connector "{name}" runs already: another instance of it reads database {database}{who}',
        code="source.in_use",
        where="name",
        fix="this one waits until the other has ended; connectors that differ need names of their own",
        retryable=True,
    )
