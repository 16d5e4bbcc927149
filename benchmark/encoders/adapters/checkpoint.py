"""What a checkpoint file is and contains, determined without running code in it."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from bgknown.errors import InvalidInputError
from bgknown.pickles import load_torch_file

MOST = 4
"""How many names a message lists."""
LONGEST = 60
"""Number of characters of each."""


def is_torchscript(path: Path) -> bool:
    """Whether a file is an archive of TorchScript, by the names of its members."""
    return any(name.endswith("/constants.pkl") or "/code/" in name for name in _members(path))


def is_exported(path: Path) -> bool:
    """Whether a file is an archive of torch.export, by the names of its members."""
    return any(name.endswith(("archive_format", "serialized_exported_program.json")) for name in _members(path))


def describe_entries(path: Path) -> str:
    """The names of the first few entries of a checkpoint, nested ones joined by dots.

    Args:
        path: the file; it is read as data only, whatever it holds.

    Returns:
        the names and whether there are more; or why there are none.
    """
    try:
        names = list(islice(_safetensors(path) if path.suffix == ".safetensors" else _torch(path), MOST + 1))
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001  (a damaged pickle can raise almost anything)
        return f"nothing that can be read as data ({type(error).__name__})"
    more = ", ..." if len(names) > MOST else ""
    return ", ".join(" ".join(name.split())[:LONGEST] for name in names[:MOST]) + more or "no entries"


def _safetensors(path: Path) -> Iterator[str]:
    from safetensors import safe_open  # noqa: PLC0415

    with safe_open(path, framework="pt") as file:
        yield from file.keys()


def _torch(path: Path) -> Iterator[str]:
    import torch  # noqa: PLC0415

    content = load_torch_file(path, torch)
    yield from _flat(content) if isinstance(content, Mapping) else [f"one {type(content).__name__}"]


def _flat(entries: Mapping[Any, Any], before: str = "") -> Iterator[str]:
    for name, value in entries.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}"


def _members(path: Path) -> list[str]:
    try:
        if not zipfile.is_zipfile(path):
            return []
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, struct.error) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InvalidInputError(f"{path}: a damaged archive ({reason}); copy it again") from error
