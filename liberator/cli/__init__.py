"""The command `liberate`: parse, build, run. Thin: what it does is done by `liberator.build`.

Enters: arguments and environment. Leaves: data on standard output, everything else on standard error, an exit code.
`main` is the one place that turns an error into text and an exit code. Importing this package loads neither a database
driver nor a broker's client nor pydantic, so that ``--help`` answers at once.
"""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from liberator.errors import ConfigError, LiberatorError

if TYPE_CHECKING:
    from liberator.cli.session import Session

INTERRUPTED = 130
_UNEXPECTED = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `liberate` and return its exit code. arguments: default `sys.argv` without the program's name."""
    from liberator.cli.session import Session

    session = Session()
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    try:
        code = _invoke(arguments, session)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        return _report(error, session, arguments)


def _invoke(arguments: Sequence[str], session: Session) -> int:
    import click

    from liberator.cli.app import PROGRAM, app

    if f"_{PROGRAM.upper()}_COMPLETE" in os.environ:
        app.main(arguments, PROGRAM)  # answers the shell's question and leaves
    try:
        with app.make_context(PROGRAM, list(arguments), obj=session) as context:
            return int(app.invoke(context) or 0)
    except click.exceptions.Exit as ended:
        return int(ended.exit_code)
    except click.Abort:
        raise KeyboardInterrupt from None
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else PROGRAM
        raise ConfigError(
            error.format_message().rstrip("."), code="usage", where=where, fix=f"see `{where} --help`"
        ) from None
    except click.ClickException as error:
        raise ConfigError(error.format_message(), code="usage") from None


def _report(error: Exception, session: Session, arguments: Sequence[str]) -> int:
    """Tell `error` on standard error, in the form that logs have; the exit code."""
    if isinstance(error, BrokenPipeError) and _nobody_reads():
        # The reader of the pipe has what it wanted. Python would complain again when it closes the stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    known = error if isinstance(error, LiberatorError) else _unexpected(error)
    cause = error if session.log_level == "debug" else None
    if session.log_format == "json" or _asked_for_json(arguments):
        _say_json(known, cause)
    else:
        _say_blocks(known, cause)
    return known.exit_code


def _say_blocks(error: LiberatorError, cause: Exception | None) -> None:
    from liberator.config.secrets import redact

    if cause is not None:
        import traceback

        _say(redact("".join(traceback.format_exception(cause)).rstrip()))
    _say(redact(error.block()))


def _say_json(error: LiberatorError, cause: Exception | None) -> None:
    """One line a fault, as log records are, so that who collects these can read all."""
    from liberator.config.secrets import redact
    from liberator.observe.logs import json_line

    for fault in getattr(error, "faults", (error,)):
        fields = {"code": fault.code, "where": fault.where, "fix": fault.fix}
        named = {name: value for name, value in fields.items() if value}
        _say(json_line("error", __name__, fault.what, redact, cause=cause, **named))
        cause = None


def _asked_for_json(arguments: Sequence[str]) -> bool:
    """Of a command line that could not be understood, so that nobody has set the form of logs."""
    written = " ".join(arguments).replace("=", " ")
    if "--log-format" in written:
        return "--log-format json" in written
    return os.environ.get("LIBERATE_LOG_FORMAT") == "json"


def _unexpected(error: Exception) -> LiberatorError:
    """An error that nobody foresaw: its text is shown only if it can hold no data."""
    reason = f": {error}" if isinstance(error, OSError) else ""
    return LiberatorError(
        f"unexpected {type(error).__name__}{reason}",
        code="internal",
        fix="run it again with --log-level debug and report the traceback",
    )


def _nobody_reads() -> bool:
    """Is standard output the pipe that broke? It may as well have been a connection."""
    poll = select.poll()
    try:
        poll.register(sys.stdout.fileno(), 0)
    except (OSError, ValueError):
        return False
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _say(text: str) -> None:
    try:
        print(text, file=sys.stderr, flush=True)
    except (OSError, ValueError):
        return  # nobody is there to read it; the exit code says enough
