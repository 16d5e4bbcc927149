"""EVAR's classes as encoders: with or without statistics of training audio, with or without frames."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import redirect_stdout
from typing import Any, TextIO

import torch
from torch import Tensor

from benchmark.encoders.adapters.evar_loader import HeldAudio, PairLoader, make_loader
from benchmark.encoders.adapters.foreign import ModuleEncoder, check_whole_number, explain_failure
from benchmark.encoders.adapters.python import measure_size
from benchmark.encoders.contract import TrainingAudio
from bgknown.errors import InvalidInputError
from bgknown.seeding import make_generator

BASE = "BaseAudioRepr"
"""EVAR's base class, whose ``precompute`` does nothing and whose ``encode_frames`` is not implemented."""
BATCH_SIZE = 32
"""Clips in a batch of training audio if the configuration has no value; EVAR's own have 128 or 256."""


class EvarEncoder(ModuleEncoder):
    """An EVAR class.

    Args:
        model: the object.
        configuration: what it was constructed with.
        where: the name it was requested by, for messages.
        remake: constructs it for clips of N samples; None if it is the same for all lengths.
        follows: whether unit_samples follows the length of the audio; otherwise it is fixed.
    """

    def __init__(
        self,
        model: Any,
        configuration: Mapping[str, Any],
        where: str,
        *,
        remake: Callable[[int], Any] | None = None,
        follows: bool = True,
    ) -> None:
        if configuration.get("sample_rate") is None:
            raise InvalidInputError(f"{where}: no sample_rate; give it in the configuration or as ?sample_rate=16000")
        rate_hz = check_whole_number(configuration["sample_rate"], f"{where}: sample_rate of its configuration")
        super().__init__(model, name=type(model).__name__, rate_hz=rate_hz, embedding_size=1)
        if getattr(model, "filename_mode", False) or configuration.get("return_filename"):
            raise InvalidInputError(
                f"{where}: the class reads files by their names (return_filename), which cannot be "
                f"measured; use a class that takes audio"
            )
        self._remake, self._follows = remake, follows
        numbers = {"unit_samples": rate_hz, "batch_size": BATCH_SIZE}
        for field, default in numbers.items():
            value = configuration.get(field)
            numbers[field] = check_whole_number(
                default if value is None else value, f"{where}: {field} of its configuration"
            )
        self._samples, self.batch_size = numbers["unit_samples"], numbers["batch_size"]
        self.embedding_size = self._find_size(configuration.get("feature_d"), where)

    def _find_size(self, feature_d: Any, where: str) -> int:
        """D as measured, or from the configuration if it cannot be measured (on a CPU, on a short clip).

        EVAR does not rely on feature_d, and its own AR_BYOLAX returns more values than that.
        """
        try:
            return self._measure_size(where)
        except InvalidInputError:
            if feature_d is None:
                raise
            return check_whole_number(feature_d, f"{where}: feature_d of its configuration")

    def _measure_size(self, where: str) -> int:
        return measure_size(self.model, self._samples, where)

    @torch.inference_mode()
    def embed(self, audio: Tensor) -> Tensor:
        """Embed a batch: [B, N] -> [B, D].

        Raises:
            InvalidInputError: it needs statistics and was not fitted, or was fitted to clips of another length
                while it is made for one length.
        """
        self._prepare(audio.shape[1])
        output: Tensor = self.model(self.on_device(audio))
        return output

    def _prepare(self, samples: int) -> None:
        """Prepare for clips of N samples."""
        self._follow(samples)

    def _follow(self, samples: int) -> None:
        """Set unit_samples to the length of the audio, unless fixed; a class for one length is constructed again."""
        if not self._follows or samples == self._samples:
            return
        if self._remake is not None:
            self.model = self._remake(samples)
            if isinstance(self.model, torch.nn.Module):
                self.model.eval()
            self.to(self.device)
        else:
            own = getattr(self.model, "cfg", None)
            if isinstance(own, dict):
                own["unit_samples"] = samples
        self._samples = samples


