"""See src/python.rs and src/probe.rs."""

from typing import Any, Final, final

INTERFACE: Final[int]

@final
class Plan:
    def __new__(cls, description: bytes) -> Plan: ...

_Transaction = tuple[int, int, int | None, int | None, int]
_Place = tuple[int, int, bool, int, int, _Transaction]

_Columns = tuple[list[Any], list[Any], list[Any], list[Any], list[Any]]

@final
class Events:
    def __len__(self) -> int: ...
    def size(self) -> int: ...
    def counts(self) -> dict[str, int]: ...
    def lines(self) -> bytes | None: ...
    def give(self, columns: _Columns) -> None: ...

@final
class Executor:
    def __new__(cls, id_place: bytes, tombstones: bool) -> Executor: ...
    def run(
        self,
        frames: list[bytes],
        start: int,
        end: int,
        plans: dict[int, Any],
        padded: dict[int, bool],
        now_us: int,
        commits: bool,
        place: _Place,
    ) -> tuple[Events, int, _Place]: ...
    def copy(
        self,
        data: bytes,
        start: int,
        end: int,
        plan: Plan,
        topic: str,
        prefix: bytes,
        in_front: int,
        lsn: int,
        taken_us: int,
        now_us: int,
    ) -> Events: ...

@final
class Converter:
    def __new__(cls, description: str) -> Converter: ...
    def convert(self, text: bytes) -> bytes | None: ...

@final
class Check:
    def __new__(cls, description: str) -> Check: ...
    def passes(self, json: bytes) -> bool: ...

def lines(
    topics: list[str], keys: list[bytes | None], values: list[bytes | None], ids: list[bytes]
) -> bytes | None: ...
