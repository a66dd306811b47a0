"""Envelopes: a row change as the bytes that a consumer reads. Pure; clock and positions are passed in."""