class FittedEvarEncoder(EvarEncoder):
    """An EVAR class that takes statistics of the task's training audio."""

    fitted = False

    def fit(self, batches: Iterable[Tensor]) -> None:
        """Pass the training audio to ``precompute``, in a torch DataLoader like EVAR's own.

        Args:
            batches: a ``TrainingAudio``, which is decoded as the class reads it, in the batches of its configuration;
                or batches [B, N], which are held in memory.

        Raises:
            InvalidInputError: ``precompute`` raises an exception, or the clips differ in length while the class is
                for one length.
        """
        self.fitted = False
        audio = batches if isinstance(batches, TrainingAudio) else HeldAudio(batches)
        loader, lengths = make_loader(audio, self.batch_size), set(audio.lengths)
        if self._remake is not None and self._follows and len(lengths) > 1:
            raise InvalidInputError(
                f"encoder {self.name}: accepts clips of one length, but the training audio has {len(lengths)} "
                f"(from {min(lengths)} to {max(lengths)} samples): set a duration for the task"
            )
        if lengths:
            self._follow(max(lengths))
        self._precompute(loader, sys.stderr)

    def _prepare(self, samples: int) -> None:
        if not self.fitted:
            raise InvalidInputError(f"encoder {self.name}: has no statistics yet; call fit with training audio first")
        if self._remake is not None and self._follows and samples != self._samples:
            raise InvalidInputError(
                f"encoder {self.name}: accepts clips of one length and was fitted to clips of {self._samples} "
                f"samples; this one has {samples}"
            )
        self._follow(samples)

    def _measure_size(self, where: str) -> int:
        noise = make_generator(0, "evar size").standard_normal((2, self._samples)).astype("float32")
        try:  # it embeds only after it is fitted; noise suffices
            self._precompute(make_loader(HeldAudio([torch.from_numpy(noise) / 10]), self.batch_size), io.StringIO())
            return super()._measure_size(where)
        finally:
            self.fitted = False

    def _precompute(self, loader: PairLoader, output: TextIO) -> None:
        """Let the class take its statistics, with its output redirected away from the results."""
        with explain_failure(self.name, "precompute fails"), torch.no_grad(), redirect_stdout(output):
            self.model.precompute(self.device, loader)
        self.fitted = True


class FramedEvarEncoder(EvarEncoder):
    """An EVAR class that has embeddings of frames."""

    @torch.inference_mode()
    def frames(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        """Frames [B, T, D'] and the middle of each one's share of the clip [B, T] in ms.

        Raises:
            InvalidInputError: ``encode_frames`` does not return [B, D', T], or the encoder was not fitted.
        """
        self._prepare(audio.shape[1])
        output = self.model.encode_frames(self.on_device(audio))
        if not isinstance(output, Tensor) or output.ndim != 3 or len(output) != len(audio):
            shape = list(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise InvalidInputError(
                f"encoder {self.name}: encode_frames returned {shape} for audio {list(audio.shape)}; "
                f"it must be [{len(audio)}, D, T]"
            )
        step_ms = 1_000.0 * audio.shape[1] / self.rate_hz / output.shape[2]
        times_ms = (torch.arange(output.shape[2], device=output.device) + 0.5) * step_ms
        return output.mT, times_ms.expand(len(output), -1)


class FittedFramedEvarEncoder(FramedEvarEncoder, FittedEvarEncoder):
    """An EVAR class with both."""


_ENCODERS: dict[tuple[bool, bool], type[EvarEncoder]] = {
    (False, False): EvarEncoder,
    (True, False): FittedEvarEncoder,
    (False, True): FramedEvarEncoder,
    (True, True): FittedFramedEvarEncoder,
}
"""By whether the class takes statistics, and whether it has frames."""


def choose_encoder_class(kind: type) -> type[EvarEncoder]:
    """The wrapper for an EVAR class."""
    return _ENCODERS[_defines(kind, "precompute"), _defines(kind, "encode_frames")]


def _defines(kind: type, method: str) -> bool:
    """Whether a class overrides a method of EVAR's base class."""
    owner = next((parent for parent in kind.__mro__ if method in vars(parent)), None)
    return owner is not None and owner.__name__ != BASE
