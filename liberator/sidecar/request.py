"""A request -> the event that is meant. Pure.

Enters: path, query, headers and body. Leaves: an `Entry` as an outbox holds it. Called by the server, once per request. Two
forms: the payload alone, with everything else in path, headers or query; or a CloudEvent, structured or binary. The payload
stays the text that was sent.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import parse_qsl, unquote

from liberator.change import Headers
from liberator.contract.reading import members, read
from liberator.plan.event_time import time_of
from liberator.plan.outbox import Entry
from liberator.sidecar.answer import refused

ROOT = "/events"

_STRUCTURED = "application/cloudevents+json"
_BATCH = "application/cloudevents-batch+json"
_ID, _AGGREGATE_ID, _TIME, _HEADER = "event-id", "aggregate-id", "event-time", "event-header-"
_QUERY_HEADER = "header."
_TAKEN = frozenset({"id", "type"})
"""Headers that every event has already."""

_LONGEST = 1024
"""Characters of an id, or of the id of an aggregate."""


class HttpHeaders(Protocol):
    """Headers of a request: names in any case, a name may come twice."""

    def get(self, name: str) -> str | None:
        """The first value; None: there is none."""

    def items(self) -> Iterable[tuple[str, str]]:
        """All of them."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What of the configuration decides. headers: further headers or CloudEvents attributes to publish. empty: may there be
    no body?"""

    headers: tuple[str, ...] = ()
    empty: bool = False


def read_event(target: str, headers: HttpHeaders, body: bytes, reading: Reading) -> Entry:
    """The event of a request to `target` (path and query). Raises `Refused`: 400, 404, 415."""
    path, _, query_text = target.partition("?")
    aggregate_type, type = _named(path)
    query = _query(query_text)
    kind = (headers.get("content-type") or "").partition(";")[0].strip().lower()
    if kind == _STRUCTURED:
        attributes, payload = _structured(body)
    elif kind == _BATCH:
        raise refused(415, "content_type", "batches are not supported: send one event a request")
    elif kind and kind != "application/json" and not kind.endswith("+json"):
        raise refused(415, "content_type", "the payload must be JSON: content-type application/json")
    else:
        attributes, payload = _binary(headers), body or None
    if payload is None and not reading.empty:
        raise refused(400, "no_payload", "there is no payload; write null if that is meant")
    type = _agreed("type", type, attributes.get("type"))
    aggregate_type = _agreed("aggregatetype", aggregate_type, attributes.get("aggregatetype"))
    id = query.get("id") or headers.get(_ID) or attributes.get("id") or str(uuid.uuid4())
    about = (
        query.get("aggregate_id")
        or headers.get(_AGGREGATE_ID)
        or attributes.get("aggregateid")
        or attributes.get("partitionkey")
        or attributes.get("subject")
    )
    return Entry(
        id=_short("the event's id", id),
        aggregate_type=aggregate_type.encode(),
        aggregate_id=None if about is None else _short("the aggregate's id", about),
        type=type.encode(),
        payload=payload,
        form="text",
        headers=_further(reading.headers, headers, query, attributes),
        timestamp=_time(headers.get(_TIME) or attributes.get("time")),
    )


def _named(path: str) -> tuple[str | None, str | None]:
    """Aggregate type and type, as far as the path names them."""
    first, *names = path.removeprefix("/").split("/")
    if f"/{first}" != ROOT or len(names) > 2 or not all(names):
        raise refused(404, "no_such_page", f"there is nothing here; POST {ROOT}/<aggregate>/<type>")
    aggregate_type, type = ([unquote(name) for name in names] + [None, None])[:2]
    return aggregate_type, type


def _query(text: str) -> Mapping[str, str]:
    query = dict(parse_qsl(text, keep_blank_values=True))
    for name in query:
        if name not in ("id", "aggregate_id") and not name.startswith(_QUERY_HEADER):
            known = f"id, aggregate_id and {_QUERY_HEADER}NAME"
            raise refused(400, "query", f"an unknown parameter; {known} are known")
    return query


def _structured(body: bytes) -> tuple[dict[str, str], bytes | None]:
    """The attributes of a CloudEvent and its data, as it stands there."""
    try:
        event = read(body)
        texts = dict(members(body)) if isinstance(event, dict) else {}
    except (ValueError, RecursionError):
        raise refused(400, "cloudevent", "this is no JSON, so no CloudEvent") from None
    if not isinstance(event, dict):
        raise refused(400, "cloudevent", "a CloudEvent is a JSON object")
    if event.get("specversion") != "1.0":
        raise refused(400, "cloudevent", 'the CloudEvent has no specversion "1.0"')
    if "data_base64" in event:
        raise refused(415, "content_type", "data_base64 is not supported: the payload must be JSON")
    attributes = {
        name: _attribute(value)
        for name, value in event.items()
        if name != "data" and value is not None and not isinstance(value, dict | list)
    }
    return _complete(attributes), texts.get("data")


def _binary(headers: HttpHeaders) -> dict[str, str]:
    """The attributes of a CloudEvent in headers; none without them."""
    if headers.get("ce-specversion") is None:
        return {}
    return _complete(
        {
            name[3:].lower(): unquote(_text(value))
            for name, value in headers.items()
            if name.lower().startswith("ce-")
        }
    )


def _complete(attributes: dict[str, str]) -> dict[str, str]:
    for name in ("id", "source", "type"):
        if not attributes.get(name):
            raise refused(400, "cloudevent", f"the CloudEvent has no {name}")
    return attributes


def _attribute(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _agreed(name: str, in_path: str | None, in_event: str | None) -> str:
    if in_path and in_event and in_path != in_event:
        raise refused(400, "contradiction", f"the path and the CloudEvent differ in {name}")
    found = in_path or in_event
    if not found:
        raise refused(400, "incomplete", f"there is no {name}; POST {ROOT}/<aggregate>/<type>")
    return found


def _time(text: str | None) -> int | None:
    if text is None:
        return None
    timestamp = time_of(text.encode())
    if timestamp is None:
        raise refused(400, "time", "this is no time; write it as 2026-11-22T08:00:00Z")
    return timestamp


def _short(what: str, text: str) -> bytes:
    if len(text) > _LONGEST:
        raise refused(400, "too_long", f"{what} has more than {_LONGEST} characters")
    text = _text(text)
    if not text.isprintable():
        raise refused(400, "unprintable", f"{what} holds characters that can't be printed")
    return text.encode()


def _further(
    wanted: tuple[str, ...], headers: HttpHeaders, query: Mapping[str, str], attributes: Mapping[str, str]
) -> Headers:
    """Headers that are configured, and those that the request itself calls so."""
    found = {name: headers.get(name) or attributes.get(name) for name in wanted}
    named = {
        name[len(_HEADER) :].lower(): value
        for name, value in headers.items()
        if name.lower().startswith(_HEADER)
    }
    named |= {
        name.removeprefix(_QUERY_HEADER): value
        for name, value in query.items()
        if name.startswith(_QUERY_HEADER)
    }
    for name in named:
        if not name or name in _TAKEN or name.startswith("__"):
            raise refused(400, "header", "a header of an event can't be called that: it means something else")
    whole = {**found, **named}
    return tuple((name, _text(value).encode()) for name, value in whole.items() if value is not None)


def _text(value: str) -> str:
    """Headers are read as Latin-1; what was sent in UTF-8 is meant as that."""
    try:
        return value.encode("latin-1").decode()
    except UnicodeError:
        return value
