"""Rows that break their contract, or that a transform fails on: where they go, and what the log says of them (path, rule
and key, never the row).

Called by the executors, for single rows, off the hot path.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any, Literal, Protocol

from liberator.change import Headers
from liberator.contract.violation import Violation
from liberator.errors import ContractError, EvaluationError
from liberator.letters import TRANSFORMATION, diagnostics
from liberator.plan.compile import TablePlan
from liberator.postgres.pgoutput import UNCHANGED
from liberator.postgres.values import ConversionError

log = logging.getLogger(__name__)

OnInvalid = Literal["dead_letter", "stop", "warn"]


class Meant(Protocol):
    """What an event is about, and where it was meant to go. A `TablePlan` says both."""

    @property
    def label(self) -> str:
        """``schema.table``."""

    @property
    def topic(self) -> str:
        """Its topic."""


class Failure(Violation):
    """A transform failed on a row, so it is not even known whether it is an event. The message has no value in it."""

    @classmethod
    def of(cls, error: EvaluationError) -> Failure:
        """What is told of it."""
        return cls("", error.code, "", error.what)

    def __str__(self) -> str:
        return self.message


class InvalidRows:
    """Decides by `policy`. now_ms: the time of a dead letter, milliseconds since the Unix epoch."""

    def __init__(
        self,
        policy: OnInvalid,
        connector: str,
        dead_letter_topic: str,
        now_ms: Callable[[], int],
        count: Callable[[str], None] = lambda table: None,
    ) -> None:
        self._policy = policy
        self._connector = connector
        self._topic = dead_letter_topic
        self._now_ms = now_ms
        self._count = count

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
        """The topic and headers with which the event goes out. Raises `ContractError` when the policy is to stop.

        publishable: False where there is no topic to publish it to, so that a warning is not enough.
        """
        name = "null" if key is None else key.decode("utf-8", "replace")
        failed = isinstance(violation, Failure)
        if self._policy == "stop":
            raise ContractError(
                f"a transform failed on a row of {plan.label}: {violation}"
                if failed
                else f"a row of {plan.label} breaks the contract of {plan.topic}: {violation}",
                code=violation.rule if failed else None,
                where=f"table {plan.label}, key {name}, event {id.decode()}",
                fix=f"correct the row or the {'transform' if failed else 'contract'}, or set schema.on_invalid to"
                f" dead_letter{'' if failed else ' or warn'}",
            )
        broken = "fails in a transform" if failed else "breaks its contract"
        log.warning("%s: row with key %s %s: %s", plan.topic, name, broken, violation)
        if self._policy == "warn" and publishable and not failed:
            return plan.topic, headers
        self._count(plan.label)
        return self._topic, (*(headers or ()), *self._diagnostics(violation, plan))

    def _diagnostics(self, violation: Violation, plan: Meant) -> Headers:
        failed = isinstance(violation, Failure)
        error = "liberator.EvaluationError" if failed else "liberator.ContractError"
        return diagnostics(
            topic=plan.topic,
            connector=self._connector,
            stage=TRANSFORMATION if failed else "VALUE_CONVERTER",
            error=error,
            message=str(violation),
            stacktrace=f"{error}: {violation}",
            now_ms=self._now_ms(),
        )


def as_text(plan: TablePlan, values: list[Any]) -> tuple[bytes, tuple[bytes, ...], Violation | None]:
    """A row with a value that does not fit its type: such values stay the server's text, in JSON strings, but for those that
    must not be seen.

    values: as sent; they become JSON in place. Returns the row's JSON, the columns that were not sent, and what is wrong.
    """
    converters = dict(plan.conversions)
    missing = []
    violation = None
    for index in plan.output:
        value = values[index]
        if value is UNCHANGED:
            missing.append(plan.names[index])
        elif value is None:
            values[index] = b"null"
        elif index in converters:
            try:
                values[index] = converters[index](value)
            except ConversionError as error:
                column = json.loads(plan.names[index]).replace("~", "~0").replace("/", "~1")
                violation = Violation(f"/{column}", "conversion", "", str(error))
                shown = "***" if index in plan.hidden else _shown(value)
                values[index] = json.dumps(shown, ensure_ascii=False).encode()
    members = [b"%b:%b" % (plan.names[i], values[i]) for i in plan.output if values[i] is not UNCHANGED]
    return b"{%b}" % b",".join(members), tuple(missing), violation


def _shown(value: Any) -> str:
    """As text, whatever a driver gave."""
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    return text.encode(errors="replace").decode()
