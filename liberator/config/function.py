"""The functions that a sink connector may call, a class for each kind.

Enters: plain data. Leaves: frozen objects, as in `models`. Called by `sink`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field, model_validator

from liberator.config.document import KeyPath
from liberator.config.section import Section, without_default
from liberator.config.sink_values import (
    AllowPrivate,
    Command,
    Environment,
    FunctionName,
    GatewayUrl,
    PythonTarget,
    StepCondition,
    WebUrl,
)
from liberator.config.table import TableSettings
from liberator.config.values import Delay, Duration, Listen, WholeNumber, refusal


class HttpSettings(Section):
    """An HTTP endpoint that is called with events."""

    url: WebUrl
    """The endpoint: https://HOST/PATH."""
    headers: dict[str, str] = Field(default={}, repr=False)
    """Headers of every request, such as Authorization."""
    format: Literal["cloudevents", "cloudevents-structured", "cloudevents-batch", "raw"] = "cloudevents"
    """`cloudevents` and `cloudevents-structured`: a request for each event, as CloudEvents 1.0; `cloudevents-batch`: one for
    all; `raw`: a request for each event with its value as it is."""
    sign: str | None = Field(default=None, min_length=8, repr=False, json_schema_extra=without_default)
    """A secret: every request is signed with it, as Standard Webhooks does."""
    allow_private: AllowPrivate = False
    """Let the endpoint be a host of a private network, or this one: `true`, or a list of the networks that are meant, as
    [10.1.0.0/16]. Names are resolved once, and that address is judged and called; redirects are not followed."""


class LambdaSettings(Section):
    """A function on AWS Lambda. Credentials are found as boto3 finds them."""

    name: str = Field(min_length=1)
    """Its name or ARN."""
    region: str | None = Field(default=None, min_length=1, json_schema_extra=without_default)
    """Default: as boto3 finds it."""
    invocation: Literal["sync", "async"] = "sync"
    """`sync` waits for the answer; `async` takes Lambda's word that it has the events, so it needs policy.commit: before."""
    endpoint: WebUrl | None = Field(default=None, json_schema_extra=without_default)
    """Another endpoint than AWS's own."""


class CallbackSettings(Section):
    """Where the results of queued calls are posted."""

    listen: Listen = "127.0.0.1:8081"
    """HOST:PORT that they are posted to. Each has an address of its own, which nobody can guess. Port 0 lets the system
    choose."""
    url: GatewayUrl | None = Field(default=None, json_schema_extra=without_default)
    """What that is called by the gateway's queue worker: http://sink.shipping:8081. Default: `listen`."""


class OpenFaasSettings(Section):
    """A function behind an OpenFaaS gateway."""

    gateway: GatewayUrl
    """The gateway: http://HOST:8080. It may be in a private network."""
    function: FunctionName
    """Name of the function, with its namespace if it is not in the default one: notify.staging."""
    async_: bool = Field(default=False, alias="async")
    """Have the gateway queue the calls: its 202 says that it has them, and nothing says that they are done, so it needs
    callback, or policy.commit: before."""
    callback: CallbackSettings | None = Field(default=None, json_schema_extra=without_default)
    """With async: where the gateway posts what came of a call, so that an event is done when its function is."""
    format: Literal["cloudevents", "cloudevents-structured", "cloudevents-batch", "raw"] = "cloudevents"
    """As for http. `cloudevents` gives the function the plain value as its body, and what CloudEvents add in headers; `raw`
    the value without those."""
    headers: dict[str, str] = Field(default={}, repr=False)
    """Headers of every request."""
    user: str = Field(default="admin", pattern="^[^:]+$")
    """User for basic authentication, if there is a password."""
    password: str | None = Field(default=None, min_length=1, repr=False, json_schema_extra=without_default)
    """Password for basic authentication: ${FAAS_PASSWORD}, or ${file:/var/secrets/basic-auth-password}."""

    @model_validator(mode="after")
    def _calls_back_what_is_queued(self) -> OpenFaasSettings:
        if self.callback is not None and not self.async_:
            what = "callback is for calls that are queued; what answers at once is not called back"
            raise refusal("config.function", what, "write async: true, or leave callback out")
        return self


