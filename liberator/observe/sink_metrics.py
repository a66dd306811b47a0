"""The numbers of a sink in Prometheus' words. Enters: its status. Leaves: metrics. Called by `metrics`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from liberator.observe.sink_telemetry import BUCKETS


def sink_metrics(status: Mapping[str, Any]) -> Iterator[Metric]:
    """What only a sink has."""
    events, calls = status["events"], status["invocations"]
    yield _by_topic("liberator_consumed_events", "Events that were read, by topic.", events["topics"])
    yield CounterMetricFamily(
        "liberator_done_events", "Events that are done, or durably given up.", value=events["durable"]
    )
    yield _by_topic(
        "liberator_dead_letters",
        "Events that are not tried any more, by topic.",
        status["dead_letters"]["topics"],
    )
    yield CounterMetricFamily("liberator_invocations", "Invocations, retries included.", value=calls["total"])
    yield CounterMetricFamily(
        "liberator_failed_invocations", "Invocations of which an event failed.", value=calls["failed"]
    )
    yield CounterMetricFamily(
        "liberator_retried_invocations", "Invocations that were no first attempts.", value=calls["retries"]
    )
    yield CounterMetricFamily("liberator_invoked_events", "Events of all invocations.", value=calls["events"])
    yield CounterMetricFamily(
        "liberator_cold_starts", "Worker processes that were started.", value=calls["cold_starts"]
    )
    if calls["workers"] is not None:
        yield GaugeMetricFamily("liberator_workers", "Worker processes that run.", value=calls["workers"])
    if calls["cold_start_seconds"] is not None:
        yield GaugeMetricFamily(
            "liberator_cold_start_seconds",
            "What the latest worker process took until it could be called.",
            value=calls["cold_start_seconds"],
        )
    if calls["batch_fill_ratio"] is not None:
        yield GaugeMetricFamily(
            "liberator_batch_fill_ratio",
            "Events of a recent invocation on average, as a share of batch_size.",
            value=calls["batch_fill_ratio"],
        )
    yield _durations(calls)
    if (circuit := status["circuit"]) is not None:
        yield GaugeMetricFamily(
            "liberator_circuit_open",
            "1 while the function is left alone, as it fails every time.",
            value=circuit["state"] != "closed",
        )
        yield CounterMetricFamily(
            "liberator_circuit_opened", "Times that this began.", value=circuit["opened"]
        )
    # What is not known is left out: a 0 would look like health.
    if status["lag"]["events"] is not None:
        yield GaugeMetricFamily(
            "liberator_lag_events", "Events of the stream that are not done.", value=status["lag"]["events"]
        )
    if status["committed"] is not None:
        yield GaugeMetricFamily(
            "liberator_commit_age_seconds",
            "Seconds since offsets were committed last.",
            value=status["committed"]["age_seconds"],
        )


def _durations(calls: Mapping[str, Any]) -> Metric:
    family = HistogramMetricFamily("liberator_invocation_seconds", "How long invocations took.")
    total, buckets = 0, []
    for bound, count in zip([*map(str, BUCKETS), "+Inf"], calls["buckets"], strict=True):
        total += count
        buckets.append((bound, float(total)))
    family.add_metric([], buckets, calls["seconds"]["sum"])
    return family


def _by_topic(name: str, text: str, values: Mapping[str, float]) -> Metric:
    family = CounterMetricFamily(name, text, labels=["topic"])
    for topic, value in values.items():
        family.add_metric([topic], value)
    return family
