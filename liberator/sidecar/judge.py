"""An event -> the same, ready to be sent, or why it can't be. One rule for it with the outbox: `plan.outbox.Router`.

Called by the server's threads, at once. With a registry the first event of a type waits for it here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from liberator.change import EncodedBatch, Headers
from liberator.contract.registry.wire import decode
from liberator.contract.violation import Violation
from liberator.errors import ContractError
from liberator.inbound.handler import RETRY_AFTER
from liberator.plan.invalid import Meant
from liberator.plan.outbox import Entry, OutboxSettings, Prefix, Router
from liberator.sidecar.answer import Answer, Refused, refused
from liberator.sidecar.post import Post

_OF_THE_TYPE = frozenset({"registry.incompatible", "registry.invalid", "registry.not_registered"})
"""What the registry has against the schema of one type of event, while others are fine."""


class Judge:
    """settings: topics and contracts, as of an outbox. now_ms: the time, milliseconds since the Unix epoch. prefix: where a
    schema registry is used; called in any thread."""

    def __init__(
        self, settings: OutboxSettings, name: str, now_ms: Callable[[], int], prefix: Prefix | None = None
    ) -> None:
        self._router = Router(settings, _Refusing(), name, now_ms, prefix)
        self._is_wired = prefix is not None

    def judge(self, entry: Entry) -> Post:
        """The event as it is to be published. Raises `Refused`: 422, or 503 while its schema can't be registered; a
        `ContractError` for what an operator must mend."""
        out = EncodedBatch(string_keys=True)
        try:
            self._router.add(out, entry, b"")
        except ContractError as error:
            raise _unregistered(error) from error
        value = out.values[0]
        return Post(out, _digest(out, decode(value)[1] if self._is_wired and value is not None else value))


def _unregistered(error: ContractError) -> Exception:
    """Of a type whose schema has no id: is it the event's fault, a matter of time, or neither?"""
    if error.retryable:
        return refused(503, "unavailable", f"{error.what}; nothing was done", retry_after=RETRY_AFTER)
    if error.code in _OF_THE_TYPE:
        return Refused(Answer(422, {"error": error.what, "code": error.code}))
    return error


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


def _digest(event: EncodedBatch, value: bytes | None) -> bytes:
    """What is compared when an id comes again: topic, type, key and value, which is without the id of a schema, since a next
    version of a contract makes no other event of it. Headers may differ, such as those of a trace."""
    type = dict(event.headers[0] or ())["type"]
    whole = hashlib.sha256()
    for part in (event.topics[0].encode(), type, event.keys[0], value):
        whole.update(b"-" if part is None else b"%d:" % len(part))
        whole.update(part or b"")
    return whole.digest()[:16]
