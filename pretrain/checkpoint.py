"""Encoders in files: the project's own format, and the published BYOL-A weights.

The own format says everything that an embedding depends on, so that nothing has to be remembered beside the file:

    format       "bgknown-encoder-1"
    network      "AudioNTT2022" or "AudioNTT2020"; its sizes are those of its tensors
    front_end    the settings of ``pretrain.frontend.FrontEnd``
    statistics   mean and std of the log-mel
    card         whatever is worth telling about the training

It comes as ``.safetensors``, where the tensors have the network's own names and these entries are metadata (the last
three as JSON), or as a torch checkpoint: a dictionary of these entries plus "encoder", the network's state dict, which
may hold any others beside them.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from bgknown.documents import parse_json
from bgknown.documents import shorten_value as shortened
from bgknown.errors import InvalidInputError
from bgknown.jobs.files import write_whole
from bgknown.shown import name_few
from bgknown.userpath import user_path
from pretrain.frontend import PUBLISHED, FrontEnd, Statistics
from pretrain.networks import AudioNTT
from pretrain.weights import read_file, read_network

FORMAT = "bgknown-encoder-1"
"""The format written here; a reader refuses others of the family."""
FAMILY = "bgknown-encoder-"
"""What the names of all versions of the format begin with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What a file holds."""

    network: AudioNTT
    """The network with its weights, in evaluation mode."""
    front_end: FrontEnd
    """The front end that it was trained with."""
    statistics: Statistics | None
    """The statistics that its input is normalised by; None for published weights, which take them from the task."""
    card: dict[str, Any]
    """What was stored about the training; empty for published weights."""


def make_entries(
    network: AudioNTT, front_end: FrontEnd, statistics: Statistics, *, card: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """An encoder as the entries of a torch checkpoint; a trainer adds its own beside them.

    Args:
        network: the network; its tensors are handed over, not copied.
        front_end: the front end that it is trained with.
        statistics: the statistics that its input is normalised by.
        card: what is worth telling about the training, writable as JSON.

    Raises:
        InvalidInputError: network and front end differ in their mel bands, or the card cannot be written as JSON.
    """
    if network.n_mels != front_end.n_mels:
        raise InvalidInputError(
            f"the network takes {network.n_mels} mel bands, the front end makes {front_end.n_mels}; they must be equal"
        )
    try:
        written = json.loads(json.dumps(dict(card or {}), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise InvalidInputError(
            f"the card cannot be written as JSON ({error}); keep to text, numbers, lists"
        ) from error
    return {
        "format": FORMAT,
        "network": network.name,
        "front_end": asdict(front_end),
        "statistics": asdict(statistics),
        "card": written,
        "encoder": network.state_dict(),
    }


def write_encoder(
    path: Path,
    network: AudioNTT,
    front_end: FrontEnd,
    statistics: Statistics,
    *,
    card: Mapping[str, Any] | None = None,
) -> None:
    """Write an encoder as ``.safetensors``, whole or not at all; the same encoder gives the same bytes.

    Args:
        path: the file; its folder must exist.
        network: the network.
        front_end: the front end that it was trained with.
        statistics: the statistics that its input is normalised by.
        card: what is worth telling about the training, writable as JSON.

    Raises:
        InvalidInputError: the file's name ends otherwise, or the parts do not belong together.
        StorageError: the file cannot be written.
    """
    from safetensors.torch import save  # noqa: PLC0415

    if path.suffix != ".safetensors":
        raise InvalidInputError(f"{path}: encoders are written as .safetensors; choose a name that ends so")
    stored = make_entries(network, front_end, statistics, card=card)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in stored.pop("encoder").items()}
    metadata = {
        name: value if isinstance(value, str) else json.dumps(value, sort_keys=True) for name, value in stored.items()
    }
    write_whole(path, _in_order(save(tensors, metadata)))


def load_checkpoint(path: str | Path, *, prefix: str | None = None) -> Checkpoint:
    """Load an encoder from a file: the project's own, or published BYOL-A weights.

    Published weights may stand in nested dictionaries or below a prefix ("module.", "online_encoder.", ...). Where a
    file holds several networks, the prefix says which; below it there must be the network's tensors and no others.

    Args:
        path: a ``.pt``, ``.pth``, ``.ckpt`` or ``.safetensors`` file.
        prefix: what the wanted network's tensor names begin with, for files that hold several networks.

    Raises:
        NotFoundError: there is no such file.
        InvalidInputError: it is damaged, contains code, or does not contain an encoder of a known form; or ``path`` is
            not a path.
    """
    path = user_path(path)
    content, metadata = read_file(path)
    if is_own_checkpoint(metadata):
        content = {**_decoded(metadata, path), "encoder": content}
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
    front_end = FrontEnd(**_settings(FrontEnd, content["front_end"], f"{path}: front_end"))
    statistics = Statistics(**_settings(Statistics, content["statistics"], f"{path}: statistics"))
    weights, card = (value if isinstance(value := content.get(name), Mapping) else {} for name in ("encoder", "card"))
    network = read_network(weights, path, n_mels=front_end.n_mels, name=str(content["network"]), prefix=prefix)
    return Checkpoint(network=network, front_end=front_end, statistics=statistics, card=dict(card))


def is_own_checkpoint(entries: Mapping[str, Any]) -> bool:
    """Whether a file with these entries or metadata is of the project's own format, in any of its versions."""
    return str(entries.get("format", "")).startswith(FAMILY)


def _decoded(metadata: Mapping[str, str], path: Path) -> dict[str, Any]:
    decoded: dict[str, Any] = dict(metadata)
    for name in ("front_end", "statistics", "card"):
        decoded[name] = parse_json(metadata.get(name, "{}"), f"{path}: {name}")
    return decoded


def _settings(record: type, values: object, what: str) -> dict[str, Any]:
    """Stored settings, whole and without others, as the arguments of a record."""
    names = {field.name for field in fields(record)}
    given = {str(name) for name in values} if isinstance(values, Mapping) else set()
    if not isinstance(values, Mapping) or given != names:
        odd = name_few(sorted(given ^ names))
        raise InvalidInputError(f"{what}: {odd} missing or unknown; it must hold {', '.join(sorted(names))}")
    return dict(values)


def _in_order(data: bytes) -> bytes:
    """A safetensors file whose metadata stand in alphabetical order; the library's order differs from call to call.

    Source: the safetensors format: eight bytes of length, a JSON header padded with spaces to a multiple of eight,
    then the tensors, whose positions count from the header's end.
    """
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data[8 + length :]
