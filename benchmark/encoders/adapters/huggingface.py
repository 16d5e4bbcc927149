"""The kind ``hf``: audio models of transformers, from a folder or by their id on the hub.

wav2vec 2.0, HuBERT, WavLM, data2vec and others that take the waveform; AST; CLAP's audio tower; the encoders of models
with a decoder (Whisper, SpeechT5, Moonshine, Speech2Text, SeamlessM4T) and the audio towers of language models
(Qwen2-Audio, Voxtral, Audio Flamingo). Audio is prepared by the model's own feature extractor. The code of a repository
is never run, weights are read as data, and a model whose file lacks tensors that its embedding needs is refused.

Where a model has an embedding of its own for a clip, that is the default: of AST the mean of its two class tokens, of
CLAP the projected embedding of length 1 that its texts are compared with. Of all others it is the mean of the frames.
Where the feature extractor pads (Whisper's to 30 s, AST's to about 10 s), only frames within the clip are
pooled.

Clips longer than the feature extractor takes, which it would cut off or draw a part from at random, are cut into pieces
of equal length: frames are pooled over all pieces, embeddings averaged.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmark.encoders.adapters.foreign import ModuleEncoder, check_whole_number
from benchmark.encoders.adapters.hf_loading import check_tensors, check_whole_model, load_with_report
from benchmark.encoders.adapters.hf_padding import Window, measure_window
from benchmark.encoders.adapters.hf_tower import AUDIO_INPUTS, MASKS, find_arguments, find_loader, find_tower
from benchmark.encoders.adapters.snapshot import (
    FACT_FILES,
    WEIGHTS,
    explain_loading_failure,
    find_model_folder,
    import_transformers,
    silence,
)
from bgknown.errors import InvalidInputError
from bgknown.seeding import make_generator
from bgknown.userpath import absolute

AST = "audio-spectrogram-transformer"
AST_TOKENS = 2
"""The class token and the distillation token, which precede AST's patches."""
TOKENIZER = "tokenizer_config.json"
"""The file that a model with a tokenizer has."""
CLAP_TOKENS = 77
"""Tokens of a text that CLAP was trained on; longer texts are cut."""
_POOLINGS = ("model", "mean", "max", "mean+max", "first")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Which output of the model is used."""

    pooling: str = "model"
    """model: the model's own (AST, CLAP), or mean; mean, max, mean+max of frames; first: the first frame or token."""
    layer: int | None = None
    """Hidden layer, 0 the input of the first, negative from the end; by default the model's output."""
    revision: str | None = None
    """Branch, tag or commit on the hub."""
    local_files_only: bool = False
    """Use files downloaded from the hub earlier, without contacting it."""

    def __post_init__(self) -> None:
        if self.pooling not in _POOLINGS:
            raise InvalidInputError(f"option pooling is {self.pooling!r}; it must be one of {', '.join(_POOLINGS)}")


