"""The common part of programs in files (TorchScript, torch.export, ONNX): sampling rate and form of the output."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmark.encoders.adapters.foreign import check_whole_number, explain_failure
from bgknown.errors import InvalidInputError

_POOLINGS = ("none", "mean")
RATE_NAMES = ("rate_hz", "sample_rate", "sampling_rate")
"""Names that a program may give its sampling rate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramOptions:
    """Facts that the file may not contain."""

    rate_hz: int | None = None
    """Sampling rate in Hz; required if the file does not give it."""
    pooling: str = "none"
    """mean: average the frames of an output [B, T, D]."""
    output: int = 0
    """Which of several outputs to use, from 0."""

    def __post_init__(self) -> None:
        if self.pooling not in _POOLINGS:
            raise InvalidInputError(f"option pooling is {self.pooling!r}; it must be one of {', '.join(_POOLINGS)}")
        if self.output < 0:
            raise InvalidInputError(f"option output is {self.output}; it must be at least 0")


class ProgramEncoder:
    """A program that turns audio [B, N] into embeddings [B, D], or frames [B, T, D]."""

    def __init__(
        self,
        path: Path,
        run: Callable[[Tensor], Any],
        rate_hz: int,
        options: ProgramOptions,
        *,
        samples: int | None = None,
    ) -> None:
        """Find the embedding size from the program's output for silence.

        Args:
            path: the file.
            run: the program.
            rate_hz: its sampling rate.
            options: facts that the file does not contain.
            samples: the only length that it accepts; None for any, of which one second is tried.
        """
        self.name, self.rate_hz = path.stem, rate_hz
        self._path, self._run, self._options = path, run, options
        with explain_failure(str(path), "fails on silence"):
            self.embedding_size = int(self.embed(torch.zeros(1, samples or rate_hz)).shape[1])

    @torch.inference_mode()
    def embed(self, audio: Tensor) -> Tensor:
        """Embed a batch: [B, N] -> [B, D]."""
        output = self._run(audio)
        if isinstance(output, tuple | list):
            if self._options.output >= len(output):
                raise InvalidInputError(
                    f"{self._path}: has {len(output)} outputs, option output is {self._options.output}; count from 0"
                )
            output = output[self._options.output]
        if not isinstance(output, torch.Tensor):
            raise InvalidInputError(f"{self._path}: returns {type(output).__name__}; it must be a tensor [B, D]")
        if output.ndim == 3 and self._options.pooling == "mean":
            output = output.mean(dim=1)
        if output.ndim != 2 or len(output) != len(audio):
            hint = "; of frames [B, T, D] the mean is taken by ?pooling=mean" if output.ndim == 3 else ""
            raise InvalidInputError(
                f"{self._path}: returns {list(output.shape)} for audio {list(audio.shape)}; "
                f"it must be [{len(audio)}, D]{hint}"
            )
        return output


def find_rate(path: Path, options: ProgramOptions, said: Iterable[Any]) -> int:
    """The sampling rate: the option, or the first one that the file gives.

    Raises:
        InvalidInputError: it is not given, or is not a positive whole number.
    """
    for value in (options.rate_hz, *said):
        if value is not None:
            return check_whole_number(value, f"{path}: its sampling rate")
    raise InvalidInputError(f"{path}: does not give its sampling rate; write {path}?rate_hz=16000")
