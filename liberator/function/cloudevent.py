"""Events as CloudEvents 1.0 over HTTP: binary, structured, and batches.

Enters: events, whatever their envelope. Leaves: headers and bodies. An event that came as a CloudEvent (``ce_`` headers)
keeps its attributes; of others they are made: the type is that of an outbox's event, else made of its topic and of what
happened to the row, the subject of its key. No I/O.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any
from urllib.parse import quote

from liberator.change import Event

STRUCTURED = "application/cloudevents+json; charset=UTF-8"
BATCH = "application/cloudevents-batch+json; charset=UTF-8"

_KINDS = {"c": "created", "u": "updated", "d": "deleted", "r": "read", "t": "truncated", "m": "message"}
_UNQUOTED = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')
"""What of an attribute a header carries as it is (CloudEvents HTTP binding, 3.1.3.2)."""


def attributes(event: Event, source: str) -> dict[str, str]:
    """The context attributes. source: of events that bring none."""
    given = {name[3:]: text for name, text in event.headers.items() if name.startswith("ce_")}
    made = {
        "specversion": "1.0",
        "id": event.id,
        "source": source,
        "type": event.headers.get("type") or f"{event.topic}.{_kind(event)}",
        "time": _time(event.timestamp),
    }
    for name in ("correlation", "causation"):
        if name in event.headers:
            made[f"{name}id"] = event.headers[name]  # as CloudEvents' own extension calls them
    if "calldepth" in event.headers:
        made["calldepth"] = event.headers["calldepth"]
    if (key := event.key_payload) is not None:
        made["subject"] = key.decode("utf-8", "replace")
    return {**made, **given}


def binary(event: Event, source: str) -> tuple[dict[str, str], bytes]:
    """Headers and body of one event: its value is the body. One that is structured already stays so."""
    value = event.payload
    if value is not None and _is_structured(event):
        return {"content-type": STRUCTURED}, value
    headers = {f"ce-{name}": quote(text, safe=_UNQUOTED) for name, text in attributes(event, source).items()}
    if value is not None:
        headers["content-type"] = _content_type(event)
    return headers, value or b""


def structured(event: Event, source: str) -> bytes:
    """The whole event as one JSON object; a value that is JSON goes in as it is, so numbers keep their digits."""
    value = event.payload
    if value is not None and _is_structured(event):
        return value
    fields: dict[str, Any] = dict(attributes(event, source))
    if value is None:
        return _dump(fields)
    fields["datacontenttype"] = _content_type(event)
    if is_json(value):
        return _dump(fields)[:-1] + b',"data":%b}' % value
    return _dump({**fields, "data_base64": base64.b64encode(value).decode()})


def batch(events: Sequence[Event], source: str) -> bytes:
    """Several events as one JSON array."""
    return b"[%b]" % b",".join(structured(event, source) for event in events)


def _is_structured(event: Event) -> bool:
    return event.headers.get("content-type", "").startswith("application/cloudevents+json")


def _kind(event: Event) -> str:
    value, told = event.value, event.headers.get("__op")
    if told is not None:
        return _KINDS.get(told, "event")
    if value is None:
        return "deleted"
    op = value.get("op") if isinstance(value, Mapping) else None
    return _KINDS.get(op, "event") if isinstance(op, str) else "event"


def _time(milliseconds: int) -> str:
    moment = datetime.fromtimestamp(milliseconds / 1000, timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _content_type(event: Event) -> str:
    given = event.headers.get("content-type") or event.headers.get("ce_datacontenttype")
    return given or ("application/json" if is_json(event.payload or b"") else "application/octet-stream")


def is_json(data: bytes) -> bool:
    """Can it be read as JSON, by everybody?"""
    try:
        read_json(data)
    except ValueError:
        return False
    return True


def read_json(data: bytes) -> Any:
    """What the JSON says. Raises `ValueError` for what not everybody can read: NaN and Infinity are Python's own."""
    try:
        return json.loads(data, parse_constant=_no_number)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _no_number(name: str) -> None:
    raise ValueError(name)


def _dump(fields: Mapping[str, Any]) -> bytes:
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()
