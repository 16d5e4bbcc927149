"""The networks that learn: the online encoder with its heads, and the target that follows it.

Shape letters: B clips, F mel bands, T frames, D embedding size, P projection size. A batch of two views is [2 B, ...],
the first view's clips first.

What BatchNorm sees: both views {v, v'} as one batch, both mixtures {w, w'} as another, both shifted references as a
third. Running statistics, which the finished encoder is evaluated with, come from {v, v'} alone, so that they are
those of plain sound whatever lambda is. The target network stays in training mode: its BatchNorm and dropout work like
those of the online network. Its parameters are an exponential moving average of the online ones; its running statistics
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
from pretrain.objective import compute_symmetric_distance, make_head, measure_spread, mix, subtract_background
from pretrain.ranks import ALONE, Ranks


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What the networks see in one step."""

    views: Tensor
    """[2 B, 1, F, T] both views, normalised."""
    mask: Tensor
    """Dropout mask of the online network, [2 B, ...]; see ``networks.draw_dropout_mask``."""
    target_mask: Tensor
    """Dropout mask of the target network."""
    gamma: Tensor | None = None
    """[2 B] share of the successor in each mixture; None without a difference loss."""
    mixture_mask: Tensor | None = None
    """Dropout mask of the mixtures."""
    scale: Tensor | float = 1.0
    """Factor of the views before they are mixed as powers; see ``objective.mix``."""
    reference: Tensor | None = None
    """[2 B, 1, F, T] views of the clips at another time, subtracted in place of the views themselves."""
    reference_mask: Tensor | None = None
    """Dropout mask of the references."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Losses:
    """The losses of one step; single values."""

    total: Tensor
    """(1 - lambda) byol + lambda difference; gradients flow through it."""
    byol: Tensor
    """BYOL's loss, 0..4."""
    difference: Tensor
    """The difference loss, 0..4; NaN without one."""
    target_spread: Tensor
    """Spread of the target's projections, 0..1; near 0 the networks have collapsed."""
    embedding_spread: Tensor
    """Spread of the embeddings, 0..1."""

    def stack(self) -> Tensor:
        """All losses in the order of the fields, without gradients: [5]."""
        return torch.stack([getattr(self, field.name).detach().float() for field in fields(self)])

    @classmethod
    def mean(cls, parts: list[Losses]) -> Losses:
        """The mean over the parts of a batch, without gradients."""
        values = torch.stack([part.stack() for part in parts]).mean(dim=0)
        return cls(**{field.name: value for field, value in zip(fields(cls), values, strict=True)})


