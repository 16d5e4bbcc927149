"""The networks that learn: the online encoder with its heads, and the target that follows it.

Shape letters: B clips, F mel bands, T frames, D embedding size, P projection size. A batch of two views is [2 B, ...],
the first view's clips first.

What BatchNorm sees: both views {v, v'} as one batch, both mixtures {w, w'} as another, both shifted references as a
third; a contrastive or reverse term goes through the heads as a batch of its own. Running statistics, which the
finished encoder is evaluated with, come from {v, v'} alone, so that they are those of plain sound whatever lambda is.
The target network stays in training mode: its BatchNorm and dropout work like those of the online network. Its
parameters are an exponential moving average of the online ones; its running statistics are its own, from the same
views, and nothing reads them.

Source: D. Takeuchi, M. Yasuda, D. Niizumi, N. Harada, "Towards Learning a Difference-Aware General-Purpose Audio
Representation", section 4; J.-B. Grill et al., "Bootstrap your own latent", NeurIPS 2020.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from pretrain.batchnorm import replace_batch_norms
from pretrain.config import Config, NetworkSettings, ObjectiveSettings
from pretrain.networks import AudioNTT, AudioNTT2020, AudioNTT2022, initialise_weights
from pretrain.objective import (
    LearnedSubtraction,
    compute_contrast,
    compute_symmetric_distance,
    make_head,
    measure_spread,
    mix,
    shift_views,
    subtract_background,
)
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
    terms: dict[str, Tensor] = field(default_factory=dict)
    """The terms beyond the paper, by name; see ``list_terms``."""

    def stack(self) -> Tensor:
        """All losses in the order of the fields, then the n terms, without gradients: [5 + n]."""
        values = [getattr(self, one.name) for one in fields(self) if one.name != "terms"]
        return torch.stack([value.detach().float() for value in (*values, *self.terms.values())])

    @classmethod
    def mean(cls, parts: list[Losses]) -> Losses:
        """The mean over the parts of a batch, without gradients."""
        values = list(torch.stack([part.stack() for part in parts]).mean(dim=0))
        names = [one.name for one in fields(cls) if one.name != "terms"]
        terms = dict(zip(parts[0].terms, values[len(names) :], strict=True))
        return cls(**dict(zip(names, values[: len(names)], strict=True)), terms=terms)


def list_terms(settings: ObjectiveSettings) -> list[str]:
    """The names of the loss terms beyond the paper that are in use, in the order of ``Losses.terms``."""
    used = {"reverse": settings.reverse, "contrast": settings.contrast} if settings.lambda_ else {}
    return [name for name, weight in used.items() if weight]


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
        self.weight, self.decay, self.ranks, self.settings = settings.lambda_, settings.target_decay, ranks, settings
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
        self.subtraction = None
        if self.weight and settings.subtraction == "learned":
            middle = (settings.gamma_low + settings.gamma_high) / 2.0
            self.subtraction = LearnedSubtraction(self.encoder.embedding_size, middle)
        for target in (self.target_encoder, self.target_projector):
            target.requires_grad_(False)
        for bias in self._find_biases_without_effect():
            bias.requires_grad_(False)
        replace_batch_norms(ranks, self)

    def start_from(self, encoder: AudioNTT) -> None:
        """Give the online encoder and its target the weights of another encoder; heads keep those of the seed.

        Args:
            encoder: of the same network and sizes.
        """
        for network in (self.encoder, self.target_encoder):
            network.load_state_dict(encoder.state_dict())

    def forward(self, inputs: Inputs) -> Losses:
        """Both losses of one batch; the networks must be in training mode."""
        embeddings = self.encoder(inputs.views, inputs.mask)
        predictions = self.predictor(self.projector(embeddings))
        with torch.no_grad():
            targets = self.target_projector(self.target_encoder(inputs.views, inputs.target_mask))
        byol = compute_symmetric_distance(predictions, targets)
        total, difference = byol, torch.full_like(byol.detach(), torch.nan)
        terms: dict[str, Tensor] = {}
        if self.difference_predictor is not None and inputs.gamma is not None:
            mixed, known = self._embed_mixtures(inputs, embeddings)
            predicted = self._predict(mixed, shift_views(known, self.ranks), inputs.gamma)
            difference = compute_symmetric_distance(predicted, targets)
            terms = self._compute_terms(inputs.gamma, mixed, known, predicted, targets)
            total = (1.0 - self.weight) * byol + self.weight * self._weigh(difference, terms)
        return Losses(
            total=total,
            byol=byol.detach(),
            difference=difference.detach(),
            target_spread=measure_spread(targets, self.ranks),
            embedding_spread=measure_spread(embeddings, self.ranks),
            terms={name: term.detach() for name, term in terms.items()},
        )

    def _compute_terms(
        self, gamma: Tensor, mixed: Tensor, known: Tensor, predicted: Tensor, targets: Tensor
    ) -> dict[str, Tensor]:
        """The terms beyond the paper that are in use, by name.

        Args:
            gamma: [2 B] share of the successor in each mixture.
            mixed: [2 B, D] f(w).
            known: [2 B, D] f(v), or f of the references; the successors are the backgrounds.
            predicted: [2 B, P] the predictions of the difference loss.
            targets: [2 B, P] target projections of the views.
        """
        terms: dict[str, Tensor] = {}
        for name in list_terms(self.settings):
            if name == "reverse":  # the successor is the event now, and the clip itself the background
                reverse = self._predict(mixed, known, 1.0 - gamma)
                terms[name] = compute_symmetric_distance(reverse, shift_views(targets, self.ranks))
            else:  # the background of the next clip's mixture: another recording in the same role
                other = shift_views(shift_views(known, self.ranks), self.ranks)
                wrong = self._predict(mixed, other, gamma)
                terms[name] = compute_contrast(predicted, wrong, targets, self.settings.contrast_temperature)
        return terms

    def _weigh(self, difference: Tensor, terms: dict[str, Tensor]) -> Tensor:
        """(1 - reverse share) difference + reverse share reverse + contrast weight contrast: what lambda weighs."""
        if "reverse" in terms:
            difference = (1.0 - self.settings.reverse) * difference + self.settings.reverse * terms["reverse"]
        if "contrast" in terms:
            difference = difference + self.settings.contrast * terms["contrast"]
        return difference

    def _predict(self, mixed: Tensor, known: Tensor, share: Tensor) -> Tensor:
        """Predict a target from mixtures [2 B, D] without their known parts [2 B, D] of a share [2 B]: [2 B, P]."""
        assert self.difference_predictor is not None
        if self.settings.stop_gradient:
            known = known.detach()
        remainder = (
            subtract_background(mixed, known, share) if self.subtraction is None else self.subtraction(mixed, known)
        )
        predicted: Tensor = self.difference_predictor(self.projector(remainder))
        return predicted

    def _embed_mixtures(self, inputs: Inputs, embeddings: Tensor) -> tuple[Tensor, Tensor]:
        """f(w), and f(v) or with shifted references f of those in its place: [2 B, D] each."""
        assert inputs.gamma is not None
        mixtures = mix(inputs.views, inputs.gamma, scale=inputs.scale, ranks=self.ranks)
        with _freeze_statistics(self.encoder):
            mixed = self.encoder(mixtures, inputs.mixture_mask)
            if inputs.reference is not None:
                embeddings = self.encoder(inputs.reference, inputs.reference_mask)
        return mixed, embeddings

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
