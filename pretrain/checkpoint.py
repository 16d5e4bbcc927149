"""Encoders in files: the project's own format, and the published BYOL-A weights.

The project's format holds everything that an embedding depends on, so that the file is enough:

    format       "bgknown-encoder-1"
    network      "AudioNTT2022" or "AudioNTT2020"; its sizes are those of its tensors
    front_end    the settings of ``pretrain.frontend.FrontEnd``
    statistics   mean and std of the log-mel
    card         facts about the training
    trained_on   Freesound ids and file hashes of the corpus (``bgknown.sounds``); absent in older files

It comes as ``.safetensors``, where the tensors have the network's own names and these entries are metadata (the last
four as JSON), or as a torch checkpoint: a dictionary of these entries plus "encoder", the network's state dict, which
may hold further entries.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bgknown.documents import parse_json
from bgknown.documents import shorten_value as shortened
from bgknown.errors import InvalidInputError
from bgknown.jobs.files import write_whole
from bgknown.settings import read_record
from bgknown.shown import name_few
from bgknown.sounds import SoundList, decode_sounds
from bgknown.userpath import user_path
from pretrain.frontend import PUBLISHED, FrontEnd, Statistics
from pretrain.networks import AudioNTT
from pretrain.weights import read_network, read_tensors

FORMAT = "bgknown-encoder-1"
"""The format written here; a reader refuses others of the family."""
FAMILY = "bgknown-encoder-"
"""What the names of all versions of the format begin with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The encoder in a file."""

    network: AudioNTT
    """The network with its weights, in evaluation mode."""
    front_end: FrontEnd
    """The front end that it was trained with."""
    statistics: Statistics | None
    """The statistics that its input is normalised by; None for published weights, which measure them on the task."""
    card: dict[str, Any]
    """What was stored about the training; empty for published weights."""
    trained_on: SoundList | None = None
    """The clips that it was trained on; None where that is unknown."""


def make_entries(
    network: AudioNTT,
    front_end: FrontEnd,
    statistics: Statistics,
    *,
    card: Mapping[str, Any] | None = None,
    trained_on: SoundList | None = None,
) -> dict[str, Any]:
    """Describe an encoder as the entries of a torch checkpoint; training adds its own.

    Args:
        network: the network; its tensors are not copied.
        front_end: the front end that it is trained with.
        statistics: the statistics that its input is normalised by.
        card: facts about the training, writable as JSON.
        trained_on: the clips that it was trained on; None where that is unknown.

    Raises:
        InvalidInputError: network and front end differ in their mel bands, or the card cannot be written as JSON.
    """
    if network.n_mels != front_end.n_mels:
        raise InvalidInputError(
            f"the network takes {network.n_mels} mel bands, the front end makes {front_end.n_mels}; they must be equal"
        )
    try:
        plain = json.loads(json.dumps(dict(card or {}), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise InvalidInputError(
            f"the card cannot be written as JSON ({error}); use only text, numbers, lists"
        ) from error
    return {
        "format": FORMAT,
        "network": network.name,
        "front_end": asdict(front_end),
        "statistics": asdict(statistics),
        "card": plain,
        **({} if trained_on is None else {"trained_on": trained_on.encode()}),
        "encoder": network.state_dict(),
    }


def write_encoder(
    path: Path,
    network: AudioNTT,
    front_end: FrontEnd,
    statistics: Statistics,
    *,
    card: Mapping[str, Any] | None = None,
    trained_on: SoundList | None = None,
) -> None:
    """Write an encoder as ``.safetensors``, whole or not at all; the same encoder gives the same bytes.

    Args:
        path: the file; its folder must exist.
        network: the network.
        front_end: the front end that it was trained with.
        statistics: the statistics that its input is normalised by.
        card: facts about the training, writable as JSON.
        trained_on: the clips that it was trained on; None where that is unknown.

    Raises:
        InvalidInputError: the file's name has another suffix, or the parts do not fit together.
        StorageError: the file cannot be written.
    """
    from safetensors.torch import save  # noqa: PLC0415

    if path.suffix != ".safetensors":
        raise InvalidInputError(f"{path}: encoders are written as .safetensors; choose a name with this suffix")
    stored = make_entries(network, front_end, statistics, card=card, trained_on=trained_on)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in stored.pop("encoder").items()}
    metadata = {
        name: value if isinstance(value, str) else json.dumps(value, sort_keys=True) for name, value in stored.items()
    }
    write_whole(path, _sort_metadata(save(tensors, metadata)))


def load_checkpoint(path: str | Path, *, prefix: str | None = None) -> Checkpoint:
    """Load an encoder from a file: the project's own, or published BYOL-A weights.

    Published weights may be in nested dictionaries or below a prefix ("module.", "online_encoder.", ...). In a file of
    several networks the prefix says which one; below it there must be the network's tensors and no others.

    Args:
        path: a ``.pt``, ``.pth``, ``.ckpt`` or ``.safetensors`` file.
        prefix: what the names of the network's tensors start with, for files of several networks.

    Raises:
        NotFoundError: there is no such file.
        InvalidInputError: it is damaged, contains code, or does not contain an encoder of a known form; or ``path`` is
            not a path.
    """
    path = user_path(path)
    content, metadata = read_tensors(path)
    if is_own_checkpoint(metadata):
        content = {**_decode(metadata, path), "encoder": content}
    elif not is_own_checkpoint(content):
        network = read_network(content, path, n_mels=PUBLISHED.n_mels, prefix=prefix)
        return Checkpoint(network=network, front_end=PUBLISHED, statistics=None, card={})
    if content["format"] != FORMAT:
        raise InvalidInputError(
            f"{path}: the format is {shortened(content['format'])}, this version reads {FORMAT!r}; update this software"
        )
    missing = [name for name in ("network", "front_end", "statistics", "encoder") if name not in content]
    if missing:
        raise InvalidInputError(f"{path}: {name_few(missing)} missing; a file of format {FORMAT} must hold it")
    front_end = read_record(FrontEnd, content["front_end"], f"{path}: front_end", complete=True)
    statistics = read_record(Statistics, content["statistics"], f"{path}: statistics", complete=True)
    weights, card = (value if isinstance(value := content.get(name), Mapping) else {} for name in ("encoder", "card"))
    network = read_network(weights, path, n_mels=front_end.n_mels, name=str(content["network"]), prefix=prefix)
    trained_on = decode_sounds(content["trained_on"], f"{path}: trained_on") if "trained_on" in content else None
    return Checkpoint(
        network=network, front_end=front_end, statistics=statistics, card=dict(card), trained_on=trained_on
    )


def is_own_checkpoint(entries: Mapping[str, Any]) -> bool:
    """Whether a file with these entries or metadata is of the project's own format, in any of its versions."""
    return str(entries.get("format", "")).startswith(FAMILY)


def _decode(metadata: Mapping[str, str], path: Path) -> dict[str, Any]:
    decoded: dict[str, Any] = dict(metadata)
    for name in ("front_end", "statistics", "card"):
        decoded[name] = parse_json(metadata.get(name, "{}"), f"{path}: {name}")
    if "trained_on" in metadata:
        decoded["trained_on"] = parse_json(metadata["trained_on"], f"{path}: trained_on")
    return decoded


def _sort_metadata(data: bytes) -> bytes:
    """Sort the metadata of a safetensors file; the library's order differs from call to call.

    Source: the safetensors format: eight bytes of length, a JSON header padded with spaces to a multiple of eight,
    then the tensors, whose positions count from the header's end.
    """
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data[8 + length :]
