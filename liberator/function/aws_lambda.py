"""An AWS Lambda function, called as its own Kafka trigger would call it.

Enters: events. Leaves: an `Outcome`. Called in threads. Credentials, region and endpoint are found as boto3 finds them,
unless they are given. ``sync`` waits for the answer, ``async`` for Lambda's word that it has taken the event (and will try
it as Lambda is configured). Partial answers (``batchItemFailures``) are understood as Lambda's own poller does: the named
offset and all behind it in that partition come again. Of JSON behind the head of a schema registry it gives the JSON, with
the schema's id beside it, as that poller does where it knows the registry.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import boto3
import botocore.exceptions
from botocore.config import Config

from liberator.change import Event, of_streams
from liberator.content import payload, schema_id
from liberator.errors import FunctionError
from liberator.function.cloudevent import read_json
from liberator.function.context import Context
from liberator.protocols import Outcome, Output

_CONNECT_WITHIN = 5
_MOST_SYNC, _MOST_ASYNC = 6 << 20, 1 << 20
"""Bytes of a payload that Lambda takes."""

_NEVER = "PermanentError"
"""Type of an error that a handler raises when its events will never work."""

_PASSING = frozenset(
    {
        "TooManyRequestsException",
        "ThrottlingException",
        "ServiceException",
        "EC2ThrottledException",
        "EC2UnexpectedException",
        "ENILimitReachedException",
        "ResourceNotReadyException",
        "ResourceConflictException",
        "SnapStartNotReadyException",
        "RequestTimeout",
    }
)


@dataclass(frozen=True, slots=True)
class LambdaSettings:
    """name: of the function, or its ARN. region, endpoint: None: as boto3 finds them. bootstrap_servers: what events say
    about where they come from. timeout: seconds to wait for an answer."""

    name: str
    region: str | None = None
    invocation: Literal["sync", "async"] = "sync"
    endpoint: str | None = None
    bootstrap_servers: str = ""
    timeout: float = 30.0


class LambdaFunction:
    """See `liberator.function.threads.Callee`. Raises `FunctionError` (function.aws) when boto3 lacks a region or
    credentials."""

    def __init__(self, settings: LambdaSettings) -> None:
        self.name = settings.name
        self._settings = settings
        config = Config(
            connect_timeout=_CONNECT_WITHIN,
            read_timeout=settings.timeout,
            retries={"total_max_attempts": 1},  # the policy decides what is tried again
            max_pool_connections=64,
        )
        try:
            self._client: Any = boto3.client(
                "lambda", region_name=settings.region, endpoint_url=settings.endpoint, config=config
            )
        except botocore.exceptions.BotoCoreError as error:
            raise FunctionError(
                f"AWS can't be called: {error}",
                code="function.aws",
                where="function.aws_lambda",
                fix="set function.aws_lambda.region, or AWS_REGION, and credentials as boto3 finds them",
            ) from error

    def call(self, events: Sequence[Event], context: Context) -> Outcome:
        """Invoke it once, with all events."""
        payload = self._payload(events)
        asynchronous = self._settings.invocation == "async"
        most = _MOST_ASYNC if asynchronous else _MOST_SYNC
        if len(payload) > most:
            what = f"a payload of {len(payload)} bytes is more than Lambda takes ({most})"
            # Halves may fit; a single event never will.
            return _all_failed(events, what, "function.too_large", retryable=len(events) > 1)
        try:
            answer = self._client.invoke(
                FunctionName=self.name,
                InvocationType="Event" if asynchronous else "RequestResponse",
                Payload=payload,
            )
            given = answer["Payload"].read()
        except botocore.exceptions.ClientError as error:
            return _all_failed(events, *_refused(error))
        except (botocore.exceptions.BotoCoreError, botocore.exceptions.HTTPClientError, OSError) as error:
            return _all_failed(
                events, f"Lambda does not answer: {type(error).__name__}", "function.unreachable", True
            )
        if asynchronous:
            return Outcome()
        if answer.get("FunctionError"):
            what, retryable = _raised(given)
            return _all_failed(
                events, what, "function.raised" if retryable else "function.permanent", retryable
            )
        return _outcome(given, events)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _payload(self, events: Sequence[Event]) -> bytes:
        records: dict[str, list[dict[str, Any]]] = {}
        for event in of_streams(events):
            records.setdefault(_partition(event), []).append(_record(event))
        ours = "SelfManagedKafka"
        document = {
            "eventSource": ours,
            "bootstrapServers": self._settings.bootstrap_servers,
            "records": records,
        }
        return json.dumps(document, separators=(",", ":")).encode()


def _partition(event: Event) -> str:
    return f"{event.topic}-{event.partition}"


def _record(event: Event) -> dict[str, Any]:
    record: dict[str, Any] = {
        "topic": event.topic,
        "partition": event.partition,
        "offset": event.offset,
        "timestamp": event.timestamp,
        "timestampType": "CREATE_TIME",
        "headers": [{name: list(value or b"")} for name, value in event.raw_headers],
    }
    for name, data in (("key", event.raw_key), ("value", event.raw_value)):
        content = payload(data)
        if content is not None:
            record[name] = base64.b64encode(content).decode()
        if (schema := schema_id(data)) is not None:
            record[f"{name}SchemaMetadata"] = {"schemaId": str(schema), "dataFormat": "JSON"}
    return record


def _outcome(given: bytes, events: Sequence[Event]) -> Outcome:
    try:
        answer = read_json(given) if given else None
    except ValueError:
        return _all_failed(events, "Lambda answers what is no JSON", "function.result", True)
    if answer is None:
        return Outcome()
    if not (isinstance(answer, Mapping) and "batchItemFailures" in answer):
        return Outcome(outputs=[Output(None, events[0].key_payload, given)])
    try:
        named = [_identified(item["itemIdentifier"]) for item in answer["batchItemFailures"] or ()]
    except (KeyError, TypeError, ValueError):
        # As Lambda's own poller takes it: an answer that can't be read is a failure of all.
        return _all_failed(events, "batchItemFailures can't be read", "function.result", True)
    first: dict[str, int] = {}
    for partition, offset in named:
        first[partition] = min(offset, first.get(partition, offset))
    if unknown := set(named) - {(_partition(event), event.offset) for event in events}:
        what = ", ".join(f"{partition} at {offset}" for partition, offset in sorted(unknown)[:3])
        return _all_failed(events, f"events failed that were not given: {what}", "function.result", True)
    failures = {
        index: FunctionError("the function says so", code="function.partial", retryable=True)
        for index, event in enumerate(events)
        if event.offset >= first.get(_partition(event), event.offset + 1)
    }
    return Outcome(failures)


def _identified(item: Any) -> tuple[str, int]:
    return str(item["partition"]), int(item["offset"])


def _refused(error: botocore.exceptions.ClientError) -> tuple[str, str, bool]:
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    return f"Lambda refuses: {code}", "function.aws", code in _PASSING or status >= 500 or status == 429


def _raised(given: bytes) -> tuple[str, bool]:
    """What it says, and whether it may work the next time."""
    try:
        told = json.loads(given)
        return f"{told['errorType']}: {told['errorMessage']}", told["errorType"] != _NEVER
    except (ValueError, KeyError, TypeError):
        return "the function raised", True


def _all_failed(events: Sequence[Event], what: str, code: str, retryable: bool) -> Outcome:
    return Outcome(dict.fromkeys(range(len(events)), FunctionError(what, code=code, retryable=retryable)))
