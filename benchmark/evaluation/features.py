"""What the probe of a setting is trained and tested on."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from benchmark.probe.folds import deal_folds
from benchmark.probe.ridge import fit_ridge
from benchmark.probe.standardised import measure_standardisation
from benchmark.tasks.contract import Embeddings, Fold, Setting, TaskData

InnerFolds = tuple[tuple[NDArray[np.int64], NDArray[np.int64]], ...]
"""Views to fit and views held out, for each fold inside the training part."""


def make_features(
    setting: Setting, embeddings: Embeddings, data: TaskData, fold: Fold, alpha: float = 1.0
) -> NDArray[np.float32]:
    """[views, D] what a setting's probe gets.

    Where a setting is tested on something other than what it is trained on, each side is standardised by its own
    training rows, since a probe of one knows nothing of the offset and scale of the other.

    Args:
        setting: the setting.
        embeddings: of each signal.
        data: the task.
        fold: the fold that is tested.
        alpha: weight of what is subtracted.
    """
    if setting.tested is None:
        return setting.features(embeddings, alpha)
    training = data.trained_on(fold.train)
    sides = []
    for side in (setting.features(embeddings, alpha), setting.tested.features(embeddings)):
        mean, scale = measure_standardisation(torch.from_numpy(side), training)
        sides.append((side - mean.numpy()) / scale.numpy())
    trained, tested = sides
    features: NDArray[np.float32] = trained.astype(np.float32)
    features[fold.test] = tested[fold.test]
    return features


def name_features(setting: Setting, fold: Fold, alpha: float = 1.0) -> str:
    """The same name for the same features of a task."""
    if setting.tested is not None:
        return f"{setting.name} in fold {fold.name}"
    if setting.remainder is not None:
        return f"{setting.name} by a head"
    if not setting.minus or alpha == 0.0:
        return setting.signal
    rows = "" if setting.minus_rows is None else " of another"
    return f"{setting.signal} - {alpha:g} {setting.minus}{rows}"


def split_inner(data: TaskData, fold: Fold) -> InnerFolds:
    """Divide the training part, so that settings of a probe can be chosen inside it.

    The task's own folds are held out in turn; a task with a validation split has that; otherwise clips are dealt to
    folds that never split a group. What is fitted are the views that are trained on, what is held out those that are
    tested.
    """
    if fold.valid is not None:
        return ((data.trained_on(fold.train), fold.valid),)
    own = data.table["fold"].to_numpy()[fold.train] if "fold" in data.table else np.empty(0)
    if len(set(own)) < 2:
        own = deal_folds(data.labels()[fold.train], data.groups()[fold.train].tolist())
    return tuple(
        (data.trained_on(fold.train[own != name]), fold.train[own == name]) for name in sorted(set(own.tolist()))
    )


def choose_alpha(setting: Setting, embeddings: Embeddings, data: TaskData, fold: Fold) -> float | None:
    """The weight with which ridge regression predicts training clips best that are left out with their group.

    None where there is nothing to choose.
    """
    if len(setting.alphas) < 2:
        return None
    rows = data.trained_on(fold.train)
    groups = data.groups()[fold.train].tolist()
    labels, classes = torch.from_numpy(data.view_labels()), len(data.classes())
    fits = {
        alpha: fit_ridge(torch.from_numpy(setting.features(embeddings, alpha)), labels, rows, groups, classes)
        for alpha in setting.alphas
    }
    return max(fits, key=lambda alpha: (fits[alpha].left_out_accuracy, -fits[alpha].left_out_error))
