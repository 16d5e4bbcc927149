"""Intervals and tests for scores of the same clips, which may come in groups such as recordings or speakers.

There are two kinds of uncertainty, which are never mixed: over seeds (``summarise``: what another training of the
probe would give) and over clips (``estimate_share``, ``estimate_mean``, ``benchmark.results.paired``: what other clips
of the same kind would give). Clips of one group resemble each other, so groups are the unit: an interval that takes
clips as independent is too narrow, and such a test finds differences where there are none.

A score may have several groupings at the same time (its source and its background). Each function then works with
each of them and reports the wider interval and the larger p-value.

``tests/statistics/coverage.py`` measures coverage and false positives of all of them.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from bgknown.errors import InvalidInputError

DRAWS = 10_000
"""Resamples of a bootstrap, and sign flips of a permutation test that is not exact."""
BLOCK = 1 << 22
"""Numbers that are held at a time, for resamples and sign flips."""
TIE = 1e-9
"""Differences below this share of the largest score are ties: they come from the order of additions."""
LEVEL = 0.95
"""Coverage of every interval."""

Groupings = Sequence[Sequence[Hashable]]
"""Each of them: [n] the group of each clip, where an empty text means that the clip is its own group. None: every clip
is its own group."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A score over repetitions."""

    mean: float
    """Mean."""
    std: float | None
    """Standard deviation (n - 1 in the denominator); None for one value."""
    ci95_low: float | None
    """Lower end of the 95 % confidence interval of the mean; None for one value."""
    ci95_high: float | None
    """Upper end of it; None for one value."""
    n: int
    """Number of values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """The mean over clips with its 95 % interval."""

    mean: float
    """Mean over clips."""
    low: float | None
    """Lower end of the interval; None where there is only one group."""
    high: float | None
    """Upper end of it."""
    n_groups: int
    """Number of groups, of the grouping that gives the wider interval."""


def summarise(values: Sequence[float]) -> Summary:
    """Mean, standard deviation and 95 % confidence interval over repetitions such as seeds.

    The interval is mean +- t(0.975, n - 1) * std / sqrt(n), Student's t.

    Raises:
        InvalidInputError: there are no values, or one is not finite.
    """
    scores = check_scores(values, "values")
    n, mean = len(scores), float(scores.mean())
    if n == 1:
        return Summary(mean=mean, std=None, ci95_low=None, ci95_high=None, n=1)
    std = float(scores.std(ddof=1))
    half = _quantile(n - 1) * std / math.sqrt(n)
    return Summary(mean=mean, std=std, ci95_low=mean - half, ci95_high=mean + half, n=n)


def estimate_share(per_clip: ArrayLike, groupings: Groupings = ()) -> Estimate:
    """The mean over clips of scores in 0..1, with a 95 % interval that stays inside 0..1.

    Wilson's interval for an effective number of clips n* and Student's t:

        V   variance of the mean by groups (see ``estimate_mean``)
        n*  = mean (1 - mean) / V, at most n
        low, high = (mean + t^2 / 2n* -+ t sqrt(mean (1 - mean) / n* + t^2 / 4n*^2)) / (1 + t^2 / n*)

    Where every clip scores 0, or every clip 1, V says nothing and n* is Kish's effective number of groups,
    1 / sum of squared shares of the groups; so the interval always has a width.

    Args:
        per_clip: [n] score of each clip in 0..1, the mean over its seeds.
        groupings: what each clip belongs to; see ``Groupings``.

    Raises:
        InvalidInputError: scores or groupings break a rule.

    Source: Dean and Pagano, Evaluating confidence interval methods for binomial proportions in clustered surveys
    (2015); Korn and Graubard (1998) for the effective sample size.
    """
    scores = check_scores(per_clip, "per_clip")
    outside = np.flatnonzero((scores < 0) | (scores > 1))
    if len(outside):
        raise InvalidInputError(f"per_clip holds {scores[outside[0]]} at place {outside[0]}; a share must be in 0..1")
    return _widest([_estimate_share(scores, places) for places in number_groups(len(scores), groupings)])


def estimate_mean(
    per_clip: ArrayLike, groupings: Groupings = (), *, bounds: tuple[float, float] = (-math.inf, math.inf)
) -> Estimate:
    """The mean over clips of any scores, such as differences or ranks, with a 95 % interval by Student's t.

    With S_g the sum of the n_g scores of group g, m the mean and w_g = n_g / n:

        e_g = S_g - m n_g
        V   = sum of e_g^2 / (1 - w_g) / n^2                          (CR2)
        df  = the smaller of two:
              Satterthwaite's for the correlation of scores within groups that the analysis of variance gives;
              2 / (r - 1 / G) with r = sum of squares over squared sum of the e_g^2 / (1 - w_g), G groups,
              which is low where a few groups cause nearly all of the variance

    Args:
        per_clip: [n] score of each clip.
        groupings: what each clip belongs to; see ``Groupings``.
        bounds: values that the mean cannot exceed; the interval is cut there.

    Raises:
        InvalidInputError: scores or groupings break a rule.

    Source: Bell and McCaffrey, Bias reduction in standard errors for linear regression with multi-stage samples (2002).
    """
    scores = check_scores(per_clip, "per_clip")
    return _widest([_estimate_mean(scores, places, bounds) for places in number_groups(len(scores), groupings)])


def check_scores(values: ArrayLike, name: str) -> NDArray[np.float64]:
    """A vector of finite numbers, as a copy.

    Raises:
        InvalidInputError: it is not one.
    """
    scores = np.array(values, dtype=np.float64)
    if scores.ndim != 1 or len(scores) == 0:
        raise InvalidInputError(f"{name} has shape {list(scores.shape)}; it must be a vector of at least one score")
    bad = np.flatnonzero(~np.isfinite(scores))
    if len(bad):
        raise InvalidInputError(f"{name} holds {scores[bad[0]]} at place {bad[0]}; every score must be finite")
    return scores


def number_groups(n: int, groupings: Groupings) -> list[NDArray[np.int64]]:
    """For each grouping [n] the group of each clip as a number from 0; without groupings, one of single clips.

    Raises:
        InvalidInputError: a grouping has another length.
    """
    found = []
    for groups in groupings:
        if len(groups) != n:
            raise InvalidInputError(f"there are {len(groups)} groups for {n} clips; each clip needs one")
        places: dict[Hashable, int] = {}
        rows = [
            places.setdefault(("clip", clip) if isinstance(group, str) and not group else ("group", group), len(places))
            for clip, group in enumerate(groups)
        ]
        found.append(np.array(rows, dtype=np.int64))
    return found or [np.arange(n)]


def _quantile(df: float) -> float:
    """Student's t for the two ends of an interval."""
    return float(special.stdtrit(max(df, 1.0), (1 + LEVEL) / 2))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Spread:
    """How far the mean of clips in groups may be off."""

    mean: float
    variance: float
    df: float
    kish: float
    n_groups: int


