"""Inner loops compiled by numba: the same arithmetic as written, sample by sample, without Python's cost.

Nothing is reordered or fused (no fast-math), so results are those of the same operations in numpy.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import numba

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def compiled(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """A function compiled on first use and kept on disk for later processes; it releases the interpreter's lock."""
    loop: Callable[Arguments, Result] = numba.njit(cache=True, nogil=True, error_model="numpy")(function)
    return loop
