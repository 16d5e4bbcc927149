"""The kind ``python``: any Python object that is an encoder, from a file or a package.

``file.py:Class`` and ``package.module:factory`` are called without arguments, or with those given as ``args``. What
comes out must be an encoder (``benchmark.encoders.contract.Encoder``), or a torch module with ``rate_hz`` (or
``sample_rate``) whose ``forward`` turns [B, N] into [B, D].
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmark.encoders.adapters.foreign import (
    ModuleEncoder,
    check_whole_number,
    explain_failure,
    get_member,
    hash_code,
    import_file,
    import_name,
    import_path,
    list_weight_files,
)
from benchmark.encoders.adapters.program import RATE_NAMES
from benchmark.encoders.fingerprint import hash_weights
from bgknown.documents import parse_json, shorten_value
from bgknown.errors import InvalidInputError

_PARTS = ("rate_hz", "embedding_size", "embed", "embed_texts", "fit", "frames", "to", "trained_on")
"""Members that an encoder may have besides its name and configuration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the object is constructed with."""

    weights: str | None = None
    """A file of weights, passed as the argument ``weights``."""
    args: str = "{}"
    """Keyword arguments as JSON."""


class Made:
    """A constructed object with a name, and with checksums of its code and tensors in its configuration.

    They are kept here because the object may not accept attributes.
    """

    def __init__(self, made: Any, facts: dict[str, str], target: str) -> None:
        self.made = made
        for attribute in _PARTS:
            if hasattr(made, attribute):
                setattr(self, attribute, getattr(made, attribute))
        self._name = type(made).__name__
        own = getattr(made, "configuration", {})
        if not isinstance(own, Mapping):
            raise InvalidInputError(f"{target}: its configuration is a {type(own).__name__}; it must be a dictionary")
        self.configuration = {**own, **facts}

    @property
    def name(self) -> str:
        """The object's own name, or that of its class."""
        own = getattr(self.made, "name", None)
        return own if isinstance(own, str) else self._name

    @name.setter
    def name(self, name: str) -> None:
        if isinstance(getattr(self.made, "name", None), str):
            self.made.name = name
        else:
            self._name = name


class TorchModule(ModuleEncoder):
    """A torch module as an encoder."""

    @torch.inference_mode()
    def embed(self, audio: Tensor) -> Tensor:
        """Embed a batch: [B, N] -> [B, D]."""
        output: Tensor = self.model(self.on_device(audio))
        return output


def load(target: str, options: Options) -> Any:
    """Construct the object.

    Raises:
        NotFoundError: the file, module or name does not exist.
        InvalidInputError: its code raises an exception, or does not construct an encoder.
    """
    where, name = _split_target(target)
    module = import_file(Path(where)) if where.endswith(".py") else import_name(where)
    make = module
    for part in name.split("."):
        make = get_member(make, part, where)
    if not callable(make):
        raise InvalidInputError(f"{target}: {name} is a {type(make).__name__}; it must be a class or a function")
    list_weight_files(options.weights, target)
    arguments = _parse_arguments(options, target)
    folder = Path(where).parent if where.endswith(".py") else Path.cwd()
    with import_path(folder), explain_failure(target, "cannot be constructed"):
        made = make(**arguments)
    if isinstance(made, torch.nn.Module):
        made.eval()
    facts = {**hash_code(module), "tensors_sha256": hash_weights(made, [])}
    if isinstance(made, torch.nn.Module) and not hasattr(made, "embed"):
        encoder = _wrap(made, target)
        encoder.configuration = facts
        return encoder
    return Made(made, facts, target)


def weights_of(target: str, options: Options) -> list[Path]:
    """The given Python file and weights; without either, the tensors are hashed.

    What the code reads by itself is covered by the configuration, which has the checksum of all tensors.
    """
    where, _ = _split_target(target)
    files = [Path(where)] if where.endswith(".py") else []
    return [*files, *list_weight_files(options.weights, target)]


def _wrap(module: torch.nn.Module, target: str) -> TorchModule:
    said: list[Any] = [getattr(module, name) for name in RATE_NAMES if hasattr(module, name)]
    rate_hz = check_whole_number(said[0] if said else None, f"{target}: its rate_hz (or sample_rate)")
    size = measure_size(module, rate_hz, target)
    name = getattr(module, "name", None)
    return TorchModule(
        module,
        name=name if isinstance(name, str) and name else type(module).__name__,
        rate_hz=rate_hz,
        embedding_size=size,
    )


def measure_size(model: Any, samples: int, where: str) -> int:
    """D of a program, from what it returns for silence [2, N].

    Raises:
        InvalidInputError: it fails, or does not return [B, D].
    """
    with explain_failure(where, f"fails on silence [2, {samples}]"), torch.inference_mode():
        output = model(torch.zeros(2, samples))
    if not isinstance(output, torch.Tensor) or output.ndim != 2 or output.shape[0] != 2:
        shape = list(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
        raise InvalidInputError(f"{where}: returns {shape} for audio [2, {samples}]; it must be [2, D]")
    return int(output.shape[1])


def _split_target(target: str) -> tuple[str, str]:
    where, colon, name = target.rpartition(":")
    if not (where and colon and name):
        raise InvalidInputError(f"python encoder {target!r}: write it as FILE.py:CLASS or PACKAGE.MODULE:FACTORY")
    return where, name


def _parse_arguments(options: Options, target: str) -> dict[str, Any]:
    arguments = parse_json(options.args, f"{target}: option args is {shorten_value(options.args)}; it must be JSON")
    if not isinstance(arguments, dict):
        raise InvalidInputError(f"{target}: option args is {shorten_value(options.args)}; it must be a JSON object")
    if options.weights is not None:
        arguments["weights"] = options.weights
    return arguments
