"""Two instances of one connector: one works, the other stands by and takes over, and who comes back too late is fenced."""

from __future__ import annotations

import heapq
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest

from liberator.change import TopicPartition
from liberator.locallog import LocalLog
from liberator.testing.oracle import Replay, assert_complete
from liberator.testing.proxy import Proxy
from liberator.testing.servers import Kafka
from liberator.testing.servers.process import free_port, wait_until
from tests.fault.brokers import Record, Topics
from tests.fault.conftest import address
from tests.fault.writers import TABLES, Writers, prepare
from tests.unit.locallog.events import read

pytestmark = pytest.mark.alone

PATIENCE = 120.0
SOAK = os.environ.get("LIBERATOR_SOAK") == "1"
TAKEN_OVER = 30.0 if SOAK else PATIENCE
"""Seconds within which the standby works when the first instance has died; a machine that is busy takes its time."""
HANDED_OVER = 10.0 if SOAK else PATIENCE
"""The same when the first was stopped in good order."""

_CONNECTOR = """
connector: source
name: {name}
source: {{url: "${{DSN:-{dsn}}}", mode: log, log: {{heartbeat: 200ms}}}}
publish: {{url: "{publish}", delivery: {delivery}}}
checkpoint: {{url: "{checkpoint}"}}
observe: {{listen: "127.0.0.1:${{LISTEN}}"}}
"""


