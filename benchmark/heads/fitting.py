"""The regressions of a head: the map that it is, and what it is compared with."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from benchmark.heads.features import form_features
from benchmark.heads.mixture_embeddings import MixtureEmbeddings
from benchmark.heads.moments import FeatureBlock, Scales, add_up, measure_scales
from benchmark.heads.network import TrainedNetwork, train_network
from benchmark.heads.ridge import RidgeChoice, choose_ridge, fit_subtraction, make_subtraction, measure_map_error
from benchmark.heads.row_space import find_row_space

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeadPairs:
    """Standardised features and targets of a head's mixtures, read again whenever they are needed."""

    embeddings: MixtureEmbeddings
    """The mixtures."""
    form: str
    """The features, one of ``FEATURE_FORMS``."""
    scales: Scales
    """How they are standardised."""
    training_rows: int
    """Number of mixtures that are trained on."""
    held_out_rows: int
    """Number of mixtures that choose between candidates."""

    @property
    def size(self) -> int:
        """D, the size of a target."""
        return len(self.scales.target_mean)

    @property
    def width(self) -> int:
        """P, the number of features."""
        return len(self.scales.scale)

    def read_training(self) -> Iterator[FeatureBlock]:
        """The mixtures that are trained on."""
        return map(self.scales.standardise, _read_pairs(self.embeddings, self.form, held_out=False))

    def read_held_out(self) -> Iterator[FeatureBlock]:
        """Those that choose between candidates."""
        return map(self.scales.standardise, _read_pairs(self.embeddings, self.form, held_out=True))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FittedHead:
    """What was fitted to the mixtures."""

    pairs: HeadPairs
    """The mixtures."""
    chosen: RidgeChoice
    """The ridge regression."""
    control: RidgeChoice
    """The same from y_mix alone."""
    network: TrainedNetwork | None
    """The network beside it; None for a ridge regression alone."""
    alpha: float | None
    """Weight of the best plain subtraction; None for features without the background."""
    subtraction_error: float | None
    """Its held-out error."""
    mix_error: float | None
    """That of y_mix itself."""


def collect_pairs(embeddings: MixtureEmbeddings, form: str, training: NDArray[np.bool_]) -> HeadPairs:
    """Measure how features and targets are standardised.

    Args:
        embeddings: the mixtures.
        form: the features.
        training: [n] which mixtures are trained on.
    """
    return HeadPairs(
        embeddings=embeddings,
        form=form,
        scales=measure_scales(_read_pairs(embeddings, form, held_out=False)).limit_features(),
        training_rows=int(training.sum()),
        held_out_rows=int((~training).sum()),
    )


def fit_head(pairs: HeadPairs, kind: str, *, seed: int, device: str) -> FittedHead:
    """Fit the head and its control, and measure the plain subtraction.

    Args:
        pairs: the mixtures.
        kind: ``ridge`` or ``network``.
        seed: seed of a network.
        device: where a network is trained.
    """
    alpha = subtraction = mix = None
    if pairs.form != "mix":
        alpha, subtraction = fit_subtraction(pairs.read_training(), pairs.scales)
        mix = make_subtraction(0.0, pairs.scales)
    chosen, subtraction_error, mix_error = _fit_map(pairs, pairs.width, subtraction, mix)
    if chosen.at_edge:
        log.warning("the weakest penalty predicts held-out mixtures best; a weaker one might be better")
    network = None
    if kind == "network":
        network = train_network(pairs.read_training, pairs.read_held_out, chosen.training, seed=seed, device=device)
    return FittedHead(
        pairs=pairs,
        chosen=chosen,
        control=chosen if pairs.form == "mix" else _fit_map(pairs, pairs.size, None, None)[0],
        network=network,
        alpha=alpha,
        subtraction_error=subtraction_error,
        mix_error=mix_error,
    )


def _fit_map(
    pairs: HeadPairs, width: int, subtraction: NDArray[np.float64] | None, mix: NDArray[np.float64] | None
) -> tuple[RidgeChoice, float | None, float | None]:
    """The ridge regression on the first features, and the errors of the plain subtraction and of y_mix."""

    def read_training() -> Iterator[FeatureBlock]:
        return ((features[:, :width], targets) for features, targets in pairs.read_training())

    def read_held_out() -> Iterator[FeatureBlock]:
        return ((features[:, :width], targets) for features, targets in pairs.read_held_out())

    rows = pairs.training_rows + pairs.held_out_rows
    space = find_row_space((read_training, read_held_out), rows, width)
    training, held_out = (add_up(read(), min(rows, width), pairs.size) for read in space.sets)

    def measure(weight: NDArray[np.float64] | None) -> float | None:
        return None if weight is None else measure_map_error(training, held_out, space.project_weight(weight))

    found = choose_ridge(training, held_out, None if subtraction is None else space.project_weight(subtraction))
    prior = subtraction if found.prior == "subtraction" else None
    chosen = replace(found, fitted=space.expand(found.fitted, prior), training=space.expand(found.training, prior))
    return chosen, measure(subtraction), measure(mix)


def _read_pairs(embeddings: MixtureEmbeddings, form: str, *, held_out: bool) -> Iterator[FeatureBlock]:
    """Features and targets of the mixtures to train on, or of those held out, block by block."""
    for rows, training in embeddings.read_blocks():
        part = rows[training != held_out]
        if len(part):
            yield form_features(form, part[:, 0], part[:, 1]), part[:, 2].astype(np.float64)
