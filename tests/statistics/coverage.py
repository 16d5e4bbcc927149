"""How often intervals cover and tests err, on simulated scores whose clips come in groups.

    python -m tests.statistics.coverage --repetitions 1000

Right and wrong answers follow a logistic model: every clip has a difficulty that it shares with its source, with its
background recording, and with nothing; encoders answer with a skill of their own, and differ in how well they do on
each source and background. The shapes are those of the tasks:

- ``us8k``: 300 recordings of 1 to 100 clips, most of them small;
- ``us8k-fold``: the same with 100;
- ``esc50``: 200 sources of 1 to 4 clips;
- ``cremad``: 19 speakers of about 80 clips;
- ``bgknown``: 85 sources of 1 to 4 clips, each with 6 of 120 backgrounds, so clips have two groupings.

The table has the coverage of 95 % intervals of a mean, the old percentile bootstrap of groups next to it, and that of
a paired difference; the false positives at 5 % of the paired test by groups and of the same test by clips; and the
coverage of rank intervals of five equal encoders and of five that differ.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmark.results.paired import compare_paired
from benchmark.results.ranks import rank_encoders
from benchmark.results.stats import Estimate, estimate_mean, estimate_share, number_groups
from benchmark.text_tables import align_columns

SHAPES = ("us8k", "us8k-fold", "esc50", "cremad", "bgknown")
SKILLS = {"60 %": 0.55, "85 %": 2.4}
"""Logits that give about these accuracies."""
EQUAL, DIFFERENT = (0.0,) * 5, (0.0, 0.1, 0.4, 0.8, 1.2)
OF_GROUP, OF_BACKGROUND, OF_CLIP = 1.0, 0.5, 1.0
"""Standard deviations of difficulty, logits."""
OWN = 0.5
"""That of an encoder's own skill with a source or background."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clips:
    """The groupings of some clips."""

    groupings: list[NDArray[np.int64]]
    """Each [n]."""

    @property
    def n(self) -> int:
        """Number of clips."""
        return len(self.groupings[0])


def draw_clips(shape: str, random: np.random.Generator) -> Clips:
    """Clips of one of ``SHAPES``."""
    few = [0.45, 0.25, 0.15, 0.15]
    if shape.startswith("us8k"):
        count = 100 if shape.endswith("fold") else 300
        sizes = np.minimum(np.ceil(random.pareto(0.9, count) * 1.5 + 0.01), 100).astype(int)
    elif shape == "cremad":
        sizes = random.integers(78, 83, 19)
    else:
        sizes = random.choice([1, 2, 3, 4], 200 if shape == "esc50" else 85, p=few)
    groups = np.repeat(np.arange(len(sizes)), sizes)
    if shape != "bgknown":
        return Clips(groupings=[groups])
    return Clips(groupings=[np.repeat(groups, 6), random.integers(0, 120, 6 * len(groups))])


def draw_answers(
    clips: Clips, skills: Sequence[float], random: np.random.Generator, seeds: int = 1
) -> NDArray[np.float64]:
    """[M, n] the share of correct answers over seeds of encoders of these skills."""
    spreads = (OF_GROUP, OF_BACKGROUND)
    shared = OF_CLIP * random.standard_normal(clips.n)
    for places, spread in zip(clips.groupings, spreads, strict=False):
        shared += spread * random.standard_normal(places.max() + 1)[places]
    answers = []
    for skill in skills:
        logit = skill + shared
        for places, spread in zip(clips.groupings, spreads, strict=False):
            logit = logit + OWN * spread * random.standard_normal(places.max() + 1)[places]
        answers.append((random.random((seeds, clips.n)) < 1 / (1 + np.exp(-logit))).mean(axis=0))
    return np.array(answers)


def find_accuracy(shape: str, skill: float) -> float:
    """The true accuracy of a skill: the mean of the logistic function over all normal effects."""
    spreads = [OF_GROUP, OWN * OF_GROUP, OF_CLIP]
    spreads += [OF_BACKGROUND, OWN * OF_BACKGROUND] if shape == "bgknown" else []
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    return float(weights @ (1 / (1 + np.exp(-(skill + np.linalg.norm(spreads) * nodes)))) / weights.sum())


def bootstrap(scores: NDArray[np.float64], places: NDArray[np.int64], random: np.random.Generator) -> Estimate:
    """The percentile interval of 400 resamples of groups, for comparison."""
    sums, counts = np.bincount(places, weights=scores), np.bincount(places)
    rows = random.integers(0, len(sums), (400, len(sums)))
    low, high = np.quantile(sums[rows].sum(axis=1) / counts[rows].sum(axis=1), [0.025, 0.975])
    return Estimate(mean=float(scores.mean()), low=float(low), high=float(high), n_groups=len(sums))


def measure_intervals(shape: str, repetitions: int, seed: int = 0) -> dict[str, float]:
    """Percent of repetitions in which each interval covers, and in which each test errs."""
    random = np.random.default_rng([seed, SHAPES.index(shape)])
    counts: dict[str, int] = {}
    for name, skill in SKILLS.items():
        true = find_accuracy(shape, skill)
        for _ in range(repetitions):
            clips = draw_clips(shape, random)
            first, second = draw_answers(clips, [skill, skill], random)
            groupings = [places.tolist() for places in clips.groupings]
            old = bootstrap(first, number_groups(clips.n, groupings)[0], random)
            hits = {
                f"mean {name}": covers(estimate_share(first, groupings), true),
                f"bootstrap {name}": covers(old, true),
                f"gain {name}": covers(estimate_mean(first - second, groupings, bounds=(-1, 1)), 0.0),
                f"false + {name}": compare_paired(first, second, groupings, draws=499).p <= 0.05,
                f"by clips {name}": compare_paired(first, second, draws=499).p <= 0.05,
            }
            for key, hit in hits.items():
                counts[key] = counts.get(key, 0) + bool(hit)
    return {key: 100 * count / repetitions for key, count in counts.items()}


def measure_ranks(shape: str, repetitions: int, seed: int = 0) -> dict[str, float]:
    """Percent of encoders whose rank interval covers their true rank."""
    random = np.random.default_rng([seed, 7, SHAPES.index(shape)])
    found = {}
    for name, skills in (("ranks =", EQUAL), ("ranks /=", DIFFERENT)):
        true = [1 + sum(other > skill for other in skills) for skill in skills]
        hits = 0
        for _ in range(repetitions):
            clips = draw_clips(shape, random)
            scores = draw_answers(clips, skills, random)
            ranks = rank_encoders(scores, [places.tolist() for places in clips.groupings], draws=499)
            hits += sum(rank.low <= place <= rank.high for rank, place in zip(ranks, true, strict=True))
        found[name] = 100 * hits / repetitions / len(skills)
    return found


def covers(estimate: Estimate, true: float) -> bool:
    """Whether an interval holds a value."""
    return estimate.low is not None and estimate.high is not None and estimate.low <= true <= estimate.high


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=500)
    parser.add_argument("--ranks", type=int, default=200, help="repetitions of the rank intervals")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    lines, header = [], []
    for shape in SHAPES:
        found = measure_intervals(shape, given.repetitions, given.seed) | measure_ranks(shape, given.ranks, given.seed)
        header = ["shape", *found]
        lines.append([shape, *(f"{value:.1f}" for value in found.values())])
    sys.stdout.write(align_columns(header, lines) + "\n")


if __name__ == "__main__":
    main()
