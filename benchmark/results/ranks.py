"""Ranks of several encoders on the same clips: the rank, its interval, and which encoders are tied.

Shape letters: M encoders, n clips, G groups.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from benchmark.results.paired import correct_by_holm
from benchmark.results.stats import DRAWS, LEVEL, TIE, Groupings, number_groups
from bgknown.seeding import make_generator

SIGNIFICANT = 0.05
"""Two encoders with a corrected p-value of at most this are not tied."""
BLOCK = 1 << 18
"""Signs or resampled groups that are held at a time: what fits a processor's cache is fastest."""
FEW_GROUPS = 13
"""Up to this number of groups all 2^G sign flips are taken, so p-values are exact."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rank:
    """The place of one encoder among others."""

    place: int
    """1 and the number of encoders with a larger mean."""
    low: int
    """Best rank that the data allow at 95 %."""
    high: int
    """Worst such rank."""
    tie: int
    """Number of its tie group, from 1 for the group of the best. The first encoder of a group is the best that is in
    none before; with it are all others in none before whose difference from it is not significant."""


def rank_encoders(
    scores: NDArray[np.float64], groupings: Groupings = (), *, draws: int = DRAWS, seed: int = 0
) -> list[Rank]:
    """Rank encoders by their means over the same clips.

    Tie groups come from the paired sign-flip tests of groups of all pairs, corrected by Holm. The rank interval comes
    from a bootstrap of groups: encoder j is certainly behind the encoders k with a difference in means of more than
    c_j of its standard errors, and certainly ahead of those with one below -c_j; c_j is the 95 % quantile, over
    resamples, of the largest such ratio of resampled to observed differences over k. With several groupings, the
    larger p-value and the wider rank interval count.

    Args:
        scores: [M, n] scores of each encoder's clips; the larger the better.
        groupings: what each clip belongs to (``benchmark.results.stats.Groupings``).
        draws: number of resamples, and of sign flips.
        seed: of both.

    Source: Mogstad, Romano, Shaikh and Wilhelm, Inference for ranks (2024). Ranks of resampled means have no such
    guarantee: they count noise twice, and fail where encoders are equal.
    """
    lows, highs = [], []
    for places in number_groups(scores.shape[1], groupings):
        low, high = _bound_ranks(_sum_groups(scores, places), np.bincount(places), draws, seed)
        lows.append(low)
        highs.append(high)
    means = scores.mean(axis=1)
    ties = group_ties(scores, groupings, draws=draws, seed=seed)
    return [
        Rank(
            place=1 + int((means > mean + TIE).sum()),
            low=int(min(low[number] for low in lows)),
            high=int(max(high[number] for high in highs)),
            tie=ties[number],
        )
        for number, mean in enumerate(means)
    ]


def group_ties(
    scores: NDArray[np.float64], groupings: Groupings = (), *, draws: int = DRAWS, seed: int = 0
) -> list[int]:
    """The number of each encoder's tie group; arguments as for ``rank_encoders``."""
    count = len(scores)
    p_values = np.zeros((count, count))
    for places in number_groups(scores.shape[1], groupings):
        p_values = np.maximum(p_values, _test_pairs(_sum_groups(scores, places), draws, seed))
    upper = np.triu_indices(count, 1)
    differ = np.zeros((count, count), dtype=bool)
    differ[upper] = np.array(correct_by_holm(p_values[upper].tolist())) <= SIGNIFICANT
    differ |= differ.T
    ties = [0] * count
    for leader in np.argsort(-scores.mean(axis=1), kind="stable"):
        if not ties[leader]:
            number = 1 + max(ties)
            for other in range(count):
                if not ties[other] and not differ[leader, other]:
                    ties[other] = number
    return ties


def _sum_groups(scores: NDArray[np.float64], places: NDArray[np.int64]) -> NDArray[np.float64]:
    """[G, M] the sum of each group's scores."""
    return np.stack([np.bincount(places, weights=row) for row in scores], axis=1)


