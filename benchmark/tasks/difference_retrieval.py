"""Difference retrieval without training: does y_mix - y_bg find the clean clip among all clean test clips?

Queries and gallery are different kinds of embedding, so each side is centred by its own mean over the training part:
the queries by that of the training remainders, the gallery by that of the clean training clips. Without that, cosine
similarity mostly sees the offset between the two means, which says nothing about the clips; those figures are measured
too, as ``uncentred``. Metrics are recall of the very clip (``clip R@K``) and of any clip of its class (``class R@K``),
and the mean cosine between the remainder and the clean clip's embedding, as it is, from -1 to 1. Of an encoder that is
linear in power the remainder is the clip's embedding times the gain that the clip has in the mixture; the cosine
ignores a gain only where no mean was taken off, so for such an encoder the uncentred figures are the better ones.

Each clip is in the gallery once, however many mixtures of it are queried.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmark.predictions import COSINE
from benchmark.ranking import RECALLS, chance_recall, compute_ranks
from benchmark.tasks.contract import Embeddings, Measure, TaskData
from bgknown.corpora.columns import find_corpus_prefixes

UNCENTRED = " uncentred"
"""What is added to the names of metrics of sides that are not centred."""
NOT_QUERIED = ("clean", "clean -> a")
"""Settings without remainders."""


def measure_difference_retrieval(data: TaskData, embeddings: Embeddings, alphas: Mapping[str, float]) -> list[Measure]:
    """Rank of the clean clip, and of its class, among the clean test clips.

    Args:
        data: the task.
        embeddings: of each signal.
        alphas: by setting the weight of the background that its probe chose.

    Returns:
        a measure for each setting of the probe that has one weight, and ``chance``: what a random order would give, in
        closed form.
    """
    if "clean" not in embeddings:
        return []
    fold = data.folds[0]
    clips = data.table[find_corpus_prefixes(data.table.columns).foreground_file].to_numpy(dtype=np.str_)
    unique, first, place = np.unique(clips[fold.test], return_index=True, return_inverse=True)
    shown = fold.test[first]
    labels, names = data.labels(), data.clips()
    answers = {
        "clip": (torch.from_numpy(place), torch.arange(len(unique))),
        "class": (torch.from_numpy(labels[fold.test]), torch.from_numpy(labels[shown])),
    }
    trained = fold.train[np.unique(clips[fold.train], return_index=True)[1]]
    gallery, gallery_mean = _take(embeddings["clean"], shown), embeddings["clean"][trained].mean(axis=0)
    found = []
    for setting in data.settings:
        alpha = alphas.get(setting.name, 1.0)
        if setting.name in NOT_QUERIED or (len(setting.alphas) > 1 and setting.name not in alphas):
            continue
        features = setting.features(embeddings, alpha)
        queries, mean = _take(features, fold.test), features[fold.train].mean(axis=0)
        metrics: dict[str, NDArray[np.float64]] = {}
        best = torch.empty(0)
        for mark, query, target in (
            ("", queries - torch.from_numpy(mean), gallery - torch.from_numpy(gallery_mean)),
            (UNCENTRED, queries, gallery),
        ):
            for kind, (wanted, there) in answers.items():
                rank, first_found = compute_ranks(query, target, wanted, there)
                best = first_found if not len(best) else best
                metrics.update({f"{kind} R@{k}{mark}": (rank.numpy() <= k).astype(float) for k in RECALLS})
        metrics[COSINE] = torch.cosine_similarity(queries.double(), gallery[place].double()).numpy()
        predicted = [str(names[shown[number]]) for number in best.tolist()]
        found.append(Measure(setting=setting.name, metrics=metrics, rows=fold.test, predicted=predicted))
    found.append(_measure_chance(fold.test, answers))
    return found


def _take(features: NDArray[np.float32], rows: NDArray[np.int64]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(features[rows]))


def _measure_chance(rows: NDArray[np.int64], answers: Mapping[str, tuple[Tensor, Tensor]]) -> Measure:
    """Recall of a random order."""
    metrics = {}
    for kind, (wanted, there) in answers.items():
        sizes = torch.bincount(there, minlength=int(wanted.max()) + 1)[wanted]
        metrics.update({f"{kind} R@{k}": chance_recall(len(there), sizes, k).numpy() for k in RECALLS})
    return Measure(setting="chance", metrics=metrics, rows=rows, predicted=[""] * len(rows))
