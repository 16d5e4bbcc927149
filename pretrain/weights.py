"""Tensors from files, and the AudioNTT network that they belong to.

Files are only ever read as data; no code in them is run.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bgknown.errors import InvalidInputError, NotFoundError
from bgknown.pickles import load_torch_file
from bgknown.shown import escape_line, name_few
from bgknown.userpath import user_path
from pretrain.networks import CHANNELS, NETWORKS, AudioNTT, AudioNTT2020, AudioNTT2022

CHECKPOINT_SUFFIXES = (".pt", ".pth", ".ckpt", ".safetensors")
"""Suffixes of the files that are read."""

FIRST = "features.0.weight"
"""The tensor that AudioNTT networks are found by, [C, 1, 3, 3]."""

_LINEAR = ("fc.0.weight", "fc.3.weight")
_DEEPEST = 16  # levels of dictionaries in a checkpoint; a file may hold a dictionary that contains itself
# what torch's restricted unpickler says of a file that asks for more than tensors and plain values
_CODE = re.compile(r"GLOBAL (\S+)|call reduce|create new object|Can only build")


def read_tensors(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Read a checkpoint file, tensors on the CPU.

    Args:
        path: a ``.pt``, ``.pth``, ``.ckpt`` or ``.safetensors`` file.

    Returns:
        its entries, which in a torch checkpoint may be nested; and the metadata of a safetensors file.

    Raises:
        NotFoundError: there is no such file.
        InvalidInputError: it is empty, damaged, of another kind, or holds code.
    """
    path = user_path(path)
    if path.suffix not in CHECKPOINT_SUFFIXES and (path.is_file() or path == Path()):
        raise InvalidInputError(
            f"{path or 'the empty name'}: a checkpoint's name must end in {', '.join(CHECKPOINT_SUFFIXES)}"
        )
    if not path.is_file():
        raise NotFoundError(f"{path}: no such file; name a checkpoint ({', '.join(CHECKPOINT_SUFFIXES)})")
    if path.stat().st_size == 0:
        raise InvalidInputError(f"{path}: the file is empty (0 bytes); copy it again")
    return _read_safetensors(path) if path.suffix == ".safetensors" else (_read_torch(path), {})


def _read_safetensors(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    from safetensors import SafetensorError, safe_open  # noqa: PLC0415

    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        reason = escape_line(str(error))
        raise InvalidInputError(f"{path}: not a whole safetensors file ({reason}); copy it again") from error


def _read_torch(path: Path) -> dict[str, Any]:
    try:
        content = load_torch_file(path, torch)
    except MemoryError:
        raise
    except Exception as error:  # a damaged pickle can raise almost anything
        code = _CODE.search(str(error)) if isinstance(error, pickle.UnpicklingError) else None
        if code:
            raise InvalidInputError(
                f"{path}: refused: it holds code besides tensors ({code[1] or 'an object to be made on loading'}); "
                f"store the state dict alone, or a .safetensors file"
            ) from error
        if "TorchScript" in str(error):
            raise InvalidInputError(f"{path}: a TorchScript archive, not a checkpoint; store the state dict") from error
        raise InvalidInputError(
            f"{path}: not readable as a torch checkpoint ({type(error).__name__}): it is truncated or another "
            f"kind of file; copy it again"
        ) from error
    if not isinstance(content, Mapping):
        raise InvalidInputError(f"{path}: holds a {type(content).__name__}; it must hold a dictionary of tensors")
    return dict(content)


def flatten_tensors(entries: Mapping[str, Any], prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Tensor]]:
    """The tensors in nested dictionaries, their names joined by dots.

    Raises:
        InvalidInputError: dictionaries are nested without end.
    """
    if depth > _DEEPEST:
        raise InvalidInputError(f"checkpoint: dictionaries nested more than {_DEEPEST} deep; store a plain state dict")
    for key, value in entries.items():
        if isinstance(value, Tensor):
            yield f"{prefix}{key}", value
        elif isinstance(value, Mapping):
            yield from flatten_tensors(value, f"{prefix}{key}.", depth + 1)


def find_prefixes(names: Iterable[str]) -> list[str]:
    """The prefixes of all AudioNTT networks among names of tensors; "" for one without prefix."""
    known = set(names)
    found = [name.removesuffix(FIRST) for name in known if name == FIRST or name.endswith(f".{FIRST}")]
    return sorted(prefix for prefix in found if {prefix + name for name in _LINEAR} <= known)


