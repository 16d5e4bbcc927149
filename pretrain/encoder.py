"""The kind ``byola``: AudioNTT encoders from checkpoints, the project's own and the published BYOL-A weights."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from bgknown.errors import InvalidInputError
from bgknown.sounds import SoundList
from pretrain.checkpoint import is_own_checkpoint, load_checkpoint
from pretrain.config import list_unused_settings
from pretrain.frontend import FrontEnd, LogMelSpectrogram, Statistics, check_audio, measure
from pretrain.networks import CHANNELS, AudioNTT
from pretrain.weights import FIRST, find_prefixes, flatten_tensors, read_tensors

LOOKS_FOR = "AudioNTT weights (features.0.weight, fc.0.weight, fc.3.weight) or the format of this project's checkpoints"
"""What checkpoints are recognised by."""

_CPU_FRAMES = 4_096
_DEVICE_FRAMES = 32_768


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options after the checkpoint's path."""

    mean: float | None = None
    """Mean of the log-mel to normalise by, with std; overrides the checkpoint's or the task's."""
    std: float | None = None
    """Standard deviation of the log-mel to normalise by, with mean."""
    prefix: str | None = None
    """What the names of the network's tensors start with, in a file of several networks."""


class ByolaEncoder:
    """An AudioNTT network behind its front end, with statistics to normalise by.

    Audio too short for one frame after the network's poolings is padded with zeros to the shortest that gives one
    (30 ms for AudioNTT2022, 70 ms for AudioNTT2020 at a hop of 10 ms). Longer audio is embedded unchanged, except for
    frames at the end that do not fill a pooling.
    """

    def __init__(
        self,
        network: AudioNTT,
        front_end: FrontEnd,
        statistics: Statistics | None,
        *,
        name: str,
        trained_on: SoundList | None = None,
        training_settings: Mapping[str, str | int | float] | None = None,
    ) -> None:
        """Combine the parts; the network is put into evaluation mode.

        Args:
            network: the network, for the front end's number of mel bands.
            front_end: the front end.
            statistics: what the log-mel is normalised by; None only in a class that can measure them on audio.
            name: name of the encoder in results.
            trained_on: the clips that the network was trained on, empty for none; None where that is unknown.
            training_settings: how it was trained, as far as that is known.

        Raises:
            InvalidInputError: network and front end differ in their mel bands.
        """
        if network.n_mels != front_end.n_mels:
            raise InvalidInputError(
                f"encoder {name}: the network takes {network.n_mels} mel bands, the front end makes "
                f"{front_end.n_mels}; they must be equal"
            )
        self.name = name
        self.rate_hz = front_end.rate_hz
        self.embedding_size = network.embedding_size
        self.network = network.eval()
        self.front_end = front_end
        self.statistics = statistics
        self.trained_on = trained_on
        self.training_settings = dict(training_settings or {})
        self._log_mel = LogMelSpectrogram(front_end)
        self._device = torch.device("cpu")

    @property
    def configuration(self) -> dict[str, Any]:
        """Network, front end and statistics, writable as JSON; statistics are None before ``fit``."""
        return {
            "network": {
                "name": self.network.name,
                "n_mels": self.network.n_mels,
                "hidden": self.network.hidden,
                "embedding_size": self.network.embedding_size,
            },
            "front_end": asdict(self.front_end),
            "statistics": asdict(self.statistics) if self.statistics else None,
        }

    def to(self, device: str | torch.device) -> Self:
        """Move network and front end to a device, in place."""
        self._device = torch.device(device)
        self.network.to(self._device)
        self._log_mel.to(self._device)
        return self

    @torch.no_grad()
    def embed(self, audio: Tensor) -> Tensor:
        """Embed a batch of clips, independently of each other.

        Args:
            audio: [B, N] floating point at ``rate_hz``, N at least 1, on any device.

        Returns:
            [B, D] float32 on the encoder's device.

        Raises:
            InvalidInputError: the audio has another shape or type, or there are no statistics yet.
        """
        return torch.cat([self.network(part).float() for part in self._normalise_parts(audio)])

    @torch.no_grad()
    def frames(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        """Embed the frames of a batch of clips, before the pooling over time.

        Args:
            audio: [B, N] floating point at ``rate_hz``, N at least 1, on any device.

        Returns:
            embeddings [B, T', D] float32 and times [B, T'] in ms, both on the encoder's device. A frame covers 4
            (AudioNTT2022) or 8 (AudioNTT2020) frames of the log-mel, and its time is the middle of their centres.

        Raises:
            InvalidInputError: the audio has another shape or type, or there are no statistics yet.
        """
        features = torch.cat([self.network.frame_features(part).float() for part in self._normalise_parts(audio)])
        pooled = 2**self.network.poolings
        places = torch.arange(features.shape[1], device=features.device, dtype=torch.float32)
        times_ms = (places * pooled + (pooled - 1) / 2) * (1_000.0 * self.front_end.hop / self.rate_hz)
        return features, times_ms.expand(features.shape[:2]).clone()

    def _normalise_parts(self, audio: Tensor) -> Iterator[Tensor]:
        """Normalised log-mels of the batch, a few clips at a time.

        The first convolution's output is 16 KiB a frame: small parts fit in the cache of a CPU, and the memory of a GPU
        does not limit the batch.
        """
        if self.statistics is None:
            raise InvalidInputError(
                f"encoder {self.name}: mean and standard deviation of the log-mel are not known yet; call fit with "
                f"the task's training audio first, or give both as options: ?mean=...&std=..."
            )
        padded = self._pad(audio)
        frames = 1 + padded.shape[1] // self.front_end.hop
        clips = max(1, (_CPU_FRAMES if self._device.type == "cpu" else _DEVICE_FRAMES) // frames)
        for part in torch.split(padded, clips):
            yield self.statistics.normalise(self._log_mel(part))

    def _pad(self, audio: Tensor) -> Tensor:
        check_audio(audio)
        shortest = (2**self.network.poolings - 1) * self.front_end.hop
        return nn.functional.pad(audio.to(self._device), (0, max(0, shortest - audio.shape[1])))


class FittedByolaEncoder(ByolaEncoder):
    """An AudioNTT encoder whose statistics come from the training audio of the task it is measured on."""

    @torch.no_grad()
    def fit(self, batches: Iterable[Tensor]) -> None:
        """Measure mean and standard deviation of the log-mel on all training audio of a task; each call starts afresh.

        Args:
            batches: audio batches [B, N], in any order.

        Raises:
            InvalidInputError: there is no audio, it is silent throughout, or it holds NaN or infinite samples.
        """
        self.statistics = None
        try:
            self.statistics = measure(self._log_mel(self._pad(batch)) for batch in batches)
        except InvalidInputError as error:
            raise InvalidInputError(f"encoder {self.name}: {error}") from error


def make_encoder(
    network: AudioNTT,
    front_end: FrontEnd,
    statistics: Statistics | None,
    *,
    name: str,
    mean: float | None = None,
    std: float | None = None,
    trained_on: SoundList | None = None,
    training_settings: Mapping[str, str | int | float] | None = None,
) -> ByolaEncoder:
    """Create an encoder with statistics, or without them one that has ``fit``.

    Args:
        network: the network.
        front_end: its front end.
        statistics: its statistics, if it has any.
        name: name of the encoder in results.
        mean: overrides those statistics, together with std.
        std: overrides those statistics, together with mean.
        trained_on: the clips that the network was trained on, empty for none; None where that is unknown.
        training_settings: how it was trained, as far as that is known.

    Raises:
        InvalidInputError: only one of mean and std is given, or they are not valid.
    """
    if (mean is None) != (std is None):
        raise InvalidInputError(f"encoder {name}: mean is {mean} and std {std}; give both or neither")
    if mean is not None and std is not None:
        statistics = Statistics(mean=mean, std=std)
    kind = FittedByolaEncoder if statistics is None else ByolaEncoder
    return kind(network, front_end, statistics, name=name, trained_on=trained_on, training_settings=training_settings)


def load(target: str, options: Options) -> ByolaEncoder:
    """Load an encoder from a checkpoint.

    Args:
        target: the path of a ``.pt``, ``.pth``, ``.ckpt`` or ``.safetensors`` file.
        options: statistics that override the checkpoint's; which network of several.

    Raises:
        NotFoundError: there is no such file.
        InvalidInputError: no target, or the file is damaged, holds code, or holds no AudioNTT encoder.
    """
    path = _path(target)
    checkpoint = load_checkpoint(path, prefix=options.prefix)
    return make_encoder(
        checkpoint.network,
        checkpoint.front_end,
        checkpoint.statistics,
        name=str(checkpoint.card.get("name") or path.stem),
        mean=options.mean,
        std=options.std,
        trained_on=checkpoint.trained_on,
        training_settings=list_training_settings(checkpoint.card),
    )


def list_training_settings(card: Mapping[str, Any]) -> dict[str, str | int | float]:
    """How an encoder was trained, from the card of its checkpoint: by ``table.key``, the corpus and the steps done.

    Settings that a card leaves out because they were not in use have the values that say so.
    """
    config, corpus = (found if isinstance(found := card.get(name), Mapping) else {} for name in ("config", "corpus"))
    settings = (list_unused_settings() if isinstance(config.get("objective"), Mapping) else {}) | {
        f"{table}.{key}": value
        for table, values in config.items()
        if isinstance(values, Mapping)
        for key, value in values.items()
    }
    settings |= {"corpus": corpus.get("index_sha256"), "steps_done": card.get("steps_done")}
    return {name: value for name, value in settings.items() if isinstance(value, str | int | float)}


def weights_of(target: str, options: Options) -> list[Path]:
    """The checkpoint: the one file whose bytes are the weights."""
    return [_path(target)]


def recognises(path: Path) -> bool:
    """Whether a checkpoint is of this kind; ``load`` then reports what is wrong with it, if anything.

    Args:
        path: a ``.pt``, ``.pth``, ``.ckpt`` or ``.safetensors`` file; it is read as data only.

    Raises:
        InvalidInputError: the file is damaged, or holds code.
    """
    content, metadata = read_tensors(path)
    if is_own_checkpoint(metadata) or is_own_checkpoint(content):
        return True
    shapes = {name: tuple(tensor.shape) for name, tensor in flatten_tensors(content)}
    return any(shapes[prefix + FIRST] == (CHANNELS, 1, 3, 3) for prefix in find_prefixes(shapes))


def _path(target: str) -> Path:
    if not target:
        raise InvalidInputError(
            "byola: the checkpoint is missing; give its path, for example byola:encoder.safetensors"
        )
    return Path(target)
