"""How many events a second the sidecar takes: `python -m tests.benchmark.sidecar`.

Beside it, in the same run, its limit: the same server of the standard library, which reads requests and answers 202 without
doing anything. What was answered 202 is counted in the topic afterwards. The exit code is 1 when something is missing or
there twice.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from urllib.request import urlopen

from liberator.locallog import LocalLog
from liberator.testing.servers import KafkaServer
from liberator.testing.servers.process import free_port
from tests.benchmark.requests import PATIENCE, Answers, ask
from tests.integration.publish.topics import read

TOPIC = "outbox.event.order"

Side = Callable[[], AbstractContextManager[tuple[int, Callable[[], int] | None]]]
"""A port, and what counts the events that are there; None: nobody keeps them."""


def main() -> int:
    """Measure and print."""
    arguments = argparse.ArgumentParser(prog="python -m tests.benchmark.sidecar", description=__doc__)
    arguments.add_argument("--seconds", type=float, default=5.0, help="of a round (5)")
    arguments.add_argument("--clients", type=int, nargs="*", default=[16, 300], help="at a time (16 300)")
    given = arguments.parse_args()
    print(f"{os.cpu_count()} CPUs under a load of {os.getloadavg()[0]:.1f}\n")
    print(f"{'side':30}{'clients':>8}{'answers/s':>11}{'p50':>11}{'p99':>11}")
    complete = True
    with KafkaServer() as kafka:
        for name, side in sides(kafka).items():
            for clients in given.clients:
                with side() as (port, count):
                    answers = ask(port, clients, given.seconds, f"{clients}")
                    complete &= count is None or count() == answers.statuses[202] == len(answers.took)
                print(_line(name, clients, answers), flush=True)
    print("\nwhat was answered 202 is there, once" if complete else "\nEVENTS ARE MISSING, OR THERE TWICE")
    return 0 if complete else 1


def sides(kafka: KafkaServer) -> dict[str, Side]:
    """Who is measured."""
    found: dict[str, Side] = {"bare server": _bare}
    for delivery in ("exactly_once", "at_least_once"):
        found[f"local log, {delivery}"] = partial(_sidecar, None, delivery)
        found[f"Kafka, {delivery}"] = partial(_sidecar, kafka, delivery)
    return found


def _line(name: str, clients: int, answers: Answers) -> str:
    p50, p99 = (f"{1000 * answers.quantile(share):.1f} ms" for share in (0.5, 0.99))
    return f"{name:30}{clients:>8}{answers.per_second:>11,.0f}{p50:>11}{p99:>11}"


@contextmanager
def _sidecar(kafka: KafkaServer | None, delivery: str) -> Iterator[tuple[int, Callable[[], int]]]:
    """The command, in a folder of its own."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="liberator-bench-") as folder:
        name = f"bench{port}"
        publish = {
            "url": "local:events" if kafka is None else f"kafka://{kafka.bootstrap}",
            "topic": f"{name}.{{aggregatetype}}",
            "delivery": delivery,
        }
        document = {"connector": "sidecar", "name": name, "listen": f"127.0.0.1:{port}", "publish": publish}
        file = Path(folder) / "sidecar.yaml"
        file.write_text(json.dumps(document))
        command = [sys.executable, "-m", "liberator", "sidecar", str(file), "--log-level", "warning"]
        process = subprocess.Popen(command)
        try:
            _until_ready(port)
            topic = f"{name}.order"
            yield (
                port,
                partial(_count, folder, topic)
                if kafka is None
                else lambda: len(read(kafka.bootstrap, topic)),
            )
        finally:
            process.terminate()
            process.wait()


def _until_ready(port: int) -> None:
    end = time.monotonic() + PATIENCE
    while True:
        try:
            with urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=PATIENCE):
                return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


def _count(folder: str, topic: str) -> int:
    with closing(LocalLog(Path(folder) / "events")) as log:
        return sum(end - first for first, end in log.bounds([topic]).values())


@contextmanager
def _bare() -> Iterator[tuple[int, None]]:
    """The limit."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve_nothing, args=(theirs,), daemon=True)
    process.start()
    try:
        yield ours.recv(), None
    finally:
        process.kill()
        process.join()


def _serve_nothing(ready: Connection) -> None:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.wfile.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 3\r\n\r\n{}\n")

    class Server(ThreadingHTTPServer):
        request_queue_size = 512
        daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as server:
        ready.send(server.server_address[1])
        server.serve_forever()


if __name__ == "__main__":
    sys.exit(main())
