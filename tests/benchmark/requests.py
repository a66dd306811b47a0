"""Many clients on kept connections, each sending its next event when the last one is answered.

Enters: a port. Leaves: answers a second, and how long they took. Called by `tests.benchmark.sidecar`; speaks as little HTTP
as it can, because it shares the machine with what it measures.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field

PATIENCE = 60.0

_BODY = b'{"order":7,"total":"9.90","lines":[{"sku":"a","n":1},{"sku":"b","n":2}]}'
_REQUEST = (
    b"POST /events/order/OrderPlaced HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Event-Id: %b\r\nAggregate-Id: %d\r\nContent-Length: %d\r\n\r\n%b"
)


@dataclass
class Answers:
    """statuses: how many of each. took: seconds, of each answer. seconds: of all."""

    statuses: Counter[int] = field(default_factory=Counter)
    took: list[float] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def per_second(self) -> float:
        """Answers."""
        return len(self.took) / self.seconds

    def quantile(self, share: float) -> float:
        """Seconds within which this share was answered."""
        return sorted(self.took)[min(len(self.took) - 1, int(share * len(self.took)))]


def ask(port: int, clients: int, seconds: float, name: str) -> Answers:
    """Send for so long. name: what the ids begin with."""
    return asyncio.run(_ask(port, clients, seconds, name))


async def _ask(port: int, clients: int, seconds: float, name: str) -> Answers:
    answers = Answers()
    began = time.perf_counter()
    await asyncio.gather(
        *(_client(port, f"{name}-{number}", number, began + seconds, answers) for number in range(clients))
    )
    answers.seconds = time.perf_counter() - began
    return answers


async def _client(port: int, name: str, aggregate: int, end: float, answers: Answers) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    count = 0
    while (began := time.perf_counter()) < end:
        count += 1
        id = f"{name}-{count}".encode()
        writer.write(_REQUEST % (id, aggregate, len(_BODY), _BODY))
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)
        length = int(head.lower().partition(b"content-length:")[2].split(None, 1)[0])
        await reader.readexactly(length)
        answers.statuses[int(head[9:12])] += 1
        answers.took.append(time.perf_counter() - began)
    writer.close()
    await writer.wait_closed()
