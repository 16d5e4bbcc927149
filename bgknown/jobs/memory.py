"""Settings of memory: the C library's, and Python's search for garbage."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import sys
from collections.abc import Iterator

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # glibc: malloc.h
_LARGEST, _NEVER = 2**31 - 1, -1


def keep_freed_memory() -> None:
    """Let the C library keep freed memory for the next arrays instead of returning it.

    Otherwise each large array comes in new pages, which the system has to clear first; in a training loop that can take
    as long as the arithmetic. Nothing happens if the C library is not glibc.
    """
    if not sys.platform.startswith("linux"):
        return
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_MMAP_THRESHOLD, _LARGEST)
        mallopt(_TRIM_THRESHOLD, _NEVER)


@contextlib.contextmanager
def load_libraries() -> Iterator[None]:
    """Import large libraries without searching them for garbage, now and later; a seventh of what importing costs."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()