class Instance:
    """A process of the connector in `folder`. environ: what its file takes from there."""

    def __init__(self, folder: Path, number: int, *options: str, **environ: str) -> None:
        self.port = free_port()
        self._log = folder / f"log{number}"
        ours = {key: value for key, value in os.environ.items() if not key.startswith("LIBERATE_")}
        command = [sys.executable, "-m", "liberator", "run", "connector.yaml", *options]
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=folder,
                env={**ours, "LISTEN": str(self.port), **environ},
            )

    @property
    def log(self) -> str:
        """What it has said."""
        return self._log.read_text()

    def answer(self, path: str) -> tuple[int, dict[str, Any]]:
        """What its endpoint says, with the status code."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=PATIENCE) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as refusal:
            with refusal:
                return refusal.code, json.load(refusal)

    @property
    def state(self) -> str:
        """What it says that it does; nothing before its endpoint is there."""
        try:
            return str(self.answer("/status")[1]["state"])
        except OSError:
            return ""

    def comes_to(self, state: str, within: float = PATIENCE) -> float:
        """Wait until it says that; how many seconds that took."""
        started = time.monotonic()
        assert wait_until(lambda: self.ended or self.state == state, timeout=within, pause=0.05), self.log
        assert not self.ended, self.log
        return time.monotonic() - started

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    @property
    def ended(self) -> bool:
        """Has the process ended?"""
        return self.process.poll() is not None

    def ends_with(self, code: int, within: float = PATIENCE) -> None:
        """It must end in time, with this exit code."""
        assert self.process.wait(within) == code, self.log


class Pair:
    """A connector of which several instances run: the same file, the same folder.

    publish, delivery: those of ``publish``. checkpoint: ``checkpoint.url``.
    """

    def __init__(
        self, folder: Path, dsn: str, name: str, publish: str, checkpoint: str, delivery: str
    ) -> None:
        self.name = name
        self.dsn = dsn
        self._folder = folder
        self._instances: list[Instance] = []
        self._connection = psycopg.connect(dsn, autocommit=True)
        text = _CONNECTOR.format(
            name=name, dsn=dsn, publish=publish, checkpoint=checkpoint, delivery=delivery
        )
        (folder / "connector.yaml").write_text(text)

    def launch(self, *options: str, **environ: str) -> Instance:
        """Start one more instance."""
        instance = Instance(self._folder, len(self._instances), *options, **environ)
        self._instances.append(instance)
        return instance

    def launch_both(self, **environ: str) -> tuple[Instance, Instance]:
        """One that works, and one that stands by. environ: of the first."""
        first = self.launch(**environ)
        first.comes_to("streaming")
        self.settled()
        second = self.launch()
        second.comes_to("standby")
        return first, second

    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        """Run it in the database."""
        cursor = self._connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []

    def is_read(self) -> bool:
        """Has an instance its slot?"""
        asked = f"select 1 from pg_replication_slots where slot_name = '{self.name}' and active"
        return len(self.execute(asked)) == 1

    def settled(self) -> None:
        """Returns when all that was committed up to now is durable, saved and acknowledged."""
        self.execute("select pg_logical_emit_message(true, 'settled', '')")
        [[lsn]] = self.execute("select pg_current_wal_flush_lsn()")
        confirmed = f"select 1 from pg_replication_slots where slot_name = '{self.name}' and confirmed_flush_lsn >= '{lsn}'"
        assert wait_until(lambda: self.execute(confirmed) != [], timeout=PATIENCE, pause=0.05), self.logs

    @property
    def logs(self) -> str:
        """What all of them have said."""
        return "\n\n".join(instance.log for instance in self._instances)

    def close(self) -> None:
        """End all of them, without ceremony."""
        for instance in self._instances:
            instance.process.kill()
            instance.process.wait()
        self._connection.close()


Make = Callable[..., Pair]


@pytest.fixture
def pair(database: str, unique: str, tmp_path: Path) -> Iterator[Make]:
    """Makes the connector of a test: `pair("kafka://...", "kafka")`."""
    made: list[Pair] = []

    def make(publish: str, checkpoint: str, delivery: str = "at_least_once") -> Pair:
        made.append(Pair(tmp_path, database, unique, publish, checkpoint, delivery))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def connector(database: str, kafka: Kafka, pair: Make) -> Make:
    """Makes a connector from `database` to Kafka: `connector("kafka")` keeps its positions there."""
    prepare(database, 200)

    def make(checkpoint: str, delivery: str = "at_least_once") -> Pair:
        made = pair(f"kafka://{kafka.bootstrap}", checkpoint, delivery)
        # So long does a frozen instance keep its slot.
        made.execute(f"alter database {database.rpartition('/')[2]} set wal_sender_timeout = '4s'")
        return made

    return make


IN_KAFKA, IN_A_FILE = "kafka", "file:positions.db"
EACH = pytest.mark.parametrize(
    ("client", "checkpoint"), [("confluent", IN_KAFKA), ("kafka-python", IN_A_FILE)], indirect=["client"]
)


def replay(pair: Pair, kafka: Kafka) -> Replay:
    """What a consumer knows; everything that was committed must be there, in order."""
    pair.settled()
    return assert_complete(Topics(kafka.bootstrap, f"{pair.name}.").replay(), pair.dsn, TABLES)


def test_a_standby_of_a_local_log_takes_over_when_the_first_is_killed(
    database: str, pair: Make, tmp_path: Path
) -> None:
    """Both write into the same folder, and keep their positions there."""
    prepare(database, 200)
    it = pair("local:events", "local")
    first, second = it.launch_both()
    with Writers(it.dsn, 65, sessions=2, pause=0.002):
        time.sleep(1)
        first.signal(signal.SIGKILL)
        assert second.comes_to("streaming") <= TAKEN_OVER
        time.sleep(1)
    it.settled()
    assert_complete(local_replay(tmp_path / "events"), it.dsn, TABLES)


def local_replay(folder: Path) -> Replay:
    """What a consumer of a local log knows."""
    lanes = []
    with closing(LocalLog(folder)) as log:
        for topic in list(log.topics()):
            for place in log.bounds([topic]):
                lanes.append(local_records(log, place))
    replay = Replay()
    for record in heapq.merge(*lanes, key=lambda record: record.place):
        replay.add_record(record.topic, record.key, record.value, record.headers.items())
    return replay


def local_records(log: LocalLog, place: TopicPartition) -> list[Record]:
    """Everything in a partition."""
    batch = read(log, *place)
    columns = zip(batch.offsets, batch.keys, batch.values, batch.headers, strict=True)
    return [
        Record(*place, offset, key, value, {name: text or b"" for name, text in headers})
        for offset, key, value, headers in columns
    ]


@EACH
def test_a_standby_takes_over_when_the_first_is_killed(
    client: str, checkpoint: str, connector: Make, kafka: Kafka
) -> None:
    """D57: no loss, order per key, and what comes again has the same id."""
    it = connector(checkpoint)
    first, second = it.launch_both()
    assert f'slot "{it.name}" is active for PID' in second.log
    assert "another instance of this connector runs" in second.log
    with Writers(it.dsn, 57, sessions=2, pause=0.002):
        time.sleep(2)
        first.signal(signal.SIGKILL)
        assert second.comes_to("streaming") <= TAKEN_OVER
        time.sleep(1)
    replay(it, kafka)


def test_a_standby_takes_over_when_the_first_is_stopped_and_nothing_comes_twice(
    connector: Make, kafka: Kafka
) -> None:
    it = connector(IN_KAFKA)
    first, second = it.launch_both()
    with Writers(it.dsn, 58, sessions=2, pause=0.002):
        time.sleep(1)
        first.signal(signal.SIGTERM)
        assert second.comes_to("streaming") <= HANDED_OVER
        first.ends_with(0)
        time.sleep(1)
    assert replay(it, kafka).redelivered == 0
    second.signal(signal.SIGTERM)
    second.ends_with(0)


@pytest.mark.parametrize(
    ("client", "checkpoint", "ended_by"),
    [("confluent", IN_KAFKA, "the server"), ("kafka-python", IN_A_FILE, "an operator")],
    indirect=["client"],
)
def test_a_frozen_instance_that_wakes_up_too_late_publishes_nothing_more_and_ends(
    client: str, checkpoint: str, ended_by: str, connector: Make, kafka: Kafka
) -> None:
    """Its stream was ended, and the standby has the slot: what lies in its sockets and queues is old."""
    it = connector(checkpoint)
    first, second = it.launch_both()
    first.signal(signal.SIGSTOP)
    with Writers(it.dsn, 59, sessions=2, pause=0.002):
        if ended_by == "an operator":
            it.execute(
                f"select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = '{it.name}'"
            )
        assert second.comes_to("streaming") <= TAKEN_OVER
        time.sleep(1)
        first.signal(signal.SIGCONT)
        first.ends_with(3)
    assert "this process stood still" in first.log
    assert "checkpoint.fenced" in first.log
    assert f"another instance of connector {it.name} has taken over" in first.log
    assert replay(it, kafka).redelivered == 0


def test_a_frozen_instance_that_still_has_its_slot_goes_on_where_it_was(
    connector: Make, kafka: Kafka
) -> None:
    it = connector(IN_A_FILE)
    it.execute(f"alter database {it.dsn.rpartition('/')[2]} set wal_sender_timeout = '60s'")
    alone = it.launch()
    alone.comes_to("streaming")
    with Writers(it.dsn, 64, sessions=2, pause=0.002):
        time.sleep(0.5)
        alone.signal(signal.SIGSTOP)
        time.sleep(3)
        alone.signal(signal.SIGCONT)
        time.sleep(0.5)
    assert replay(it, kafka).redelivered == 0
    assert "stood still" not in alone.log


@pytest.mark.soak
def test_an_instance_that_is_cut_off_from_the_database_ends_when_it_comes_back(
    connector: Make, kafka: Kafka
) -> None:
    """It was not frozen, and could still publish; the server has heard nothing of it, and gave its slot away. See also
    tests/unit/test_capture.py."""
    it = connector(IN_A_FILE)
    with Proxy(*address(it.dsn)) as way:
        first, second = it.launch_both(DSN=way.url(it.dsn))
        way.swallow()
        with Writers(it.dsn, 63, sessions=2, pause=0.002):
            assert second.comes_to("streaming") <= TAKEN_OVER
            time.sleep(1)
            way.calm()
            first.ends_with(3)
    assert "checkpoint.fenced" in first.log
    assert replay(it, kafka).redelivered == 0


@pytest.mark.soak
def test_exactly_once_not_even_what_the_frozen_client_holds_is_published(
    client: str, connector: Make, kafka: Kafka
) -> None:
    """Frozen under load, mostly in the middle of a transaction: brokers refuse the rest of it. See also
    tests/fault/test_exactly_once.py."""
    it = connector(IN_KAFKA, "exactly_once")
    first, second = it.launch_both()
    with Writers(it.dsn, 62, sessions=2):
        time.sleep(1)
        first.signal(signal.SIGSTOP)
        assert second.comes_to("streaming") <= TAKEN_OVER
        time.sleep(1)
        first.signal(signal.SIGCONT)
        time.sleep(1)
    told = replay(it, kafka)
    assert told.redelivered == 0
    assert told.events > 500


def test_a_frozen_instance_that_nobody_replaced_goes_on(connector: Make, kafka: Kafka) -> None:
    it = connector(IN_A_FILE)
    alone = it.launch()
    alone.comes_to("streaming")
    it.settled()  # an interrupted snapshot would be read again, and its rows come after their changes
    with Writers(it.dsn, 60, sessions=2, pause=0.002):
        alone.signal(signal.SIGSTOP)
        assert wait_until(lambda: not it.is_read(), timeout=PATIENCE), "the server gives it up"
        alone.signal(signal.SIGCONT)
        assert wait_until(it.is_read, timeout=PATIENCE), it.logs
    replay(it, kafka)
    assert "this process stood still" in alone.log


def test_a_standby_is_alive_but_not_ready_and_stops_when_told_to(connector: Make) -> None:
    first, second = connector(IN_KAFKA).launch_both()
    assert second.answer("/health/live")[0] == 200
    assert second.answer("/health/ready")[0] == 503
    second.signal(signal.SIGTERM)
    second.ends_with(0, within=HANDED_OVER)
    assert first.state == "streaming"


def test_two_instances_started_at_once_agree_on_one(connector: Make, kafka: Kafka) -> None:
    """A first start makes slot and snapshot: one does it, the other stands by or is fenced."""
    it = connector(IN_A_FILE)
    both = it.launch(), it.launch()
    with Writers(it.dsn, 61, sessions=2, pause=0.002):
        assert wait_until(lambda: any(one.state == "streaming" for one in both), timeout=PATIENCE), it.logs
        time.sleep(1)
    replay(it, kafka)
    for one in both:
        assert wait_until(partial(_knows_its_part, one), timeout=PATIENCE), (one.state, one.log)


def _knows_its_part(one: Instance) -> bool:
    return one.state in ("streaming", "standby") or "checkpoint.fenced" in one.log


def test_a_bounded_run_beside_a_running_instance_waits_for_its_turn(connector: Make, kafka: Kafka) -> None:
    """D57: for half a minute; see the next test."""
    it = connector(IN_A_FILE)
    first = it.launch()
    first.comes_to("streaming")
    once = it.launch("--once")
    once.comes_to("standby")
    first.signal(signal.SIGSTOP)
    it.execute("insert into account values (777, 'left', 1, null)")
    first.signal(signal.SIGKILL)
    once.ends_with(0)
    assert_complete(Topics(kafka.bootstrap, f"{it.name}.").replay(), it.dsn, TABLES)


@pytest.mark.soak
def test_a_bounded_run_gives_up_after_half_a_minute_beside_a_running_instance(connector: Make) -> None:
    """D57: the limit itself is also tested in tests/unit/test_capture.py."""
    it = connector(IN_A_FILE)
    first = it.launch()
    first.comes_to("streaming")
    started = time.monotonic()
    once = it.launch("--once")
    once.ends_with(3, within=PATIENCE)
    assert 25 < time.monotonic() - started < 45
    assert "is active for PID" in once.log
    assert first.state == "streaming"


def test_a_file_has_one_writer_and_a_second_is_refused_at_once(
    database: str, pair: Make, tmp_path: Path
) -> None:
    """Nobody stands by for a file: it is one machine's, and its supervisor starts anew what has died there."""
    prepare(database, 10)
    it = pair("file:events.ndjson", IN_A_FILE)
    first = it.launch()
    first.comes_to("streaming")
    second = it.launch()
    second.ends_with(1, within=PATIENCE)
    assert "publish.file_in_use" in second.log
    assert "another process writes this file" in second.log
    it.execute("insert into account values (777, 'new', 1, null)")
    it.settled()
    assert_complete((tmp_path / "events.ndjson").read_bytes().splitlines(), database, TABLES)
