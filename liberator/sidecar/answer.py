"""What a request is answered: a status, and a JSON object that a person can act on. Never holds anything of a payload."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Answer:
    """retry_after: seconds after which the same request makes sense again; None: no need. close: the connection with it."""

    status: int
    body: Mapping[str, object]
    retry_after: int | None = None
    close: bool = False

    def text(self) -> bytes:
        """The body as JSON."""
        return json.dumps(self.body, ensure_ascii=False).encode() + b"\n"


class Refused(Exception):
    """This request gets an answer and nothing else."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


def refused(
    status: int,
    code: str,
    error: str,
    *,
    retry_after: int | None = None,
    close: bool = False,
    **more: object,
) -> Refused:
    """code: stable, for programs. error: one sentence for people. more: further members of the body."""
    body = {"error": error, "code": f"sidecar.{code}", **more}
    return Refused(Answer(status, body, retry_after, close))
