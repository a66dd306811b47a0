"""What a test of liberator, or of your own connector, stands on; shipped to users.

In-memory twins of the protocols, conformance suites that define what a connector is, the replay oracle,
and (`liberator.testing.servers`) real servers on loopback. Called by tests and by the demo; the data path
never imports it.
"""
