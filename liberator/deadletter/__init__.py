"""Dead letters: read, published again, given up. For whoever operates a connector; no loop ever comes here.

Enters: a dead-letter topic and what is wanted. Leaves: letters, and what became of each. Called by `build.deadletter`.

Theory of operation. What became of a letter stands in the dead-letter topic itself: a *mark*, a record behind the letter
in its own partition. So marks live as long as their letters, go with the topic when it is deleted, and need no place of
their own (docs/adr, "What became of a dead letter stands behind it"). `letter` reads and makes both; `ledger` goes through
the topic, marks first; `redrive` looks at the original topic for newer events of the same keys (`order`), and has events
and marks written as one. `box` is what this needs of a broker; behind it are `kafka`, with a reader for each client, and
`local`.
"""
