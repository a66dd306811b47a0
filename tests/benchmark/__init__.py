"""Benchmarks: ours beside the peer or the limit in the same run. Ratios count; the machine is shared and noisy.

    python -m tests.benchmark [--rows 500000] [--rounds 3] [--json build/bench.json]

Enters: how many rows. Leaves: a table, a JSON file, and an exit code that says whether everything arrived. Its rooms:

    ground          the servers, and for every lap a fresh database with its rows
    rehearsal       one lap that is not measured: warm servers, and what the measured ones are compared with
    sides           who runs: one module each
    processes       a process watched from outside: time, progress, CPU, memory
    topic           a Kafka topic: made, watched, read back
    comparison      laps in which all sides run over the same rows
    report          the figures for people and for programs
"""