def _test_pairs(sums: NDArray[np.float64], draws: int, seed: int) -> NDArray[np.float64]:
    """[M, M] p-value of the sign-flip test of every pair; all pairs share the flips.

    A flip changes the difference of two encoders by the same signs as each of their sums, so flipped sums of M
    encoders give all M (M - 1) / 2 flipped differences.
    """
    total = sums.sum(axis=0)
    slack = TIE * max(1.0, float(np.abs(sums).sum()))
    observed = np.abs(total[:, None] - total[None, :])
    extreme = np.zeros((sums.shape[1], sums.shape[1]), dtype=np.int64)
    for signs in _draw_signs(len(sums), draws, seed):
        drawn = signs @ sums
        for number in range(sums.shape[1]):
            flipped = np.abs(drawn - drawn[:, number : number + 1])
            extreme[number] += (flipped >= observed[number] - slack).sum(axis=0)
    if len(sums) <= FEW_GROUPS:
        return np.asarray(extreme / 2 ** len(sums))
    return np.asarray((1 + extreme) / (1 + draws))


def _draw_signs(groups: int, draws: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """Blocks [block, G] of signs: all of them for few groups, else random ones."""
    if groups <= FEW_GROUPS:
        every = (np.arange(2**groups)[:, None] >> np.arange(groups)) & 1
        yield np.asarray(1.0 - 2.0 * every, dtype=np.float64)
        return
    random, block = make_generator(seed, "sign flips"), max(1, BLOCK // groups)
    for start in range(0, draws, block):
        rows = min(block, draws - start)
        bits = np.unpackbits(random.integers(0, 256, size=(rows, -(-groups // 8)), dtype=np.uint8), axis=1)
        yield np.asarray(1.0 - 2.0 * bits[:, :groups], dtype=np.float64)


def _bound_ranks(
    sums: NDArray[np.float64], counts: NDArray[np.int64], draws: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """[M] the best and the worst rank that the data allow."""
    encoders = sums.shape[1]
    if len(sums) == 1:
        return np.ones(encoders, dtype=np.int64), np.full(encoders, encoders, dtype=np.int64)
    drawn = np.concatenate(list(_resample_means(sums, counts, draws, seed)))
    means = sums.sum(axis=0) / counts.sum()
    widen = _widen(len(sums))
    low, high = np.ones(encoders, dtype=np.int64), np.full(encoders, encoders, dtype=np.int64)
    for number in range(encoders):
        ahead = np.delete(means - means[number], number)
        off = np.delete(drawn - drawn[:, number : number + 1], number, axis=1) - ahead
        error = off.std(axis=0)
        error[error <= TIE] = TIE
        critical = float(np.quantile(np.abs(off / error).max(axis=1, initial=0.0), LEVEL)) * widen
        low[number] += int((ahead > critical * error).sum())
        high[number] -= int((ahead < -critical * error).sum())
    return low, high


def _widen(groups: int) -> float:
    """By how much a bootstrap of G groups is too narrow: G - 1 in place of G, and Student's t for the normal."""
    student, normal = float(special.stdtrit(groups - 1, (1 + LEVEL) / 2)), float(special.ndtri((1 + LEVEL) / 2))
    return math.sqrt(groups / (groups - 1)) * student / normal


def _resample_means(
    sums: NDArray[np.float64], counts: NDArray[np.int64], draws: int, seed: int
) -> Iterator[NDArray[np.float64]]:
    """Blocks [block, M] of means over resampled groups."""
    groups = len(sums)
    table = np.concatenate([sums, counts[:, None]], axis=1)
    random, block = make_generator(seed, "ranks"), max(1, BLOCK // groups)
    for start in range(0, draws, block):
        rows = min(block, draws - start)
        chosen = random.integers(0, groups, size=(rows, groups), dtype=np.int32)
        chosen += (np.arange(rows, dtype=np.int32) * groups)[:, None]
        drawn = np.bincount(chosen.ravel(), minlength=rows * groups).reshape(rows, groups) @ table
        yield drawn[:, :-1] / drawn[:, -1:]


def list_best(scores: NDArray[np.float64], groupings: Groupings = ()) -> Sequence[int]:
    """The encoders that are tied with the best; arguments as for ``rank_encoders``."""
    return [number for number, tie in enumerate(group_ties(scores, groupings)) if tie == 1]
