"""A process that produces ready bytes: `python -m tests.benchmark.ready_bytes BOOTSTRAP TOPIC FILE`.

Enters: a file of pickled batches of (key, value, headers). Leaves: the same in Kafka, acknowledged. Called by
`sides.producer`. It says "ready" when it has everything in memory, and waits for a line before it begins.
"""

from __future__ import annotations

import gc
import pickle
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from confluent_kafka import KafkaError, Message, Producer

Ready = tuple[bytes | None, bytes | None, list[tuple[str, str | bytes | None]]]
"""Key, value, headers."""

_BATCH = 1000

# As the connector's: see `liberator.kafka.confluent`.
_SETTINGS = {
    "acks": "all",
    "enable.idempotence": True,
    "compression.type": "lz4",
    "linger.ms": 0.5,
    "batch.size": 1_000_000,
    "partitioner": "murmur2_random",
    "queue.buffering.max.messages": 0,
    "queue.buffering.max.kbytes": 2_147_483_647,
    "delivery.report.only.error": True,
}


def keep(events: Iterable[Ready], file: Path) -> None:
    """Write events to be produced later."""
    rest = iter(events)
    with file.open("wb") as to:
        while batch := list(islice(rest, _BATCH)):
            pickle.dump(batch, to)


def kept(file: Path) -> Iterator[Sequence[Ready]]:
    """What `keep` has written, in batches."""
    with file.open("rb") as batches:
        while True:
            try:
                batch: Sequence[Ready] = pickle.load(batches)
            except EOFError:
                return
            yield batch


def main(bootstrap: str, topic: str, file: str) -> None:
    """Produce everything. Raises what the first event failed with that was not taken."""
    batches = list(kept(Path(file)))
    gc.disable()
    failed: list[KafkaError] = []

    def report(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            failed.append(error)

    print("ready", flush=True)
    sys.stdin.readline()
    producer = Producer({"bootstrap.servers": bootstrap, **_SETTINGS})
    produce = producer.produce
    for batch in batches:
        for key, value, headers in batch:
            produce(topic, value, key, -1, report, None, 0, headers)
        producer.poll(0)
    if producer.flush(60) or failed:
        raise RuntimeError(failed[0].str() if failed else "not everything was acknowledged within a minute")


if __name__ == "__main__":
    main(*sys.argv[1:])
