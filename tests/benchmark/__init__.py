"""Benchmarks: ours beside the peer or the limit in the same run. Ratios count; the machine is shared and noisy.

    python -m tests.benchmark [--rows 1000000] [--rounds 1] [--only inserts,latency] [--out docs/benchmarks]

Enters: how many rows. Leaves: tables, JSON, a chart, and an exit code that says whether everything arrived. Its rooms:

    ground          the servers, and for every lap a fresh database with its rows
    rehearsal       one lap that is not measured: warm servers, and what the measured ones are compared with
    sides           who runs: one module each
    processes       a process watched from outside: time, progress, CPU, memory
    topic           a Kafka topic: made, watched, read back
    workload        what is written to the table
    comparison      laps in which all sides run over the same rows
    latency         from commit to consumer, and where it is spent
    goals           memory of a huge transaction, cost per event, a fast start
    report, chart   the figures for people and for programs
"""
