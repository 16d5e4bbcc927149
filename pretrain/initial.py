"""Starting weights: an encoder from a file as the start of a training, in place of weights drawn from the seed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bgknown.errors import InvalidInputError
from bgknown.jobs.files import hash_bytes
from bgknown.sounds import SoundList
from bgknown.userpath import user_path
from pretrain.checkpoint import load_checkpoint
from pretrain.config import Config
from pretrain.networks import AudioNTT, AudioNTT2020


@dataclass(frozen=True, slots=True, kw_only=True)
class InitialEncoder:
    """The encoder that a training starts from."""

    file: str
    """Name of the file, without folders."""
    sha256: str
    """SHA-256 of the file."""
    network: AudioNTT
    """The network with its weights."""
    trained_on: SoundList | None
    """What it was trained on; None where that is unknown, as for published weights."""

    def describe(self) -> dict[str, str]:
        """What is stored about it in the card of a run."""
        return {"file": self.file, "sha256": self.sha256}


def load_initial(path: Path, config: Config) -> InitialEncoder:
    """Load the encoder that a training starts from, if it is the configuration's.

    Args:
        path: published BYOL-A weights, a run's ``checkpoint.pt``, or an exported ``.safetensors``.
        config: configuration of the training.

    Raises:
        NotFoundError: there is no such file.
        InvalidInputError: it is damaged or holds no encoder, or network or front end are not the configuration's.
    """
    path = user_path(path)
    found = load_checkpoint(path)
    differences = [
        *_list_differences(_describe_network(found.network), asdict(config.network), "network"),
        *_list_differences(asdict(found.front_end), asdict(config.front_end), "front_end"),
    ]
    if differences:
        fitting = " ".join(f"--set {name}={value}" for name, value, _ in differences)
        what = "; ".join(f"{name} is {value} in the file but {other} here" for name, value, other in differences)
        raise InvalidInputError(f"--init {path}: does not fit the configuration: {what}; add {fitting}")
    return InitialEncoder(
        file=path.name, sha256=hash_bytes(path.read_bytes()), network=found.network, trained_on=found.trained_on
    )


def _describe_network(network: AudioNTT) -> dict[str, Any]:
    """The settings that a network was made with; AudioNTT2020 has d hidden units, whatever the setting."""
    sizes = {"name": network.name, "d": network.embedding_size}
    return sizes if network.name == AudioNTT2020.name else {**sizes, "hidden": network.hidden}


def _list_differences(there: dict[str, Any], here: dict[str, Any], table: str) -> list[tuple[str, Any, Any]]:
    return [(f"{table}.{key}", value, here.get(key)) for key, value in there.items() if here.get(key) != value]
