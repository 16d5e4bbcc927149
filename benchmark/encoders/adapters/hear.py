"""The kind ``hear``: a module of HEAR's interface, ``hear:module`` or ``hear:module@weights``.

Source: J. Turian et al., "HEAR: Holistic Evaluation of Audio Representations", NeurIPS 2021 Competitions; the interface
is at https://hearbenchmark.com/hear-api.html.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from benchmark.encoders.adapters.foreign import (
    ModuleEncoder,
    check_whole_number,
    explain_failure,
    hash_code,
    import_file,
    import_name,
    import_path,
    list_weight_files,
)
from bgknown.errors import InvalidInputError
from bgknown.userpath import expand


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """No options: HEAR's interface has only the weights."""


class HearEncoder(ModuleEncoder):
    """A HEAR module and its model."""

    def __init__(self, module: ModuleType, model: Any, where: str) -> None:
        facts = {}
        for attribute in ("sample_rate", "scene_embedding_size"):
            if not hasattr(model, attribute):
                raise InvalidInputError(f"{where}: its model has no {attribute}, which HEAR's interface requires")
            facts[attribute] = check_whole_number(getattr(model, attribute), f"{where}: {attribute} of its model")
        super().__init__(
            model,
            name=module.__name__.rpartition(".")[2],
            rate_hz=facts["sample_rate"],
            embedding_size=facts["scene_embedding_size"],
        )
        self.module = module
        self.configuration = hash_code(module)

    @torch.inference_mode()
    def embed(self, audio: Tensor) -> Tensor:
        """Scene embeddings: [B, N] -> [B, D]."""
        output: Tensor = self.module.get_scene_embeddings(self.on_device(audio), self.model)
        return output


class HearFrameEncoder(HearEncoder):
    """A HEAR module that also has timestamp embeddings."""

    @torch.inference_mode()
    def frames(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        """Timestamp embeddings [B, T, D'] and their times [B, T] in ms."""
        embeddings, times_ms = self.module.get_timestamp_embeddings(self.on_device(audio), self.model)
        return embeddings, times_ms


def load(target: str, options: Options) -> HearEncoder:
    """Import the module and load its model.

    Raises:
        NotFoundError: the module or the file of weights does not exist.
        InvalidInputError: the module lacks parts of the interface, or its code raises an exception.
    """
    name, weights = _parts(target)
    list_weight_files(weights, f"hear:{target}")
    module = import_file(Path(name)) if name.endswith(".py") else import_name(name)
    for function in ("load_model", "get_scene_embeddings"):
        if not callable(getattr(module, function, None)):
            raise InvalidInputError(
                f"hear:{target}: module {name} has no function {function}; HEAR's interface requires it"
            )
    folder = Path(name).parent if name.endswith(".py") else Path.cwd()
    with import_path(folder), explain_failure(f"hear:{target}", "its model cannot be loaded"):
        model = module.load_model(weights) if weights else module.load_model()
    kind = HearFrameEncoder if callable(getattr(module, "get_timestamp_embeddings", None)) else HearEncoder
    encoder = kind(module, model, f"hear:{target}")
    encoder.name = Path(name).stem if name.endswith(".py") else encoder.name
    return encoder


def weights_of(target: str, options: Options) -> list[Path]:
    """The file of weights, or all files of their folder; empty if none is given, and then the tensors are hashed."""
    _, weights = _parts(target)
    return list_weight_files(weights, f"hear:{target}")


def _parts(target: str) -> tuple[str, str]:
    name, _, weights = target.partition("@")
    if not name:
        raise InvalidInputError(f"hear:{target}: names no module; write hear:MODULE or hear:MODULE@WEIGHTS")
    return name, expand(weights)
