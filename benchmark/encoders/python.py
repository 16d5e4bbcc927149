"""The kind ``python``: any Python object that is an encoder, from a file or a package.

``file.py:Class`` and ``package.module:factory`` are called without arguments, or with those given as ``args``. What
comes out must be an encoder (``benchmark.encoder.Encoder``), or a torch module with ``rate_hz`` (or ``sample_rate``)
whose ``forward`` turns [B, N] into [B, D].
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmark.encoders.foreign import ModuleEncoder, member, module_of_file, module_of_name, telling, whole_number
from benchmark.encoders.program import RATE_NAMES
from bgknown.errors import InvalidInputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the object is made with."""

    weights: str | None = None
    """A file of weights, handed over as the argument ``weights``."""
    args: str = "{}"
    """Keyword arguments as JSON."""


class TorchModule(ModuleEncoder):
    """A torch module as an encoder."""

    @torch.inference_mode()
    def embed(self, audio: Tensor) -> Tensor:
        """Embed a batch: [B, N] -> [B, D]."""
        output: Tensor = self.model(self.on_device(audio))
        return output


def load(target: str, options: Options) -> Any:
    """Make the object.

    Raises:
        NotFoundError: there is no such file, module or name.
        InvalidInputError: its code raises an exception, or what it makes is no encoder.
    """
    where, name = _parts(target)
    module = module_of_file(Path(where)) if where.endswith(".py") else module_of_name(where)
    make = module
    for part in name.split("."):
        make = member(make, part, where)
    if not callable(make):
        raise InvalidInputError(f"{target}: {name} is a {type(make).__name__}, must be a class or a function")
    arguments = _arguments(options, target)
    with telling(target, "cannot be made"):
        made = make(**arguments)
    if not isinstance(made, torch.nn.Module):
        if getattr(made, "name", None) is None and not isinstance(made, type):
            made.name = type(made).__name__
        return made
    made.eval()
    if hasattr(made, "embed"):
        if not isinstance(getattr(made, "name", None), str):
            made.name = type(made).__name__  # type: ignore[assignment]
        return made
    return _wrapped(made, target)


def weights_of(target: str, options: Options) -> list[Path]:
    """The Python file, and the file of weights; nothing for a package without weights, whose tensors are hashed."""
    where, _ = _parts(target)
    files = [Path(where)] if where.endswith(".py") else []
    return [*files, Path(options.weights)] if options.weights else files


def _wrapped(module: torch.nn.Module, target: str) -> TorchModule:
    said: list[Any] = [getattr(module, name) for name in RATE_NAMES if hasattr(module, name)]
    rate_hz = whole_number(said[0] if said else None, f"{target}: its rate_hz (or sample_rate)")
    size = measured_size(module, rate_hz, target)
    return TorchModule(module, name=type(module).__name__, rate_hz=rate_hz, embedding_size=size)


def measured_size(model: Any, rate_hz: int, where: str) -> int:
    """D of a program, from what it makes of a second of silence.

    Raises:
        InvalidInputError: it fails, or does not return [B, D].
    """
    with telling(where, "fails on a second of silence"), torch.inference_mode():
        output = model(torch.zeros(2, rate_hz))
    if not isinstance(output, torch.Tensor) or output.ndim != 2 or output.shape[0] != 2:
        shape = list(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
        raise InvalidInputError(f"{where}: returns {shape} for audio [2, {rate_hz}], must be [2, D]")
    return int(output.shape[1])


def _parts(target: str) -> tuple[str, str]:
    where, colon, name = target.rpartition(":")
    if not (where and colon and name):
        raise InvalidInputError(f"python encoder {target!r}: must be written FILE.py:CLASS or PACKAGE.MODULE:FACTORY")
    return where, name


def _arguments(options: Options, target: str) -> dict[str, Any]:
    try:
        arguments = json.loads(options.args)
    except ValueError as error:
        raise InvalidInputError(f"{target}: option args is {options.args!r}, must be JSON ({error})") from error
    if not isinstance(arguments, dict):
        raise InvalidInputError(f"{target}: option args is {options.args!r}, must be a JSON object")
    if options.weights is not None:
        arguments["weights"] = options.weights
    return arguments
