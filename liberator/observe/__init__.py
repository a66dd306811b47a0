"""What a running connector tells of itself: numbers, health, logs, progress. Never row values, never secrets.

`telemetry` takes the numbers in; `metrics`, `server` and `progress` read them out; `logs` sets up logging.
"""
