"""Reads lines of JSON back into events, as a consumer of standard output or of a file would."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable

from liberator.testing.publisher import Published


def read(lines: Iterable[bytes]) -> list[Published]:
    """One event a line, in their order."""
    return [_event(json.loads(line)) for line in lines]


def _event(members: dict[str, object]) -> Published:
    headers = members["headers"]
    assert isinstance(headers, dict)
    assert members["position"] == headers["id"]
    return Published(
        topic=str(members["topic"]),
        key=_payload(members, "key"),
        value=_payload(members, "value"),
        headers={name: value.encode() for name, value in headers.items()},
    )


def _payload(members: dict[str, object], name: str) -> bytes | None:
    if f"{name}_base64" in members:
        return base64.b64decode(str(members[f"{name}_base64"]))
    content = members[name]
    if content is None:
        return None
    if isinstance(content, str):
        return content.encode()
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
