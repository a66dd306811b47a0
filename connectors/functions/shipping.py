"""The function of sink-python.yaml."""


def notify(events, context):
    """Called with a list of events; what it returns is published. An exception means: try again, then dead letters.

    An event may come again after a crash, with the same id.
    """
    messages = []
    for event in events:
        row = (event.value or {}).get("after")
        if row is None:
            continue  # a delete, or its tombstone
        context.log.info("order %s, attempt %d", event.id, context.attempt)
        messages.append({"order": row.get("id"), "status": row.get("status")})
    return messages


def paid(events, context):
    """The function of sink-webhook.yaml: a payment that somebody posted, published as an event of our own."""
    return [{"payment": event.id, "amount": event.value["amount"]} for event in events]
