"""What a sink's YAML may say, and what it can't promise."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

import jsonschema
import pytest
import yaml

from liberator.config import ConfigErrors, SinkConfig, connector_schema, load, load_together
from liberator.config.document import show_path
from liberator.config.sink_file import SINK_FIELDS
from liberator.errors import ConfigError

ROOT = Path(__file__).parents[3]
PLAIN = {
    "connector": "sink",
    "name": "notify",
    "stream": {"url": "kafka://b:9092", "topics": ["orders"]},
    "function": {"python": "shipping:notify"},
}

HOURLY = "trigger: {on: schedule, cron: '0 * * * *'}\n"

Write = Callable[[str], Path]


@pytest.fixture
def sink(write: Write) -> Callable[..., SinkConfig]:
    """The sink of this YAML, beside what every sink has."""

    def sink(more: str = "", stage: str | None = None, **parts: str) -> SinkConfig:
        (config,) = load_together([write(text(more, **parts))], {}, stage=stage)
        assert isinstance(config, SinkConfig)
        return config

    return sink


@pytest.fixture
def wrong(write: Write) -> Callable[..., list[ConfigError]]:
    """What is wrong with this YAML."""

    def wrong(more: str = "", **parts: str) -> list[ConfigError]:
        with pytest.raises(ConfigErrors) as caught:
            load_together([write(text(more, **parts))], {})
        return list(caught.value.faults)

    return wrong


def text(
    more: str = "",
    *,
    stream: str = "{url: 'kafka://b:9092', topics: [orders]}",
    function: str = "{python: 'shipping:notify'}",
) -> str:
    return f"connector: sink\nname: notify\nstream: {stream}\nfunction: {function}\n{more}"


TABLE = "{table: {url: 'postgresql://db/copies', table: orders}}"


def test_a_stream_and_a_function_are_enough(sink: Callable[..., SinkConfig], tmp_path: Path) -> None:
    config = sink()
    (trigger,) = config.trigger
    assert (trigger.batch_size, trigger.batch_window, trigger.batch_bytes) == (100, 0.5, 1 << 20)
    assert config.policy.commit == "after"
    assert config.policy.retry.attempts == 5
    assert config.dead_letter_topic == "notify.dead-letters"
    assert config.publish_url == "kafka://b:9092"
    assert config.folder == tmp_path


@pytest.mark.parametrize(
    ("functions", "code", "where"),
    [
        ("[{command: [x]}]", "config.missing", "functions[0]"),
        ("[{name: a}]", "config.function", "functions[0]"),
        ("[{name: a, command: [x], calls: [b]}]", "config.function", "functions[0]"),
        ("[{name: a, command: [x]}, {name: a, command: [y]}]", "config.function", ""),
        ("[{name: a, python: 'a:b', calls: [c]}]", "config.function", ""),
        ("[{name: a, python: 'a:b', calls: [a]}]", "config.cycle", ""),
        ("[{name: a, python: 'a:b', calls: [b]}, {name: b, python: 'a:c', calls: [a]}]", "config.cycle", ""),
        (
            "[{name: a, http: {url: 'https://h', formt: raw}}]",
            "config.unknown_key",
            "functions[0].http.formt",
        ),
        (
            "[{name: a, steps: [{http: {formt: raw}}]}]",
            "config.unknown_key",
            "functions[0].steps[0].http.formt",
        ),
    ],
)
def test_functions_that_nobody_could_call_are_refused(
    wrong: Callable[..., list[ConfigError]], functions: str, code: str, where: str
) -> None:
    fault = wrong(f"functions: {functions}\n")[-1]
    assert fault.code == code
    assert str(fault.where).endswith(where)


def test_a_circle_of_calls_is_told_with_its_way(wrong: Callable[..., list[ConfigError]]) -> None:
    ab = "{name: a, python: 'm:a', calls: [b, c]}, {name: b, python: 'm:b'}"
    (fault,) = wrong(f"functions: [{ab}, {{name: c, parallel: [{{name: x, python: 'm:x'}}], calls: [a]}}]\n")
    assert fault.what == "functions call each other in a circle: a -> c -> a"


def test_only_python_calls_functions(wrong: Callable[..., list[ConfigError]]) -> None:
    (fault,) = wrong("functions: [{name: a, command: [x]}]\n", function="{command: [y]}")
    assert fault.what == "functions are called by Python code, and there is none"


def test_what_is_called_elsewhere_has_a_circuit_of_its_own(sink: Callable[..., SinkConfig]) -> None:
    here, there, asked, off = sink(
        "functions:\n"
        "  - {name: here, command: [x]}\n"
        "  - {name: there, http: {url: 'https://h'}}\n"
        "  - {name: asked, python: 'a:b', circuit_breaker: {failures: 2}}\n"
        "  - {name: off, http: {url: 'https://h'}, circuit_breaker: false}\n"
    ).functions
    assert (here.breaker, off.breaker) == (None, None)
    assert there.breaker is not None
    assert asked.breaker is not None
    assert (there.breaker.failures, asked.breaker.failures) == (5, 2)


@pytest.mark.parametrize("trigger", ["{batch_size: 7}", "[{on: stream, batch_size: 7}]"])
def test_a_trigger_may_be_one_or_a_list(sink: Callable[..., SinkConfig], trigger: str) -> None:
    assert [one.batch_size for one in sink(f"trigger: {trigger}").trigger] == [7]


@pytest.mark.parametrize(
    ("steps", "code", "where"),
    [
        ("[{}]", "config.function", "function.steps[0]"),
        ("[{command: [x], http: {url: 'https://h'}}]", "config.function", "function.steps[0]"),
        ("[{http: {url: 'https://h'}, keep: true}]", "config.function", "function.steps[0]"),
        (
            "[{openfaas: {gateway: 'http://g', function: f, async: true}}]",
            "config.function",
            "function.steps[0]",
        ),
        ("[{parallel: [{command: [x]}, {command: [y]}]}]", "config.function", "function.steps[0]"),
        (
            "[{parallel: [{command: [x], name: a}, {command: [y], name: a}]}]",
            "config.function",
            "function.steps[0]",
        ),
        ("[{steps: [{command: [x]}], timeout: 1s}]", "config.function", "function.steps[0]"),
        (
            "[{choice: [{when: 'value.x ==', steps: [{command: [x]}]}]}]",
            "config.expression",
            "function.steps[0].choice[0].when",
        ),
        ("[{choice: [{when: 'value.x == 1'}]}]", "config.missing", "function.steps[0].choice[0].steps"),
        (
            "[{command: [x], catch: [{steps: [{http: {url: 'https://h', formt: raw}}]}]}]",
            "config.unknown_key",
            "function.steps[0].catch[0].steps[0].http.formt",
        ),
        (
            "[{command: [x], catch: [{steps: [{http: {url: 'https://h', format: row}}]}]}]",
            "config.value",
            "function.steps[0].catch[0].steps[0].http.format",
        ),
    ],
)
def test_steps_that_can_not_be_are_refused_where_they_stand(
    wrong: Callable[..., list[ConfigError]], steps: str, code: str, where: str
) -> None:
    (fault,) = wrong(function=f"{{steps: {steps}}}")
    assert fault.code == code
    assert (fault.where or "").endswith(f": {where}")
    assert fault.fix or code == "config.missing"


STATE = "state: {url: 'sqlite:state.db'}"


@pytest.mark.parametrize(
    ("parts", "more", "code"),
    [
        ({}, f"{STATE}\npolicy: {{commit: before}}", "config.commit"),
        ({}, f"{STATE}\npolicy: {{order: none}}", "config.state"),
        ({}, f"{STATE}\nscale: {{workers: {{max: 2}}}}", "config.state"),
        ({"function": "{command: [x]}"}, STATE, "config.state"),
        ({"stream": "null"}, f"{STATE}\ntrigger: {{on: webhook}}", "config.state"),
        ({}, f"{STATE}\ntrigger: {{on: file, path: 'in/*'}}", "config.state"),
        ({}, "state: {url: 'mysql://h/db'}", "config.url"),
    ],
)
def test_a_state_that_could_not_be_kept_is_refused(
    wrong: Callable[..., list[ConfigError]], parts: dict[str, str], more: str, code: str
) -> None:
    (fault,) = wrong(more, **parts)
    assert fault.code == code
    assert fault.fix


def test_a_state_and_a_table_keep_their_offsets(sink: Callable[..., SinkConfig], tmp_path: Path) -> None:
    assert not sink().keeps_offsets
    assert sink(function=TABLE).keeps_offsets
    config = sink(STATE)
    assert config.keeps_offsets
    assert config.state is not None
    assert config.state.url == f"sqlite:{tmp_path / 'state.db'}"


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ("policy: {commit: before}", "config.commit"),
        ("policy: {order: none}", "config.function"),
        ("policy: {retry: {attempts: 2}}", "config.function"),
        ("policy: {idempotency: {store: 'sqlite:x'}}", "config.function"),
        ("scale: {workers: {max: 2}}", "config.function"),
        ("output: {topic: x}", "config.output"),
        ("trigger: {on: file, path: 'in/*'}", "config.function"),
    ],
)
def test_what_has_no_meaning_beside_a_table_is_refused(
    wrong: Callable[..., list[ConfigError]], more: str, code: str
) -> None:
    (fault,) = wrong(more, function=TABLE)
    assert fault.code == code
    assert fault.fix


@pytest.mark.parametrize(
    ("parts", "more", "code", "where"),
    [
        ({"stream": "{url: 'kafka://b'}"}, "", "config.stream", "stream"),
        ({"stream": "{url: 'kafka://b', topics: [a], pattern: 'a.*'}"}, "", "config.stream", "stream"),
        ({"stream": "{url: 'kafka://b', pattern: '('}"}, "", "config.topic_pattern", "stream.pattern"),
        ({"stream": "{url: 'kafka://b', topics: ['a b']}"}, "", "config.topic", "stream.topics[0]"),
        ({"stream": "{url: 'file:x', topics: [a]}"}, "", "config.url", "stream.url"),
        ({"stream": "{url: 'kafka://b', topics: [a], start: soon}"}, "", "config.value", "stream.start"),
        (
            {"stream": "{url: 'kafka://b', topics: [a], start: 2026-01-01T00:00}"},
            "",
            "config.value",
            "stream.start",
        ),
        ({"function": "{}"}, "", "config.function", "function"),
        ({"function": "{python: 'a:b', command: [x]}"}, "", "config.function", "function"),
        ({"function": "{python: nothing}"}, "", "config.function", "function.python"),
        ({"function": "{command: [x], in_process: true}"}, "", "config.function", "function"),
        ({"function": "{command: []}"}, "", "config.function", "function.command"),
        ({"function": "{http: {url: 'ftp://h'}}"}, "", "config.url", "function.http.url"),
        ({"function": "{table: {url: orders, table: t}}"}, "", "config.url", "function.table.url"),
        ({"function": "{table: {url: 'sqlite://', table: t}}"}, "", "config.url", "function.table.url"),
        ({"function": "{table: {url: 'sqlite:///x', table: 't*'}}"}, "", "config.function", "function.table"),
        ({"function": "{http: {url: 'https://u:p@h'}}"}, "", "config.url", "function.http.url"),
        (
            {"function": "{openfaas: {gateway: 'g:8080', function: f}}"},
            "",
            "config.url",
            "function.openfaas.gateway",
        ),
        (
            {"function": "{openfaas: {gateway: 'http://g?x=1', function: f}}"},
            "",
            "config.url",
            "function.openfaas.gateway",
        ),
        (
            {"function": "{openfaas: {gateway: 'http://g', function: a/b}}"},
            "",
            "config.function",
            "function.openfaas.function",
        ),
        ({}, "trigger: []", "config.trigger", "trigger"),
        ({}, "trigger: [{batch_size: 1}, {batch_size: 2}]", "config.trigger", "trigger"),
        ({}, "trigger: {on: lag, batch_window: 1s}", "config.trigger", "trigger"),
        ({}, "trigger: {on: file}", "config.trigger", "trigger"),
        ({}, "trigger: {on: file, path: incoming/}", "config.trigger", "trigger"),
        ({}, "trigger: {on: file, path: 'in/*/../x'}", "config.trigger", "trigger"),
        ({}, "trigger: {on: file, path: 'in/*', secret: 0123456789abcdef}", "config.trigger", "trigger"),
        ({}, "trigger: {on: webhook, path: hook}", "config.trigger", "trigger"),
        ({}, "trigger: {on: webhook, topic: orders}", "config.trigger", "trigger"),
        (
            {},
            "trigger: [{on: file, path: 'a/*', seen: a.db}, {on: file, path: 'b/*', seen: b.db}]",
            "config.trigger",
            "trigger",
        ),
        ({}, "trigger: {threshold: 5}", "config.trigger", "trigger"),
        ({}, "trigger: {on: schedule}", "config.trigger", "trigger"),
        ({}, "trigger: {on: schedule, cron: '61 * * * *'}", "config.trigger", "trigger"),
        ({}, "trigger: {on: schedule, cron: '0 0 30 2 *'}", "config.trigger", "trigger"),
        (
            {},
            "trigger: {on: schedule, cron: '* * * * *', timezone: Atlantis}",
            "config.trigger",
            "trigger",
        ),
        ({}, "trigger: {batch_syze: 1}", "config.unknown_key", "trigger.batch_syze"),
        ({}, "trigger: {on: steam}", "config.value", "trigger.on"),
        ({"stream": ""}, "trigger: {on: webhook, secret: '${UNSET}'}", "config.env", "trigger.secret"),
        ({}, "trigger: {filter: 'after.x ='}", "config.expression", "trigger.filter"),
        ({}, "trigger: {filter: '1 + 1'}", "config.expression", "trigger.filter"),
        ({}, "trigger: {filter: row.x}", "config.expression", "trigger.filter"),
        ({}, "scale: {workers: {min: 9}}", "config.value", "scale.workers"),
        ({}, "policy: {on_failure: retry}", "config.value", "policy.on_failure"),
        ({}, "schema: {registry: 'https://registry:8081'}", "config.registry", "schema"),
    ],
)
def test_faults_have_a_place_and_a_remedy(
    wrong: Callable[..., list[ConfigError]], parts: dict[str, str], more: str, code: str, where: str
) -> None:
    (fault,) = wrong(more, **parts)
    assert fault.code == code
    assert fault.where is not None
    assert fault.where.endswith(f": {where}")
    assert fault.fix or "is none of" in fault.what or code == "config.topic"


@pytest.mark.parametrize(
    "function",
    [
        "{aws_lambda: {name: f, invocation: async}}",
        "{openfaas: {gateway: 'http://g:8080', function: f, async: true}}",
    ],
)
def test_a_commit_after_a_call_that_never_says_it_is_done_is_refused(
    wrong: Callable[..., list[ConfigError]], sink: Callable[..., SinkConfig], function: str
) -> None:
    (fault,) = wrong(function=function)
    assert fault.code == "config.commit"
    assert sink("policy: {commit: before}", function=function).policy.commit == "before"


@pytest.mark.parametrize(
    "more",
    [
        "output: {topic: orders}",
        "policy: {dead_letter_topic: orders}",
        "policy: {on_permanent: {topic: orders}}",
    ],
)
def test_a_function_that_feeds_itself_is_refused(wrong: Callable[..., list[ConfigError]], more: str) -> None:
    (fault,) = wrong(more)
    assert fault.code == "config.cycle"


def test_the_same_topic_of_another_broker_is_another_topic(sink: Callable[..., SinkConfig]) -> None:
    assert sink("output: {topic: orders, url: 'kafka://other:9092'}").output.topic == "orders"


def test_a_pattern_means_whole_names_and_never_its_own_outputs(sink: Callable[..., SinkConfig]) -> None:
    config = sink(
        "output: {topic: shop.out}\npolicy: {dead_letter_topic: shop.dead}",
        stream=r"{url: 'kafka://b', pattern: '^shop\..*'}",
    )
    topics = ("shop.orders", "shop.out", "shop.dead", "ashop.orders")
    assert [topic for topic in topics if config.reads(topic)] == ["shop.orders"]


def test_several_triggers_may_start_one_function(sink: Callable[..., SinkConfig]) -> None:
    config = sink(
        "trigger: [{on: lag, threshold: 5, max_wait: 2s}, {on: schedule, cron: '0 3 * * *', timezone: Europe/Berlin}]"
    )
    lag, daily = config.trigger
    assert (lag.threshold, lag.max_wait, lag.looks_every) == (5, 2.0, 10.0)
    assert daily.schedule is not None
    winter = datetime(2026, 11, 22, 12, tzinfo=timezone.utc).timestamp()
    assert daily.schedule.following(winter) == datetime(2026, 11, 23, 2, tzinfo=timezone.utc).timestamp()


def test_a_daily_job_neither_falls_out_nor_runs_twice_when_clocks_change(
    sink: Callable[..., SinkConfig],
) -> None:
    (daily,) = sink("trigger: {on: schedule, cron: '30 2 * * *', timezone: Europe/Berlin}").trigger
    assert daily.schedule is not None
    for first in (
        datetime(2026, 3, 28, 12),
        datetime(2026, 10, 24, 12),
    ):  # 2:30 does not exist, or comes twice
        time, days = first.replace(tzinfo=timezone.utc).timestamp(), []
        for _ in range(3):
            time = daily.schedule.following(time)
            days.append(datetime.fromtimestamp(time, ZoneInfo("Europe/Berlin")).day)
        assert days == [first.day + 1, first.day + 2, first.day + 3]


def test_a_stage_goes_before_everything_that_is_shared(sink: Callable[..., SinkConfig]) -> None:
    config = sink(
        "output: {topic: out}\npolicy: {on_permanent: {topic: rejected}, dead_letter_topic: '{name}.dead'}",
        stage="test",
    )
    assert config.name == "test.notify"
    assert config.stream is not None
    assert config.stream.topics == ("test.orders",)
    assert dict(config.own_topics()) == {
        "output.topic": "test.out",
        "policy.dead_letter_topic": "test.notify.dead",
        "policy.on_permanent.topic": "test.rejected",
    }


def test_a_schedule_needs_no_stream(sink: Callable[..., SinkConfig]) -> None:
    config = sink(HOURLY + "output: {topic: out, url: 'kafka://b'}", stream="null", stage="test")
    assert config.stream is None
    assert (config.publish_url, config.output.topic) == ("kafka://b", "test.out")
    assert sink(HOURLY, stream="null").publish_url is None


@pytest.mark.parametrize(
    ("path", "folder", "pattern"),
    [
        ("incoming/*.json", "incoming", "*.json"),
        ("incoming/**/*.json", "incoming", "**/*.json"),
        ("*.json", "", "*.json"),
        ("a/b[12]/c/*", "a", "b[12]/c/*"),
        ("../spool/one.csv", "../spool", "one.csv"),
        ("/data/in/*", "/data/in", "*"),
    ],
)
def test_files_are_seen_from_the_folder_of_the_yaml(
    sink: Callable[..., SinkConfig], path: str, folder: str, pattern: str
) -> None:
    config = sink(f"trigger: {{on: file, path: '{path}'}}\npolicy: {{on_failure: stop}}", stream="null")
    ((found, rest),) = (trigger.files for trigger in config.files)
    assert (found, rest) == ((config.folder / folder).resolve(), pattern)
    assert config.files_seen == config.folder / ".liberator" / "notify.files.db"


@pytest.mark.parametrize(
    ("triggers", "named"),
    [
        ("[{on: lag}, {on: file, path: 'in/*'}]", "at once"),
        ("[{on: stream}, {on: webhook}]", "no stream in between"),
        ("{on: webhook, respond: accepted, topic: elsewhere}", "does not read"),
        ("[{filter: 'op == \"c\"'}, {on: lag, filter: 'op == \"u\"'}]", "different filters"),
    ],
)
def test_triggers_that_do_not_go_together_are_refused(
    wrong: Callable[..., list[ConfigError]], triggers: str, named: str
) -> None:
    (fault,) = wrong(f"trigger: {triggers}")
    assert (fault.code, named in fault.what) == ("config.trigger", True)
    assert fault.fix


def test_requests_are_put_into_a_topic_of_the_stream(
    sink: Callable[..., SinkConfig], wrong: Callable[..., list[ConfigError]]
) -> None:
    accepted = "trigger: {on: webhook, respond: accepted}"
    config = sink(accepted, stage="test")
    assert (config.webhook, config.intake_topic) == (None, "test.orders")
    two = "{url: 'kafka://b', topics: [orders, hooks]}"
    assert sink(accepted.replace("}", ", topic: hooks}"), stream=two, stage="x").intake_topic == "x.hooks"
    for stream in (two, "{url: 'kafka://b', pattern: 'o.+'}"):
        (fault,) = wrong(accepted, stream=stream)
        assert fault.code == "config.trigger"


def test_files_wait_for_no_asynchronous_call(wrong: Callable[..., list[ConfigError]]) -> None:
    (fault,) = wrong(
        "trigger: {on: file, path: 'in/*'}\npolicy: {on_failure: stop}",
        stream="null",
        function="{aws_lambda: {name: f, invocation: async}}",
    )
    assert fault.code == "config.commit"


def test_files_that_the_function_fails_for_need_a_place(wrong: Callable[..., list[ConfigError]]) -> None:
    (fault,) = wrong("trigger: {on: file, path: 'in/*'}", stream="null")
    assert (fault.code, fault.fix) == (
        "config.output",
        "add output.url: kafka://HOST:PORT or local:DIR, or write policy: {on_failure: stop}, or skip",
    )


@pytest.mark.parametrize(
    ("more", "code", "named"),
    [
        ("", "config.stream", "trigger on stream"),
        ("trigger: {on: lag}", "config.stream", "trigger on lag"),
        ("trigger: {on: webhook, respond: accepted}", "config.stream", "respond: accepted"),
        (HOURLY.replace("}", ", batch_size: 5}"), "config.stream", "trigger.batch_size"),
        (HOURLY + "policy: {commit: before}", "config.stream", "policy.commit"),
        (HOURLY + "output: {topic: out}", "config.output", "output.topic"),
    ],
)
def test_what_needs_a_stream_is_refused_without_one(
    wrong: Callable[..., list[ConfigError]], more: str, code: str, named: str
) -> None:
    (fault,) = wrong(more, stream="null")
    assert (fault.code, named in fault.what) == (code, True)
    assert fault.fix


def test_a_pattern_of_a_stage_is_compared_with_what_follows_it(sink: Callable[..., SinkConfig]) -> None:
    config = sink(stream="{url: 'kafka://b', pattern: 'shop.+'}", stage="test")
    assert config.reads("test.shop.orders")
    assert not config.reads("shop.orders")


def test_secrets_are_not_shown(sink: Callable[..., SinkConfig]) -> None:
    config = sink(
        function="{http: {url: 'https://h/hook', sign: whsec_c2VjcmV0LXNlY3JldA, headers: {Authorization: Bearer-abc}}}",
        stream="{url: 'kafka://b', topics: [a], options: {sasl.password: hunter22}}",
    )
    assert not any(secret in repr(config) for secret in ("c2Vjc", "Bearer-abc", "hunter22"))
    gateway = sink(function="{openfaas: {gateway: 'http://g', function: f, password: hunter23}}")
    assert "hunter23" not in repr(gateway)


@pytest.mark.parametrize(
    ("function", "what"),
    [
        ("{python: 'a:b', env: {no-name: 1}}", "is no name of a variable"),
        ("{python: 'a:b', in_process: true, env: {A: b}}", "env is for a process of its own"),
        ("{aws_lambda: {name: notify}, env: {A: b}}", "env is for a process of its own"),
    ],
    ids=["name", "in process", "elsewhere"],
)
def test_variables_are_for_processes(
    wrong: Callable[..., list[ConfigError]], function: str, what: str
) -> None:
    assert what in wrong(function=function)[0].what


def test_variables_are_text_and_not_shown(sink: Callable[..., SinkConfig]) -> None:
    config = sink(function="{python: 'a:b', env: {TOKEN: hunter2, DEBUG: true, RETRIES: 3}}")
    assert config.function.env == {"TOKEN": "hunter2", "DEBUG": "true", "RETRIES": "3"}
    assert "hunter2" not in repr(config)


def test_sources_and_sinks_go_together_and_share_no_name(write: Write, tmp_path: Path) -> None:
    source = "connector: source\nname: {}\nsource: {{url: 'postgresql://db/shop'}}\npublish: {{url: 'kafka://b'}}\n"
    path = write(source.format("shop") + "---\n" + text())
    assert [config.name for config in load_together([path], {})] == ["shop", "notify"]
    assert [config.name for config in load(path, {})] == ["shop"]
    with pytest.raises(ConfigErrors) as caught:
        load_together([write(source.format("notify") + "---\n" + text())], {})
    assert [fault.code for fault in caught.value.faults] == ["config.same_name"]


def test_what_is_about_sources_refuses_a_file_of_sinks(write: Write) -> None:
    with pytest.raises(ConfigErrors) as caught:
        load(write(text()), {})
    assert caught.value.faults[0].code == "config.no_source"


@pytest.mark.parametrize(
    ("change", "right"),
    [
        ({}, True),
        ({"trigger": {"batch_size": 5}}, True),
        ({"trigger": [{"on": "stream", "batch_window": "1s"}]}, True),
        ({"observe": False, "policy": {"timeout": "${T}"}}, True),
        ({"trigger": {"on": "webhook", "secret": "${S}"}, "stream": None}, True),
        (
            {"trigger": {"on": "webhook", "secret": ["${NEW}", "${OLD}"], "path": "/hook"}, "stream": None},
            True,
        ),
        ({"trigger": {"on": "webhook", "respond": "maybe"}}, False),
        ({"trigger": {"batch_syze": 5}}, False),
        ({"function": {"python": "x"}}, False),
        ({"source": {"url": "postgresql://db"}}, False),
    ],
)
def test_an_editor_knows_sinks(change: dict[str, object], right: bool) -> None:
    assert jsonschema.Draft202012Validator(connector_schema()).is_valid({**PLAIN, **change}) == right


def test_every_key_stands_in_the_reference() -> None:
    reference = (ROOT / "docs" / "reference" / "sinks.md").read_text()
    assert [show_path(path) for path, _ in SINK_FIELDS if f"`{show_path(path)}`" not in reference] == []


def test_the_sample_shows_the_defaults(tmp_path: Path) -> None:
    plain = tmp_path / "plain.yaml"
    plain.write_text(yaml.safe_dump(PLAIN))
    (sample,) = load_together([ROOT / "connectors" / "sink-python.yaml"], {})
    (default,) = load_together([plain], {})
    shown, expected = sample.model_dump(), default.model_dump()
    for dump in (shown, expected):
        for example in ("name", "context", "stream", "function", "output", "observe", "schema_"):
            del dump[example]
    assert shown == expected
