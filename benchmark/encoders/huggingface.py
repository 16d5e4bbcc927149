"""The kind ``hf``: audio models of transformers, from a folder or by their id on the hub.

wav2vec 2.0, HuBERT, WavLM, data2vec and others that take the waveform; AST; CLAP's audio tower; Whisper's encoder.
Audio is prepared by the model's own feature extractor. The code of a repository is never run, and weights are read as
data.

Where a model has an embedding of its own for a clip, that is the default: of AST the mean of its two class tokens, of
CLAP the projected embedding of length 1 that its texts are compared with. Of all others it is the mean of the frames.
Whisper pads to 30 s and AST to about 10 s; only frames that lie within the clip are pooled.

Clips longer than the model takes (AST and CLAP about 10 s, Whisper 30 s), which its feature extractor would cut off or
draw a part from at random, are cut into pieces of equal length: frames are pooled over all pieces, embeddings averaged.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmark.encoders.foreign import ModuleEncoder, telling, whole_number
from benchmark.encoders.snapshot import FACTS, WEIGHTS, explaining, model_folder, package, quiet
from bgknown.errors import InvalidInputError
from bgknown.userpath import absolute

AST = "audio-spectrogram-transformer"
AST_TOKENS = 2
"""The class token and the distillation token, which stand before AST's patches."""
POOLINGS = ("model", "mean", "max", "mean+max", "first")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What is taken from the model."""

    pooling: str = "model"
    """model: the model's own (AST, CLAP), else mean; mean, max, mean+max of frames; first: the first frame or token."""
    layer: int | None = None
    """Hidden layer, 0 the input of the first, negative from the end; by default the model's output."""
    revision: str | None = None
    """Branch, tag or commit on the hub."""
    local_files_only: bool = False
    """Take what was fetched from the hub before, without asking it."""

    def __post_init__(self) -> None:
        if self.pooling not in POOLINGS:
            raise InvalidInputError(f"option pooling is {self.pooling!r}; it must be one of {', '.join(POOLINGS)}")


