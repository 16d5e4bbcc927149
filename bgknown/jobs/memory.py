"""Settings of memory: the C library's, and Python's search for garbage."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import sys
from collections.abc import Iterator

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _HEAPS = -1, -3, -8  # glibc: malloc.h
_LARGEST, _NEVER = 2**31 - 1, -1


def keep_freed_memory(*, largest_bytes: int = _LARGEST, of_threads: bool = False) -> None:
    """Let the C library keep freed memory for the next arrays instead of returning it.

    Otherwise each large array comes in new pages, which the system has to clear first; in a training loop that can take
    as long as the arithmetic. Nothing happens if the C library is not glibc.

    Args:
        largest_bytes: larger arrays are returned.
        of_threads: also what threads that start later have freed. They then share one heap; those of their own are
            returned whatever else is set.
    """
    if not sys.platform.startswith("linux"):
        return
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_MMAP_THRESHOLD, largest_bytes)
        mallopt(_TRIM_THRESHOLD, _NEVER)
        if of_threads:
            mallopt(_HEAPS, 1)


@contextlib.contextmanager
def load_libraries(*, own_process: bool = False) -> Iterator[None]:
    """Import large libraries without searching for garbage meanwhile, which takes a seventh of the time of importing.

    Args:
        own_process: whether the process is that of a command, in which everything imported stays until the end: then
            later searches pass over it too. Elsewhere they must not, because they would pass over a user's objects.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if own_process:
            gc.freeze()
        if was_enabled:
            gc.enable()
