"""The supervisor: real processes, real signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

import pytest

from liberator.cli.supervise import Child, supervise

FAST = 60.0
"""Seconds within which what ends at once has ended, on a busy machine."""


def child(name: str, program: str) -> Child:
    return Child(name, [sys.executable, "-u", "-c", program])


SAYS = "import sys; print({text!r}, file=sys.stderr)"
WAITS = "import sys, time; print('ready', file=sys.stderr); time.sleep(600)"
DRAINS = """
import signal, sys, time
def drain(*_):
    print("draining", file=sys.stderr)
    sys.exit({code})
signal.signal(signal.SIGTERM, drain)
print("ready", file=sys.stderr)
time.sleep(600)
"""
STUBBORN = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: print("not yet", file=sys.stderr))
print("ready", file=sys.stderr)
while True:
    time.sleep(600)
"""

FAILS_AFTER = """
import os, sys, time
while not os.path.exists({path!r}):
    time.sleep(0.01)
sys.exit(3)
"""
"""Fails as soon as there is a file."""


def test_ends_when_all_have_ended(capfd: pytest.CaptureFixture[str]) -> None:
    assert supervise([child("one", SAYS.format(text="hello")), child("two", SAYS.format(text="there"))]) == 0
    assert sorted(capfd.readouterr().err.splitlines()) == ["[one] hello", "[two] there"]


def test_one_that_is_done_does_not_end_the_others(capfd: pytest.CaptureFixture[str]) -> None:
    later = "import sys, time; time.sleep(1); print('later', file=sys.stderr)"
    assert supervise([child("one", "pass"), child("two", later)]) == 0
    assert capfd.readouterr().err == "[two] later\n"


def test_standard_output_is_passed_through_untouched(capfd: pytest.CaptureFixture[str]) -> None:
    supervise([child("one", "print('{\"topic\": 1}')")])
    assert capfd.readouterr().out == '{"topic": 1}\n'


def test_log_lines_that_are_json_stay_json(capfd: pytest.CaptureFixture[str]) -> None:
    program = "import sys; print('{\"message\": \"x\"}', file=sys.stderr); print('plain', file=sys.stderr)"
    supervise([child('o"ne', program)], as_json=True)
    first, second = capfd.readouterr().err.splitlines()
    assert json.loads(first) == {"connector": 'o"ne', "message": "x"}
    plain = json.loads(second)
    assert (plain["connector"], plain["message"], plain["level"]) == ('o"ne', "plain", "error")


def test_a_kill_is_told_in_json_where_logs_are(capfd: pytest.CaptureFixture[str]) -> None:
    supervise([child("one", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")], as_json=True)
    said = json.loads(capfd.readouterr().err)
    assert (said["connector"], said["message"]) == ("one", "was killed by SIGKILL")


def test_a_failure_drains_the_others_and_gives_its_exit_code(
    capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    start = time.monotonic()
    ready = tmp_path / "ready"
    good = DRAINS.format(code=1).replace('print("ready"', f"open({str(ready)!r}, 'w'); print('ready'")
    assert supervise([child("good", good), child("bad", FAILS_AFTER.format(path=str(ready)))]) == 3
    assert time.monotonic() - start < FAST
    assert "[good] draining" in capfd.readouterr().err


def test_one_that_does_not_drain_in_time_is_killed(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    stubborn = STUBBORN.replace('print("ready"', f"open({str(ready)!r}, 'w'); print('ready'")
    children = [child("stubborn", stubborn), child("bad", FAILS_AFTER.format(path=str(ready)))]
    assert supervise(children, drain=1.0) == 3
    assert "[stubborn] not yet" in capfd.readouterr().err


def test_one_that_was_killed_has_failed(capfd: pytest.CaptureFixture[str]) -> None:
    program = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    assert supervise([child("one", program)]) == 1
    assert "[one] was killed by SIGKILL" in capfd.readouterr().err


def test_one_that_cannot_be_started_takes_the_others_with_it(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(FileNotFoundError):
        supervise([child("one", WAITS), Child("two", ["/no/such/program"])])


def test_handlers_are_as_before_afterwards() -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    supervise([child("one", "pass")])
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


_SUPERVISOR = """
import signal, sys
from liberator.cli.supervise import Child, supervise
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup
children = [Child(str(number), [sys.executable, "-u", "-c", program]) for number, program in enumerate(sys.argv[1:])]
sys.exit(supervise(children))
"""


@pytest.fixture
def supervisor() -> SupervisorFactory:
    return SupervisorFactory()


class SupervisorFactory:
    """A supervisor in a process of its own, whose children are ready."""

    def __call__(self, *programs: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-u", "-c", _SUPERVISOR, *programs], stderr=subprocess.PIPE, text=True
        )
        for _ in programs:
            assert "ready" in _errors(process).readline()
        return process


def _errors(process: subprocess.Popen[str]) -> IO[str]:
    assert process.stderr is not None
    return process.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_the_first_signal_lets_all_drain(supervisor: SupervisorFactory, number: signal.Signals) -> None:
    process = supervisor(DRAINS.format(code=0), DRAINS.format(code=0))
    process.send_signal(number)
    assert process.wait(FAST) == 0
    assert sorted(_errors(process).read().splitlines()) == ["[0] draining", "[1] draining"]
    _errors(process).close()


def test_one_that_is_stopped_before_it_began_has_not_failed(supervisor: SupervisorFactory) -> None:
    process = supervisor(WAITS)
    process.send_signal(signal.SIGTERM)
    assert process.wait(FAST) == 0
    assert _errors(process).read() == ""
    _errors(process).close()


def test_what_a_child_started_does_not_keep_the_supervisor_waiting() -> None:
    leaves = (
        "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(120)'])"
    )
    start = time.monotonic()
    assert supervise([child("one", leaves)]) == 0
    assert time.monotonic() - start < FAST


def test_a_child_that_fails_to_drain_decides_the_exit_code(supervisor: SupervisorFactory) -> None:
    process = supervisor(DRAINS.format(code=0), DRAINS.format(code=1))
    process.send_signal(signal.SIGTERM)
    assert process.wait(FAST) == 1
    _errors(process).close()


def test_the_second_signal_kills_at_once(supervisor: SupervisorFactory) -> None:
    process = supervisor(STUBBORN, STUBBORN)
    process.send_signal(signal.SIGTERM)
    assert "not yet" in _errors(process).readline()
    process.send_signal(signal.SIGTERM)
    assert process.wait(FAST) == 1
    _errors(process).close()


def test_children_end_when_the_supervisor_is_killed(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    program = (
        "import os, sys, time; from liberator.cli.supervise import end_with_supervisor as end; end();"
        f"open({str(note)!r}, 'w').write(str(os.getpid())); print('ready', file=sys.stderr); time.sleep(600)"
    )
    process = SupervisorFactory()(program)
    pid = int(note.read_text())
    process.kill()
    process.wait(FAST)
    _errors(process).close()
    deadline = time.monotonic() + FAST
    while _lives(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _lives(pid)


def _lives(pid: int) -> bool:
    try:
        return "zombie" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def test_a_terminal_interrupts_the_supervisor_alone(supervisor: SupervisorFactory) -> None:
    process = supervisor(WAITS)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert [os.getpgid(int(pid)) for pid in children] == [int(pid) for pid in children]
    process.send_signal(signal.SIGTERM)
    assert process.wait(FAST) == 0
    _errors(process).close()
