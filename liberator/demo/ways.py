"""The two other ways to free data: events that the shop writes into its outbox, and a table that is read by queries.

Enters: the shop's URL and the broker. Leaves: two processes of `liberate run`, and what a consumer reads of both. Called by
the demo's story. Judges nothing.
"""

from __future__ import annotations

import json
from pathlib import Path

from liberator.demo.broker import Broker
from liberator.demo.connector import Connector, slot_of
from liberator.demo.shop import AGGREGATE, QUERIED

_PUBLISH = """\
publish:
  url: {publish}
  topic: "{topic}"
  create_topics: {{partitions: 3}}
checkpoint: {{url: "file:{checkpoint}"}}
"""

_OUTBOX = """\
# What the demo runs: liberate run {name}.yaml
connector: source
name: {name}
source:
  url: ${{SHOP_DSN}}
  mode: outbox
  outbox: {{table: public.outbox}}
  log: {{slot: {slot}, heartbeat: 1s}}
"""

_QUERY = """\
# What the demo runs: liberate run {name}.yaml
connector: source
name: {name}
source:
  url: ${{SHOP_DSN}}
  mode: query
  tables: [public.{table}]
  query: {{strategy: xmin, poll_interval: 1s, deletes: reconcile, reconcile_interval: 2s}}
"""


class Ways:
    """Both connectors; `stream` reads what they publish."""

    def __init__(self, folder: Path, *, name: str, dsn: str, broker: Broker) -> None:
        outbox, query = f"{name}-outbox", f"{name}-query"
        self.slot = slot_of(outbox)
        self.outbox_topic, self.query_topic = f"{outbox}.{AGGREGATE}", f"{query}.public.{QUERIED}"
        self.topics = [
            *(self.outbox_topic, self.query_topic),
            *(f"{outbox}.dead-letters", f"{query}.dead-letters"),
        ]
        self.stream = broker.stream(self.topics)

        def connector(name: str, source: str, topic: str) -> Connector:
            checkpoint = folder / f"{name}.db"
            publish = _PUBLISH.format(publish=json.dumps(broker.url), topic=topic, checkpoint=checkpoint)
            return Connector(folder, name=name, dsn=dsn, text=source + publish)

        self.outbox = connector(outbox, _OUTBOX.format(name=outbox, slot=self.slot), "{name}.{aggregatetype}")
        self.query = connector(query, _QUERY.format(name=query, table=QUERIED), "{name}.{schema}.{table}")

    @property
    def connectors(self) -> list[Connector]:
        """Both."""
        return [self.outbox, self.query]

    def start(self) -> None:
        """Run them, and read what they publish. Once only."""
        self.stream.start()
        for connector in self.connectors:
            connector.start()

    def close(self) -> None:
        """Leave no process behind. Idempotent."""
        self.stream.close()
        for connector in self.connectors:
            connector.close()
