"""What an envelope cannot be combined with.

Enters: a document. Leaves: faults. Called when a configuration is checked.
"""

from __future__ import annotations

from collections.abc import Iterator

from liberator.config.document import Document, KeyPath
from liberator.errors import ConfigError

_ENVELOPE = ("format", "envelope")
_MODE = ("format", "cloudevents_mode")
_TOMBSTONES = ("format", "tombstones")


def envelope_faults(document: Document) -> Iterator[tuple[KeyPath, ConfigError]]:
    """A fault for each."""
    envelope = document.get(_ENVELOPE)
    if envelope in ("cloudevents", "flat") and document.get(("source", "mode")) == "outbox":
        what = "the events of an outbox are what the application wrote, in no envelope"
        yield _ENVELOPE, document.fault(_ENVELOPE, "envelope", what, "leave format.envelope out")
    if envelope == "flat" and document.get(_TOMBSTONES) is False:
        what = "with envelope flat a delete is a tombstone, so without tombstones no delete would be told"
        fix = "leave format.tombstones out, or choose another envelope"
        yield _TOMBSTONES, document.fault(_TOMBSTONES, "envelope", what, fix)
    if document.get(_MODE) != "structured":
        return
    if envelope != "cloudevents":
        what = "cloudevents_mode is about envelope cloudevents"
        fix = "write format.envelope: cloudevents, or leave cloudevents_mode out"
        yield _MODE, document.fault(_MODE, "envelope", what, fix)
    elif document.get(("schema", "registry")):
        what = "a structured CloudEvent is JSON alone, and a registry's wire format puts bytes in front of it"
        yield _MODE, document.fault(_MODE, "envelope", what, "write cloudevents_mode: binary")