class TransformersEncoder(ModuleEncoder):
    """An audio model with its feature extractor."""

    def __init__(self, whole: Any, extractor: Any, options: Options, name: str, target: str) -> None:
        self.family = str(whole.config.model_type)
        self.target = target
        rate_hz = check_whole_number(
            getattr(extractor, "sampling_rate", None), f"{name}: sampling_rate of its preprocessor"
        )
        self.extractor, self.options = extractor, options
        tower = find_tower(whole, target)
        self.is_clap = isinstance(extractor, import_transformers().ClapFeatureExtractor)
        super().__init__(whole if self.family == "clap" else tower, name=name, rate_hz=rate_hz, embedding_size=1)
        self.features_name, self.mask_name = find_arguments(tower, extractor)
        self.configuration = {
            "transformers": import_transformers().__version__,
            "model_type": self.family,
            "pooling": options.pooling,
            "layer": options.layer,
        }
        with explain_loading_failure(target, what="its preprocessor fails on noise"):
            self.window = self._window()
        with explain_loading_failure(
            target, what=f"{type(tower).__name__} gives no embedding for the output of its preprocessor"
        ):
            self.embedding_size = int(self.embed(probe_audio(rate_hz)).shape[1])

    @property
    def longest(self) -> int | None:
        """The longest clip that is embedded in one piece, in samples; None: any length."""
        return self.window.longest

    @torch.inference_mode()
    def embed(self, audio: Tensor) -> Tensor:
        """Embed a batch: [B, N] -> [B, D]."""
        pieces, count = self._pieces(audio)
        inputs, share = self._inputs(pieces)
        if self.options.pooling == "model" and self.options.layer is None:
            own = self._own(inputs)
            if own is not None:
                return own.reshape(-1, count, own.shape[1]).mean(dim=1)
        frames = self._within(self._hidden(inputs), pieces.shape[1], share)
        return self._pooled(frames.reshape(len(audio), -1, frames.shape[2]))

    def _window(self) -> Window:
        if self.is_clap:
            return Window(longest=int(self.extractor.nb_max_samples), padded=True)
        if self.family == AST:  # spectra of 25 ms, one every 10 ms
            spectra = int(self.extractor.max_length) - 1
            return Window(longest=spectra * (self.rate_hz // 100) + self.rate_hz // 40, padded=True)
        masked = self._prepared(list(probe_audio(self.rate_hz).numpy()))[1] is not None
        return measure_window(self.extractor, self._features, self.rate_hz, f"hf:{self.target}", masked=masked)

    def _features(self, audio: NDArray[np.float32]) -> NDArray[Any]:
        """The features of one clip [N]."""
        features: NDArray[Any] = self._prepared([audio])[0].numpy()
        return features

    def _pieces(self, audio: Tensor) -> tuple[Tensor, int]:
        """Clips [B, N] as pieces [B * count, L] that the model accepts whole, and their number per clip."""
        samples = audio.shape[1]
        count = -(-samples // self.longest) if self.longest else 1
        if count <= 1:
            return audio, 1
        length = -(-samples // count)
        starts = [piece * (samples - length) // (count - 1) for piece in range(count)]
        return torch.stack([audio[:, start : start + length] for start in starts], dim=1).flatten(0, 1), count

    def _own(self, inputs: dict[str, Tensor]) -> Tensor | None:
        """The model's own embedding [B, D] of a clip, if it has one."""
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

    def _within(self, hidden: Tensor, samples: int, share: Fraction) -> Tensor:
        """The frames [B, T, D] of hidden states that represent the clip's samples, without padding."""
        if hidden.ndim == 4:  # CLAP's HTSAT: [B, D, F, T], which repeats a short clip
            return hidden.flatten(2).mT
        if self.family == AST:
            if self.options.pooling == "first":  # its class tokens precede the patches
                return hidden
            config = self.model.config
            rows = (config.num_mel_bins - config.patch_size) // config.frequency_stride + 1
            spectra = max(0, samples - self.rate_hz // 40) // (self.rate_hz // 100) + 1
            columns = max(1, (spectra - config.patch_size) // config.time_stride + 1)
            patches = hidden[:, AST_TOKENS:].reshape(len(hidden), rows, -1, hidden.shape[2])
            return patches[:, :, :columns].flatten(1, 2)
        return hidden[:, : max(1, math.ceil(share * hidden.shape[1]))]

    def _hidden(self, inputs: dict[str, Tensor]) -> Tensor:
        layer = self.options.layer
        tower = self.model.audio_model if self.family == "clap" else self.model
        output = tower(**inputs) if layer is None else tower(**inputs, output_hidden_states=True)
        states = getattr(output, "last_hidden_state" if layer is None else "hidden_states", None)
        if states is None:
            given = ", ".join(output) if isinstance(output, dict) else type(output).__name__
            raise InvalidInputError(
                f"hf:{self.target}: {type(tower).__name__} gives {given}, and no hidden states: it has no embedding"
            )
        if layer is not None:
            if not -len(states) <= layer < len(states):
                raise InvalidInputError(
                    f"{self.name}: option layer is {layer}; it must be from {-len(states)} to {len(states) - 1}"
                )
            states = states[layer]
        hidden: Tensor = states
        if hidden.ndim not in {3, 4} or len(hidden) != len(inputs[self.features_name]):
            raise InvalidInputError(
                f"hf:{self.target}: {type(tower).__name__} gives {list(hidden.shape)}, not frames of each clip"
            )
        return hidden

    def _inputs(self, audio: Tensor) -> tuple[dict[str, Tensor], Fraction]:
        """The features of each clip by the model's own extractor, and the share that is not padding."""
        samples = audio.shape[1]
        features, mask, is_longer = self._prepared(list(audio.detach().cpu().numpy().astype(np.float32)))
        self.window.check_whole(samples, features[0].numel(), f"hf:{self.target}")
        share = Fraction(1)
        if self.window.padded and self.window.longest:
            share = Fraction(samples, self.window.longest)
        elif mask is not None:
            share = Fraction(int(mask[0].sum()), mask.shape[1])
        inputs = {self.features_name: features}
        if mask is not None and self.mask_name is not None:
            inputs[self.mask_name] = mask
        if is_longer is not None:
            inputs["is_longer"] = is_longer
        return {name: value.to(self.device) for name, value in inputs.items()}, share

    def _prepared(self, audio: list[NDArray[np.float32]]) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Features of clips [N], their mask [B, T], and what CLAP's extractor says of their length, as far as given."""
        more = {"return_attention_mask": True} if self.mask_name == "input_features_mask" else {}
        with keep_global_generator():
            prepared = self.extractor(audio, sampling_rate=self.rate_hz, return_tensors="pt", **more)
        features = next((prepared[name] for name in prepared if name in AUDIO_INPUTS), None)
        if features is None:
            raise InvalidInputError(
                f"hf:{self.target}: its preprocessor gives {', '.join(prepared) or 'nothing'}, "
                f"not {' or '.join(sorted(AUDIO_INPUTS))}"
            )
        mask = next((prepared[name] for name in prepared if name in MASKS), None)
        mask = mask if mask is None or mask.ndim == 2 else None
        # without a long clip CLAP's extractor draws one at random and says it was long
        is_longer = torch.zeros_like(prepared["is_longer"]) if "is_longer" in prepared else None
        return features, mask, is_longer


class ClapEncoder(TransformersEncoder):
    """CLAP with its tokenizer: its texts are embedded in the space of its audio."""

    tokenizer: Any = None
    """The tokenizer."""

    @torch.inference_mode()
    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """Projected embeddings [B, D] of length 1."""
        tokens = self.tokenizer(
            list(texts), padding=True, truncation=True, max_length=CLAP_TOKENS, return_tensors="pt"
        ).to(self.device)
        output = self.model.get_text_features(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"])
        rows: Tensor = getattr(output, "pooler_output", output)
        return rows


class TransformersFrameEncoder(TransformersEncoder):
    """A model whose hidden states are frames in time."""

    @torch.inference_mode()
    def frames(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        """Hidden states [B, T, D'] and the middle of each frame's share of the clip [B, T] in ms."""
        pieces, _ = self._pieces(audio)
        inputs, share = self._inputs(pieces)
        hidden = self._within(self._hidden(inputs), pieces.shape[1], share)
        hidden = hidden.reshape(len(audio), -1, hidden.shape[2])
        step_ms = 1_000.0 * audio.shape[1] / self.rate_hz / hidden.shape[1]
        times_ms = (torch.arange(hidden.shape[1], device=hidden.device) + 0.5) * step_ms
        return hidden, times_ms.expand(hidden.shape[:2])


def load(target: str, options: Options) -> TransformersEncoder:
    """Load a model and its feature extractor.

    Raises:
        NotFoundError: transformers is not installed, the folder or id does not exist, or the hub cannot be reached.
        InvalidInputError: the model is not an audio model, its files are damaged, or tensors that its embedding needs
            are missing from them.
    """
    transformers = import_transformers()
    folder = find_model_folder(target, revision=options.revision, local_files_only=options.local_files_only)
    check_whole_model(folder, target)
    with silence(transformers), explain_loading_failure(target):
        extractor = transformers.AutoFeatureExtractor.from_pretrained(folder, trust_remote_code=False)
        config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False)
    if not hasattr(extractor, "sampling_rate"):
        raise InvalidInputError(
            f"hf:{target}: {config.model_type} is not an audio model: its preprocessor has no sampling rate"
        )
    model, report = load_with_report(find_loader(config, target), folder, target)
    is_clap = isinstance(extractor, transformers.ClapFeatureExtractor)
    reads = is_clap and options.pooling == "model" and options.layer is None and (folder / TOKENIZER).is_file()
    framed = not is_clap and config.model_type != AST
    kind = ClapEncoder if reads else TransformersFrameEncoder if framed else TransformersEncoder
    with silence(transformers):
        encoder = kind(model, extractor, options, absolute(Path(target)).name, target)
        if isinstance(encoder, ClapEncoder):
            with explain_loading_failure(target, what="its tokenizer cannot be loaded"):
                encoder.tokenizer = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        probe = probe_audio(encoder.rate_hz)
        with explain_loading_failure(target, what="it fails on a second of noise"):
            check_tensors(model, report, lambda: encoder.embed(probe), f"hf:{target}")
    return encoder


def probe_audio(rate_hz: int) -> Tensor:
    """A second of noise [1, N], by which a model is tried."""
    return torch.from_numpy((0.1 * make_generator(0, "probe").standard_normal((1, rate_hz))).astype(np.float32))


def weights_of(target: str, options: Options) -> list[Path]:
    """The model's files: of the folder, or of the hub's snapshot in the cache."""
    folder = find_model_folder(target, revision=options.revision, local_files_only=options.local_files_only)
    return sorted(file for pattern in (*FACT_FILES, *WEIGHTS) for file in folder.glob(pattern))


@contextlib.contextmanager
def keep_global_generator() -> Iterator[None]:
    """Put numpy's global generator back to where it was: CLAP's extractor draws from it, to no effect here."""
    state = np.random.get_state()  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(state)  # noqa: NPY002
