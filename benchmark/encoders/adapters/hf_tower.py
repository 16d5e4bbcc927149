"""Which part of a transformers model takes audio, and what its input is."""

from __future__ import annotations

import inspect
from typing import Any

import torch

from benchmark.encoders.adapters.snapshot import import_transformers
from bgknown.errors import InvalidInputError

AUDIO_INPUTS = frozenset({"input_values", "input_features", "audio_mel"})
"""Names of the input of audio models."""
MASKS = ("attention_mask", "input_features_mask", "padding_mask")
"""Names of the mask that is 1 for the clip's own samples or frames and 0 for padding."""
_TOWERS = ("audio_tower", "audio_model", "audio_encoder", "speech_encoder")
"""Names of the audio part in models of several modalities."""
WITH_PRENET = frozenset({"speecht5"})
"""Families whose plain model lacks the input layers for audio; their speech recogniser has them."""


def find_loader(config: Any, target: str) -> Any:
    """The class of transformers that loads a model with its audio part.

    Raises:
        InvalidInputError: this version of transformers has none.
    """
    transformers = import_transformers()
    recogniser = type(config) in transformers.MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING
    plain = type(config) in transformers.MODEL_MAPPING
    if recogniser and (config.model_type in WITH_PRENET or not plain):
        return transformers.AutoModelForSpeechSeq2Seq
    if plain:
        return transformers.AutoModel
    named = next(iter(getattr(config, "architectures", None) or []), "")
    found = getattr(transformers, named, None)
    if isinstance(found, type) and issubclass(found, transformers.PreTrainedModel):
        return found
    raise InvalidInputError(
        f"hf:{target}: models of type {config.model_type} are not encoders that transformers "
        f"{transformers.__version__} loads directly; use an audio-only model"
    )


def find_tower(model: Any, target: str) -> Any:
    """The audio part of a model: the audio tower of several towers, the encoder next to a decoder, or the whole model.

    Raises:
        InvalidInputError: it has none, or is a codec or a vocoder, which has no embedding.
    """
    tower = _get_part(model)
    if callable(getattr(tower, "encode", None)) and callable(getattr(tower, "decode", None)):
        raise InvalidInputError(
            f"hf:{target}: {type(tower).__name__} is a codec: it turns audio into tokens and back, "
            f"and has no embedding of a clip"
        )
    takes = next(iter(inspect.signature(tower.forward).parameters))
    if takes.endswith("ids") or (tower is model and model.main_input_name not in AUDIO_INPUTS):
        raise InvalidInputError(
            f"hf:{target}: {type(model).__name__} has no part that turns audio into an embedding "
            f"({type(tower).__name__} takes {takes})"
        )
    return tower


def _get_part(model: Any) -> Any:
    places = [model, *(getattr(model, name) for name in ("model", "thinker") if hasattr(model, name))]
    for place in places:
        for name in _TOWERS:
            if isinstance(getattr(place, name, None), torch.nn.Module):
                return getattr(place, name)
    if getattr(model.config, "is_encoder_decoder", False) and model.main_input_name != "input_ids":
        return model.get_encoder()
    heard = "For" in type(model).__name__ or hasattr(model, "get_audio_features")
    inner = [getattr(place, "encoder", None) for place in places]
    found = next((part for part in inner if isinstance(part, import_transformers().PreTrainedModel)), None)
    return found if heard and found is not None else model


def find_arguments(tower: Any, extractor: Any) -> tuple[str, str | None]:
    """The names of a tower's features and mask; None if it gets no mask.

    Towers behind Whisper's extractor process the padding, as in training, unless they have a mask of features.
    """
    names = list(inspect.signature(tower.forward).parameters)
    behind_whispers = isinstance(extractor, import_transformers().WhisperFeatureExtractor)
    masks = ("input_features_mask",) if behind_whispers else MASKS
    return names[0], next((name for name in masks if name in names), None)
