"""Configuration -> what runs a function: worker processes, or threads that call it.

Enters: a checked `SinkConfig`. Leaves: invocations. What a kind needs is imported only for it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import partial
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING, Any

from liberator.errors import ConfigError
from liberator.function.environment import clean_environment
from liberator.function.state import StateSettings, open_store
from liberator.function.threads import Callee, ThreadInvocations
from liberator.protocols import Invocations

if TYPE_CHECKING:
    from liberator.config import SinkConfig
    from liberator.function.process import WorkerWatch
    from liberator.function.table.writer import TableInvocations


def make_invocations(config: SinkConfig, watch: WorkerWatch | None = None) -> Invocations:
    """What calls the function. watch: of worker processes; None: nobody's. Raises `ConfigError`, `FunctionError`."""
    function, workers = config.function, config.scale.workers
    if function.python is not None and not function.in_process:
        from liberator.function.process import ProcessInvocations, WorkerSettings

        _require_module(config, function.python)
        settings = WorkerSettings(
            timeout=config.policy.timeout,
            least=workers.min,
            most=1 if config.state else workers.max,
            lag_per_worker=config.scale.lag_per_worker,
            idle=config.scale.idle_timeout,
            memory=config.scale.memory,
            environment={**clean_environment(), **function.env},
            state=state_settings(config),
        )
        return ProcessInvocations(function.python, config.folder, settings, watch)
    if function.table is not None:
        return make_table(config)
    # Code that is written for a process of its own is not called twice at a time, unless somebody says that it may be.
    one = config.state or (function.in_process and "max" not in workers.model_fields_set)
    state = state_settings(config)
    return ThreadInvocations(
        _callee(config),
        most=1 if one else workers.max,
        timeout=config.policy.timeout,
        reader=None if state is None else open_store(state),
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


def _callee(config: SinkConfig) -> Callee:
    function = config.function
    if function.python is not None:
        from liberator.function.python import PythonFunction

        return PythonFunction(function.python, config.folder)
    if function.command is not None:
        from liberator.function.command import CommandFunction

        return CommandFunction(function.command, config.folder, {**clean_environment(), **function.env})
    if function.http is not None:
        return _http(config)
    return _openfaas(config) if function.openfaas is not None else _aws_lambda(config)


def _http(config: SinkConfig) -> Callee:
    from liberator.function.http import HttpFunction, HttpSettings

    http = config.function.http
    assert http is not None
    return HttpFunction(
        HttpSettings(
            url=http.url,
            headers=http.headers,
            format=http.format,
            sign=http.sign,
            allow_private=http.allow_private,
            answers=config.wants_answers,
            source=f"/liberator/{config.name}",
            connections=config.scale.workers.max,
        )
    )


def _openfaas(config: SinkConfig) -> Callee:
    from liberator.function.openfaas import OpenFaasSettings, openfaas_function

    settings = config.function.openfaas
    assert settings is not None
    back = settings.callback
    return openfaas_function(
        OpenFaasSettings(
            gateway=settings.gateway,
            function=settings.function,
            asynchronous=settings.async_,
            callback=(back.listen, back.url) if back is not None else None,
            format=settings.format,
            headers=settings.headers,
            user=settings.user,
            password=settings.password,
            answers=config.wants_answers,
            source=f"/liberator/{config.name}",
            connections=config.scale.workers.max,
        )
    )


def _aws_lambda(config: SinkConfig) -> Callee:
    try:
        from liberator.function.aws_lambda import LambdaFunction, LambdaSettings
    except ImportError:
        raise ConfigError(
            "calling AWS Lambda needs boto3",
            code="function.aws",
            where=config.where("function", "aws_lambda"),
            fix="install it with the extra aws: pip install 'liberator[aws]'",
        ) from None
    settings = config.function.aws_lambda
    assert settings is not None
    return LambdaFunction(
        LambdaSettings(
            name=settings.name,
            region=settings.region,
            invocation=settings.invocation,
            endpoint=settings.endpoint,
            bootstrap_servers=config.stream.url.removeprefix("kafka://") if config.stream else "",
            timeout=config.policy.timeout,
        )
    )


def _require_module(config: SinkConfig, target: str) -> None:
    """A typing error is found now, not when the first event starts a worker. Imports nothing."""
    package = target.partition(":")[0].partition(".")[0]
    if package in sys.builtin_module_names or PathFinder.find_spec(package, [str(config.folder), *sys.path]):
        return
    raise ConfigError(
        f"there is no module {package}",
        code="function.python",
        where=config.where("function", "python"),
        fix=f"write MODULE:FUNCTION; modules are looked for in {config.folder} first",
    )