def _measure_spread(scores: NDArray[np.float64], places: NDArray[np.int64]) -> _Spread | None:
    """Mean, its variance by groups and degrees of freedom (see ``estimate_mean``); None for one group."""
    sums = np.bincount(places, weights=scores).astype(np.float64)
    counts = np.bincount(places).astype(np.float64)
    n, mean, groups = len(scores), float(scores.mean()), len(counts)
    if groups == 1:
        return None
    share = counts / n
    squares = (sums - mean * counts) ** 2 / (1 - share)
    squares[squares <= (TIE * max(1.0, float(np.abs(scores).max()))) ** 2] = 0.0  # only the order of additions
    df = _satterthwaite(counts, _estimate_correlation(scores, sums, counts))
    if squares.any():
        ratio = float((squares**2).sum() / squares.sum() ** 2)
        df = min(df, 2 / max(ratio - 1 / groups, TIE))
    kish = float(1 / (share**2).sum())
    return _Spread(mean=mean, variance=float(squares.sum()) / n**2, df=df, kish=kish, n_groups=groups)


def _satterthwaite(counts: NDArray[np.float64], correlation: float) -> float:
    """Degrees of freedom of V for scores of equal variance with a correlation within groups.

    V is the quadratic form in independent group sums with variances v_g = n_g (1 - rho) + n_g^2 rho, weighted by
    d_g = 1 / (1 - w_g), and df = trace(A)^2 / trace(A^2) with

        A_gh = sqrt(d_g d_h) (v_g [g = h] - w_h v_g - w_g v_h + w_g w_h T),  T = sum of v

    Sums over pairs of groups are taken in closed form.
    """
    share = counts / counts.sum()
    d, v = 1 / (1 - share), counts * (1 - correlation) + counts**2 * correlation
    total = float(v.sum())
    off = share * (share * total - 2 * v)
    own = v + off
    a, b, c = float(d @ v**2), float(d @ share**2), float(d @ (v * share))
    every = 2 * a * b + 2 * c * c - 4 * total * c * b + total**2 * b * b
    trace_of_square = every - float(off**2 @ d**2) + float(own**2 @ d**2)
    return float(d @ own) ** 2 / trace_of_square


