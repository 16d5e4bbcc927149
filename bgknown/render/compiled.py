"""Inner loops compiled by numba: the arithmetic as written, sample by sample, at compiled speed.

Nothing is reordered or fused (no fast-math), so results are those of the same operations in numpy. Compiled code is
kept on disk for later processes (``surroundings.prepare_libraries``); if that is impossible, each process compiles.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from bgknown.jobs.surroundings import prepare_libraries

_KEPT = prepare_libraries()  # before numba is imported

import numba  # noqa: E402

if _KEPT is not None:
    numba.config.CACHE_DIR = str(_KEPT)  # type: ignore[attr-defined]  # some other library may have imported numba before

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def compile_function(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """A function compiled on first use; it releases the interpreter's lock."""
    loop: Any = numba.njit(nogil=True, error_model="numpy")(function)
    if _KEPT is not None:
        with contextlib.suppress(RuntimeError, OSError):  # numba finds no folder, or cannot write to it
            loop.enable_caching()
            loop._cache = _Tolerant(loop._cache)
    return loop  # type: ignore[no-any-return]


def compile_vectors(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """``compile_function`` for equal steps of several signals next to each other, which become vector instructions.

    Numba leaves that out by default; in other loops it can cost more than it gains. Vectors change no result.
    """
    loop = compile_function(function)

    @functools.wraps(function)
    def run(*given: Arguments.args, **named: Arguments.kwargs) -> Result:
        before = numba.config.SLP_VECTORIZE  # type: ignore[attr-defined]
        numba.config.SLP_VECTORIZE = 1  # type: ignore[attr-defined]
        try:
            return loop(*given, **named)
        finally:
            numba.config.SLP_VECTORIZE = before  # type: ignore[attr-defined]

    return run


class _Tolerant:
    """numba's cache of one function; its faults cost a compilation and nothing else."""

    def __init__(self, cache: Any) -> None:
        self._cache = cache

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cache, name)

    def load_overload(self, signature: Any, target: Any) -> Any:
        """Stored code; None if there is none, or it is damaged and was removed."""
        try:
            return self._cache.load_overload(signature, target)
        except Exception:  # noqa: BLE001  (what unpickling damaged bytes raises has no common type)
            with contextlib.suppress(OSError):
                self._cache.flush()
            return None

    def save_overload(self, signature: Any, code: Any) -> None:
        """Store code; a full disk is not an error."""
        with contextlib.suppress(OSError):
            self._cache.save_overload(signature, code)
