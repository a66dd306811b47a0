"""What runs a function: how many calls at a time."""

from __future__ import annotations

from pathlib import Path

import pytest

from liberator.build.functions import make_invocations
from liberator.config import SinkConfig, load_together
from liberator.observe.sink_telemetry import SinkTelemetry

HTTP = "{http: {url: 'https://shop.example/hook'}}"
FAAS = "{openfaas: {gateway: 'http://gateway:8080', function: notify}}"
HERE = "{python: 'operator:concat', in_process: true}"


@pytest.mark.parametrize(
    ("function", "scale", "calls"),
    [
        (HTTP, "{}", 8),
        (HTTP, "{workers: {max: 3}, lag_per_worker: 1000}", 3),
        (FAAS, "{workers: {max: 3}}", 3),
        ("{command: ['true']}", "{workers: {max: 2}}", 2),
        (HERE, "{}", 1),
        (HERE, "{workers: {max: 4}}", 4),
        ("{python: 'operator:concat'}", "{workers: {max: 4}, lag_per_worker: 10}", 1),
    ],
    ids=["http", "http of 3", "openfaas", "command", "in process", "in process of 4", "workers by lag"],
)
def test_no_more_calls_are_in_flight_than_configured(
    tmp_path: Path, function: str, scale: str, calls: int
) -> None:
    path = tmp_path / "sink.yaml"
    stream = "{url: 'local:events', topics: [orders]}"
    path.write_text(
        f"connector: sink\nname: notify\nstream: {stream}\nfunction: {function}\nscale: {scale}\n"
    )
    (config,) = load_together([path], {})
    assert isinstance(config, SinkConfig)
    telemetry = SinkTelemetry("notify", batch_size=100, patience=30.0)
    it = make_invocations(config, telemetry)
    try:
        assert it.free() == calls
    finally:
        it.close(0.0)
