"""Means, intervals and tests for scores of the same clips.

There are two kinds of uncertainty, which are never mixed: over seeds (``summarise``: what another training of the
probe would give) and over clips (``bootstrap_ci``, ``compare_paired``: what other clips of the same kind would give).
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from bgknown.errors import InvalidInputError
from bgknown.seeding import make_generator

DRAWS = 10_000
"""Resamples of a bootstrap, and sign flips of a permutation test that is not exact."""
BLOCK = 1 << 22
"""Numbers that are held at a time, and the largest distribution that is worked out exactly."""
TIE = 1e-9
"""Differences below this share of the largest score are ties: they come from the order of additions."""


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
class PairedResult:
    """Two scores of the same clips against each other."""

    mean: float
    """Mean difference, first minus second."""
    ci95_low: float
    """Lower end of its 95 % bootstrap interval over clips."""
    ci95_high: float
    """Upper end of it."""
    p: float
    """Two-sided p-value of the sign-flip test."""
    exact: bool
    """Whether p is exact; otherwise it comes from random flips."""
    n: int
    """Number of clips."""
    wins: int
    """Clips on which the first is better."""
    losses: int
    """Clips on which the second is better."""
    ties: int
    """Clips on which both are alike."""


@dataclass(frozen=True, slots=True, kw_only=True)
class McNemarResult:
    """Two sets of right and wrong answers to the same questions."""

    only_a: int
    """Questions that only the first answers rightly."""
    only_b: int
    """Questions that only the second answers rightly."""
    p: float
    """Two-sided exact p-value."""


def summarise(values: Sequence[float]) -> Summary:
    """Mean, standard deviation and 95 % confidence interval over repetitions such as seeds.

    The interval is mean +- t(0.975, n - 1) * std / sqrt(n), Student's t.

    Raises:
        InvalidInputError: there are no values, or one is not finite.
    """
    scores = _scores(values, "values")
    n, mean = len(scores), float(scores.mean())
    if n == 1:
        return Summary(mean=mean, std=None, ci95_low=None, ci95_high=None, n=1)
    std = float(scores.std(ddof=1))
    half = float(special.stdtrit(n - 1, 0.975)) * std / math.sqrt(n)
    return Summary(mean=mean, std=std, ci95_low=mean - half, ci95_high=mean + half, n=n)


def bootstrap_ci(
    per_clip: ArrayLike, groups: Sequence[Hashable] | None = None, *, draws: int = DRAWS, seed: int = 0
) -> tuple[float, float]:
    """95 % percentile bootstrap interval of the mean over clips.

    Args:
        per_clip: [n] score of each clip, the mean over its seeds.
        groups: [n] what each clip belongs to, such as a recording or a speaker: groups are resampled whole. By default
            every clip stands for itself.
        draws: number of resamples, at least 1.
        seed: the same seed gives the same interval, in whatever order the clips come.

    Returns:
        Lower and upper end; equal where there is only one clip or group.

    Raises:
        InvalidInputError: scores, groups or draws break a rule.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
    """
    scores = _scores(per_clip, "per_clip")
    if draws < 1:
        raise InvalidInputError(f"draws is {draws}; it must be at least 1")
    # Clips (or groups) that are alike are interchangeable: how often each kind is drawn is multinomial.
    kinds, counts = np.unique(_group_sums(scores, groups), axis=0, return_counts=True)
    total, block = int(counts.sum()), max(1, BLOCK // len(kinds))
    random = make_generator(seed, "bootstrap")
    means = np.empty(draws)
    for start in range(0, draws, block):
        drawn = random.multinomial(total, counts / total, size=min(block, draws - start))
        sums = drawn @ kinds
        means[start : start + len(drawn)] = sums[:, 0] / sums[:, 1]
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def compare_paired(
    a: ArrayLike, b: ArrayLike, groups: Sequence[Hashable] | None = None, *, draws: int = DRAWS, seed: int = 0
) -> PairedResult:
    """Compare two scores of the same clips.

    The p-value is that of the sign-flip test: were the two alike, each clip's difference could as well have the other
    sign. It is exact wherever the sums that flips can reach are few, as with scores that are means over a few seeds;
    otherwise it is (1 + flips at least as extreme) / (1 + flips), with random flips.

    Args:
        a: [n] score of each clip.
        b: [n] score of the same clips, in the same order.
        groups: [n] what each clip belongs to; groups are resampled and flipped whole.
        draws: resamples of the interval, and random flips.
        seed: of both.

    Raises:
        InvalidInputError: lengths differ, or scores, groups or draws break a rule.

    Source: Phipson and Smyth, Permutation p-values should never be zero (2010), for the correction.
    """
    first, second = _scores(a, "a"), _scores(b, "b")
    if len(first) != len(second):
        raise InvalidInputError(f"a has {len(first)} clips and b {len(second)}; both must have the same clips")
    difference = first - second
    difference[np.abs(difference) <= TIE * max(np.abs(first).max(), np.abs(second).max())] = 0.0
    low, high = bootstrap_ci(difference, groups, draws=draws, seed=seed)
    sums = _group_sums(difference, groups)[:, 0]
    p = _exact_p(sums)
    return PairedResult(
        mean=float(difference.mean()),
        ci95_low=low,
        ci95_high=high,
        p=_random_p(sums, draws, seed) if p is None else p,
        exact=p is not None,
        n=len(difference),
        wins=int((difference > 0).sum()),
        losses=int((difference < 0).sum()),
        ties=int((difference == 0).sum()),
    )


def mcnemar(a_correct: ArrayLike, b_correct: ArrayLike) -> McNemarResult:
    """McNemar's exact test for the right and wrong answers of a single seed.

    Args:
        a_correct: [n] booleans.
        b_correct: [n] booleans of the same questions.

    Raises:
        InvalidInputError: these are not two boolean vectors of the same length.

    Source: McNemar (1947); the binomial form.
    """
    first, second = np.asarray(a_correct), np.asarray(b_correct)
    if first.dtype != bool or second.dtype != bool or first.ndim != 1 or first.shape != second.shape:
        raise InvalidInputError(
            f"a_correct is {first.dtype} {list(first.shape)} and b_correct {second.dtype} {list(second.shape)}; "
            "both must be boolean vectors of the same length"
        )
    only_a, only_b = int((first & ~second).sum()), int((second & ~first).sum())
    p = min(1.0, 2 * float(special.bdtr(min(only_a, only_b), only_a + only_b, 0.5)))
    return McNemarResult(only_a=only_a, only_b=only_b, p=p)


def _scores(values: ArrayLike, name: str) -> NDArray[np.float64]:
    """A vector of finite numbers, as a copy."""
    scores = np.array(values, dtype=np.float64)
    if scores.ndim != 1 or len(scores) == 0:
        raise InvalidInputError(f"{name} has shape {list(scores.shape)}; it must be a vector of at least one score")
    bad = np.flatnonzero(~np.isfinite(scores))
    if len(bad):
        raise InvalidInputError(f"{name} holds {scores[bad[0]]} at place {bad[0]}; every score must be finite")
    return scores


def _group_sums(scores: NDArray[np.float64], groups: Sequence[Hashable] | None) -> NDArray[np.float64]:
    """[G, 2] sum of the scores and number of clips of each group."""
    if groups is None:
        return np.stack([scores, np.ones(len(scores))], axis=1)
    if len(groups) != len(scores):
        raise InvalidInputError(f"there are {len(groups)} groups for {len(scores)} clips; each clip needs one")
    places: dict[Hashable, int] = {}
    rows = [places.setdefault(group, len(places)) for group in groups]
    return np.stack([np.bincount(rows, weights=scores), np.bincount(rows)], axis=1)


def _exact_p(differences: NDArray[np.float64]) -> float | None:
    """Chance that random signs give a sum at least as far from 0; None where that has too many values to list.

    Differences of the same size d, m of them, add up to d * (2 k - m) with k binomial; the sizes are then put
    together one by one, and sums that are the same become one.
    """
    # In units of the largest difference and rounded: 2/3 - 1/3 and 1/3 are the same size
    unit = np.abs(differences).max(initial=0.0) or 1.0
    sizes, counts = np.unique(np.round(np.abs(differences[differences != 0]) / unit, 12), return_counts=True)
    sums: NDArray[np.float64] = np.zeros(1)
    chances: NDArray[np.float64] = np.ones(1)
    for size, count in zip(sizes, counts, strict=True):
        if len(sums) * (count + 1) > BLOCK:
            return None
        k = np.arange(count + 1)
        log_choose = special.gammaln(count + 1) - special.gammaln(k + 1) - special.gammaln(count - k + 1)
        reached = np.add.outer(sums, size * (2.0 * k - count)).ravel()
        weight = np.multiply.outer(chances, np.exp(log_choose - count * math.log(2))).ravel()
        # coarser than what the rounding of thousands of sizes adds up to in one sum
        _, first, place = np.unique(np.round(reached, 8), return_index=True, return_inverse=True)
        sums = reached[first]
        chances = np.bincount(place, weights=weight).astype(np.float64)
    observed = abs(float(differences.sum())) / unit
    return min(1.0, float(chances[np.abs(sums) >= observed - 1e-7].sum()))


def _random_p(differences: NDArray[np.float64], draws: int, seed: int) -> float:
    """The same with random signs."""
    moving = np.sort(differences[differences != 0])
    observed = abs(float(moving.sum()))
    random, block, extreme = make_generator(seed, "sign flips"), max(1, BLOCK // max(1, len(moving))), 0
    for start in range(0, draws, block):
        signs = random.integers(0, 2, size=(min(block, draws - start), len(moving)), dtype=np.int8) * 2.0 - 1.0
        extreme += int((np.abs(signs @ moving) >= observed * (1 - TIE)).sum())
    return (1 + extreme) / (1 + draws)
