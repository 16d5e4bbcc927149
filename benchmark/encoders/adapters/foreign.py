"""Third-party Python code: import it under a separate name, and check its interface."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import math
import numbers
import sys
import sysconfig
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Self

import torch
from torch import Tensor

from bgknown.errors import BgknownError, InvalidInputError, NotFoundError
from bgknown.jobs.files import describe_storage_error
from bgknown.nearest import nearest

_brought: dict[str, Path] = {}
"""Modules that came from a user's folder, by their names in ``sys.modules``."""


def import_file(path: Path) -> ModuleType:
    """Run a Python file as a module; it can import files in the same folder.

    Raises:
        NotFoundError: the file does not exist.
        InvalidInputError: it raises an exception; names its line.
    """
    if not path.is_file():
        siblings = [file.name for file in path.parent.glob("*.py")] if path.parent.is_dir() else []
        raise NotFoundError(f"{path}: no such file{_suggest(path.name, siblings)}")
    name = f"_bgknown_{path.stem}_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InvalidInputError(f"{path}: is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickles look their module up
    try:
        with import_path(path.parent), explain_failure(str(path), "cannot be run"):
            spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module


def import_name(name: str) -> ModuleType:
    """Import a module by its name, from what is installed or from the current folder.

    Raises:
        NotFoundError: the module does not exist.
        InvalidInputError: it raises an exception while it is imported, or needs a module that does not exist.
    """
    with import_path(Path.cwd()):
        try:
            with explain_failure(name, "cannot be imported"):
                return importlib.import_module(name)
        except InvalidInputError as error:
            absent = error.__cause__.name if isinstance(error.__cause__, ModuleNotFoundError) else None
            if absent is None or not f"{name}.".startswith(f"{absent}."):
                raise
            siblings = [file.stem for file in Path.cwd().glob("*.py")]
            raise NotFoundError(
                f"no module {name!r}: it is neither installed nor in the current folder"
                f"{_suggest(name, siblings, list_all=False)}"
            ) from error


def get_member(module: ModuleType, name: str, where: str) -> Any:
    """The member of a module with a name.

    Raises:
        NotFoundError: it has no such member; suggests the closest.
    """
    if not hasattr(module, name):
        own = [known for known in vars(module) if not known.startswith("_")]
        raise NotFoundError(f"{where}: no {name!r} in it{_suggest(name, own)}")
    return getattr(module, name)


@contextmanager
def explain_failure(who: str, what: str) -> Iterator[None]:
    """Turn any exception of third-party code into one line that names its place.

    Raises:
        InvalidInputError: in place of the exception.
    """
    try:
        yield
    except (BgknownError, KeyboardInterrupt, MemoryError):
        raise
    except BaseException as error:
        reason = (str(error).strip().splitlines() or [""])[0]
        raise InvalidInputError(f"{who}: {what}: {type(error).__name__}: {reason} ({_find_place(error)})") from error


@contextmanager
def import_path(folder: Path) -> Iterator[None]:
    """Allow imports from a folder, temporarily.

    A module that another folder brought earlier makes room for one of the same name in this folder, so that two
    encoders whose files are both called ``model.py`` do not import each other's.
    """
    folder = folder.resolve()
    for name, origin in list(_brought.items()):
        top = name.partition(".")[0]
        if origin != folder and ((folder / f"{top}.py").is_file() or (folder / top).is_dir()):
            sys.modules.pop(name, None)
            del _brought[name]
    before = set(sys.modules)
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()  # files may have been written since the last import
    try:
        yield
    finally:
        if str(folder) in sys.path:
            sys.path.remove(str(folder))
        for name in set(sys.modules) - before:
            file = getattr(sys.modules[name], "__file__", None)
            if file is not None and Path(file).resolve().is_relative_to(folder):
                _brought[name] = folder


def hash_code(module: ModuleType) -> dict[str, str]:
    """SHA-256 of a module's own file, as a fact of an encoder's configuration; what it imports is not followed."""
    file = getattr(module, "__file__", None)
    if file is None or not Path(file).is_file():
        return {}
    return {"code_sha256": hashlib.sha256(Path(file).read_bytes()).hexdigest()}


def hash_folder_code(module: ModuleType) -> dict[str, str]:
    """SHA-256 of all Python files in the folder of a module, where its own file is not all of its code."""
    file = getattr(module, "__file__", None)
    files = sorted(Path(file).parent.glob("*.py")) if file is not None else []
    content = b"\0".join(path.read_bytes() for path in files if path.is_file())
    return {"folder_code_sha256": hashlib.sha256(content).hexdigest()} if files else {}


def list_weight_files(given: str | None, where: str) -> list[Path]:
    """The given files of weights: one, or all files of a folder.

    Raises:
        NotFoundError: the file or folder does not exist.
        StorageError: the folder cannot be read.
    """
    if not given:
        return []
    path = Path(given)
    if not path.exists():
        raise NotFoundError(f"{where}: no such file {given}; give the file of weights, or the folder that holds them")
    try:
        return sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    except OSError as error:
        raise describe_storage_error(error, path) from error


def check_whole_number(value: Any, what: str) -> int:
    """Check that an attribute is a positive whole number, and return it.

    Raises:
        InvalidInputError: it is not.
    """
    number = not isinstance(value, bool) and isinstance(value, numbers.Real) and math.isfinite(value)
    if not number or value != int(value) or value < 1:
        raise InvalidInputError(f"{what} is {value!r}; it must be a positive whole number")
    return int(value)


def _find_place(error: BaseException) -> str:
    """Where third-party code failed: its own last line, not that of a library that it called."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}, line {error.lineno}"
    libraries = (str(Path(torch.__file__).parents[1]), sysconfig.get_paths()["stdlib"], str(Path(__file__).parent))
    calls = traceback.extract_tb(error.__traceback__)
    theirs = [call for call in calls if not call.filename.startswith((*libraries, "<"))]
    call = (theirs or calls)[-1]
    return f"{call.filename}, line {call.lineno}"


def _suggest(name: str, names: Iterable[str], *, list_all: bool = True) -> str:
    known = sorted(names)
    if close := nearest(name, known):
        return f"; did you mean {close}?"
    return f"; there are: {', '.join(known[:8])}" if known and list_all else ""


class ModuleEncoder:
    """The base of wrappers of third-party models: a device, and modules in evaluation mode."""

    def __init__(self, model: Any, *, name: str, rate_hz: int, embedding_size: int) -> None:
        self.model = model
        self.name, self.rate_hz, self.embedding_size = name, rate_hz, embedding_size
        self.configuration: dict[str, Any] = {}
        self.trained_on = getattr(model, "trained_on", None)
        self.device = torch.device("cpu")
        if isinstance(model, torch.nn.Module):
            model.eval()

    def to(self, device: str | torch.device) -> Self:
        """Move the model, if it can be moved."""
        if isinstance(self.model, torch.nn.Module):
            self.model.to(device)
            self.device = torch.device(device)
        return self

    def on_device(self, audio: Tensor) -> Tensor:
        """Audio [B, N] float32 on the model's device."""
        return audio.to(self.device, torch.float32)
