"""An event -> the same, ready to be sent, or why it can't be. One rule for it with the outbox: `plan.outbox.Router`.

Called by the server's threads, at once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from liberator.change import EncodedBatch, Headers
from liberator.contract.violation import Violation
from liberator.plan.invalid import Meant
from liberator.plan.outbox import Entry, OutboxSettings, Router
from liberator.sidecar.answer import refused
from liberator.sidecar.post import Post


class Judge:
    """settings: topics and contracts, as of an outbox. now_ms: the time, milliseconds since the Unix epoch."""

    def __init__(self, settings: OutboxSettings, name: str, now_ms: Callable[[], int]) -> None:
        self._router = Router(settings, _Refusing(), name, now_ms)

    def judge(self, entry: Entry) -> Post:
        """The event as it is to be published. Raises `Refused`: 422."""
        out = EncodedBatch(string_keys=True)
        self._router.add(out, entry, b"")
        return Post(out, _digest(out))


class _Refusing:
    """See `plan.outbox.Invalid`: nothing that breaks a contract is taken."""

    def handle(
        self,
        violation: Violation,
        plan: Meant,
        key: bytes | None,
        id: bytes,
        headers: Headers | None,
        *,
        publishable: bool = True,
    ) -> tuple[str, Headers | None]:
        """Never returns."""
        raise refused(
            422,
            "invalid",
            str(violation),
            topic=plan.topic if publishable else None,
            path=violation.path,
            rule=violation.rule,
            schema_path=violation.schema_path,
        )


def _digest(event: EncodedBatch) -> bytes:
    """What is compared when an id comes again: topic, type, key and value. Headers may differ, such as those of a trace."""
    type = dict(event.headers[0] or ())["type"]
    whole = hashlib.sha256()
    for part in (event.topics[0].encode(), type, event.keys[0], event.values[0]):
        whole.update(b"-" if part is None else b"%d:" % len(part))
        whole.update(part or b"")
    return whole.digest()[:16]
