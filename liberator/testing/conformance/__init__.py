"""Conformance suites: they define what a part of liberator is, yours included.

Each suite is a class of pytest tests. Subclass it in a test file of your own, give it the fixture that it asks for,
and your implementation is held to what the capture loop relies on.
"""
