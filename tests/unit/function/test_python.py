"""Python functions: how they are found and called, and what they may give back."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from liberator.change import Event
from liberator.errors import ConfigError, FunctionError
from liberator.function.context import Context
from liberator.function.python import PythonFunction
from liberator.protocols import Outcome, Output

Make = Callable[[str], PythonFunction]

EVENTS = [
    Event("t", 0, number, 0, b'{"id":7}', b'{"n":%d}' % number, (("id", b"e%d" % number),))
    for number in range(3)
]
_NUMBERS = itertools.count()


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """`make(source)` is the function ``f`` of a module with this source."""
    names = []

    def made(source: str) -> PythonFunction:
        name = f"function_under_test_{next(_NUMBERS)}"
        names.append(name)
        (tmp_path / f"{name}.py").write_text(source)
        return PythonFunction(f"{name}:f", tmp_path)

    yield made
    for name in names:
        sys.modules.pop(name, None)
    sys.path.remove(str(tmp_path))


def call(function: PythonFunction) -> Outcome:
    return function.call(EVENTS, Context("f", 2))


def test_sees_its_events_as_json_and_its_context(make: Make) -> None:
    it = make(
        "def f(events, context):\n"
        "    return [{'sum': sum(e.value['n'] for e in events), 'ids': [e.id for e in events], 'key': events[0].key,"
        " 'attempt': context.attempt}]\n"
    )
    [output] = call(it).outputs
    assert output.value == b'{"sum":3,"ids":["e0","e1","e2"],"key":{"id":7},"attempt":2}'


def test_headers_of_events_are_not_read_for_a_function_that_asks_for_none(make: Make) -> None:
    class Unread:
        def headers(self) -> list[tuple[str, bytes | None]]:
            raise AssertionError("somebody has read the headers")

    events = [Event("t", 0, number, 0, None, b"7", Unread()) for number in range(3)]
    it = make("def f(events, context): return [sum(event.value for event in events)]\n")
    assert it.call(events, Context("f", 1)).outputs == (Output(None, None, b"21"),)


def test_giving_nothing_back_means_that_all_is_done(make: Make) -> None:
    assert call(make("def f(events, context): pass\n")) == Outcome()


def test_names_the_events_that_failed(make: Make) -> None:
    outcome = call(make("def f(events, context): return {'failed': ['e1'], 'outputs': [1]}\n"))
    assert list(outcome.failures) == [1]
    assert outcome.failures[1].retryable
    assert [output.value for output in outcome.outputs] == [b"1"]


def test_an_event_that_nobody_gave_it_cannot_fail(make: Make) -> None:
    outcome = call(make("def f(events, context): return {'failed': ['e9']}\n"))
    assert {error.code for error in outcome.failures.values()} == {"function.result"}


def test_an_exception_fails_all_and_may_pass(make: Make) -> None:
    outcome = call(make("def f(events, context): raise ValueError('no route')\n"))
    assert len(outcome.failures) == 3
    assert len({id(error) for error in outcome.failures.values()}) == 1
    assert outcome.failures[0].retryable
    assert str(outcome.failures[0]) == "ValueError: no route"


def test_a_permanent_error_is_not_tried_again(make: Make) -> None:
    outcome = call(
        make("import liberator\ndef f(events, context): raise liberator.PermanentError('no such customer')\n")
    )
    assert not outcome.failures[0].retryable


def test_publishes_through_its_context(make: Make) -> None:
    it = make(
        "def f(events, context):\n"
        "    context.publish({'paid': True}, key='k', topic='paid', headers={'why': 'x'})\n"
        "    context.publish(None, key=b'raw')\n"
    )
    first, second = call(it).outputs
    assert (first.topic, first.key, first.value, first.headers) == (
        "paid",
        b'"k"',
        b'{"paid":true}',
        (("why", b"x"),),
    )
    assert (second.topic, second.key, second.value) == (None, b"raw", None)


def test_says_which_event_an_output_comes_of(make: Make) -> None:
    outcome = call(
        make(
            "def f(events, context):\n"
            "    for event in reversed(events):\n"
            "        context.publish(event.id, cause=event)\n"
        )
    )
    assert [output.event for output in outcome.outputs] == [*reversed(range(len(outcome.outputs)))]
    assert len(outcome.outputs) > 1
    wrong = call(make("def f(events, context):\n    context.publish(1, cause='of another batch')\n"))
    assert "no event that the function was given" in str(wrong.failures[0])


def test_what_json_does_not_know_is_an_error_of_the_function(make: Make) -> None:
    outcome = call(make("def f(events, context): return [{1, 2}]\n"))
    assert "TypeError" in str(outcome.failures[0])
    assert "ValueError" in str(call(make("def f(events, context): return [float('nan')]\n")).failures[0])


def test_may_be_asynchronous(make: Make) -> None:
    it = make(
        "import asyncio\nloops = set()\n"
        "async def f(events, context):\n"
        "    await asyncio.sleep(0)\n    loops.add(id(asyncio.get_running_loop()))\n    return [len(loops)]\n"
    )
    call(it)
    assert [output.value for output in call(it).outputs] == [b"1"]
    it.close()


def test_may_be_a_class_that_is_made_once(make: Make) -> None:
    it = make(
        "class f:\n    def __init__(self): self.calls = 0\n"
        "    def __call__(self, events, context):\n        self.calls += 1\n        return [self.calls]\n"
        "    def close(self): open(__file__ + '.closed', 'w').close()\n"
    )
    call(it)
    assert [output.value for output in call(it).outputs] == [b"2"]
    it.close()
    assert Path(str(it._module.__file__) + ".closed").exists()


def test_init_and_close_of_its_module_are_called_once(make: Make) -> None:
    it = make(
        "calls = []\ndef init(): calls.append('init')\ndef close(): calls.append('close')\n"
        "def f(events, context): calls.append('f')\n"
    )
    call(it)
    call(it)
    it.close()
    assert it._module.calls == ["init", "f", "f", "close"]


def test_an_init_that_fails_is_told(make: Make) -> None:
    with pytest.raises(FunctionError) as failed:
        make("def init(): raise OSError('no database')\ndef f(events, context): pass\n")
    assert (failed.value.code, failed.value.retryable) == ("function.init", True)
    assert "OSError: no database" in str(failed.value)


@pytest.mark.parametrize("target", ["nowhere:f", "json:nothing", "json", "json:decoder", ":f", "json:"])
def test_a_function_that_is_not_there_is_refused(target: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        PythonFunction(target, tmp_path)
    assert refused.value.code == "function.python"
    sys.path.remove(str(tmp_path))


@pytest.mark.parametrize(
    "source",
    [
        pytest.param("def f(events, context):\n    yield 1\n    yield 2\n", id="generator"),
        pytest.param("async def f(events, context):\n    yield 1\n    yield 2\n", id="async_generator"),
        pytest.param("def f(events, context):\n    return (n for n in (1, 2))\n", id="expression"),
        pytest.param(
            "def f(events, context):\n    return {'failed': [], 'outputs': map(int, '12')}\n",
            id="beside_failed",
        ),
    ],
)
def test_what_is_yielded_are_outputs(make: Make, source: str) -> None:
    it = make(source)
    assert [output.value for output in call(it).outputs] == [b"1", b"2"]
    it.close()


def test_an_error_between_two_outputs_fails_the_invocation(make: Make) -> None:
    outcome = call(make("def f(events, context):\n    yield 1\n    raise OSError('gone')\n"))
    assert outcome.outputs == ()
    assert [str(error) for error in outcome.failures.values()] == ["OSError: gone"] * 3


@pytest.mark.parametrize(
    "source",
    [
        pytest.param("def f(events): ...\n", id="too_few"),
        pytest.param("def f(events, context, connection): ...\n", id="too_many"),
        pytest.param("class f:\n    def __call__(self, events): ...\n", id="class"),
    ],
)
def test_a_function_that_no_event_could_be_given_to_is_refused(make: Make, source: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make(source)
    assert caught.value.code == "function.python"
    assert caught.value.fix == "def f(events, context): ..."


def test_a_module_that_is_no_python_is_refused(make: Make) -> None:
    with pytest.raises(ConfigError, match="invalid syntax") as caught:
        make("def f(:\n")
    assert caught.value.code == "function.python"


def test_a_module_that_raises_is_not_ready_yet(make: Make) -> None:
    with pytest.raises(FunctionError, match="KeyError: 'API_TOKEN'") as caught:
        make("import os\nos.environ['API_TOKEN']\ndef f(events, context): ...\n")
    assert caught.value.code == "function.init"
    assert caught.value.retryable


@pytest.mark.parametrize("source", ["sys.exit('no config')", "def init(): sys.exit('no config')"])
def test_a_module_that_exits_is_not_ready_and_does_not_end_the_connector(make: Make, source: str) -> None:
    with pytest.raises(FunctionError, match="SystemExit: no config") as caught:
        make(f"import sys\n{source}\ndef f(events, context): ...\n")
    assert (caught.value.code, caught.value.retryable) == ("function.init", True)


def test_names_the_failed_events_that_it_was_not_given(make: Make) -> None:
    outcome = call(make("def f(events, context):\n    return {'failed': 'nosuch'}\n"))
    assert "not given: nosuch" in str(outcome.failures[0])


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param("topic=5", id="topic"),
        pytest.param("headers={'n': 1}", id="header"),
        pytest.param("headers={1: 'n'}", id="name"),
    ],
)
def test_topics_and_headers_that_are_no_text_are_the_functions_failure(make: Make, arguments: str) -> None:
    outcome = call(make(f"def f(events, context):\n    context.publish(1, {arguments})\n"))
    assert len(outcome.failures) == 3
    assert "text" in str(outcome.failures[0])
