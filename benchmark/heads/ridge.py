"""Ridge regression in closed form from normal equations, shrunk to nothing or to the best plain subtraction.

For standardised features X [n, P] and targets Y [n, D], both centred, a penalty r per row and a prior W0,

    W = argmin |Y - X W|^2 + n r |W - W0|^2 = W0 + (X^T X + n r I)^-1 (X^T Y - X^T X W0).

W0 is zero, or the subtraction y_mix - alpha y_bg with the alpha of least squares. The penalty and the prior are those
that predict held-out mixtures best, whose foregrounds and backgrounds are both from sources that are not trained on; W0
alone is among the candidates. Then W is fitted to all mixtures.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmark.heads.moments import FeatureBlock, Moments, Scales
from benchmark.heads.penalties import measure_penalties

RIDGE_PENALTIES = tuple(float(f"{10 ** (place / 2):.6g}") for place in range(-8, 5))
"""Penalties to choose from, per row: 1e-4, 3.16e-4, ..., 100."""
ALPHA_LIMITS = (0.0, 2.0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LinearMap:
    """From standardised features to standardised targets."""

    weight: NDArray[np.float64]
    """[P, D]"""
    bias: NDArray[np.float64]
    """[D]"""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RidgeChoice:
    """What held-out mixtures chose, and the map that is fitted to all."""

    fitted: LinearMap
    """Fitted to all mixtures."""
    training: LinearMap
    """Fitted to those that are trained on."""
    penalty: float | None
    """The penalty per row; None for the plain subtraction itself."""
    prior: str
    """What the map is shrunk to: ``zero`` or ``subtraction``."""
    error: float
    """Held-out error, as a share of the variance of the clean foregrounds' embeddings."""
    error_of_zero: float
    """The least held-out error of maps that are shrunk to zero."""
    at_edge: bool
    """Whether the weakest penalty was chosen, beyond which a better one may be."""


def solve_ridge(moments: Moments, penalty: float, prior: NDArray[np.float64]) -> LinearMap:
    """The ridge regression of one penalty.

    Args:
        moments: the normal equations.
        penalty: r, above 0.
        prior: W0 [P, D].
    """
    from scipy.linalg import cho_factor, cho_solve  # noqa: PLC0415  (half a second, which --help need not wait for)

    centred = moments.xx - np.outer(moments.x, moments.x) / moments.rows
    side = moments.xy - np.outer(moments.x, moments.y) / moments.rows
    if prior.any():
        side -= centred @ prior
    centred.flat[:: len(centred) + 1] += moments.rows * penalty
    weight = prior + cho_solve(cho_factor(centred, overwrite_a=True), side, overwrite_b=True)
    return LinearMap(weight=weight, bias=_find_bias(moments, weight))


def choose_ridge(training: Moments, held_out: Moments, subtraction: NDArray[np.float64] | None) -> RidgeChoice:
    """Choose penalty and prior on held-out mixtures, and fit to all.

    Args:
        training: normal equations of the mixtures that are trained on.
        held_out: those of the others, standardised alike.
        subtraction: the plain subtraction as W0 [P, D]; None where there is none.
    """
    priors = {"zero": np.zeros_like(training.xy)}
    if subtraction is not None:
        priors["subtraction"] = subtraction
    errors = measure_penalties(training, held_out, RIDGE_PENALTIES, list(priors.values()))
    row, column = np.unravel_index(errors.argmin(), errors.shape)
    error, name, penalty = float(errors[row, column]), list(priors)[column], RIDGE_PENALTIES[row]
    of_plain = np.inf if subtraction is None else measure_map_error(training, held_out, subtraction)

    def fit(moments: Moments) -> LinearMap:
        if subtraction is not None and of_plain <= error:
            return LinearMap(weight=subtraction, bias=_find_bias(moments, subtraction))
        return solve_ridge(moments, penalty, priors[name])

    return RidgeChoice(
        fitted=fit(training + held_out),
        training=fit(training),
        penalty=None if of_plain <= error else penalty,
        prior="subtraction" if of_plain <= error else name,
        error=min(error, of_plain),
        error_of_zero=float(errors[:, 0].min()),
        at_edge=penalty == RIDGE_PENALTIES[0] and error < of_plain,
    )


def fit_subtraction(training: Iterable[FeatureBlock], scales: Scales) -> tuple[float, NDArray[np.float64]]:
    """The weight alpha with which y_mix - alpha y_bg predicts the clean foreground best, and that map as W0 [P, D].

    Args:
        training: standardised blocks of features that begin with y_mix and y_bg.
        scales: how they were standardised.
    """
    size = len(scales.target_mean)
    products = np.zeros((3, size))  # of the background with the mixture, the target, and itself
    for features, targets in training:
        background = features[:, size : 2 * size]
        others = (features[:, :size], targets, background)
        products += np.stack([np.einsum("ij,ij->j", background, other) for other in others])
    mix, background = scales.scale[:size] / scales.target_scale, scales.scale[size : 2 * size] / scales.target_scale
    with_mix, with_target, alone = products * np.stack([background * mix, background, np.square(background)])
    least = float((with_mix - with_target).sum())
    alpha = float(np.clip(least / alone.sum(), *ALPHA_LIMITS)) if alone.sum() > 0.0 else 0.0
    return alpha, make_subtraction(alpha, scales)


def make_subtraction(alpha: float, scales: Scales) -> NDArray[np.float64]:
    """y_mix - alpha y_bg as a map [P, D] from standardised features to standardised targets."""
    size = len(scales.target_mean)
    own = np.arange(size)
    weight = np.zeros((len(scales.scale), size))
    weight[own, own] = scales.scale[:size] / scales.target_scale
    weight[size + own, own] = -alpha * scales.scale[size : 2 * size] / scales.target_scale
    return weight


def measure_map_error(training: Moments, held_out: Moments, weight: NDArray[np.float64]) -> float:
    """Held-out error of a map with the best constant in training."""
    return held_out.measure_error(weight, _find_bias(training, weight))


def _find_bias(moments: Moments, weight: NDArray[np.float64]) -> NDArray[np.float64]:
    bias: NDArray[np.float64] = (moments.y - moments.x @ weight) / moments.rows
    return bias
