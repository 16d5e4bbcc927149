"""What an object needs to be an encoder, asked of it once, when it is loaded."""

from __future__ import annotations

import json
from typing import Any

from benchmark.encoder import Encoder
from benchmark.encoders.foreign import telling
from bgknown.errors import InvalidInputError

LOWEST_RATE_HZ, HIGHEST_RATE_HZ = 1_000, 768_000
_WHOLE = "a positive whole number"


def checked(encoder: Any, spec: str) -> Encoder:
    """Refuse what has not the four things that an encoder needs, or a configuration that cannot be stored.

    Args:
        encoder: any object.
        spec: what it was asked for by, for messages.

    Raises:
        InvalidInputError: says what is missing or wrong.
    """
    for attribute, need in (("name", "a text"), ("rate_hz", _WHOLE), ("embedding_size", _WHOLE)):
        with telling(spec, f"has no {attribute} that can be read"):
            value = getattr(encoder, attribute, None)
        whole = isinstance(value, int) and not isinstance(value, bool) and value > 0
        if not (whole if need == _WHOLE else isinstance(value, str) and value):
            told = f"is {value!r}" if hasattr(encoder, attribute) else "is missing"
            raise InvalidInputError(f"{spec}: the encoder's {attribute} {told}, must be {need}")
    if not callable(getattr(encoder, "embed", None)):
        raise InvalidInputError(f"{spec}: the encoder has no method embed(audio [B, N]) -> [B, D]")
    if not LOWEST_RATE_HZ <= encoder.rate_hz <= HIGHEST_RATE_HZ:
        raise InvalidInputError(
            f"{spec}: the encoder's rate_hz is {encoder.rate_hz}, must lie in {LOWEST_RATE_HZ}..{HIGHEST_RATE_HZ}"
        )
    try:
        json.dumps(dict(getattr(encoder, "configuration", {})), sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(
            f"{spec}: the encoder's configuration cannot be written as JSON ({error}); "
            f"it must be a dictionary of text, numbers and lists"
        ) from error
    return encoder  # type: ignore[no-any-return]


def check_name(name: str, spec: str) -> None:
    """Refuse a name that no row of results can hold, before anything is measured.

    Raises:
        InvalidInputError: it is empty, has spaces at an end, or characters that cannot be seen.
    """
    if not name or name != name.strip() or not name.isprintable():
        raise InvalidInputError(
            f"{spec}: the encoder's name is {name!r}; it must be one line without spaces at its ends (give it --name)"
        )


def rename(encoder: Encoder, name: str, spec: str) -> None:
    """Call an encoder something else.

    Raises:
        InvalidInputError: its name is a property, or it is a frozen record.
    """
    try:
        encoder.name = name
    except AttributeError as error:
        raise InvalidInputError(
            f"{spec}: the encoder's name {encoder.name!r} cannot be changed to {name!r}; leave the new name out"
        ) from error


def move(encoder: Any, device: str, spec: str) -> str:
    """Move an encoder to a device, where it can be moved.

    Returns:
        where it is then: the CPU, for one that cannot.

    Raises:
        InvalidInputError: there is no such device, its memory is full, or the encoder's own ``to`` fails.
    """
    if not hasattr(encoder, "to"):
        return "cpu"
    with telling(spec, f"cannot be moved to device {device!r}"):
        encoder.to(device)
    return device
