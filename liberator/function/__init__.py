"""Functions that a stream triggers: ``python`` is one, ``process`` runs it in workers that can be killed, ``threads`` runs
what waits for others and ends by itself.

Enters: events. Leaves: an `Outcome` for each invocation. Called by the dispatch loop through `protocols.Invocations`. Never
commits, never decides what a failure means.
"""