def read_network(
    entries: Mapping[str, Any], path: Path, *, n_mels: int, name: str | None = None, prefix: str | None = None
) -> AudioNTT:
    """Create the network that a file's tensors are the weights of, with sizes from their shapes.

    Args:
        entries: the file's entries, possibly nested.
        path: the file, for messages.
        n_mels: F, the mel bands that the network was made for.
        name: the network's name; None takes it from the tensors' names.
        prefix: what the network's tensor names begin with; None where the file holds one network alone.

    Returns:
        the network, in evaluation mode, on the CPU.

    Raises:
        InvalidInputError: there is no such network, there are several, or tensors are missing, too many or of other
            shapes.
    """
    tensors = _select_below(dict(flatten_tensors(entries)), prefix, path)
    if name is None:
        name = AudioNTT2020.name if "features.8.weight" in tensors else AudioNTT2022.name
    if name not in NETWORKS:
        raise InvalidInputError(f"{path}: the network is {name!r}; this version knows {', '.join(sorted(NETWORKS))}")
    try:
        network = _make_for_weights(name, n_mels, [tensors[linear] for linear in _LINEAR])
    except InvalidInputError as error:
        raise InvalidInputError(f"{path}: the linear layers do not fit {name} ({error})") from error
    expected = network.state_dict()
    for key, counter in expected.items():  # absent before torch 0.4.1, and unused in evaluation
        if key.endswith("num_batches_tracked"):
            tensors.setdefault(key, counter)
    _compare(tensors, expected, f"{path}: {name} for {n_mels} mel bands")
    network.load_state_dict(tensors)
    return network.eval()


def _select_below(tensors: Mapping[str, Tensor], prefix: str | None, path: Path) -> dict[str, Tensor]:
    """The tensors of the requested network, without their prefix."""
    found = find_prefixes(tensors)
    places = ", ".join(repr(place) for place in found) or "none"
    if prefix is not None:
        chosen = f"{prefix.rstrip('.')}." if prefix else ""
        if chosen not in found:
            raise InvalidInputError(f"{path}: no AudioNTT network below the prefix {chosen!r}; there are: {places}")
    elif not found:
        raise InvalidInputError(
            f"{path}: no AudioNTT network; {FIRST}, {', '.join(_LINEAR)} were looked for, "
            f"found: {name_few(tensors) or 'no tensors'}"
        )
    elif len(found) > 1:
        raise InvalidInputError(f"{path}: holds {len(found)} networks, below {places}; say which by the option prefix")
    else:
        chosen = found[0]
    return {name.removeprefix(chosen): tensor for name, tensor in tensors.items() if name.startswith(chosen)}


def _make_for_weights(name: str, n_mels: int, linear: list[Tensor]) -> AudioNTT:
    rows = [int(weight.shape[0]) if weight.dim() == 2 else 0 for weight in linear]
    if name == AudioNTT2020.name:
        return AudioNTT2020(n_mels=n_mels, d=rows[0])
    local = CHANNELS * (n_mels // 2**AudioNTT2022.poolings)
    return AudioNTT2022(n_mels=n_mels, d=local + rows[1], hidden=rows[0])


def _compare(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor], what: str) -> None:
    """Compare tensors from a file with those that a network has."""
    missing = [name for name in expected if name not in tensors]
    if missing:
        raise InvalidInputError(f"{what}: {len(missing)} tensors missing: {name_few(missing)}; is the file complete?")
    foreign = [name for name in tensors if name not in expected]
    if foreign:
        raise InvalidInputError(f"{what}: {len(foreign)} tensors too many: {name_few(foreign)}; is it another network?")
    for name, tensor in expected.items():
        given = tensors[name]
        if given.shape != tensor.shape:
            raise InvalidInputError(
                f"{what}: {name} has shape {list(given.shape)}, must be {list(tensor.shape)}; "
                f"is it another network, or one for another number of mel bands?"
            )
        if given.layout != torch.strided or given.is_floating_point() != tensor.is_floating_point():
            raise InvalidInputError(f"{what}: {name} is of type {given.dtype} ({given.layout}), must be {tensor.dtype}")
        if not bool(torch.isfinite(given.float()).all()):
            raise InvalidInputError(f"{what}: {name} holds NaN or infinite values; take an earlier checkpoint")
