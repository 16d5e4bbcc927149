"""Names at the top of a package that are imported on first use, so that ``import`` and ``--help`` stay quick."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any


def export_lazily(package: str, homes: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Make the two functions by which a package offers names of its modules.

    Args:
        package: name of the package.
        homes: the module in which each name is defined.

    Returns:
        what the package calls ``__getattr__`` and ``__dir__``.
    """

    def get_attribute(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(homes[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    def list_names() -> list[str]:
        return sorted({*homes, *(name for name in vars(sys.modules[package]) if name.startswith("__"))})

    return get_attribute, list_names
