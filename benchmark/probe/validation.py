"""Which training clips are held out for validation, where a task has no validation split.

Both draws depend on (seed, names of the clips) alone, not on their order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bgknown.errors import InvalidInputError
from bgknown.seeding import draw_ranks

VALIDATION_DRAWS = 100
"""Draws of ``draw_random_validation_rows`` before it gives up, as many as EVAR makes."""


def draw_validation_rows(
    labels: NDArray[np.int64], names: Sequence[str], *, share: float, seed: int
) -> NDArray[np.bool_]:
    """Choose validation clips stratified by class.

    Each class gives its share, rounded so that the total is right (largest remainder), and keeps at least one clip.

    Args:
        labels: [n] classes of the training clips.
        names: [n] their names; a clip's place in the draw depends on (seed, name) alone.
        share: share of the clips to hold out, between 0 and 1.
        seed: the probe's seed.

    Returns:
        [n] whether each clip is held out.

    Raises:
        InvalidInputError: every class has a single clip.
    """
    order = np.lexsort((draw_ranks(seed, "validation", names), labels))
    counts = np.bincount(labels)
    exact = counts * share
    take = np.minimum(np.floor(exact).astype(np.int64), np.maximum(counts - 1, 0))
    total = max(round(share * len(labels)), 1)
    for label in np.argsort(take - exact, kind="stable"):
        if take.sum() >= total:
            break
        take[label] += take[label] < counts[label] - 1
    if take.sum() == 0:
        raise InvalidInputError(
            "no class has two training clips, so none can be held out for validation: measure more clips"
        )
    first = np.concatenate([[0], np.cumsum(counts)[:-1]])
    held = np.zeros(len(labels), dtype=bool)
    for start, number in zip(first, take, strict=True):
        held[order[start : start + number]] = True
    return held


def draw_random_validation_rows(
    labels: NDArray[np.int64], names: Sequence[str], *, share: float, seed: int
) -> NDArray[np.bool_]:
    """Choose validation clips at random regardless of class, and again until every class is among them.

    The number of clips is rounded up, as scikit-learn's ``train_test_split`` does. A draw that leaves a class without
    training clips is repeated too; EVAR would train without that class.

    Args:
        labels: [n] classes of the training clips.
        names: [n] their names; a clip's place in each draw depends on (seed, number of the draw, name) alone.
        share: share of the clips to hold out, between 0 and 1.
        seed: the probe's seed.

    Returns:
        [n] whether each clip is held out.

    Raises:
        InvalidInputError: no draw of ``VALIDATION_DRAWS`` has every class; EVAR's program ends at this point too.

    Source: ``train_test_sure_split`` of MLP/torch_mlp_clf2.py, https://github.com/daisukelab/general-learning.
    """
    number, classes = math.ceil(share * len(labels)), len(np.unique(labels))
    for attempt in range(VALIDATION_DRAWS if classes <= number < len(labels) else 0):
        chosen = np.argsort(draw_ranks(seed, f"random validation {attempt}", names), kind="stable")[:number]
        held = np.zeros(len(labels), dtype=bool)
        held[chosen] = True
        if len(np.unique(labels[held])) == len(np.unique(labels[~held])) == classes:
            return held
    raise InvalidInputError(
        f"{number} validation clips drawn at random from {len(labels)} do not include each of the {classes} classes, "
        f"as EVAR's protocol requires: measure more clips, or give another --protocol"
    )
