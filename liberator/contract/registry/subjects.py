"""Under which subject a schema is registered: Confluent's three strategies.

Enters: topic, the schema's own name, and whether it is a key's. Leaves: a subject. No I/O.
"""

from __future__ import annotations

from typing import Literal, get_args

Strategy = Literal["topic_name", "record_name", "topic_record_name"]
Part = Literal["key", "value"]
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)


def subject(strategy: Strategy, topic: str, record: str, part: Part) -> str:
    """The subject of the schema called `record` (its ``title``) for the keys or values of `topic`.

    topic_name: one schema a topic, ``<topic>-value``. record_name: ``<record>``, whatever the topic. topic_record_name:
    ``<topic>-<record>``, for topics with several kinds of events. In the last two a key and a value are told apart by
    their record names.
    """
    if strategy == "topic_name":
        return f"{topic}-{part}"
    return record if strategy == "record_name" else f"{topic}-{record}"
