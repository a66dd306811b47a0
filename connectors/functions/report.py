"""The function of sink-schedule.yaml."""

from datetime import datetime, timezone


def nightly(events, context):
    """Called without events; what it returns is published."""
    context.log.info("attempt %d", context.attempt)
    return {"report": "nightly", "made": datetime.now(timezone.utc).isoformat(timespec="seconds")}
