"""Torch checkpoints read as data only, whatever harmless values are stored next to the tensors.

torch's restricted unpickler (``weights_only=True``) runs nothing that it does not know, and so refuses checkpoints that
hold a numpy scalar, a ``defaultdict`` or an ``argparse.Namespace`` as well. Here each of these names means a small
class of this module, which keeps what is needed (numbers, texts, dictionaries) and ignores the rest: the real numpy,
pathlib or argparse is never called, so that nothing in a file can run.

The package torch is an argument, because ``bgknown`` does not import it.
"""

from __future__ import annotations

import re
import warnings
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal

import numpy as np

_NUMBER_OR_TEXT = re.compile(r"[biufcSU]\d{1,9}|[?]")
"""The element types whose scalars are read: booleans, integers, floats, complex numbers, bytes and texts."""


class Ignored:
    """Replaces an object that is not needed: it takes any arguments and state, and keeps nothing."""

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


class ElementType:
    """Replaces ``numpy.dtype``: its code and its byte order."""

    def __init__(self, code: object = "", *_: object) -> None:
        self.code = code if isinstance(code, str) and _NUMBER_OR_TEXT.fullmatch(code) else ""
        self.order: Literal["<", ">"] = "<"

    def __setstate__(self, state: object) -> None:
        if isinstance(state, tuple) and len(state) > 1 and state[1] == ">":
            self.order = ">"


class PlainDict:
    """Replaces subclasses of dict (``defaultdict``, Lightning's ``AttributeDict``): a plain one."""

    def __new__(cls, *_: object) -> Any:
        """An empty dictionary, which the unpickler fills."""
        return {}


class PlainText:
    """Replaces subclasses of str, such as torch's version and paths."""

    def __new__(cls, *parts: object) -> Any:
        """The text itself."""
        return "/".join(part for part in parts if isinstance(part, str))


def make_scalar(kind: object, data: object = b"") -> Any:
    """Replaces numpy's constructor of scalars: gives a plain number or text; None for any other kind."""
    if not isinstance(kind, ElementType) or not kind.code or not isinstance(data, bytes):
        return None
    dtype = np.dtype(kind.code).newbyteorder(kind.order)
    return np.frombuffer(data, dtype)[0].item() if len(data) == dtype.itemsize > 0 else None


_NAMES: dict[Any, tuple[str, ...]] = {
    make_scalar: (
        "numpy.core.multiarray.scalar",
        "numpy._core.multiarray.scalar",
    ),  # the name before numpy 2, and since
    ElementType: ("numpy.dtype",),
    PlainDict: (
        "collections.defaultdict",
        "lightning.fabric.utilities.data.AttributeDict",
        "lightning.pytorch.utilities.parsing.AttributeDict",
        "lightning_fabric.utilities.data.AttributeDict",
        "pytorch_lightning.utilities.parsing.AttributeDict",
    ),
    PlainText: (
        "numpy.str_",
        "pathlib.Path",
        "pathlib.PosixPath",
        "pathlib.PurePath",
        "pathlib.PurePosixPath",
        "pathlib.PureWindowsPath",
        "pathlib.WindowsPath",
        "pathlib._local.PosixPath",
        "pathlib._local.WindowsPath",
        "torch.torch_version.TorchVersion",
    ),
    Ignored: (
        "argparse.Namespace",
        "builtins.bool",
        "builtins.bytes",
        "builtins.dict",
        "builtins.float",
        "builtins.frozenset",
        "builtins.int",
        "builtins.list",
        "builtins.object",
        "builtins.range",
        "builtins.slice",
        "builtins.str",
        "builtins.tuple",
        "collections.deque",
        "datetime.date",
        "datetime.datetime",
        "datetime.time",
        "datetime.timedelta",
        "datetime.timezone",
        "numpy.bool",
        "numpy.bool_",
        "numpy.float32",
        "numpy.float64",
        "numpy.int32",
        "numpy.int64",
        "numpy.core.multiarray._reconstruct",
        "numpy._core.multiarray._reconstruct",
        "numpy.ndarray",
        "types.SimpleNamespace",
        "uuid.UUID",
    ),
}


def allow_harmless_names(torch: Any) -> AbstractContextManager[Any]:
    """Let torch's restricted unpickler read harmless values, as plain replacements.

    Args:
        torch: the package, at least 2.6.
    """
    pairs = [(stand_in, name) for stand_in, names in _NAMES.items() for name in names]
    context: AbstractContextManager[Any] = torch.serialization.safe_globals(pairs)
    return context


def load_torch_file(path: Path, torch: Any) -> Any:
    """Read a file of ``torch.save`` as data, tensors on the CPU.

    Args:
        path: the file.
        torch: the package, at least 2.6.

    Returns:
        what was saved, with plain values in place of numpy scalars, ``defaultdict`` and the like.

    Raises:
        Exception: whatever torch raises for a file that is damaged or holds code; the caller explains it.
    """
    with warnings.catch_warnings():
        # warned about TorchScript archives, which end in an error
        warnings.filterwarnings("ignore", message=".*TorchScript archive", category=UserWarning)
        # warned about files of another pickle protocol, which are read as well, or end in an error
        warnings.filterwarnings("ignore", message="Detected pickle protocol", category=UserWarning)
        with allow_harmless_names(torch):
            return torch.load(path, map_location="cpu", weights_only=True)
