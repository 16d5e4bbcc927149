"""The kind ``xares``: an encoder class of X-ARES, ``xares:file.py`` or ``xares:file.py:Class``.

Such a class has ``sampling_rate``, ``output_dim`` and ``hop_size_in_ms``, and turns audio [B, N] into frames
[B, T, D]; a clip's embedding is their mean, as in X-ARES's own linear evaluation.

Source: J. Zhang et al., "X-ARES: A Comprehensive Framework for Assessing Audio Encoder Performance", 2025
(arXiv:2505.16369).
"""

from __future__ import annotations

import inspect
import re
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
    get_member,
    hash_code,
    import_file,
    import_path,
)
from bgknown.errors import InvalidInputError

_FACTS = ("sampling_rate", "output_dim", "hop_size_in_ms")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """No options: such a class is constructed without arguments."""


class XaresEncoder(ModuleEncoder):
    """An X-ARES encoder."""

    def __init__(self, model: Any, where: str) -> None:
        facts = {}
        for attribute in _FACTS:
            if not hasattr(model, attribute):
                raise InvalidInputError(f"{where}: has no {attribute}, which X-ARES's interface requires")
            facts[attribute] = getattr(model, attribute)
        super().__init__(
            model,
            name=type(model).__name__,
            rate_hz=check_whole_number(facts["sampling_rate"], f"{where}: sampling_rate"),
            embedding_size=check_whole_number(facts["output_dim"], f"{where}: output_dim"),
        )
        hop_ms = facts["hop_size_in_ms"]
        if isinstance(hop_ms, bool) or not isinstance(hop_ms, int | float) or not hop_ms > 0:
            raise InvalidInputError(f"{where}: hop_size_in_ms is {hop_ms!r}; it must be a positive number")
        self.hop_ms, self.where = float(hop_ms), where

    @torch.inference_mode()
    def embed(self, audio: Tensor) -> Tensor:
        """Mean over frames: [B, N] -> [B, D]."""
        return self._run(audio).mean(dim=1)

    @torch.inference_mode()
    def frames(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        """The frames [B, T, D] and the middle of each hop [B, T] in ms."""
        output = self._run(audio)
        times_ms = (torch.arange(output.shape[1], device=output.device) + 0.5) * self.hop_ms
        return output, times_ms.expand(output.shape[:2])

    def _run(self, audio: Tensor) -> Tensor:
        output = self.model(self.on_device(audio))
        if not isinstance(output, torch.Tensor) or output.ndim != 3:
            shape = list(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
            raise InvalidInputError(
                f"{self.where}: returned {shape} of audio {list(audio.shape)}; it must be [B, T, D]"
            )
        return output


def load(target: str, options: Options) -> XaresEncoder:
    """Run the file and construct its encoder.

    Raises:
        NotFoundError: the file or class does not exist.
        InvalidInputError: several classes fit, none does, or the code raises an exception.
    """
    file, _, name = target.partition(".py:")
    path = Path(f"{file}.py" if name else target)
    module = import_file(path)
    kind = get_member(module, name, str(path)) if name else _find_only_class(module, path)
    with import_path(path.parent), explain_failure(f"xares:{target}", "cannot be constructed"):
        model = kind()
    encoder = XaresEncoder(model, f"xares:{target}")
    encoder.configuration = hash_code(module)
    return encoder


def weights_of(target: str, options: Options) -> list[Path]:
    """No files: the class finds its weights itself, so its tensors are hashed."""
    return []


def _find_only_class(module: ModuleType, path: Path) -> Any:
    """The class of a file that sets what X-ARES requires; of several, the one called ...Encoder, as in X-ARES."""
    own = [kind for _, kind in inspect.getmembers(module, inspect.isclass) if kind.__module__ == module.__name__]
    fitting = [kind for kind in own if all(_sets(kind, fact) for fact in _FACTS)]
    named = [kind for kind in fitting if kind.__name__.endswith("Encoder")]
    if len(fitting) == 1 or len(named) == 1:
        return (named if len(named) == 1 else fitting)[0]
    if not fitting:
        raise InvalidInputError(f"{path}: no class in it has {', '.join(_FACTS)}; name the class as {path}:CLASS")
    names = ", ".join(kind.__name__ for kind in fitting)
    raise InvalidInputError(f"{path}: several classes fit: {names}; name one as {path}:{fitting[0].__name__}")


def _sets(kind: type, fact: str) -> bool:
    """Whether a class has an attribute, or its code or that of a base in the same file sets it."""
    if hasattr(kind, fact):
        return True
    bases = [base for base in kind.__mro__ if base.__module__ == kind.__module__]
    assigned = re.compile(rf"\b{fact}\s*(:[^=\n]+)?=(?!=)")
    return any(assigned.search(inspect.getsource(base)) for base in bases)
