"""Every error a person can see: what went wrong, where, and how to fix it.

Enters: nothing. Leaves: exceptions with a stable `code`. Whose fault an error is, is its type; whether it may
pass by itself (`retryable`) belongs to the error; what is done about it is decided by `liberator.policy`.
"""

from __future__ import annotations


class LiberatorError(Exception):
    """Base of all errors of liberator.

    what: one sentence without row values or secrets. code: stable, lower-case, dotted (``source.slot_lost``), for
    machines and documentation. where: file and YAML path, table, LSN or offset. fix: what the reader can do now.
    retryable: the same call may succeed later without anybody changing anything.
    """

    default_code = "error"
    exit_code = 1

    def __init__(
        self,
        what: str,
        *,
        code: str | None = None,
        where: str | None = None,
        fix: str | None = None,
        retryable: bool = False,
    ) -> None:
        super().__init__(what)
        self.what = what
        self.code = code or self.default_code
        self.where = where
        self.fix = fix
        self.retryable = retryable

    def __str__(self) -> str:
        return self.what

    def block(self) -> str:
        """The error as the readable block that standard error gets."""
        lines = [f"error [{self.code}]: {self.what}"]
        if self.where:
            lines.append(f"  where: {self.where}")
        if self.fix:
            lines.append(f"  fix:   {self.fix}")
        return "\n".join(lines)


class ConfigError(LiberatorError):
    """Wrong usage or configuration, found before anything is connected to (exit 2)."""

    default_code = "config.invalid"
    exit_code = 2


class SourceError(LiberatorError):
    """The source database failed or refused."""

    default_code = "source.failed"


class PreconditionError(SourceError):
    """Something that must hold before a connector may run does not (exit 3)."""

    default_code = "precondition.failed"
    exit_code = 3


class CheckpointError(LiberatorError):
    """A position is missing, foreign, older, half-written or from the future (exit 3)."""

    default_code = "checkpoint.refused"
    exit_code = 3


class DecodeError(LiberatorError):
    """Bytes from the source that are not what the protocol says."""

    default_code = "decode.malformed"


class ContractError(LiberatorError):
    """A row breaks its contract, or a contract is itself broken."""

    default_code = "contract.violated"


class EvaluationError(LiberatorError):
    """An expression does not fit the event that it is asked about."""

    default_code = "expression.failed"


class PublishError(LiberatorError):
    """The broker, file or pipe did not take events."""

    default_code = "publish.failed"


class ConsumeError(LiberatorError):
    """The broker did not give events, or did not take a commit."""

    default_code = "consume.failed"


class DeadLetterError(LiberatorError):
    """A dead letter can't be read, redriven or discarded."""

    default_code = "dead_letter.failed"


class FunctionError(LiberatorError):
    """A function that a stream triggers failed. retryable: it may work the next time. retry_after: seconds, when it says so
    itself. counts: False when this was no attempt, since the function is known to be away."""

    default_code = "function.failed"

    def __init__(
        self,
        what: str,
        *,
        code: str | None = None,
        where: str | None = None,
        fix: str | None = None,
        retryable: bool = False,
        retry_after: float = 0.0,
        counts: bool = True,
    ) -> None:
        super().__init__(what, code=code, where=where, fix=fix, retryable=retryable)
        self.retry_after = retry_after
        self.counts = counts


class PermanentError(FunctionError):
    """Raised by a function: these events will never work, do not try them again."""

    default_code = "function.permanent"
