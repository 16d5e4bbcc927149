"""Other people's Python: found, run under a name of its own, and held to an interface."""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Self

import torch
from torch import Tensor

from bgknown.errors import BgknownError, InvalidInputError, NotFoundError


def module_of_file(path: Path) -> ModuleType:
    """Run a Python file as a module; files beside it can be imported by it.

    Raises:
        NotFoundError: there is no such file.
        InvalidInputError: it raises an exception; names its line.
    """
    if not path.is_file():
        beside = [file.name for file in path.parent.glob("*.py")] if path.parent.is_dir() else []
        raise NotFoundError(f"{path}: no such file{_near(path.name, beside)}")
    name = f"_bgknown_{path.stem}_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InvalidInputError(f"{path}: is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickles look their module up
    with import_path(path.resolve().parent), telling(str(path), "cannot be run"):
        spec.loader.exec_module(module)
    return module


def module_of_name(name: str) -> ModuleType:
    """Import a module by its name, from what is installed or from the current folder.

    Raises:
        NotFoundError: there is no such module.
        InvalidInputError: it raises an exception while it is imported.
    """
    with import_path(Path.cwd()):
        try:
            found = importlib.util.find_spec(name) is not None
        except (ImportError, ValueError):
            found = False
        if not found:
            raise NotFoundError(f"no module {name!r}: it is neither installed nor in the current folder")
        with telling(name, "cannot be imported"):
            return importlib.import_module(name)


def member(module: ModuleType, name: str, where: str) -> Any:
    """What a module calls by a name.

    Raises:
        NotFoundError: it has no such name; says which are close.
    """
    if not hasattr(module, name):
        own = [known for known in vars(module) if not known.startswith("_")]
        raise NotFoundError(f"{where}: no {name!r} in it{_near(name, own)}")
    return getattr(module, name)


@contextmanager
def telling(who: str, what: str) -> Iterator[None]:
    """Turn any exception of other people's code into one line that names its place.

    Raises:
        InvalidInputError: instead of what was raised.
    """
    try:
        yield
    except (BgknownError, KeyboardInterrupt, MemoryError):
        raise
    except BaseException as error:
        reason = (str(error).strip().splitlines() or [""])[0]
        place = traceback.extract_tb(error.__traceback__)[-1]
        line = (
            f"{error.filename}, line {error.lineno}"
            if isinstance(error, SyntaxError)
            else f"{place.filename}, line {place.lineno}"
        )
        raise InvalidInputError(f"{who}: {what}: {type(error).__name__}: {reason} ({line})") from error


@contextmanager
def import_path(folder: Path) -> Iterator[None]:
    """Let modules of a folder be imported for a while."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        if str(folder) in sys.path:
            sys.path.remove(str(folder))


def whole_number(value: Any, what: str) -> int:
    """A positive whole number that an attribute must be.

    Raises:
        InvalidInputError: it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value) or value < 1:
        raise InvalidInputError(f"{what} is {value!r}, must be a positive whole number")
    return int(value)


def _near(name: str, names: list[str]) -> str:
    close = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {close[0]}?" if close else f"; there are: {', '.join(sorted(names)[:8])}" if names else ""


class ModuleEncoder:
    """What the wrappers of other people's models share: a device, and modules in evaluation mode."""

    def __init__(self, model: Any, *, name: str, rate_hz: int, embedding_size: int) -> None:
        self.model = model
        self.name, self.rate_hz, self.embedding_size = name, rate_hz, embedding_size
        self.device = torch.device("cpu")
        if isinstance(model, torch.nn.Module):
            model.eval()

    def to(self, device: str | torch.device) -> Self:
        """Move the model, where it can be moved."""
        if isinstance(self.model, torch.nn.Module):
            self.model.to(device)
            self.device = torch.device(device)
        return self

    def on_device(self, audio: Tensor) -> Tensor:
        """Audio [B, N] float32 where the model is."""
        return audio.to(self.device, torch.float32)
