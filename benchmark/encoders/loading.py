"""Checks of a loaded encoder: its members, name and device, and equal embeddings for equal audio."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmark.encoders.adapters.foreign import explain_failure
from benchmark.encoders.contract import Encoder, FittedEncoder, LoadedEncoder, check_output
from bgknown.documents import shorten_value
from bgknown.errors import InvalidInputError
from bgknown.sounds import SoundList, make_sound_list

LOWEST_RATE_HZ, HIGHEST_RATE_HZ = 1_000, 768_000
REPEATED = {"float32": 1e-3, "bfloat16": 2e-2, "float16": 1e-2}
"""Largest difference, relative to the largest value, between two embeddings of the same batch: a GPU may add in another
order, in the precision that it computes in; dropout changes far more."""
_WHOLE = "a positive whole number"


def check_contract(encoder: Any, spec: str) -> Encoder:
    """Check that an object has the four members of an encoder, and a configuration that can be stored.

    Args:
        encoder: any object.
        spec: the name it was requested by, for messages.

    Raises:
        InvalidInputError: a member is missing or wrong.
    """
    for attribute, need in (("name", "a text"), ("rate_hz", _WHOLE), ("embedding_size", _WHOLE)):
        with explain_failure(spec, f"has no readable {attribute}"):
            value = getattr(encoder, attribute, None)
        whole = isinstance(value, int) and not isinstance(value, bool) and value > 0
        if not (whole if need == _WHOLE else isinstance(value, str) and value):
            found = f"is {value!r}" if hasattr(encoder, attribute) else "is missing"
            raise InvalidInputError(f"{spec}: the encoder's {attribute} {found}; it must be {need}")
    if not callable(getattr(encoder, "embed", None)):
        raise InvalidInputError(f"{spec}: the encoder has no method embed(audio [B, N]) -> [B, D]")
    if not LOWEST_RATE_HZ <= encoder.rate_hz <= HIGHEST_RATE_HZ:
        raise InvalidInputError(
            f"{spec}: the encoder's rate_hz is {encoder.rate_hz}; it must be in {LOWEST_RATE_HZ}..{HIGHEST_RATE_HZ}"
        )
    try:
        json.dumps(dict(getattr(encoder, "configuration", {})), sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(
            f"{spec}: the encoder's configuration cannot be written as JSON ({error}); "
            f"it must be a dictionary of text, numbers and lists"
        ) from error
    return encoder  # type: ignore[no-any-return]


def read_trained_on(encoder: Encoder, spec: str) -> SoundList | None:
    """The sounds that an encoder says it was trained on, empty for none; None where it does not say.

    Raises:
        InvalidInputError: its ``trained_on`` is not a collection of texts.
    """
    with explain_failure(spec, "has no readable trained_on"):
        given = getattr(encoder, "trained_on", None)
        if given is None or isinstance(given, SoundList):
            return given
        entries = list(given) if isinstance(given, Iterable) and not isinstance(given, str | bytes) else None
    if entries is None or not all(isinstance(entry, str) for entry in entries):
        raise InvalidInputError(
            f"{spec}: the encoder's trained_on is {shorten_value(given)}; it must be a collection of texts (Freesound "
            f"ids, file names or SHA-256), a SoundList, or None"
        )
    return make_sound_list(entries)


def read_training_settings(encoder: Encoder, spec: str) -> dict[str, str | int | float]:
    """How an encoder says it was trained; empty where it does not say.

    Raises:
        InvalidInputError: its ``training_settings`` are not a dictionary of text and finite numbers.
    """
    with explain_failure(spec, "has no readable training_settings"):
        given = getattr(encoder, "training_settings", None) or {}
        facts = dict(given) if isinstance(given, Mapping) else None
    if facts is None or not all(isinstance(name, str) and _is_plain(value) for name, value in facts.items()):
        raise InvalidInputError(
            f"{spec}: the encoder's training_settings are {shorten_value(given)}; they must be a dictionary of text "
            f"and finite numbers"
        )
    return facts


def _is_plain(value: object) -> bool:
    return isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))


def check_name(name: str, spec: str) -> None:
    """Check that rows of results can hold a name.

    Raises:
        InvalidInputError: it is empty, has spaces at its ends or invisible characters.
    """
    if not name or name != name.strip() or not name.isprintable():
        raise InvalidInputError(
            f"{spec}: the encoder's name is {name!r}; it must be one line without spaces at its ends (use --name)"
        )


def rename(encoder: Encoder, name: str, spec: str) -> None:
    """Give an encoder another name.

    Raises:
        InvalidInputError: its name is a property, or it is a frozen record.
    """
    try:
        encoder.name = name
    except AttributeError as error:
        raise InvalidInputError(
            f"{spec}: the encoder's name {encoder.name!r} cannot be changed to {name!r}; omit the new name"
        ) from error


def move(encoder: Any, device: str, spec: str) -> str:
    """Move an encoder to a device, where it can be moved.

    Returns:
        the device that it is on: the CPU for one that cannot be moved.

    Raises:
        InvalidInputError: the device does not exist, its memory is full, or the encoder's own ``to`` fails.
    """
    if not hasattr(encoder, "to"):
        return "cpu"
    with explain_failure(spec, f"cannot be moved to device {device!r}"):
        encoder.to(device)
    return device


def check_repeatable(name: str, first: NDArray[np.float32], second: NDArray[np.float32], precision: str) -> None:
    """Check that an encoder gave the same embeddings [B, D] for the same batch twice.

    Args:
        name: the name of the encoder.
        first: the first embeddings.
        second: the embeddings of the same batch directly afterwards.
        precision: the precision that it computed in.

    Raises:
        InvalidInputError: the embeddings differ from call to call.
    """
    largest = np.abs(first).max(axis=1).clip(min=1e-30)
    apart = float((np.abs(first - second).max(axis=1) / largest).max())
    if apart > REPEATED[precision]:
        raise InvalidInputError(
            f"encoder {name} gives different embeddings from call to call: those of the same {len(first)} clips "
            f"differ by {apart:.2g} of their largest value ({REPEATED[precision]:g} is allowed); put it into "
            f"evaluation mode (eval()) and switch off or seed its random draws (dropout, dither, random crops)"
        )


def try_out(loaded: LoadedEncoder, duration_s: float) -> None:
    """Embed two clips of noise twice, as a check before anything is measured.

    Encoders that need statistics of training audio first are skipped.

    Raises:
        InvalidInputError: it fails, breaks the contract, or gives different embeddings from call to call.
    """
    if isinstance(loaded.encoder, FittedEncoder):
        return
    noise = 0.1 * torch.randn(2, round(duration_s * loaded.encoder.rate_hz), generator=torch.Generator().manual_seed(0))
    rows = []
    for _ in range(2):
        with explain_failure(f"encoder {loaded.name}", f"fails on {duration_s:g} s of noise"), torch.inference_mode():
            output = loaded.encoder.embed(noise.to(loaded.device))
        rows.append(check_output(loaded.encoder, output, 2).numpy())
    check_repeatable(loaded.name, rows[0], rows[1], "float32")
