"""The numbers in Prometheus' words. Enters: a `Telemetry`. Leaves: the text of ``/metrics``.

Read at scrape time, so the capture loop pays nothing. Imported only by a server that is switched on,
because it loads prometheus_client. Own registry: nothing leaks into, or out of, the metrics of a program
that embeds liberator. Names and units: https://prometheus.io/docs/practices/naming/ (base units, ``_total``
for counters).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from liberator.observe.sink_metrics import sink_metrics
from liberator.observe.telemetry import STATES, Telemetry

_SNAPSHOT = (
    ("liberator_snapshot_rows", "rows", "Rows of the table that the snapshot has read."),
    ("liberator_snapshot_estimated_rows", "estimated_rows", "Rows the table has, as the planner guesses."),
    ("liberator_snapshot_progress_ratio", "progress_ratio", "Share of the estimate that was read, 0 to 1."),
)


class Exposition:
    """What ``/metrics`` answers: liberator's own numbers, memory, CPU and open files of the process."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_TelemetryCollector(telemetry))
        ProcessCollector(registry=self._registry)

    def render(self, accept: str) -> tuple[bytes, str]:
        """The text and its content type, in the format that the scraper's Accept header asks for."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type


class _TelemetryCollector(Collector):
    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry

    def collect(self) -> Iterator[Metric]:
        status = self._telemetry.snapshot()
        yield _info(status)
        yield _gauge("liberator_up", "1 while the loop is alive.", float(status["health"]["live"]))
        yield _gauge(
            "liberator_ready", "1 while the connector does its work.", float(status["health"]["ready"])
        )
        yield _labelled_gauge(
            "liberator_state",
            "1 for the state that the connector is in, 0 for the others.",
            "state",
            {state: float(state == status["state"]) for state in STATES},
        )
        yield _labelled_counter(
            "liberator_errors", "Errors, by stable code.", "code", status["errors"]["codes"]
        )
        yield _counter(
            "liberator_reconnects", "Times that the source was opened again.", status["reconnects"]
        )
        if "invocations" in status:
            yield from sink_metrics(status)
            return
        yield from _event_metrics(status)
        yield from _lag_metrics(status["lag"])
        yield from _snapshot_metrics(status["snapshot"])
        yield from _pass_metrics(status["passes"])
        yield from _queue_metrics(status["queue"])
        yield from _trouble_metrics(status)


def _event_metrics(status: Mapping[str, Any]) -> Iterator[Metric]:
    events = status["events"]
    yield _labelled_counter(
        "liberator_events", "Events handed to the publisher, by table.", "table", events["tables"]
    )
    yield _counter("liberator_durable_events", "Events that the publisher has confirmed.", events["durable"])
    yield _counter(
        "liberator_published_bytes", "Bytes of keys and values handed to the publisher.", events["bytes"]
    )


def _lag_metrics(lag: Mapping[str, Any]) -> Iterator[Metric]:
    # What is not known is left out: a 0 would look like health.
    if lag["bytes"] is not None:
        yield _gauge(
            "liberator_lag_bytes", "Bytes of the source's log that are not published yet.", lag["bytes"]
        )
    if lag["seconds"] is not None:
        yield _gauge(
            "liberator_lag_seconds", "Age of the oldest commit that is not published yet.", lag["seconds"]
        )


def _snapshot_metrics(snapshot: Mapping[str, Any] | None) -> Iterator[Metric]:
    tables = snapshot["tables"] if snapshot else {}
    for name, column, text in _SNAPSHOT:
        known = {table: report[column] for table, report in tables.items() if report[column] is not None}
        yield _labelled_gauge(name, text, "table", known)


def _pass_metrics(passes: Mapping[str, Any] | None) -> Iterator[Metric]:
    tables = passes or {}
    yield _labelled_counter(
        "liberator_query_passes",
        "Complete looks at the table, since the start.",
        "table",
        {table: report["count"] for table, report in tables.items()},
    )
    yield _labelled_gauge(
        "liberator_query_behind_seconds",
        "Seconds since the newest look at the table began that was read to its end.",
        "table",
        {table: report["behind_seconds"] for table, report in tables.items()},
    )
    yield _labelled_gauge(
        "liberator_query_pass_rows",
        "Rows that the look under way has found.",
        "table",
        {table: report["rows"] for table, report in tables.items() if report["rows"] is not None},
    )


def _queue_metrics(queue: Mapping[str, Any]) -> Iterator[Metric]:
    yield _gauge("liberator_queue_bytes", "Bytes read and not durable yet.", queue["bytes"])
    yield _gauge(
        "liberator_queue_limit_bytes", "Budget for bytes read and not durable yet.", queue["limit_bytes"]
    )
    yield _gauge("liberator_queue_fill_ratio", "Share of that budget in use.", queue["fill_ratio"])


def _trouble_metrics(status: Mapping[str, Any]) -> Iterator[Metric]:
    yield _labelled_counter(
        "liberator_dead_letters",
        "Events that went to the dead letters, by table.",
        "table",
        status["dead_letters"]["tables"],
    )
    checkpoint = status["checkpoint"]
    if checkpoint is not None:
        yield _gauge(
            "liberator_checkpoint_age_seconds",
            "Seconds since a position was saved last.",
            checkpoint["age_seconds"],
        )


def _info(status: Mapping[str, Any]) -> Metric:
    family = InfoMetricFamily("liberator_connector", "Name of the connector, versions of its parts.")
    versions = {f"{part}_version": text for part, text in status["versions"].items()}
    family.add_metric([], {"name": status["name"], **versions})
    return family


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(name, text, value=value)


def _labelled_gauge(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def _labelled_counter(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = CounterMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family
