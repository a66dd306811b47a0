"""Configuration -> what runs a function: worker processes, or threads that call it.

Enters: a checked `SinkConfig`. Leaves: invocations. What a kind needs is imported only for it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING, Any

from liberator.config.document import KeyPath
from liberator.config.function import StepSettings
from liberator.errors import ConfigError
from liberator.function.calls import Calls
from liberator.function.environment import clean_environment
from liberator.function.state import StateSettings, open_store
from liberator.function.threads import Callee, ThreadInvocations
from liberator.protocols import Invocations

if TYPE_CHECKING:
    from liberator.config import SinkConfig
    from liberator.config.function import CalledSettings, HttpSettings, LambdaSettings, OpenFaasSettings
    from liberator.function.process import WorkerSettings, WorkerWatch
    from liberator.function.steps import Step
    from liberator.function.table.writer import TableInvocations


def make_invocations(
    config: SinkConfig,
    watch: WorkerWatch | None = None,
    *,
    ends: bool = False,
    stubs: Mapping[str, Step] | None = None,
) -> Invocations:
    """What calls the function. watch: of worker processes; None: nobody's. ends: a function that fails every time is not
    waited for. stubs: what stands for functions that are called by name. Raises `ConfigError`, `FunctionError`."""
    if not config.functions:
        return _invocations(config, watch, None)
    from liberator.build.callees import make_callees
    from liberator.function.named import CallingInvocations

    with ExitStack() as stack:
        named = make_callees(config, ends=ends, stubs=stubs or {})
        stack.callback(named.close)
        made = CallingInvocations(_invocations(config, watch, named), named)
        stack.pop_all()
    return made


def _invocations(config: SinkConfig, watch: WorkerWatch | None, calls: Calls | None) -> Invocations:
    function, workers = config.function, config.scale.workers
    if function.python is not None and not function.in_process:
        from liberator.function.process import ProcessInvocations

        require_module(config, function.python, ("function", "python"))
        settings = replace(
            worker_settings(config, function, calls),
            least=workers.min,
            most=1 if config.state else workers.max,
            state=state_settings(config),
        )
        return ProcessInvocations(function.python, config.folder, settings, watch)
    if function.table is not None:
        return make_table(config)
    # Code that is written for a process of its own is not called twice at a time, unless somebody says that it may be.
    one = config.state or (function.in_process and "max" not in workers.model_fields_set)
    state = state_settings(config)
    if function.steps:
        from liberator.build.steps import Steps
        from liberator.function.steps import StepsFunction

        callee: Callee = StepsFunction(Steps(config, calls).all_of(function.steps), config.policy.order)
    else:
        callee = make_callee(config, function, answers=config.wants_answers, calls=calls)
    return ThreadInvocations(
        callee,
        most=1 if one else workers.max,
        timeout=config.policy.timeout,
        reader=None if state is None else open_store(state),
    )


def worker_settings(
    config: SinkConfig, function: CalledSettings, calls: Calls | None, timeout: float | None = None
) -> WorkerSettings:
    """Of worker processes of a function, as many as `scale` says. timeout: seconds; None: as the policy says."""
    from liberator.function.process import WorkerSettings

    scale = config.scale
    return WorkerSettings(
        timeout=min(config.policy.timeout, timeout or config.policy.timeout),
        most=scale.workers.max,
        lag_per_worker=scale.lag_per_worker,
        idle=scale.idle_timeout,
        memory=scale.memory,
        environment={**clean_environment(), **function.env},
        calls=calls,
    )


def state_settings(config: SinkConfig) -> StateSettings | None:
    """Where the function remembers things; None: nowhere."""
    if config.state is None:
        return None
    return StateSettings(config.state.url, config.name, config.policy.timeout)


def make_table(config: SinkConfig) -> TableInvocations:
    """What writes to the table. Raises `ConfigError`, `PreconditionError`, `FunctionError`."""
    from liberator.function.table.target import TargetSettings
    from liberator.function.table.writer import TableFunction, TableInvocations, TableSettings

    table = config.function.table
    assert table is not None
    target = TargetSettings(
        table=table.table.table,
        schema=table.table.schema,
        key=table.key,
        create=table.create,
        new_columns=table.new_columns,
        contract=partial(_contract, config),
    )
    settings = TableSettings(
        url=table.url,
        connector=config.name,
        target=target,
        truncate=table.truncate,
        stops=config.policy.on_failure == "stop" and config.policy.on_permanent is None,
        timeout=config.policy.timeout,
    )
    return TableInvocations(TableFunction(settings), config.policy.timeout)


def _contract(config: SinkConfig) -> Mapping[str, Any] | None:
    """Of the first topic of the stream that has one. Raises `ContractError`."""
    from liberator.contract.store import ContractStore

    store = ContractStore(config.schema_.dir)
    topics = config.stream.topics if config.stream else ()
    held = (store.load(config.without_stage(topic)) for topic in topics)
    return next((found[1] for found in held if found is not None), None)


def make_callee(
    config: SinkConfig, function: CalledSettings, *, answers: bool, calls: Calls | None = None
) -> Callee:
    """What a thread calls. answers: is what it answers of use to anybody? calls: what it may call itself. Raises
    `ConfigError`, `FunctionError`."""
    timeout = function.timeout if isinstance(function, StepSettings) else None
    if function.python is not None and not function.in_process:
        from liberator.function.aside import AsideFunction

        require_module(config, function.python, ("function",))
        return AsideFunction(
            function.python, config.folder, worker_settings(config, function, calls, timeout)
        )
    if function.python is not None:
        from liberator.function.python import PythonFunction

        return PythonFunction(function.python, config.folder, calls)
    if function.command is not None:
        from liberator.function.command import CommandFunction

        environment = {**clean_environment(), **function.env}
        return CommandFunction(function.command, config.folder, environment, keep=function.keep)
    if function.http is not None:
        return _http(config, function.http, answers)
    if function.openfaas is not None:
        return _openfaas(config, function.openfaas, answers)
    assert function.aws_lambda is not None
    return _aws_lambda(config, function.aws_lambda, timeout or config.policy.timeout)


def _http(config: SinkConfig, settings: HttpSettings, answers: bool) -> Callee:
    from liberator.function import http

    return http.HttpFunction(
        http.HttpSettings(
            url=settings.url,
            headers=settings.headers,
            format=settings.format,
            sign=settings.sign,
            allow_private=settings.allow_private,
            answers=answers,
            source=f"/liberator/{config.name}",
            connections=config.scale.workers.max,
            order=config.policy.order,
        )
    )


def _openfaas(config: SinkConfig, settings: OpenFaasSettings, answers: bool) -> Callee:
    from liberator.function import openfaas

    back = settings.callback
    return openfaas.openfaas_function(
        openfaas.OpenFaasSettings(
            gateway=settings.gateway,
            function=settings.function,
            asynchronous=settings.async_,
            callback=(back.listen, back.url) if back is not None else None,
            format=settings.format,
            headers=settings.headers,
            user=settings.user,
            password=settings.password,
            answers=answers,
            source=f"/liberator/{config.name}",
            connections=config.scale.workers.max,
            order=config.policy.order,
        )
    )


def _aws_lambda(config: SinkConfig, settings: LambdaSettings, timeout: float) -> Callee:
    try:
        from liberator.function import aws_lambda
    except ImportError:
        raise ConfigError(
            "calling AWS Lambda needs boto3",
            code="function.aws",
            where=config.where("function", "aws_lambda"),
            fix="install it with the extra aws: pip install 'liberator[aws]'",
        ) from None
    return aws_lambda.LambdaFunction(
        aws_lambda.LambdaSettings(
            name=settings.name,
            region=settings.region,
            invocation=settings.invocation,
            endpoint=settings.endpoint,
            bootstrap_servers=config.stream.url.removeprefix("kafka://") if config.stream else "",
            timeout=min(timeout, config.policy.timeout),
        )
    )


def require_module(config: SinkConfig, target: str, key: KeyPath) -> None:
    """A typing error is found now, not when the first event starts a worker. Imports nothing."""
    package = target.partition(":")[0].partition(".")[0]
    if package in sys.builtin_module_names or PathFinder.find_spec(package, [str(config.folder), *sys.path]):
        return
    raise ConfigError(
        f"there is no module {package}",
        code="function.python",
        where=config.where(*key),
        fix=f"write MODULE:FUNCTION; modules are looked for in {config.folder} first",
    )
