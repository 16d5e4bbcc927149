r"""Any encoder as a HEAR module, so that HEAR's own tools can run on it.

::

    python -m heareval.embeddings.runner benchmark.hear --tasks-dir tasks \
        --model-options '{"model_file_path": "hf:facebook/wav2vec2-base"}'
    hear-validator benchmark.hear --model hf:facebook/wav2vec2-base

``model_file_path`` is any name that ``benchmark run --encoder`` takes; further options follow in the same object. The
runner's own ``--model`` accepts only a path that exists, such as
``--model ckpt.pth --model-options '{"mean": -7.1, "std": 4.2}'``. HEAR has no training audio, so encoders that need
statistics of it must be given them as options, as in this example. Encoders that run code are refused unless the
environment variable ``BGKNOWN_TRUST_CODE`` is 1.

Source: https://hearbenchmark.com/hear-api.html
"""

from __future__ import annotations

import os
from urllib.parse import urlencode

import torch
from torch import Tensor

from benchmark.encoders.contract import Encoder, FittedEncoder, FrameEncoder, check_output
from benchmark.encoders.registry import load_encoder
from bgknown.errors import InvalidInputError

TRUST = "BGKNOWN_TRUST_CODE"


class Model(torch.nn.Module):
    """An encoder with the attributes that HEAR asks for."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.device = torch.device("cpu")
        self.sample_rate = encoder.rate_hz
        self.scene_embedding_size = encoder.embedding_size
        self.timestamp_embedding_size = encoder.embedding_size
        if isinstance(encoder, FrameEncoder):
            with torch.inference_mode():
                frames, _ = encoder.frames(torch.zeros(1, encoder.rate_hz))
            self.timestamp_embedding_size = int(frames.shape[2])

    def to(self, device: str | torch.device) -> Model:  # type: ignore[override]
        """Move the encoder, where it can be moved."""
        if hasattr(self.encoder, "to"):
            self.encoder.to(device)
            self.device = torch.device(device)
        return self


def load_model(model_file_path: str = "", **options: object) -> Model:
    """Load an encoder.

    Args:
        model_file_path: a name, file or kind of the registry; ``logmel`` if empty.
        options: further options of the encoder (HEAR's runner passes ``--model-options`` like this).

    Raises:
        BgknownError: the encoder does not exist, or needs statistics of training audio.
    """
    spec = model_file_path or "logmel"
    if options:
        spec += ("&" if "?" in spec else "?") + urlencode(options)
    loaded = load_encoder(spec, trust_code=os.environ.get(TRUST) == "1")
    if isinstance(loaded.encoder, FittedEncoder):
        raise InvalidInputError(
            f"encoder {loaded.name} needs statistics of training audio, and HEAR has no training audio for it: "
            f"give them as options, {spec}{'&' if '?' in spec else '?'}mean=...&std=..., or use an encoder without them"
        )
    return Model(loaded.encoder)


def get_scene_embeddings(audio: Tensor, model: Model) -> Tensor:
    """One embedding per clip: [B, N] -> [B, D]."""
    with torch.inference_mode():
        output = model.encoder.embed(audio.to(model.device, torch.float32))
    return check_output(model.encoder, output, len(audio)).to(audio.device)


def get_timestamp_embeddings(audio: Tensor, model: Model) -> tuple[Tensor, Tensor]:
    """One embedding per frame: [B, N] -> [B, T, D'] and the frames' centres [B, T] in ms.

    Raises:
        InvalidInputError: the encoder has no frames.
    """
    if not isinstance(model.encoder, FrameEncoder):
        raise InvalidInputError(f"encoder {model.encoder.name} has no embeddings of frames, only of whole clips")
    with torch.inference_mode():
        frames, times_ms = model.encoder.frames(audio.to(model.device, torch.float32))
    return frames.float().to(audio.device), times_ms.float().to(audio.device)
