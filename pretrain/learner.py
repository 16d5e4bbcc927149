"""The networks that learn: the online encoder with its heads, and the target that follows it.

Shape letters: B clips, F mel bands, T frames, D embedding size, P projection size. A batch of two views is [2 B, ...],
the first view's clips first.

What BatchNorm sees: both views {v, v'} as one batch, both mixtures {w, w'} as another, both shifted references as a
third. Running statistics, which the finished encoder is evaluated with, are taken from {v, v'} alone, so that they are
those of plain sound whatever lambda is. The target network stays in training mode: its BatchNorm and dropout work as
the online network's do. Its parameters are an exponential moving average of the online ones; its running statistics
are its own, from the same views, and nothing reads them.

Source: D. Takeuchi, M. Yasuda, D. Niizumi, N. Harada, "Towards Learning a Difference-Aware General-Purpose Audio
Representation", section 4; J.-B. Grill et al., "Bootstrap your own latent", NeurIPS 2020.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from pretrain.batchnorm import replace_batch_norms
from pretrain.config import Config, NetworkSettings
from pretrain.networks import AudioNTT, AudioNTT2020, AudioNTT2022, initialise_weights
from pretrain.objective import make_head, measure_spread, mix, subtract_background, symmetric
from pretrain.ranks import ALONE, Ranks


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What one step shows the networks."""

    views: Tensor
    """[2 B, 1, F, T] both views, normalised."""
    kept: Tensor
    """Dropout's draw for the online network, [2 B, ...]; see ``networks.draw_kept``."""
    kept_target: Tensor
    """Dropout's draw for the target network."""
    gamma: Tensor | None = None
    """[2 B] share of the successor in each mixture; None without a difference loss."""
    kept_mixed: Tensor | None = None
    """Dropout's draw for the mixtures."""
    scale: Tensor | float = 1.0
    """What views are multiplied by before they are mixed as powers; see ``objective.mix``."""
    reference: Tensor | None = None
    """[2 B, 1, F, T] views of the clips at another time, to be subtracted in place of the views themselves."""
    kept_reference: Tensor | None = None
    """Dropout's draw for the references."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Losses:
    """What came of one step; single values."""

    total: Tensor
    """(1 - lambda) byol + lambda difference; gradients flow through it."""
    byol: Tensor
    """Loss of BYOL, 0..4."""
    difference: Tensor
    """Loss of the difference, 0..4; NaN without one."""
    target_spread: Tensor
    """How far the target's projections lie apart, 0..1; near 0 the networks have collapsed."""
    embedding_spread: Tensor
    """How far the embeddings lie apart, 0..1."""

    def values(self) -> Tensor:
        """All of them in their order, without gradients: [5]."""
        return torch.stack([getattr(self, field.name).detach().float() for field in fields(self)])

    @classmethod
    def mean(cls, parts: list[Losses]) -> Losses:
        """The mean over the parts of a batch, without gradients."""
        values = torch.stack([part.values() for part in parts]).mean(dim=0)
        return cls(**{field.name: value for field, value in zip(fields(cls), values, strict=True)})


