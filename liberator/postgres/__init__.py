"""What only Postgres knows: pinned session, replication connection, pgoutput decoder, values, catalogue, slots.

Knows nothing of brokers, contracts or configuration.
"""
