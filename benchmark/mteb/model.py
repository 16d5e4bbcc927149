"""Any encoder of this project as a model of mteb.

A clip is embedded at its whole length, after conversion to the encoder's rate (soxr, HQ; channels averaged). Clips of
a batch that have the same length are embedded together, so none is padded. Texts need an encoder with ``embed_texts``
(``benchmark.encoders.contract.TextAudioEncoder``); the embedding of a row with audio and text is then the sum of both,
each scaled to length 1, as in mteb's own CLAP models. Similarity is the cosine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from mteb.models.abs_encoder import AbsEncoder
from mteb.models.model_meta import ModelMeta
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from benchmark.embedding.precision import compute_in
from benchmark.encoders.contract import FittedEncoder, LoadedEncoder, TextAudioEncoder, check_output
from benchmark.encoders.registry import load_encoder
from bgknown.audio.files import resample
from bgknown.errors import InvalidInputError

OWNER = "bgknown"
"""What precedes the encoder's name in mteb's results."""


class EncoderModel(AbsEncoder):  # type: ignore[misc]
    """An encoder with the interface of mteb's models."""

    def __init__(self, loaded: LoadedEncoder) -> None:
        """Give an encoder mteb's interface.

        Raises:
            InvalidInputError: it needs statistics of training audio, which mteb has none of.
        """
        if isinstance(loaded.encoder, FittedEncoder):
            raise InvalidInputError(
                f"encoder {loaded.name} needs statistics of training audio, and mteb has no training audio for it: "
                f"give them as options, {loaded.spec}{'&' if '?' in loaded.spec else '?'}mean=...&std=..., or use an "
                f"encoder without them"
            )
        self.loaded = loaded
        self.mteb_model_meta = describe_encoder(loaded)

    def encode(
        self,
        inputs: Any,
        *,
        task_metadata: Any,
        hf_split: str,
        hf_subset: str,
        prompt_type: Any = None,
        **kwargs: Any,
    ) -> NDArray[np.float32]:
        """Embed the rows of a loader of mteb.

        Args:
            inputs: batches with columns ``audio`` (``array`` [N] or [C, N], and ``sampling_rate``), ``text`` or both.
            task_metadata: the task, for messages.
            hf_split, hf_subset, prompt_type: not used; there are no prompts.
            kwargs: ``show_progress_bar`` is used.

        Returns:
            [rows, D] float32.

        Raises:
            InvalidInputError: rows have texts and the encoder takes none, or have neither audio nor text.
        """
        quiet = not kwargs.get("show_progress_bar", True)
        rows = [self._embed(batch, str(task_metadata.name)) for batch in tqdm(inputs, disable=quiet or None)]
        return np.concatenate(rows)

    def _embed(self, batch: Mapping[str, Sequence[Any]], task: str) -> NDArray[np.float32]:
        parts = []
        if "audio" in batch:
            parts.append(self._embed_audio(batch["audio"]))
        if "text" in batch:
            parts.append(self._embed_texts(batch["text"], task))
        if not parts:
            raise InvalidInputError(f"{task}: rows have the columns {', '.join(batch)}; audio, text or both are needed")
        if len(parts) == 1:
            return parts[0].numpy()
        return sum(torch.nn.functional.normalize(part, dim=1) for part in parts).numpy()  # type: ignore[union-attr]

    def _embed_audio(self, clips: Sequence[Any]) -> Tensor:
        encoder = self.loaded.encoder
        heard = [read_row(clip, encoder.rate_hz) for clip in clips]
        rows = torch.empty(len(heard), encoder.embedding_size)
        for length in sorted({len(clip) for clip in heard}):
            places = [place for place, clip in enumerate(heard) if len(clip) == length]
            audio = torch.from_numpy(np.stack([heard[place] for place in places])).to(self.loaded.device)
            with torch.inference_mode(), compute_in("float32", self.loaded.device):
                output = encoder.embed(audio)
            rows[places] = check_output(encoder, output, len(places))
        return rows

    def _embed_texts(self, texts: Sequence[str], task: str) -> Tensor:
        encoder = self.loaded.encoder
        if not isinstance(encoder, TextAudioEncoder):
            raise InvalidInputError(
                f"{task}: has texts, and encoder {encoder.name} takes only audio (it has no embed_texts); use an "
                f"encoder with a text tower, such as CLAP, or a task without texts, such as the audio-only control"
            )
        with torch.inference_mode():
            output = encoder.embed_texts(list(texts))
        return check_output(encoder, output, len(texts))


def load_mteb_model(
    spec: str, *, trust_code: bool = False, device: str = "cpu", name: str | None = None
) -> EncoderModel:
    """Load an encoder as a model of mteb.

    Args:
        spec: what ``benchmark run --encoder`` takes.
        trust_code: whether it may run arbitrary code.
        device: the device to run on.
        name: its name in results, which ``bgknown/`` precedes there.

    Raises:
        BgknownError: the encoder does not exist, or needs statistics of training audio.
    """
    return EncoderModel(load_encoder(spec, trust_code=trust_code, device=device, name=name))


def describe_encoder(loaded: LoadedEncoder) -> ModelMeta:
    """What mteb stores about a model; its revision is the encoder's key, which changes with its weights and options."""
    unknown = {name: None for name, field in ModelMeta.model_fields.items() if field.is_required()}
    return ModelMeta(
        **{
            **unknown,
            "name": f"{OWNER}/{loaded.name}",
            "revision": loaded.key,
            "embed_dim": loaded.encoder.embedding_size,
            "framework": ["PyTorch"],
            "similarity_fn_name": "cosine",
            "modalities": ["audio", "text"] if isinstance(loaded.encoder, TextAudioEncoder) else ["audio"],
        }
    )


def read_row(clip: Any, rate_hz: int) -> NDArray[np.float32]:
    """A row's audio as mono samples [N] float32 at a rate.

    Args:
        clip: has the items ``array`` [N] or [C, N] and ``sampling_rate``; a dictionary, or a decoder of torchcodec.
        rate_hz: the rate to convert to (soxr, HQ).

    Raises:
        InvalidInputError: it is empty, or has another shape.
        NotFiniteError: it has another rate, and NaN or infinite samples.
    """
    audio = np.asarray(clip["array"], dtype=np.float32)
    audio = audio.mean(axis=0) if audio.ndim == 2 else audio
    if audio.ndim != 1 or not len(audio):
        raise InvalidInputError(f"a row's audio has shape {list(audio.shape)}; it must be [N] or [C, N], N at least 1")
    return resample(audio, int(clip["sampling_rate"]), rate_hz)
