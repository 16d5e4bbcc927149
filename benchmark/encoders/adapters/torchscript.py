"""The kind ``torchscript``: a TorchScript program in a file; its sampling rate may be its attribute ``rate_hz``."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from benchmark.encoders.adapters.foreign import explain_failure
from benchmark.encoders.adapters.program import RATE_NAMES, ProgramEncoder, ProgramOptions, find_rate
from bgknown.errors import InvalidInputError

Options = ProgramOptions


class TorchScriptEncoder(ProgramEncoder):
    """A TorchScript program."""

    def __init__(self, path: Path, program: Any, rate_hz: int, options: ProgramOptions) -> None:
        self._program, self._device = program.eval(), torch.device("cpu")
        self.configuration = {"torch": torch.__version__}
        super().__init__(path, self._call, rate_hz, options)

    def to(self, device: str | torch.device) -> Self:
        """Move the program, in place."""
        self._program.to(device)
        self._device = torch.device(device)
        return self

    def _call(self, audio: Tensor) -> Any:
        try:
            return self._program(audio.to(self._device))
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:  # the interpreter's traceback; its last line says what went wrong
            reason = (str(error).strip().splitlines() or [""])[-1]
            raise InvalidInputError(f"{self._path}: fails on audio {list(audio.shape)}: {reason}") from error


def load(target: str, options: ProgramOptions) -> TorchScriptEncoder:
    """Load the program.

    Raises:
        InvalidInputError: it is damaged, does not give its rate, or does not return [B, D].
    """
    path = Path(target)
    with explain_failure(target, "cannot be loaded as TorchScript"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*torch.jit.*", category=DeprecationWarning)
        program = torch.jit.load(target, map_location="cpu")  # type: ignore[no-untyped-call]
    rate_hz = find_rate(path, options, (getattr(program, name, None) for name in RATE_NAMES))
    return TorchScriptEncoder(path, program, rate_hz, options)


def weights_of(target: str, options: ProgramOptions) -> list[Path]:
    """The file."""
    return [Path(target)]
