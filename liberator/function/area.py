"""Memory that a connector and its worker both see: what is large goes from one to the other without passing the kernel.

Enters: bytes, in the process that has made the area. Leaves: the same bytes, in the process that was given its descriptor.
Who may look when is said elsewhere, over a connection. No locks: one writes, then says so; the other reads, then answers.
"""

from __future__ import annotations

import mmap
import os
import tempfile

_LEAST = 1 << 20
"""Bytes of an area at the least; it doubles until what is to be written has room, and never shrinks."""


class Area:
    """descriptor: of a file that has no name, so that it is gone with whoever has it open. None: make one."""

    def __init__(self, descriptor: int | None = None) -> None:
        self.descriptor = _file() if descriptor is None else descriptor
        self._memory = mmap.mmap(self.descriptor, 0)

    def write(self, data: bytes) -> None:
        """Put `data` at the beginning, in place of what was there."""
        size = len(self._memory)
        while size < len(data):
            size *= 2
        if size > len(self._memory):
            os.ftruncate(self.descriptor, size)
        self._see(size)
        self._memory[: len(data)] = data

    def read(self, size: int) -> memoryview:
        """The first `size` bytes, until the next `read`. The caller lets go of them before."""
        if size > len(self._memory):
            self._see(os.fstat(self.descriptor).st_size)
        return memoryview(self._memory)[:size]

    def close(self) -> None:
        """Give the memory back. What was read has to be let go before."""
        self._memory.close()
        os.close(self.descriptor)

    def _see(self, size: int) -> None:
        if size != len(self._memory):
            self._memory.close()
            self._memory = mmap.mmap(self.descriptor, size)


def _file() -> int:
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("liberator-events")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, _LEAST)
    return descriptor
