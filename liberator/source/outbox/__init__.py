"""An outbox that is polled: rows that are taken, published, and then deleted or marked."""