def _estimate_correlation(scores: NDArray[np.float64], sums: NDArray[np.float64], counts: NDArray[np.float64]) -> float:
    """The correlation of scores within groups, 0..1, from the analysis of variance; 1 where no group has two."""
    n, groups = len(scores), len(counts)
    if n == groups:
        return 1.0
    of_groups = float((sums**2 / counts).sum())
    between = (of_groups - n * float(scores.mean()) ** 2) / (groups - 1)
    within = (float((scores**2).sum()) - of_groups) / (n - groups)
    size = (n - float((counts**2).sum()) / n) / (groups - 1)
    shared = max(0.0, (between - within) / size)
    total = shared + max(0.0, within)
    return min(1.0, shared / total) if total > 0 else 0.0


def _estimate_share(scores: NDArray[np.float64], places: NDArray[np.int64]) -> Estimate:
    spread, n = _measure_spread(scores, places), len(scores)
    if spread is None:
        return Estimate(mean=float(scores.mean()), low=None, high=None, n_groups=1)
    mean, binomial = spread.mean, spread.mean * (1 - spread.mean)
    effective = min(n, binomial / spread.variance) if spread.variance > 0 else float(n)
    if binomial <= 0:
        effective = spread.kish
    square = _quantile(spread.df) ** 2
    middle = mean + square / (2 * effective)
    half = math.sqrt(square * (max(binomial, 0.0) / effective + square / (4 * effective**2)))
    ends = ((middle + sign * half) / (1 + square / effective) for sign in (-1, 1))
    low, high = (min(1.0, max(0.0, end)) for end in ends)
    return Estimate(mean=mean, low=min(low, mean), high=max(high, mean), n_groups=spread.n_groups)


def _estimate_mean(scores: NDArray[np.float64], places: NDArray[np.int64], bounds: tuple[float, float]) -> Estimate:
    spread, n = _measure_spread(scores, places), len(scores)
    if spread is None:
        return Estimate(mean=float(scores.mean()), low=None, high=None, n_groups=1)
    variance = spread.variance
    if bounds == (-1.0, 1.0):
        # differences of shares: one clip in each direction might be different (Bonett and Price 2012)
        variance = max(variance, 2 / (n + 2) ** 2)
    half = _quantile(spread.df) * math.sqrt(variance)
    low, high = max(bounds[0], spread.mean - half), min(bounds[1], spread.mean + half)
    return Estimate(mean=spread.mean, low=low, high=high, n_groups=spread.n_groups)


def _widest(estimates: Sequence[Estimate]) -> Estimate:
    def width(one: Estimate) -> float:
        return math.inf if one.low is None or one.high is None else one.high - one.low

    return max(estimates, key=width)
