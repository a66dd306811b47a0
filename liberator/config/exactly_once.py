"""What a sink can't publish exactly once.

Enters: a `SinkConfig`. Leaves: nothing, or what is refused. Called by `sink`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from liberator.config.values import kind_of_place, refusal

if TYPE_CHECKING:
    from liberator.config.sink import SinkConfig

_KEY = "output.delivery: exactly_once"


def check_exactly_once(config: SinkConfig) -> None:
    """One transaction holds results and offsets, so both are in one Kafka, and the offset comes last."""
    if config.stream is None:
        what = f"{_KEY} publishes the offsets of a stream, and there is none"
        raise refusal(
            "config.delivery", what, "leave it out, or add stream: {url: kafka://..., topics: [...]}"
        )
    if config.files:
        what = f"{_KEY}: a file has no offset in Kafka that could stand in a transaction"
        raise refusal("config.delivery", what, "write a connector for the files")
    if kind_of_place(config.stream.url) != "kafka":
        what = f"{_KEY} needs transactions, and the stream's broker has none"
        raise refusal("config.delivery", what, "leave it out, or use a stream in Kafka")
    if config.publish_url != config.stream.url:
        what = f"{_KEY}: a transaction can't reach over two brokers, and output.url is not that of the stream"
        raise refusal("config.delivery", what, "leave output.url out, or delivery")
    if config.policy.commit == "before":
        what = f"{_KEY} and policy.commit: before contradict each other"
        raise refusal("config.delivery", what, "leave one of them out")
    if config.function.table is not None:
        what = f"{_KEY}: a table gives nothing to publish, and its rows are in one transaction with the offsets already"
        raise refusal("config.delivery", what, "leave it out")
    if config.state is not None:
        what = f"{_KEY}: a state is in one transaction with the offsets, in its own database, and Kafka's is another"
        raise refusal("config.delivery", what, "leave state out, or delivery")
