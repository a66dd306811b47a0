"""HTTP requests that come in: bodies with a limit, and a server that takes no more connections than it can serve.

Used by the sidecar and by webhooks. Never looks into a body.
"""
