"""Events by HTTP, for applications that can't write an outbox: `request` reads one, `judge` holds it to its contract,
`writer` publishes many at once, `window` remembers ids, `server` speaks HTTP.

Enters: requests of an application on the same machine. Leaves: answers, each given when its event is durable. Wired by
`build`; knows publishers by their protocol only.
"""
