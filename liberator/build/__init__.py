"""Configuration -> wired loops: the only place that knows every class.

`run` and `sink` run a connector, `sidecar` a sidecar; the rest is what the commands about a connector need of the live
systems. Each command imports its own module: none pays for what the others need.
"""
