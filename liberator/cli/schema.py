"""`liberate schema`: the contracts of the streams."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from liberator.cli.listing import show, to_json
from liberator.cli.options import Decorated, json_option, option, together
from liberator.cli.session import Session
from liberator.cli.target import connectors, publishing, target_options
from liberator.errors import LiberatorError

if TYPE_CHECKING:
    from liberator.build.contracts import Derived
    from liberator.config import SidecarConfig, SourceConfig
    from liberator.contract.registry.http import RegistrySettings
    from liberator.contract.registry.subjects import Strategy

DIFFERENCES_FOUND = 4

_folder_option = option(
    "--dir",
    "folder",
    type=click.Path(),
    metavar="DIR",
    help="Folder of the stored contracts. Default: schema.dir.",
)
_VERSION = click.IntRange(min=1)
_FILE = click.Path(path_type=Path)


def _command_options(command: Decorated) -> Decorated:
    """What all of these commands take: the connector, the folder, --json."""
    return together(target_options, _folder_option, json_option)(command)


@click.group(no_args_is_help=False)
def schema() -> None:
    """Derive, compare, check and register the contracts of the streams.

    \b
    Examples:
      liberate schema derive connectors/postgres-log.yaml
      liberate schema check connectors/postgres-log.yaml
    """


@schema.command()
@_command_options
@option("--write", is_flag=True, help="Also write the next version of a contract whose table has changed.")
@option(
    "--force", is_flag=True, help="Write it even if it breaks schema.compatibility or what a consumer reads."
)
@click.pass_context
def derive(
    context: click.Context,
    /,
    file: str | None,
    folder: str | None,
    as_json: bool,
    write: bool,
    force: bool,
    **options: Any,
) -> None:
    """Write the JSON Schema of each captured table as its contract, if it has none; print the files that hold.

    A stored version is never changed. When a table has changed, --write adds the next version: rules that were written
    by hand are kept, new columns are not required.

    \b
    Examples:
      liberate schema derive connectors/postgres-log.yaml
      liberate schema derive connectors/postgres-log.yaml --write
      liberate schema derive --source postgresql://me@localhost/shop --name shop --table public.orders --dir schemas
    """
    configs = _start(context, file, options)
    from liberator.build import derive_schemas

    for config in configs:
        for each in derive_schemas(config, _folder(config, folder), write=write, force=force):
            if as_json:
                click.echo(to_json({"connector": config.name, **_row(each)}))
            else:
                click.echo(str(each.path))
                _tell_what_is_due(each)


@schema.command()
@_command_options
@click.pass_context
def check(
    context: click.Context, /, file: str | None, folder: str | None, as_json: bool, **options: Any
) -> int:
    """Check that the tables as they are now keep their stored contracts; exit code 4 when one does not.

    For CI, after the migrations have run: tells each field that breaks, the rule, and the consumers that read it. Judged
    by schema.compatibility.

    \b
    Examples:
      liberate schema check connectors/postgres-log.yaml
      liberate schema check --source postgresql://ci@localhost/shop --name shop --set schema.compatibility=full
    """
    configs = _start(context, file, options)
    from liberator.build import check_schemas

    rows = [row for config in configs for row in check_schemas(config, _folder(config, folder))]
    show(rows, as_json, "every table keeps its stored contract")
    return DIFFERENCES_FOUND if rows else 0


@schema.command()
@_command_options
@click.option(
    "--from", "old", type=_VERSION, metavar="N", help="Stored version. Default: the one that holds."
)
@click.option(
    "--to", "new", type=_VERSION, metavar="N", help="Stored version. Default: the table as it is now."
)
@click.pass_context
def diff(
    context: click.Context,
    /,
    file: str | None,
    folder: str | None,
    as_json: bool,
    old: int | None,
    new: int | None,
    **options: Any,
) -> int:
    """Show what differs between a stored contract and its table, or between two versions; exit code 4 if anything does.

    \b
    Examples:
      liberate schema diff connectors/postgres-log.yaml
      liberate schema diff connectors/postgres-log.yaml --from 1 --to 2 --json
    """
    configs = _start(context, file, options)
    from liberator.build import diff_schemas

    found = [each for config in configs for each in diff_schemas(config, _folder(config, folder), old, new)]
    for row, differences in groupby(found, key=lambda each: each[0]):
        if not as_json:
            click.echo(f"{row['topic']}: {_side(row['from'])} -> {_side(row['to'])}")
        for _, each in differences:
            detail = {
                "path": each.path,
                "change": each.change,
                "keyword": each.keyword,
                "old": each.old,
                "new": each.new,
            }
            click.echo(to_json({**row, **detail}) if as_json else f"  {each}")
    return DIFFERENCES_FOUND if found else 0


@schema.command()
@_command_options
@option("--registry", required=True, metavar="URL", help="The registry: https://USER:PASSWORD@HOST:PORT.")
@option("--registry-token", metavar="TOKEN", help="Bearer token, instead of user and password.")
@option("--registry-ca", type=_FILE, metavar="FILE", help="PEM file with the authorities to trust.")
@option("--registry-certificate", type=_FILE, metavar="FILE", help="PEM file with our own certificate.")
@option("--registry-key", type=_FILE, metavar="FILE", help="PEM file with its private key.")
@option(
    "--subjects",
    type=click.Choice(["topic_name", "record_name", "topic_record_name"]),
    default=None,
    help="How subjects are named (topic_name: TOPIC-value and TOPIC-key; outbox: TOPIC-TYPE by default).",
)
@click.pass_context
def register(
    context: click.Context, /, file: str | None, folder: str | None, as_json: bool, **options: Any
) -> None:
    """Register the schemas of the events and keys of each captured table with a schema registry.

    Of a stored contract the version that holds, else the schema that follows the table. Of an outbox, or a sidecar: the
    stored contract of each type of event. Give secrets as variables:
    LIBERATE_REGISTRY, LIBERATE_REGISTRY_TOKEN.

    \b
    Examples:
      liberate schema register connectors/postgres-log.yaml --registry http://localhost:8081
    """
    settings, strategy = _registry(options)
    configs = publishing(context, file, options)
    context.ensure_object(Session).start_logging()
    from liberator.build import register_schemas

    rows: list[dict[str, Any]] = []
    try:
        for config in configs:
            for row in register_schemas(config, _folder(config, folder), settings, strategy):
                rows.append(row)
    except LiberatorError:
        if rows:  # they are registered, whatever is wrong with the next one
            show(rows, as_json, "")
        raise
    show(rows, as_json, "there is nothing to register")


def _registry(options: dict[str, Any]) -> tuple[RegistrySettings, Strategy | None]:
    """Takes the registry's options out of `options`."""
    from liberator.config.secrets import redact
    from liberator.contract.registry.http import RegistrySettings

    url, token = options.pop("registry"), options.pop("registry_token")
    redact.remember_url(url)
    if token:
        redact.remember(token)
    settings = RegistrySettings(
        url=url,
        token=token,
        ca=options.pop("registry_ca"),
        certificate=options.pop("registry_certificate"),
        key=options.pop("registry_key"),
    )
    return settings, options.pop("subjects")


def _start(context: click.Context, file: str | None, options: dict[str, Any]) -> list[SourceConfig]:
    configs = connectors(context, file, options)
    context.ensure_object(Session).start_logging()
    return configs


def _folder(config: SourceConfig | SidecarConfig, given: str | None) -> Path:
    return Path(given) if given else config.schema_.dir


def _row(derived: Derived) -> dict[str, Any]:
    return {
        "topic": derived.topic,
        "version": derived.version,
        "path": derived.path,
        "written": derived.written,
        "due": bool(derived.due),
    }


def _tell_what_is_due(derived: Derived) -> None:
    if derived.due:
        click.echo(
            f"{derived.topic}: the table has changed; --write adds version {derived.version + 1}:", err=True
        )
    for each in derived.due:
        click.echo(f"  {each}", err=True)


def _side(version: int | str) -> str:
    return f"version {version}" if isinstance(version, int) else version