class Learner(nn.Module):
    """Online encoder, projector, predictors, and the target.

    With lambda 0 there is no second predictor and no second pass: it is BYOL-A, at BYOL-A's cost.
    """

    def __init__(self, config: Config, ranks: Ranks = ALONE) -> None:
        """Make all networks and initialise them from the seed.

        The encoder begins as ``audiontt2022-untrained`` with the same seed, whatever lambda is.

        Args:
            config: of the run.
            ranks: the processes that the batch is spread over.
        """
        super().__init__()
        seed, settings = config.training.seed, config.objective
        self.weight, self.decay, self.ranks = settings.lambda_, settings.target_decay, ranks
        self.encoder = make_network(config.network, config.front_end.n_mels, seed)
        self.target_encoder = make_network(config.network, config.front_end.n_mels, seed)

        def head(name: str, values: int) -> nn.Sequential:
            with torch.device("meta"):  # no layer draws from the global generator
                made = make_head(values, hidden=settings.head_hidden, out=settings.projection)
            initialise_weights(made.to_empty(device="cpu"), seed, prefix=f"{name}.")
            return made

        self.projector = head("projector", self.encoder.embedding_size)
        self.target_projector = head("projector", self.encoder.embedding_size)
        self.predictor = head("predictor", settings.projection)
        self.difference_predictor = head("difference_predictor", settings.projection) if self.weight else None
        for target in (self.target_encoder, self.target_projector):
            target.requires_grad_(False)
        for bias in self._without_effect():
            bias.requires_grad_(False)
        replace_batch_norms(ranks, self)

    def forward(self, inputs: Inputs) -> Losses:
        """Both losses of one batch; call it in training mode."""
        embeddings = self.encoder(inputs.views, inputs.kept)
        predictions = self.predictor(self.projector(embeddings))
        with torch.no_grad():
            targets = self.target_projector(self.target_encoder(inputs.views, inputs.kept_target))
        byol = symmetric(predictions, targets)
        total, loss = byol, torch.full_like(byol.detach(), torch.nan)
        if self.difference_predictor is not None and inputs.gamma is not None:
            remaining = self._remaining(inputs, embeddings)
            loss = symmetric(self.difference_predictor(self.projector(remaining)), targets)
            total = (1.0 - self.weight) * byol + self.weight * loss
        return Losses(
            total=total,
            byol=byol.detach(),
            difference=loss.detach(),
            target_spread=measure_spread(targets, self.ranks),
            embedding_spread=measure_spread(embeddings, self.ranks),
        )

    def _remaining(self, inputs: Inputs, embeddings: Tensor) -> Tensor:
        """f(w) - gamma s(f(v)), or with f of the shifted references in place of f(v): [2 B, D]."""
        assert inputs.gamma is not None
        mixtures = mix(inputs.views, inputs.gamma, scale=inputs.scale, ranks=self.ranks)
        with _statistics_kept(self.encoder):
            mixed = self.encoder(mixtures, inputs.kept_mixed)
            if inputs.reference is not None:
                embeddings = self.encoder(inputs.reference, inputs.kept_reference)
        return subtract_background(mixed, embeddings, inputs.gamma, ranks=self.ranks)

    def _without_effect(self) -> Iterator[nn.Parameter]:
        """Biases that a later BatchNorm takes off again, so that no loss depends on them: their gradient is 0.

        In floating point it is rounding, which Adam, whose steps do not depend on a gradient's size, would follow at
        the full learning rate.
        """
        for layers in self.modules():
            if isinstance(layers, nn.Sequential):
                for layer, following in itertools.pairwise(layers):
                    if isinstance(following, _BatchNorm) and isinstance(layer.bias, nn.Parameter):
                        yield layer.bias
        last = self.projector[-1].bias  # goes through a predictor's first layer into its BatchNorm
        assert isinstance(last, nn.Parameter)
        yield last

    @torch.no_grad()
    def follow(self) -> None:
        """Move the target towards the online network: target = decay target + (1 - decay) online."""
        for target, online in ((self.target_encoder, self.encoder), (self.target_projector, self.projector)):
            for behind, ahead in zip(target.parameters(), online.parameters(), strict=True):
                behind.lerp_(ahead, 1.0 - self.decay)

    def trained(self) -> list[nn.Parameter]:
        """The parameters that gradients reach."""
        return [parameter for parameter in self.parameters() if parameter.requires_grad]


def make_network(settings: NetworkSettings, n_mels: int, seed: int) -> AudioNTT:
    """The encoder of a configuration, initialised from a seed."""
    if settings.name == AudioNTT2020.name:
        return AudioNTT2020(n_mels=n_mels, d=settings.d, seed=seed)
    return AudioNTT2022(n_mels=n_mels, d=settings.d, hidden=settings.hidden, seed=seed)


@contextlib.contextmanager
def _statistics_kept(network: nn.Module) -> Iterator[None]:
    """BatchNorm works as in training, and leaves its running statistics as they are."""
    layers: list[Any] = [layer for layer in network.modules() if isinstance(layer, _BatchNorm)]
    for layer in layers:
        layer.track_running_stats = False
    try:
        yield
    finally:
        for layer in layers:
            layer.track_running_stats = True
