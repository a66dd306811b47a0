"""Where events go: one module a technology, each an implementation of `liberator.protocols.Publisher`.

Enters: encoded batches with the states they lead to. Leaves: those states, once their events are durable.
Called by the capture loop. Never changes an event, and never acknowledges anything to the source.
"""