class TransformersEncoder(ModuleEncoder):
    """An audio model with its feature extractor."""

    def __init__(self, model: Any, extractor: Any, options: Options, name: str) -> None:
        self.family = str(model.config.model_type)
        rate_hz = whole_number(getattr(extractor, "sampling_rate", None), f"{name}: sampling_rate of its preprocessor")
        self.extractor, self.options = extractor, options
        super().__init__(model, name=name, rate_hz=rate_hz, embedding_size=1)
        self.configuration = {
            "transformers": package().__version__,
            "model_type": self.family,
            "pooling": options.pooling,
            "layer": options.layer,
        }
        with telling(name, "fails on a second of silence"):
            self.longest = longest_samples(self.family, extractor)
            self.embedding_size = int(self.embed(torch.zeros(1, rate_hz)).shape[1])

    @torch.inference_mode()
    def embed(self, audio: Tensor) -> Tensor:
        """Embed a batch: [B, N] -> [B, D]."""
        pieces, count = self._pieces(audio)
        inputs = self._inputs(pieces)
        if self.options.pooling == "model" and self.options.layer is None:
            own = self._own(inputs)
            if own is not None:
                return own.reshape(-1, count, own.shape[1]).mean(dim=1)
        frames = self._within(self._hidden(inputs), pieces.shape[1])
        return self._pooled(frames.reshape(len(audio), -1, frames.shape[2]))

    def _pieces(self, audio: Tensor) -> tuple[Tensor, int]:
        """Clips [B, N] as pieces [B * count, L] that the model takes whole, and how many each clip has."""
        samples = audio.shape[1]
        count = -(-samples // self.longest) if self.longest else 1
        if count <= 1:
            return audio, 1
        length = -(-samples // count)
        starts = [piece * (samples - length) // (count - 1) for piece in range(count)]
        return torch.stack([audio[:, start : start + length] for start in starts], dim=1).flatten(0, 1), count

    def _own(self, inputs: dict[str, Tensor]) -> Tensor | None:
        """The embedding [B, D] that the model itself has for a clip, where it has one."""
        own: Tensor | None = None
        if self.family == "clap":
            features = self.model.get_audio_features(**inputs)
            own = getattr(features, "pooler_output", features)
        elif self.family == AST:
            own = self.model(**inputs).pooler_output
        return own

    def _pooled(self, frames: Tensor) -> Tensor:
        if self.options.pooling == "first":
            return frames[:, 0]
        if self.options.pooling == "max":
            return frames.amax(dim=1)
        if self.options.pooling == "mean+max":
            return frames.mean(dim=1) + frames.amax(dim=1)
        return frames.mean(dim=1)

    def _within(self, hidden: Tensor, samples: int) -> Tensor:
        """Of hidden states, the frames [B, T, D] that stand for the clip's samples and not for padding."""
        if hidden.ndim == 4:  # CLAP's HTSAT: [B, D, F, T], which repeats a short clip
            return hidden.flatten(2).mT
        if self.family == "whisper":
            whole = int(self.extractor.n_samples)
            return hidden[:, : max(1, -(-samples * hidden.shape[1] // whole))]
        if self.family == AST and self.options.pooling != "first":  # its class tokens stand before the patches
            config = self.model.config
            rows = (config.num_mel_bins - config.patch_size) // config.frequency_stride + 1
            spectra = max(0, samples - self.rate_hz // 40) // (self.rate_hz // 100) + 1
            columns = max(1, (spectra - config.patch_size) // config.time_stride + 1)
            patches = hidden[:, AST_TOKENS:].reshape(len(hidden), rows, -1, hidden.shape[2])
            return patches[:, :, :columns].flatten(1, 2)
        return hidden

    def _hidden(self, inputs: dict[str, Tensor]) -> Tensor:
        output = self._tower()(**inputs, output_hidden_states=self.options.layer is not None)
        if self.options.layer is None:
            last: Tensor = output.last_hidden_state
            return last
        layers = output.hidden_states
        if not -len(layers) <= self.options.layer < len(layers):
            raise InvalidInputError(
                f"{self.name}: option layer is {self.options.layer}; it must lie in {-len(layers)}..{len(layers) - 1}"
            )
        chosen: Tensor = layers[self.options.layer]
        return chosen

    def _tower(self) -> Any:
        """The part of the model that hears."""
        if self.family == "whisper":
            return self.model.get_encoder()
        return self.model.audio_model if self.family == "clap" else self.model

    def _inputs(self, audio: Tensor) -> dict[str, Tensor]:
        """What the model's own feature extractor makes of each clip."""
        samples = audio.detach().cpu().numpy().astype(np.float32)
        with global_generator_kept():
            prepared = self.extractor(list(samples), sampling_rate=self.rate_hz, return_tensors="pt")
        if "is_longer" in prepared:  # without a long clip CLAP's extractor draws one at random and says it was long
            prepared["is_longer"] = torch.zeros_like(prepared["is_longer"])
        names = {"input_values", "input_features", "is_longer", "attention_mask"}
        if self.family == "whisper":
            names -= {"attention_mask"}
        return {name: value.to(self.device) for name, value in prepared.items() if name in names}


class TransformersFrameEncoder(TransformersEncoder):
    """A model whose hidden states are frames in time."""

    @torch.inference_mode()
    def frames(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        """Hidden states [B, T, D'] and the middle of each frame's share of the clip [B, T] in ms."""
        pieces, _ = self._pieces(audio)
        hidden = self._within(self._hidden(self._inputs(pieces)), pieces.shape[1])
        hidden = hidden.reshape(len(audio), -1, hidden.shape[2])
        step_ms = 1_000.0 * audio.shape[1] / self.rate_hz / hidden.shape[1]
        times_ms = (torch.arange(hidden.shape[1], device=hidden.device) + 0.5) * step_ms
        return hidden, times_ms.expand(hidden.shape[:2])


def longest_samples(family: str, extractor: Any) -> int | None:
    """How long a clip a feature extractor takes whole, in samples; None: any length."""
    if family == "whisper":
        return int(extractor.n_samples)
    if family == "clap":
        return int(extractor.nb_max_samples)
    if family == AST:  # spectra of 25 ms, one each 10 ms
        rate_hz = int(extractor.sampling_rate)
        return (int(extractor.max_length) - 1) * (rate_hz // 100) + rate_hz // 40
    return None


def load(target: str, options: Options) -> TransformersEncoder:
    """Load a model and its feature extractor.

    Raises:
        NotFoundError: transformers is not installed, or there is no such folder or id, or the hub cannot be reached.
        InvalidInputError: the model is no audio model, or its files are damaged.
    """
    transformers = package()
    folder = model_folder(target, revision=options.revision, local_files_only=options.local_files_only)
    with quiet(transformers), explaining(target):
        extractor = transformers.AutoFeatureExtractor.from_pretrained(folder, trust_remote_code=False)
        model = transformers.AutoModel.from_pretrained(folder, trust_remote_code=False).float()
    if not hasattr(extractor, "sampling_rate"):
        raise InvalidInputError(f"hf:{target}: {type(model).__name__} is no audio model: its preprocessor has no rate")
    framed = model.config.model_type not in {"clap", AST}
    kind = TransformersFrameEncoder if framed else TransformersEncoder
    return kind(model, extractor, options, absolute(Path(target)).name)


def weights_of(target: str, options: Options) -> list[Path]:
    """The model's files: of the folder, or of the hub's snapshot in the cache."""
    folder = model_folder(target, revision=options.revision, local_files_only=options.local_files_only)
    return sorted(file for pattern in (*FACTS, *WEIGHTS) for file in folder.glob(pattern))


@contextlib.contextmanager
def global_generator_kept() -> Iterator[None]:
    """Put numpy's global generator back to where it was: CLAP's extractor draws from it, to no effect here."""
    state = np.random.get_state()  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(state)  # noqa: NPY002