CALLED = ("python", "http", "openfaas", "aws_lambda", "command")
KINDS = (*CALLED, "table", "steps")


class CalledSettings(Section):
    """What can be called."""

    python: PythonTarget | None = Field(default=None, json_schema_extra=without_default)
    """MODULE:FUNCTION, found from the folder of this file; it runs in worker processes."""
    in_process: bool = False
    """Run a Python function in the connector's own process: faster, for code that is trusted to end and not to crash; its
    time-out can't be enforced."""
    http: HttpSettings | None = Field(default=None, json_schema_extra=without_default)
    """An HTTP endpoint."""
    openfaas: OpenFaasSettings | None = Field(default=None, json_schema_extra=without_default)
    """A function behind an OpenFaaS gateway."""
    aws_lambda: LambdaSettings | None = Field(default=None, json_schema_extra=without_default)
    """A function on AWS Lambda."""
    command: Command | None = Field(default=None, json_schema_extra=without_default)
    """A program with its arguments, run for each invocation in the folder of this file: events as lines of JSON on its
    standard input, outputs on its standard output."""
    keep: bool = False
    """Keep the program from one invocation to the next: an empty line ends the events of one, and what the program writes
    for them. As many are kept as there are calls at a time."""
    env: Environment = Field(default={}, repr=False)
    """Variables that a worker process or a program gets, as {API_TOKEN: "${API_TOKEN}"}. Beside what programs need to run at
    all, as PATH, it gets no others."""

    @property
    def asynchronous(self) -> str | None:
        """What would make calls say that they are done that never do; None: they do."""
        if self.aws_lambda is not None and self.aws_lambda.invocation == "async":
            return "invocation: sync"
        openfaas = self.openfaas
        return (
            "async: false" if openfaas is not None and openfaas.async_ and openfaas.callback is None else None
        )

    @property
    def one_by_one(self) -> bool:
        """Is every event a call of its own, whatever an invocation has?"""
        format = self.http.format if self.http else self.openfaas.format if self.openfaas else None
        return format is not None and format != "cloudevents-batch"

    def check_process(self) -> None:
        """What is about processes belongs to what has one."""
        if self.in_process and self.python is None:
            raise refusal(
                "config.function", "only a Python function can run in_process", "leave in_process out"
            )
        if self.keep and self.command is None:
            raise refusal("config.function", "only a program of command can be kept", "leave keep out")
        if self.env and (self.in_process or (self.python is None and self.command is None)):
            what = "env is for a process of its own: a Python function in worker processes, or a command"
            raise refusal("config.function", what, "leave env out")


class StepRetrySettings(Section):
    """How often a failed step is tried again by itself. After that the event has failed, and `policy.retry` begins anew."""

    attempts: WholeNumber = Field(default=1, ge=1)
    """In all."""
    initial: Delay = Field(default=0.2, json_schema_extra={"default": "200ms"})
    """Wait before the second attempt."""
    max: Delay = Field(default=30.0, json_schema_extra={"default": "30s"})
    """Longest wait."""
    factor: float = Field(default=2.0, ge=1.0)
    """By which the wait grows."""


class BranchSettings(Section):
    """One branch of a choice."""

    when: StepCondition | None = Field(default=None, json_schema_extra=without_default)
    """A condition in CEL over value, key, headers, topic and id. Default: always."""
    steps: tuple[StepSettings, ...] = Field(min_length=1)
    """What is done then, one after the other."""


