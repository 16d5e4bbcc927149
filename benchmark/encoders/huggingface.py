"""The kind ``hf``: audio models of transformers, from a folder or by their id on the hub.

wav2vec 2.0, HuBERT, WavLM, data2vec and others that take the waveform; AST; CLAP's audio tower; Whisper's encoder.
Audio is prepared by the model's own feature extractor. The code of a repository is never run, and weights are read as
data.

Of Whisper, which pads to 30 s, the frames that lie within the clip are averaged; of CLAP the default is the
projected embedding that its texts are compared with.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmark.encoders.foreign import ModuleEncoder, telling, whole_number
from bgknown.errors import InvalidInputError, NotFoundError

POOLINGS = ("model", "mean", "max", "mean+max", "first")
FACTS = ("*.json", "*.txt")
WEIGHTS = ("*.safetensors", "*.bin")
"""What of a folder decides an embedding; where it has tensors as safetensors, they are taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What is taken from the model."""

    pooling: str = "model"
    """model: the model's own (AST, CLAP), else mean; mean, max, mean+max of frames; first: the first frame or token."""
    layer: int | None = None
    """Hidden layer, 0 the input of the first, negative from the end; by default the model's output."""
    revision: str | None = None
    """Branch, tag or commit on the hub."""

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
            "transformers": _package().__version__,
            "model_type": self.family,
            "pooling": options.pooling,
            "layer": options.layer,
        }
        with telling(name, "fails on a second of silence"):
            self.embedding_size = int(self.embed(torch.zeros(1, rate_hz)).shape[1])

    @torch.inference_mode()
    def embed(self, audio: Tensor) -> Tensor:
        """Embed a batch: [B, N] -> [B, D]."""
        inputs = self._inputs(audio)
        if self.options.pooling == "model" and self.options.layer is None:
            if self.family == "clap":
                features = self.model.get_audio_features(**inputs)
                pooled: Tensor = getattr(features, "pooler_output", features)
                return pooled
            output = self._tower()(**inputs)
            if self.family == "audio-spectrogram-transformer":
                own: Tensor = output.pooler_output
                return own
            frames = output.last_hidden_state
        else:
            frames = self._hidden(inputs)
        return self._pooled(frames, audio.shape[1])

    def _pooled(self, frames: Tensor, samples: int) -> Tensor:
        if frames.ndim == 4:  # CLAP's HTSAT: [B, D, F, T]
            frames = frames.flatten(2).mT
        frames = frames[:, : self._within(frames.shape[1], samples)]
        if self.options.pooling == "first":
            return frames[:, 0]
        if self.options.pooling == "max":
            return frames.amax(dim=1)
        if self.options.pooling == "mean+max":
            return frames.mean(dim=1) + frames.amax(dim=1)
        return frames.mean(dim=1)

    def _within(self, frames: int, samples: int) -> int:
        """How many of Whisper's frames, which stand for 30 s, lie within a clip."""
        if self.family != "whisper":
            return frames
        return min(frames, max(1, -(-samples * frames // int(self.extractor.n_samples))))

    def _hidden(self, inputs: dict[str, Tensor]) -> Tensor:
        output = self._tower()(**inputs, output_hidden_states=True)
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
        prepared = self.extractor(list(samples), sampling_rate=self.rate_hz, return_tensors="pt")
        names = {"input_values", "input_features", "is_longer", "attention_mask"}
        if self.family == "whisper":
            names -= {"attention_mask"}
        return {name: value.to(self.device) for name, value in prepared.items() if name in names}


class TransformersFrameEncoder(TransformersEncoder):
    """A model whose hidden states are frames in time."""

    @torch.inference_mode()
    def frames(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        """Hidden states [B, T, D'] and the middle of each frame's share of the clip [B, T] in ms."""
        hidden = self._hidden(self._inputs(audio))
        hidden = hidden[:, : self._within(hidden.shape[1], audio.shape[1])]
        step_ms = 1_000.0 * audio.shape[1] / self.rate_hz / hidden.shape[1]
        times_ms = (torch.arange(hidden.shape[1], device=hidden.device) + 0.5) * step_ms
        return hidden, times_ms.expand(hidden.shape[:2])


def load(target: str, options: Options) -> TransformersEncoder:
    """Load a model and its feature extractor.

    Raises:
        NotFoundError: transformers is not installed, or there is no such folder or id, or the hub cannot be reached.
        InvalidInputError: the model is no audio model, or its files are damaged.
    """
    transformers = _package()
    folder = _folder(target, options)
    with quiet(transformers), _explaining(target):
        extractor = transformers.AutoFeatureExtractor.from_pretrained(folder)
        model = transformers.AutoModel.from_pretrained(folder, trust_remote_code=False)
    if not hasattr(extractor, "sampling_rate"):
        raise InvalidInputError(f"hf:{target}: {type(model).__name__} is no audio model: its preprocessor has no rate")
    framed = model.config.model_type not in {"clap", "audio-spectrogram-transformer"}
    kind = TransformersFrameEncoder if framed else TransformersEncoder
    return kind(model, extractor, options, Path(target).name)


def weights_of(target: str, options: Options) -> list[Path]:
    """The model's files: of the folder, or of the hub's snapshot in the cache."""
    folder = _folder(target, options)
    return sorted(file for pattern in (*FACTS, *WEIGHTS) for file in folder.glob(pattern))


def _folder(target: str, options: Options) -> Path:
    """The folder of a model; one of the hub is fetched once, as tensors alone where it has them."""
    if not target:
        raise InvalidInputError("hf: no model; write hf:DIRECTORY or hf:OWNER/NAME")
    if Path(target).is_dir():
        return Path(target)
    transformers = _package()
    from huggingface_hub import snapshot_download  # noqa: PLC0415  (comes with transformers)

    folder = Path()
    with quiet(transformers), _explaining(target):
        for pattern in WEIGHTS:
            folder = Path(snapshot_download(target, revision=options.revision, allow_patterns=[*FACTS, pattern]))
            if any(folder.glob(pattern)):
                break
    return folder


@contextlib.contextmanager
def _explaining(target: str) -> Iterator[None]:
    """Say in one line why a model cannot be loaded."""
    with telling(f"hf:{target}", "cannot be loaded"):
        try:
            yield
        except OSError as error:
            if Path(target).is_dir():
                raise InvalidInputError(
                    f"hf:{target}: this folder holds no whole model ({_first_line(error)})"
                ) from error
            raise NotFoundError(
                f"hf:{target}: no such folder, and the hub lacks it or cannot be reached ({_first_line(error)}); "
                f"give a folder that save_pretrained wrote, or an id on a machine with a network"
            ) from error


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


@contextlib.contextmanager
def quiet(transformers: Any) -> Iterator[None]:
    """Keep transformers from writing bars and remarks while a model is loaded."""
    verbosity = transformers.utils.logging.get_verbosity()
    bars = transformers.utils.logging.is_progress_bar_enabled()
    transformers.utils.logging.set_verbosity(logging.ERROR)
    transformers.utils.logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers.utils.logging.set_verbosity(verbosity)
        if bars:
            transformers.utils.logging.enable_progress_bar()


def _package() -> Any:
    try:
        import transformers  # noqa: PLC0415
    except ImportError as error:
        raise NotFoundError("models of transformers need it: pip install 'bgknown[transformers]'") from error
    return transformers
