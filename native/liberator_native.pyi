"""See src/python.rs and src/probe.rs."""

from typing import Any, Final, final

INTERFACE: Final[int]

@final
class Plan:
    def __new__(cls, description: bytes) -> Plan: ...

_Transaction = tuple[int, int, int | None, int | None, int]
_Place = tuple[int, int, bool, int, int, _Transaction]

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
        columns: tuple[list[Any], list[Any], list[Any], list[Any], list[Any]],
    ) -> tuple[int, _Place]: ...

@final
class Converter:
    def __new__(cls, description: str) -> Converter: ...
    def convert(self, text: bytes) -> bytes | None: ...

@final
class Check:
    def __new__(cls, description: str) -> Check: ...
    def passes(self, json: bytes) -> bool: ...