class StepSettings(CalledSettings):
    """A step: exactly one of a function, steps, parallel and choice."""

    name: str | None = Field(default=None, pattern=r"^[A-Za-z0-9._-]+$", json_schema_extra=without_default)
    """Its name, for errors, and for what it gives beside others. Default: its kind and place."""
    timeout: Duration | None = Field(default=None, json_schema_extra=without_default)
    """How long an attempt of a function may take. Default: as long as `policy.timeout` leaves."""
    retry: StepRetrySettings = StepRetrySettings()
    """How often a function that fails is tried again."""
    steps: tuple[StepSettings, ...] = Field(default=(), json_schema_extra=without_default)
    """Steps one after the other."""
    parallel: tuple[StepSettings, ...] = Field(default=(), json_schema_extra=without_default)
    """Steps at the same time, with the same event. Their result is an object with what each gave, by its name."""
    choice: tuple[BranchSettings, ...] = Field(default=(), json_schema_extra=without_default)
    """The first branch whose condition holds; without one the event goes on as it is."""
    catch: tuple[StepSettings, ...] = Field(default=(), json_schema_extra=without_default)
    """What is done when this fails, with {"error": {"code", "message"}, "value"}. What that gives is the result."""

    @model_validator(mode="after")
    def _is_one_step(self) -> StepSettings:
        several = ("steps", "parallel", "choice")
        given = [kind for kind in (*CALLED, *several) if getattr(self, kind)]
        if len(given) != 1:
            what = f"a step is one thing, not {len(given)}"
            raise refusal("config.function", what, f"write one of {', '.join((*CALLED, *several))}")
        if given[0] in several and self.model_fields_set & {"timeout", "retry"}:
            what = "timeout and retry belong to a step that calls a function"
            raise refusal("config.function", what, "write them beside the functions")
        if self.asynchronous is not None:
            what = "the next step needs what this one gives, and an asynchronous call gives nothing"
            raise refusal("config.function", what, f"write {self.asynchronous}")
        named = [step.name for step in self.parallel]
        if None in named or len(set(named)) < len(named):
            what = "what steps give side by side is told apart by their names"
            raise refusal("config.function", what, "write a name of its own for each")
        self.check_process()
        return self


class FunctionSettings(CalledSettings):
    """What is called: exactly one kind."""

    table: TableSettings | None = Field(default=None, json_schema_extra=without_default)
    """A table of a database, kept as the stream's rows are; each event takes effect exactly once."""
    steps: tuple[StepSettings, ...] = Field(default=(), json_schema_extra=without_default)
    """Functions that are called one after the other, beside each other or by what came before; each is given what the one
    before it gave."""

    @property
    def kind(self) -> str:
        """Which kind it is."""
        return next(kind for kind in KINDS if getattr(self, kind))

    @property
    def is_remote(self) -> bool:
        """Is it called over a network?"""
        return self.kind in ("http", "openfaas", "aws_lambda")

    @model_validator(mode="after")
    def _is_one(self) -> FunctionSettings:
        given = [kind for kind in KINDS if getattr(self, kind)]
        if len(given) != 1:
            what = f"a function is of one kind, not {len(given)}"
            raise refusal("config.function", what, f"write one of {', '.join(KINDS)}")
        self.check_process()
        return self


def parts_of(
    function: CalledSettings, path: KeyPath = ("function",)
) -> Iterator[tuple[KeyPath, CalledSettings]]:
    """It, and all steps in it, each with its place. path: of the function."""
    yield path, function
    if isinstance(function, FunctionSettings | StepSettings):
        yield from _parts(function.steps, (*path, "steps"))
    if isinstance(function, StepSettings):
        yield from _parts(function.parallel, (*path, "parallel"))
        for number, branch in enumerate(function.choice):
            yield from _parts(branch.steps, (*path, "choice", number, "steps"))
        yield from _parts(function.catch, (*path, "catch"))


def _parts(steps: tuple[StepSettings, ...], path: KeyPath) -> Iterator[tuple[KeyPath, CalledSettings]]:
    for number, step in enumerate(steps):
        yield from parts_of(step, (*path, number))
