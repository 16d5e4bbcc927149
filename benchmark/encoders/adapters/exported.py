"""The kind ``exported``: a program of ``torch.export`` in a ``.pt2`` file.

Programs exported for a fixed number of clips run on that many at a time. The sampling rate may be given in the
archive as the extra file ``rate_hz``.
"""

from __future__ import annotations

import logging
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from benchmark.encoders.adapters.foreign import explain_failure
from benchmark.encoders.adapters.program import RATE_NAMES, ProgramEncoder, ProgramOptions, find_rate
from bgknown.errors import InvalidInputError

Options = ProgramOptions


class ExportedEncoder(ProgramEncoder):
    """A program of torch.export."""

    def __init__(self, path: Path, program: Any, rate_hz: int, options: ProgramOptions) -> None:
        self._program, self._device = program.module(), torch.device("cpu")
        self._clips, self._samples = _find_fixed_shape(program, path)
        self.configuration = {"torch": torch.__version__}
        super().__init__(path, self._call, rate_hz, options, samples=self._samples)

    def to(self, device: str | torch.device) -> Self:
        """Move the program, in place."""
        self._program.to(device)
        self._device = torch.device(device)
        return self

    def _call(self, audio: Tensor) -> Any:
        """Run the program, on as many clips at a time as it was exported for; the last group is padded."""
        audio = audio.to(self._device)
        if self._samples is not None and audio.shape[1] != self._samples:
            raise InvalidInputError(
                f"{self._path}: was exported for clips of {self._samples} samples, not {audio.shape[1]}; "
                f"export it again with a dynamic length"
            )
        if self._clips is None:
            return self._program(audio)
        parts = []
        for start in range(0, len(audio), self._clips):
            part = audio[start : start + self._clips]
            full = torch.cat([part, part[-1:].expand(self._clips - len(part), -1)])
            output = self._program(full)
            chosen = output[self._options.output] if isinstance(output, tuple | list) else output
            parts.append(chosen[: len(part)])
        joined = torch.cat(parts)
        return [joined] * (self._options.output + 1)


def load(target: str, options: ProgramOptions) -> ExportedEncoder:
    """Load the program.

    Raises:
        InvalidInputError: it is damaged, does not give its rate, or does not return [B, D].
    """
    path = Path(target)
    extra = dict.fromkeys(RATE_NAMES, "")
    if not zipfile.is_zipfile(path):
        raise InvalidInputError(f"{path}: is not an archive of torch.export: truncated, or another kind of file")
    with explain_failure(target, "cannot be loaded as a program of torch.export"), _silence_warnings():
        try:
            program = torch.export.load(path, extra_files=extra)
        except RuntimeError as error:  # refers to what torch has logged
            raise InvalidInputError(
                f"{path}: cannot be loaded as a program of torch.export: it is damaged, or of another version of torch"
            ) from error
    said = [int(text) if re.fullmatch("[0-9]{1,9}", str(text)) else None for text in map(_decode_text, extra.values())]
    return ExportedEncoder(path, program, find_rate(path, options, said), options)


def weights_of(target: str, options: ProgramOptions) -> list[Path]:
    """The file."""
    return [Path(target)]


@contextmanager
def _silence_warnings() -> Iterator[None]:
    """Suppress the traceback that torch logs before it raises the error."""
    loggers = [logging.getLogger(name) for name in ("torch.export", "torch.export.pt2_archive._package")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _decode_text(value: Any) -> str:
    return value.decode(errors="replace").strip() if isinstance(value, bytes) else str(value or "").strip()


def _find_fixed_shape(program: Any, path: Path) -> tuple[int | None, int | None]:
    """The fixed numbers of clips and samples of the program's only input; None for any number."""
    names = [name for name in program.graph_signature.user_inputs if isinstance(name, str)]
    inputs = [node for node in program.graph.nodes if node.op == "placeholder" and node.name in names]
    shapes = [tuple(node.meta["val"].shape) for node in inputs if hasattr(node.meta.get("val"), "shape")]
    if len(shapes) != 1 or len(shapes[0]) != 2:
        found = ", ".join(str(list(map(str, shape))) for shape in shapes) or "none"
        raise InvalidInputError(f"{path}: its inputs have the shapes {found}; it must have one, audio [B, N]")
    clips, samples = shapes[0]
    return (clips if isinstance(clips, int) else None), (samples if isinstance(samples, int) else None)
