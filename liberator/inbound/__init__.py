"""HTTP requests that come in: bodies with a limit, and a server that takes no more connections than it can serve.

Used by the sidecar, by webhooks and by the endpoint of `observe`. Never looks into a body.
"""
