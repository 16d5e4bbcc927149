"""The tasks, one file each, loaded when they are asked for."""

from __future__ import annotations

import difflib
import importlib
from types import ModuleType

from bgknown.errors import NotFoundError

MODULES = {
    "bgknown": "benchmark.tasks.bgknown",
}
"""Names of the tasks and their modules."""


def task(name: str) -> ModuleType:
    """The module of a task.

    Raises:
        NotFoundError: there is no such task; says which are close.
    """
    if name not in MODULES:
        close = difflib.get_close_matches(name, MODULES, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise NotFoundError(f"no task {name!r}; {hint}there are: {', '.join(MODULES)}")
    return importlib.import_module(MODULES[name])
