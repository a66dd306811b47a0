"""Benchmarks: ours beside the peer or the limit in the same run. Ratios count; the machine is shared and noisy."""
