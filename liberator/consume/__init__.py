"""Where functions get their events from: one module a technology, each an implementation of `liberator.protocols.Consumer`.

Enters: topics, and a group's commits. Leaves: batches of events as the broker keeps them. Called by the dispatch loop. Never
commits by itself what it was not told to, and never decodes an event.
"""
