"""Folds inside the training clips, by which settings of a probe are chosen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bgknown.errors import InvalidInputError
from bgknown.seeding import draw_ranks

INNER_FOLDS = 5
"""Folds where a task has neither folds of its own nor a validation split."""


def deal_folds(labels: NDArray[np.int64], groups: Sequence[str], *, folds: int = INNER_FOLDS) -> NDArray[np.int64]:
    """Deal clips to folds that are alike in their classes and never split a group.

    Groups are dealt out one by one, the largest first and those of a size in an order drawn from their names, each to
    the fold that has the fewest clips of its classes so far.

    Args:
        labels: [n] classes.
        groups: [n] names of groups; a clip with an empty name is a group of its own.
        folds: number of folds; with fewer groups, each group is a fold.

    Returns:
        [n] fold of each clip, 0..folds-1.

    Raises:
        InvalidInputError: there are fewer than two groups.
    """
    members: dict[str, list[int]] = {}
    for place, group in enumerate(groups):
        members.setdefault(group or f"\0{place}", []).append(place)
    if len(members) < 2:
        raise InvalidInputError(
            "all training clips are of one group; at least two are required to choose the strength of a probe"
        )
    folds = min(folds, len(members))
    names = list(members)
    ranks = dict(zip(names, draw_ranks(0, "inner folds", names).tolist(), strict=True))
    order = sorted(names, key=lambda name: (-len(members[name]), ranks[name]))
    counts = np.zeros((folds, int(labels.max()) + 1), dtype=np.int64)
    dealt = np.empty(len(labels), dtype=np.int64)
    for name in order:
        own = labels[members[name]]
        fold = min(range(folds), key=lambda f: (int(counts[f, own].sum()), int(counts[f].sum()), f))
        np.add.at(counts[fold], own, 1)
        dealt[members[name]] = fold
    return dealt
