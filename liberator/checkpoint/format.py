"""How a saved position looks wherever it is kept, and when it is not trusted.

Enters: a connector's partitions and their values. Leaves: checksums, sealed records, and the errors that every store
raises in the same words. Called by the stores. Pure.
"""

from __future__ import annotations

import base64
import json
import zlib
from typing import NamedTuple

from liberator.errors import CheckpointError

FORMAT = 1
"""The version written. A store with a higher one is refused: it says what this version of liberator can't know."""

_WAY_OUT = "restore it from a backup, or `liberate checkpoint reset` starts anew with a snapshot"


class Saved(NamedTuple):
    """One partition as it was saved. saved_at: ISO 8601, UTC."""

    value: bytes
    saved_at: str


def checksum(connector: str, partition: str, value: bytes) -> int:
    """CRC-32 over value and place, so that a record that is damaged or under a wrong key is noticed."""
    return zlib.crc32(value, zlib.crc32(f"{connector}/{partition}".encode()))


def seal(connector: str, partition: str, saved: Saved) -> bytes:
    """A record for stores that keep plain bytes: JSON, readable with any tool."""
    record = {
        "format": FORMAT,
        "value": base64.b64encode(saved.value).decode(),
        "checksum": checksum(connector, partition, saved.value),
        "saved_at": saved.saved_at,
    }
    return json.dumps(record, separators=(",", ":")).encode()


def unseal(connector: str, partition: str, record: bytes, where: str) -> Saved:
    """What `seal` sealed. Raises `CheckpointError`: checkpoint.version, checkpoint.corrupt."""
    try:
        fields = json.loads(record)
        check_version(fields["format"], where)
        saved = Saved(base64.b64decode(fields["value"], validate=True), str(fields["saved_at"]))
        intact = fields["checksum"] == checksum(connector, partition, saved.value)
    except (ValueError, TypeError, KeyError):
        intact = False
    if not intact:
        raise corrupt(f"partition {partition!r} of {connector} is damaged", where)
    return saved


def check_version(version: object, where: str) -> None:
    """Refuse a format from the future, or one that is no version at all."""
    if not isinstance(version, int) or version < 1:
        raise corrupt("it names no version of its format", where)
    if version > FORMAT:
        raise CheckpointError(
            f"the checkpoint has format {version}, and this version of liberator knows formats up to {FORMAT}",
            code="checkpoint.version",
            where=where,
            fix="run the version of liberator that wrote it, or a newer one",
        )


def corrupt(what: str, where: str) -> CheckpointError:
    """For what can't be trusted."""
    return CheckpointError(
        f"the checkpoint can't be trusted: {what}", code="checkpoint.corrupt", where=where, fix=_WAY_OUT
    )


def fenced(connector: str, where: str) -> CheckpointError:
    """For a writer that was superseded."""
    return CheckpointError(
        f"another instance of connector {connector} has taken over its checkpoint",
        code="checkpoint.fenced",
        where=where,
        fix="nothing is lost: the other goes on, and this one stops; started again it stands by",
    )
