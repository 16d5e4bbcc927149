"""Paired tests of two scores of the same clips, by groups, and their correction for the number of tests."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from benchmark.results.stats import BLOCK, DRAWS, TIE, Groupings, check_scores, estimate_mean, number_groups
from bgknown.errors import InvalidInputError
from bgknown.seeding import make_generator

EXACT = 1 << 18
"""The largest distribution of sums that is computed exactly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedResult:
    """Two scores of the same clips, compared."""

    mean: float
    """Mean difference, first minus second."""
    low: float | None
    """Lower end of its 95 % interval; None where there is only one group."""
    high: float | None
    """Upper end of it."""
    p: float
    """Two-sided p-value of the sign-flip test of groups."""
    exact: bool
    """Whether p is exact; otherwise it comes from random flips."""
    n: int
    """Number of clips."""
    n_groups: int
    """Number of groups, of the grouping that gives the larger p-value."""
    wins: int
    """Clips on which the first is better."""
    losses: int
    """Clips on which the second is better."""
    ties: int
    """Clips on which both are equal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class McNemarResult:
    """Two sets of right and wrong answers to the same questions."""

    only_a: int
    """Questions that only the first answers correctly."""
    only_b: int
    """Questions that only the second answers correctly."""
    p: float
    """Two-sided exact p-value."""


def compare_paired(
    a: ArrayLike, b: ArrayLike, groupings: Groupings = (), *, draws: int = DRAWS, seed: int = 0
) -> PairedResult:
    """Compare two scores of the same clips.

    The p-value is that of the sign-flip test of groups: if the two were equally good, the sum of each group's
    differences could have had the other sign just as well. It is exact wherever the sums that flips can reach are few,
    as with scores that are means over a few seeds; otherwise it is (1 + flips at least as extreme) / (1 + flips), with
    random flips. The interval is that of ``estimate_mean`` for the differences.

    Args:
        a: [n] score of each clip, 0..1 or a rank.
        b: [n] score of the same clips, in the same order.
        groupings: what each clip belongs to; see ``Groupings``. Groups are flipped whole.
        draws: number of random flips.
        seed: of the random flips.

    Raises:
        InvalidInputError: lengths differ, or scores, groupings or draws break a rule.

    Source: Phipson and Smyth, Permutation p-values should never be zero (2010), for the correction.
    """
    first, second = check_scores(a, "a"), check_scores(b, "b")
    if len(first) != len(second):
        raise InvalidInputError(f"a has {len(first)} clips and b {len(second)}; both must have the same clips")
    if draws < 1:
        raise InvalidInputError(f"draws is {draws}; it must be at least 1")
    largest = float(max(np.abs(first).max(), np.abs(second).max()))
    difference = first - second
    difference[np.abs(difference) <= TIE * largest] = 0.0
    bounds = (-1.0, 1.0) if largest <= 1 else (-math.inf, math.inf)
    tests = []
    for places in number_groups(len(difference), groupings):
        sums = np.bincount(places, weights=difference).astype(np.float64)
        p = _exact_p(sums)
        tests.append((_random_p(sums, draws, seed) if p is None else p, p is not None, len(sums)))
    p, exact, n_groups = max(tests, key=lambda test: test[0])
    estimate = estimate_mean(difference, groupings, bounds=bounds)
    return PairedResult(
        mean=float(difference.mean()),
        low=estimate.low,
        high=estimate.high,
        p=p,
        exact=exact,
        n=len(difference),
        n_groups=n_groups,
        wins=int((difference > 0).sum()),
        losses=int((difference < 0).sum()),
        ties=int((difference == 0).sum()),
    )


def correct_by_holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for their number, in the same order: the chance of any false positive stays at the level.

    Source: Holm, A simple sequentially rejective multiple test procedure (1979).
    """
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    found, largest = [0.0] * len(p_values), 0.0
    for step, place in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - step) * p_values[place]))
        found[place] = largest
    return found


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


def _exact_p(differences: NDArray[np.float64]) -> float | None:
    """Chance that random signs give a sum at least as far from 0; None where that has too many values to list.

    Differences of the same size d, m of them, add up to d * (2 k - m) with k binomial; the sizes are then
    combined one by one, and sums that are the same become one.
    """
    # In units of the largest difference and rounded: 2/3 - 1/3 and 1/3 are the same size
    unit = np.abs(differences).max(initial=0.0) or 1.0
    sizes, counts = np.unique(np.round(np.abs(differences[differences != 0]) / unit, 12), return_counts=True)
    sums: NDArray[np.float64] = np.zeros(1)
    chances: NDArray[np.float64] = np.ones(1)
    for size, count in zip(sizes, counts, strict=True):
        if len(sums) * (count + 1) > EXACT:
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