class Learner(nn.Module):
    """Online encoder, projector, predictors, and the target.

    With lambda 0 there is neither a second predictor nor a second pass: that is BYOL-A, at the cost of BYOL-A.
    """

    def __init__(self, config: Config, ranks: Ranks = ALONE) -> None:
        """Create all networks and initialise them from the seed.

        The encoder starts as ``audiontt2022-untrained`` with the same seed, whatever lambda is.

        Args:
            config: configuration of the run.
            ranks: the processes that share the batch.
        """
        super().__init__()
        seed, settings = config.training.seed, config.objective
        self.weight, self.decay, self.ranks = settings.lambda_, settings.target_decay, ranks
        self.encoder = make_network(config.network, config.front_end.n_mels, seed)
        self.target_encoder = make_network(config.network, config.front_end.n_mels, seed)

        def head(name: str, values: int) -> nn.Sequential:
            with torch.device("meta"):  # no layer draws from the global generator
                layers = make_head(values, hidden=settings.head_hidden, out=settings.projection)
            initialise_weights(layers.to_empty(device="cpu"), seed, prefix=f"{name}.")
            return layers

        self.projector = head("projector", self.encoder.embedding_size)
        self.target_projector = head("projector", self.encoder.embedding_size)
        self.predictor = head("predictor", settings.projection)
        self.difference_predictor = head("difference_predictor", settings.projection) if self.weight else None
        for target in (self.target_encoder, self.target_projector):
            target.requires_grad_(False)
        for bias in self._find_biases_without_effect():
            bias.requires_grad_(False)
        replace_batch_norms(ranks, self)

    def forward(self, inputs: Inputs) -> Losses:
        """Both losses of one batch; the networks must be in training mode."""
        embeddings = self.encoder(inputs.views, inputs.mask)
        predictions = self.predictor(self.projector(embeddings))
        with torch.no_grad():
            targets = self.target_projector(self.target_encoder(inputs.views, inputs.target_mask))
        byol = compute_symmetric_distance(predictions, targets)
        total, difference = byol, torch.full_like(byol.detach(), torch.nan)
        if self.difference_predictor is not None and inputs.gamma is not None:
            remainder = self._embed_remainder(inputs, embeddings)
            difference = compute_symmetric_distance(self.difference_predictor(self.projector(remainder)), targets)
            total = (1.0 - self.weight) * byol + self.weight * difference
        return Losses(
            total=total,
            byol=byol.detach(),
            difference=difference.detach(),
            target_spread=measure_spread(targets, self.ranks),
            embedding_spread=measure_spread(embeddings, self.ranks),
        )

    def _embed_remainder(self, inputs: Inputs, embeddings: Tensor) -> Tensor:
        """f(w) - gamma s(f(v)), or with f of the shifted references in place of f(v): [2 B, D]."""
        assert inputs.gamma is not None
        mixtures = mix(inputs.views, inputs.gamma, scale=inputs.scale, ranks=self.ranks)
        with _freeze_statistics(self.encoder):
            mixed = self.encoder(mixtures, inputs.mixture_mask)
            if inputs.reference is not None:
                embeddings = self.encoder(inputs.reference, inputs.reference_mask)
        return subtract_background(mixed, embeddings, inputs.gamma, ranks=self.ranks)

    def _find_biases_without_effect(self) -> Iterator[nn.Parameter]:
        """Biases that a later BatchNorm subtracts again, so that no loss depends on them: their gradient is 0.

        In floating point it is rounding noise, which Adam would follow at the full learning rate, because its steps do
        not depend on the size of a gradient.
        """
        for layers in self.modules():
            if isinstance(layers, nn.Sequential):
                for layer, following in itertools.pairwise(layers):
                    if isinstance(following, _BatchNorm) and isinstance(layer.bias, nn.Parameter):
                        yield layer.bias
        last = self.projector[-1].bias  # passes through a predictor's first layer into its BatchNorm
        assert isinstance(last, nn.Parameter)
        yield last

    @torch.no_grad()
    def move_target(self) -> None:
        """Move the target towards the online network: target = decay target + (1 - decay) online."""
        for target, online in ((self.target_encoder, self.encoder), (self.target_projector, self.projector)):
            for behind, ahead in zip(target.parameters(), online.parameters(), strict=True):
                behind.lerp_(ahead, 1.0 - self.decay)

    def list_trainable(self) -> list[nn.Parameter]:
        """The parameters that gradients reach."""
        return [parameter for parameter in self.parameters() if parameter.requires_grad]


def make_network(settings: NetworkSettings, n_mels: int, seed: int) -> AudioNTT:
    """Create the encoder of a configuration, initialised from a seed."""
    if settings.name == AudioNTT2020.name:
        return AudioNTT2020(n_mels=n_mels, d=settings.d, seed=seed)
    return AudioNTT2022(n_mels=n_mels, d=settings.d, hidden=settings.hidden, seed=seed)


@contextlib.contextmanager
def _freeze_statistics(network: nn.Module) -> Iterator[None]:
    """BatchNorm works as in training, but leaves its running statistics unchanged."""
    layers: list[Any] = [layer for layer in network.modules() if isinstance(layer, _BatchNorm)]
    for layer in layers:
        layer.track_running_stats = False
    try:
        yield
    finally:
        for layer in layers:
            layer.track_running_stats = True
