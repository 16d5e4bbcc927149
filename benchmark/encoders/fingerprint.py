"""Hashes that identify an encoder's weights and code."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from bgknown.jobs.files import hash_file


def hash_weights(encoder: Any, files: Sequence[Path]) -> str:
    """SHA-256 of an encoder's weights.

    Args:
        encoder: the encoder.
        files: the files that the weights come from, if any.

    Returns:
        Of one file, that of its bytes; of several, that of the sorted lines "sha256 name", names relative to their
        common folder; without files, that of all parameters and buffers of the torch modules that the encoder holds;
        empty where there are none.
    """
    if len(files) == 1:
        return hash_file(files[0])
    if files:
        folder = Path(*_find_common_folder(files))
        lines = sorted(f"{hash_file(file)} {file.relative_to(folder).as_posix()}" for file in files)
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()
    digest, seen = hashlib.sha256(), False
    for place, module in _list_modules(encoder):
        for name, tensor in sorted(module.state_dict(keep_vars=False).items()):
            if not isinstance(tensor, torch.Tensor):
                continue
            values = tensor.detach().cpu().contiguous()
            digest.update(f"{place}.{name} {values.dtype} {list(values.shape)}".encode())
            digest.update(values.flatten().view(torch.uint8).numpy().tobytes())
            seen = True
    return digest.hexdigest() if seen else ""


def _find_common_folder(files: Sequence[Path]) -> list[str]:
    parts = [file.parent.parts for file in files]
    shared = []
    for level in zip(*parts, strict=False):
        if len(set(level)) > 1:
            break
        shared.append(level[0])
    return shared


def _list_modules(encoder: Any) -> Iterator[tuple[str, torch.nn.Module]]:
    """The torch modules that an object is or holds, a few levels deep, in the order of their names."""
    waiting, seen = [("", encoder, 0)], set()
    while waiting:
        place, value, depth = waiting.pop(0)
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, torch.nn.Module):
            yield place, value
            continue
        if depth == 3:
            continue
        inside = vars(value) if hasattr(value, "__dict__") else {}
        if isinstance(value, dict):
            inside = {str(key): part for key, part in value.items()}
        elif isinstance(value, list | tuple):
            inside = {str(key): part for key, part in enumerate(value)}
        waiting += [(f"{place}.{name}", part, depth + 1) for name, part in sorted(inside.items())]


def hash_code_beside(kind: type) -> str:
    """SHA-256 of all Python files in the folder that a class's ``embed`` is in; empty if there is no file.

    Changing any of them may change what the class does, and importing is free to reach all of them.
    """
    code = getattr(getattr(kind, "embed", None), "__code__", None)
    if code is None or not Path(code.co_filename).is_file():
        return ""
    try:
        files = sorted(Path(code.co_filename).parent.glob("*.py"))
        return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()
    except OSError:
        return ""
