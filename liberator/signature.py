"""Signatures of Standard Webhooks 1.0, made and checked. Pure: the time is passed in.

Enters: secrets, an id, a time, the bytes of a body as they are on the wire. Leaves: headers, or why a request is not
genuine. Used by whoever sends requests and whoever takes them. Specification: https://www.standardwebhooks.com/
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from urllib.parse import quote

TOLERANCE = 300
"""Seconds that a request may be old, or come from the future."""

_PREFIX = "whsec_"

_PLAIN = "".join(map(chr, range(0x20, 0x7F)))
"""What headers carry as it is."""


def signed(secret: bytes, id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers. timestamp: seconds since the Unix epoch. What no header can carry of the id, as of a row's key in it, is
    percent-encoded, and signed so."""
    sent = quote(id, safe=_PLAIN)
    digest = _digest(secret, sent.encode(), str(timestamp).encode(), body).decode()
    return {"webhook-id": sent, "webhook-timestamp": str(timestamp), "webhook-signature": f"v1,{digest}"}


def secret_of(text: str) -> bytes:
    """Base64 behind ``whsec_``; anything else is taken as it is. Raises `ValueError` for what is no base64."""
    if not text.startswith(_PREFIX):
        return text.encode()
    return base64.b64decode(text.removeprefix(_PREFIX), validate=True)


def why_not_genuine(
    secrets: Sequence[bytes],
    id: str | None,
    timestamp: str | None,
    signature: str | None,
    body: bytes,
    now: float,
) -> str | None:
    """What is wrong with a request; None: one of the secrets has signed it, and not too long ago. id, timestamp, signature:
    its headers. now: seconds since the Unix epoch.

    Every signature is compared with every secret's, each in constant time, so that nothing is learnt from how long it takes.
    """
    if not id or not timestamp or not signature:
        return "webhook-id, webhook-timestamp or webhook-signature is missing"
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        return "webhook-timestamp is no time"
    if abs(now - int(timestamp)) > TOLERANCE:
        return f"webhook-timestamp is more than {TOLERANCE} s from now"
    given = [one.removeprefix("v1,") for one in signature.split() if one.startswith("v1,")]
    found = False
    for secret in secrets:
        # As http.server decodes headers: byte for byte.
        expected = _digest(secret, id.encode("latin-1", "replace"), timestamp.encode(), body)
        for one in given:
            found |= hmac.compare_digest(expected, one.encode("latin-1", "replace"))
    return None if found else "no signature fits"


def _digest(secret: bytes, id: bytes, timestamp: bytes, body: bytes) -> bytes:
    content = b"%b.%b.%b" % (id, timestamp, body)
    return binascii.b2a_base64(hmac.new(secret, content, hashlib.sha256).digest(), newline=False)
