"""The function of the demo: it ships what is paid.

Enters: events of the orders. Leaves: an event for each shipment. A copy of this file lies beside the sink's YAML and is
run by it, as a user's own function is; nothing of the demo imports it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from liberator import Event
    from liberator.function.context import Context

CARRIERS = Path(__file__).with_name("carriers.json")


def ship(events: Sequence[Event], context: Context) -> None:
    """Each paid order goes to the carrier for its currency; without one, an exception: try again, then dead letters.

    A delete has no row any more. That others than paid orders come at all is for Pythons without CEL (3.10).
    """
    carriers = json.loads(CARRIERS.read_text())
    for event in events:
        order = (event.value or {}).get("after")
        if order is None or order["status"] != "paid":
            continue
        if order["currency"] not in carriers:
            raise LookupError(f"no carrier takes orders in {order['currency']}")
        context.publish(
            {"order": order["id"], "carrier": carriers[order["currency"]], "paid": event.id},
            key={"id": order["id"]},
            headers={"id": f"{event.id}/shipped"},
        )
