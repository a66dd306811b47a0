"""What a function gives -> records: which topic, which id, and whether they may be published at all.

Enters: outputs with the events that they came of. Leaves: encoded batches. Made for a sink; called by its loop.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from liberator.change import EncodedBatch, Event, Headers
from liberator.contract.payload import PayloadGate
from liberator.contract.store import ContractStore
from liberator.errors import FunctionError
from liberator.lineage import CAUSATION, CORRELATION, MOST, lineage, origin
from liberator.protocols import Output

if TYPE_CHECKING:
    from liberator.config import SinkConfig

log = logging.getLogger(__name__)

_TOPIC = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,249}")
_ANSWERS = ("http", "openfaas", "aws_lambda", "steps")
"""Functions that answer something whether or not anybody wants it."""


class Outputs:
    """See `function.checked.Check` and `dispatch.loop.Dispatch`, which call `check` and `encode`."""

    def __init__(self, config: SinkConfig) -> None:
        self._config = config
        self._contracts = ContractStore(config.schema_.dir)
        self._gates: dict[str, PayloadGate | None] = {}
        self._told = False

    def check(self, output: Output) -> Output | FunctionError | None:
        """The output with its topic; None: nobody wants it; or how it breaks its contract. Raises `FunctionError` for what
        no other event would change."""
        config = self._config
        topic = config.output.topic if output.topic is None else config.stage_prefix + output.topic
        if topic is None:
            if config.webhook is not None:
                return output  # for the answer
            if config.function.kind in _ANSWERS:
                return None
            raise FunctionError(
                "the function gives events to publish, and there is no topic for them",
                code="function.no_output",
                where=config.where("output", "topic"),
                fix="add output: {topic: NAME}, or let the function return nothing",
            )
        if config.publish_url is None:
            raise FunctionError(
                f"the function gives events for {topic}, and there is no broker to publish them to",
                code="function.no_output",
                where=config.where("output", "url"),
                fix="add output: {url: kafka://HOST:PORT}",
            )
        if not _TOPIC.fullmatch(topic):
            return _failure(output, "the function names a topic that can't be", "function.output")
        if config.stream and config.reads(topic) and config.publish_url == config.stream.url:
            raise FunctionError(
                f"the function publishes to {topic}, which its own stream reads: it would feed itself",
                code="function.cycle",
                where=config.where("stream"),
                fix="publish to another topic, or leave this one out of the stream",
            )
        gate = self._gate(topic)
        violation = gate.violation(output.value) if gate is not None and output.value is not None else None
        if violation is not None:
            what = f"what the function gives breaks the contract of {topic}: {violation}"
            return _failure(output, what, "function.output_invalid")
        return Output(topic, output.key, output.value, output.headers, output.event)

    def encode(self, outputs: Sequence[Output], events: Sequence[Event]) -> EncodedBatch:
        """The records, with ids: an output's own header ``id``; else made of the event that it came of; else of all events
        of the invocation, so that the same batch gives the same ids, and another one never gives them to something else.
        Their headers tell what they came of (`lineage`), where they don't say so themselves."""
        batch = EncodedBatch()
        counts: Counter[str] = Counter()
        for output in outputs:
            headers = tuple(header for header in output.headers if header[0] != "id")
            own = next((value for name, value in output.headers if name == "id"), None)
            causes = events if output.event is None else [events[output.event]]
            source = origin(causes)
            id = own or f"{source}/{self._config.name}/{counts[source]}".encode()
            counts[source] += own is None
            assert output.topic is not None, "checked"
            batch.add(
                output.topic,
                output.key,
                output.value,
                id,
                (*headers, *self._lineage(causes, headers)) or None,
            )
        return batch

    def _lineage(self, causes: Sequence[Event], own: Headers) -> Headers:
        said = {name for name, _ in own}
        found = tuple(header for header in lineage(causes) if header[0] not in said)
        if not found and not said & {CORRELATION, CAUSATION} and not self._told:
            self._told = True
            log.info(
                "what came of more than %d events has no headers %s and %s; say which: context.publish(..., cause=event)",
                *(MOST, CORRELATION, CAUSATION),
            )
        return found

    def _gate(self, topic: str) -> PayloadGate | None:
        if topic not in self._gates:
            held = self._contracts.load(self._config.without_stage(topic))
            self._gates[topic] = None if held is None else PayloadGate(held[1])
        return self._gates[topic]


def _failure(output: Output, what: str, code: str) -> FunctionError:
    """Of one event it is for good; while nobody knows of which, halves of the batch are tried."""
    return FunctionError(what, code=code, retryable=output.event is None)
