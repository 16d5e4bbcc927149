"""The AudioNTT networks of BYOL-A: from log-mel spectrograms to embeddings.

Shape letters: B batch, F mel bands, T frames, C channels, D embedding size. T' is the number of frames that
the poolings leave, T // 2 ** poolings. The names in the state dicts are those of the published weights.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from bgknown import seeding
from bgknown.errors import InvalidInputError
from pretrain.batchnorm import fold_batch_norm

CHANNELS = 64
"""C, of every convolution."""
DROPOUT = 0.3
"""Share of the units between the linear layers that a training step drops."""


class AudioNTT2022(nn.Module):
    """Two convolution blocks; each frame's features, followed by what two linear layers make of them.

    Source: D. Niizumi, D. Takeuchi, Y. Ohishi, N. Harada, K. Kashino, "BYOL for Audio: Exploring Pre-trained
    General-purpose Audio Representations", IEEE/ACM TASLP 31, 2023 (arXiv:2204.07402), section III-C.
    """

    name: ClassVar[str] = "AudioNTT2022"
    """Its name in checkpoints."""
    poolings: ClassVar[int] = 2
    """Number of times that time and frequency are halved."""

    def __init__(self, n_mels: int = 64, d: int = 3_072, *, hidden: int = 2_048, seed: int = 0) -> None:
        """Create the network and initialise it from the seed.

        Args:
            n_mels: F, at least 4.
            d: D; values beyond C * (F // 4) come from the linear layers.
            hidden: units of the first linear layer.
            seed: for ``initialise_weights``.

        Raises:
            InvalidInputError: a size is too small.
        """
        super().__init__()
        local = _frame_values(n_mels, self.poolings)
        if d <= local or hidden < 1:
            raise InvalidInputError(
                f"{self.name}: d is {d} and hidden {hidden}; with {n_mels} mel bands d must exceed {local}, "
                f"the size of the convolution features, and hidden be at least 1"
            )
        self.n_mels, self.hidden, self.embedding_size = n_mels, hidden, d
        with torch.device("meta"):  # no layer draws from the global generator
            self.features = _blocks(self.poolings)
            self.fc = _linear_layers(local, hidden, d - local)
        self.to_empty(device="cpu")
        initialise_weights(self, seed)

    def frame_features(self, log_mel: Tensor, mask: Tensor | None = None) -> Tensor:
        """Features of each frame: normalised log-mel [B, 1, F, T] -> [B, T', D], convolution features first.

        Args:
            log_mel: the clips.
            mask: dropout mask from ``draw_dropout_mask``; None for no dropout.
        """
        return torch.cat(self._parts(log_mel, mask), dim=2)

    def forward(self, log_mel: Tensor, mask: Tensor | None = None) -> Tensor:
        """Embed clips: normalised log-mel [B, 1, F, T] -> [B, D]; ``mask`` as for ``frame_features``."""
        return torch.cat([mean_and_max(part) for part in self._parts(log_mel, mask)], dim=1)

    def _parts(self, log_mel: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        local = _flatten(self.features(_check_log_mel(log_mel, self.n_mels, self.poolings)))
        return local, _apply_linear(self.fc, local, mask)


class AudioNTT2020(nn.Module):
    """Three convolution blocks and two linear layers on each frame.

    Source: D. Niizumi, D. Takeuchi, Y. Ohishi, N. Harada, K. Kashino, "BYOL for Audio: Self-supervised Learning for
    General-purpose Audio Representation", IJCNN 2021 (arXiv:2103.06695).
    """

    name: ClassVar[str] = "AudioNTT2020"
    """Its name in checkpoints."""
    poolings: ClassVar[int] = 3
    """Number of times that time and frequency are halved."""

    def __init__(self, n_mels: int = 64, d: int = 512, *, seed: int = 0) -> None:
        """Create the network and initialise it from the seed.

        Args:
            n_mels: F, at least 8.
            d: D, the units of both linear layers; 512, 1,024 and 2,048 were published.
            seed: for ``initialise_weights``.

        Raises:
            InvalidInputError: a size is too small.
        """
        super().__init__()
        local = _frame_values(n_mels, self.poolings)
        if d < 1:
            raise InvalidInputError(f"{self.name}: d is {d}; it must be at least 1")
        self.n_mels, self.hidden, self.embedding_size = n_mels, d, d
        with torch.device("meta"):  # no layer draws from the global generator
            self.features = _blocks(self.poolings)
            self.fc = _linear_layers(local, d, d)
        self.to_empty(device="cpu")
        initialise_weights(self, seed)

    def frame_features(self, log_mel: Tensor, mask: Tensor | None = None) -> Tensor:
        """Features of each frame: normalised log-mel [B, 1, F, T] -> [B, T', D].

        Args:
            log_mel: the clips.
            mask: dropout mask from ``draw_dropout_mask``; None for no dropout.
        """
        return _apply_linear(
            self.fc, _flatten(self.features(_check_log_mel(log_mel, self.n_mels, self.poolings))), mask
        )

    def forward(self, log_mel: Tensor, mask: Tensor | None = None) -> Tensor:
        """Embed clips: normalised log-mel [B, 1, F, T] -> [B, D]; ``mask`` as for ``frame_features``."""
        return mean_and_max(self.frame_features(log_mel, mask))


AudioNTT = AudioNTT2022 | AudioNTT2020
"""Any of the networks."""

NETWORKS: dict[str, type[AudioNTT2022] | type[AudioNTT2020]] = {
    network.name: network for network in (AudioNTT2022, AudioNTT2020)
}
"""The networks by the names that checkpoints use."""


def draw_dropout_mask(network: AudioNTT, clips: int, frames: int, generator: torch.Generator) -> Tensor:
    """Draw a dropout mask: which units between the linear layers a training step keeps.

    Args:
        network: the network whose units are dropped.
        clips: B.
        frames: T, of the log-mel.
        generator: the mask is drawn on its device.

    Returns:
        [B, T', units] bool.
    """
    units = (clips, frames // 2**network.poolings, network.hidden)
    # four units to a draw of 64 bits: a draw for each would take a twentieth of a step on a CPU
    draws = torch.empty(-(-math.prod(units) // 4), dtype=torch.int64, device=generator.device)
    draws.random_(-(2**63), None, generator=generator)
    return draws.view(torch.int16)[: math.prod(units)].view(units) >= round(DROPOUT * 2**16) - 2**15


def mean_and_max(frames: Tensor) -> Tensor:
    """Mean over time plus maximum over time, in float32: [B, T', D] -> [B, D]."""
    return frames.mean(dim=1, dtype=torch.float32) + frames.amax(dim=1).float()


def initialise_weights(network: nn.Module, seed: int, *, prefix: str = "") -> None:
    """Draw all weights again, in place, from the seed and the parameters' names alone.

    The distributions are torch's defaults for these layers, which the published training code uses: weights and biases
    of convolutions and linear layers uniform in +-1/sqrt(fan in); BatchNorm as identity, its running statistics reset.
    They are drawn by numpy, so that a seed gives the same network on every machine.

    Args:
        network: convolutions, linear and BatchNorm layers, and layers without parameters.
        seed: any integer.
        prefix: what the names begin with, so that networks of the same form can differ.
    """
    for name, layer in network.named_modules():
        if isinstance(layer, nn.BatchNorm2d | nn.BatchNorm1d):
            layer.reset_parameters()
        elif isinstance(layer, nn.Conv2d | nn.Linear):
            bound = 1.0 / math.sqrt(layer.weight[0].numel())
            for part, values in layer.named_parameters(recurse=False):
                generator = seeding.make_generator(seed, "initialise", f"{prefix}{name}.{part}")
                with torch.no_grad():
                    values.copy_(torch.from_numpy(generator.uniform(-bound, bound, values.shape)))


class _Blocks(nn.Sequential):
    """Convolution, BatchNorm, pooling and ReLU, block after block."""

    def forward(self, log_mel: Tensor) -> Tensor:
        """Normalised log-mel [B, 1, F, T] -> [B, C, F', T'].

        The first block has by far the most values; in training its BatchNorm is folded into its convolution.
        """
        convolution, norm, *others = self
        if norm.training and not log_mel.requires_grad:
            maps = nn.functional.conv2d(log_mel, *fold_batch_norm(convolution, norm, log_mel), padding=1)
        else:
            maps = norm(convolution(log_mel))
        for layer in others:
            maps = layer(maps)
        return maps


def _blocks(count: int) -> _Blocks:
    layers: list[nn.Module] = []
    for block in range(count):
        layers += [
            nn.Conv2d(CHANNELS if block else 1, CHANNELS, 3, padding=1),
            nn.BatchNorm2d(CHANNELS),
            nn.MaxPool2d(2),  # before the ReLU, not after it: the result is the same, on a quarter of the values
            nn.ReLU(inplace=True),
        ]
    return _Blocks(*layers)


def _linear_layers(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    # The third layer takes the place of dropout in the published networks. Here the mask is an argument of the call,
    # because torch's own layer draws from the global generator.
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Identity(), nn.Linear(hidden, outputs), nn.ReLU())


def _apply_linear(layers: nn.Sequential, local: Tensor, mask: Tensor | None) -> Tensor:
    """The linear layers, without the units that the mask drops; the others are scaled up to compensate."""
    hidden: Tensor = layers[:3](local)
    if mask is not None:
        hidden = hidden * mask.to(hidden.dtype) * (1.0 / (1.0 - DROPOUT))
    features: Tensor = layers[3:](hidden)
    return features


def _flatten(maps: Tensor) -> Tensor:
    """Each frame's features in a row, mel band by mel band, in each all channels: [B, C, F', T'] -> [B, T', F' * C].

    The published linear layers expect this order.
    """
    return maps.permute(0, 3, 2, 1).flatten(2)


def _frame_values(n_mels: int, poolings: int) -> int:
    if n_mels < 2**poolings:
        raise InvalidInputError(f"{n_mels} mel bands; {poolings} poolings by two need at least {2**poolings}")
    return int(CHANNELS * (n_mels // 2**poolings))


def _check_log_mel(log_mel: Tensor, n_mels: int, poolings: int) -> Tensor:
    if log_mel.dim() != 4 or log_mel.shape[1] != 1 or log_mel.shape[2] != n_mels:
        raise InvalidInputError(f"log-mel of shape {list(log_mel.shape)}; it must be [clips, 1, {n_mels}, frames]")
    if log_mel.shape[3] < 2**poolings:
        raise InvalidInputError(
            f"log-mel of {log_mel.shape[3]} frames; {poolings} poolings by two need at least {2**poolings}: "
            f"pad the audio"
        )
    return log_mel
