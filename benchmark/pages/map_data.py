"""The difference map of an encoder: mixtures, remainders and clean clips in two dimensions, and figures of all of them.

Points are the test mixtures, their remainders y_mix - y_bg for each reference, and the clean test clips, as
``benchmark.tasks.difference_retrieval`` compares them: as unit vectors, after each kind was centred by its own mean
over the training part, or as they are. Principal components are those of all these points together, so that mixtures
and clean clips keep their places when another reference is chosen.
"""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from benchmark.encoders.contract import LoadedEncoder
from benchmark.pages.packing import PAGE_DECIMALS, Packed, pack_flags, pack_numbers, pack_places
from benchmark.tasks.contract import Embeddings, Measure, TaskData
from benchmark.tasks.difference_retrieval import UNCENTRED, measure_difference_retrieval

REFERENCES = ("a", "b", "c", "shuffled")
"""Settings whose remainders are shown."""
SHOWN_METRICS = ("clip R@1", "class R@1")
"""Figures of the full space: the nearest clean clip is the mixture's own, or one of its class."""
SMALLEST = 1e-12
"""Length below which a vector has no direction."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MapRows:
    """The rows of a task that a map shows."""

    test: NDArray[np.int64]
    """[n] the test mixtures."""
    train: NDArray[np.int64]
    """The training mixtures."""
    clean: NDArray[np.int64]
    """[m] for every clean test clip a row with it."""
    clean_train: NDArray[np.int64]
    """The same for training clips."""
    own: NDArray[np.int64]
    """[n] for each test mixture the place of its clean clip in ``clean``."""


def find_map_rows(data: TaskData) -> MapRows:
    """The rows of the first fold, each clip once."""
    fold, clips = data.folds[0], data.clips()
    _, first, own = np.unique(clips[fold.test], return_index=True, return_inverse=True)
    _, first_trained = np.unique(clips[fold.train], return_index=True)
    return MapRows(
        test=fold.test, train=fold.train, clean=fold.test[first], clean_train=fold.train[first_trained], own=own
    )


def describe_map(loaded: LoadedEncoder, data: TaskData, embeddings: Embeddings, *, umap: bool) -> dict[str, Any]:
    """The block of an encoder: layouts of all points, and the figures of the full space.

    Args:
        loaded: the encoder.
        data: BgKnown.
        embeddings: of each signal.
        umap: whether to make a layout with UMAP too.
    """
    rows = find_map_rows(data)
    names = [name for name in REFERENCES if any(setting.name == name for setting in data.settings)]
    measures = measure_difference_retrieval(data, embeddings, {})
    layouts = []
    for centred in (True, False):
        points = stack_points(data, embeddings, rows, names, centred=centred)
        layouts.append(_lay_out_by_pca(points, centred=centred))
        if umap:
            layouts.append(_lay_out_by_umap(points, centred=centred))
    return {
        "name": loaded.name,
        "size": loaded.encoder.embedding_size,
        "references": names,
        "layouts": layouts,
        "figures": {measure.setting: _average(measure) for measure in measures},
        "hits": {measure.setting: _pack_hits(measure) for measure in measures if measure.setting in names},
        "nearest": {
            measure.setting: _pack_nearest(measure, data, rows) for measure in measures if measure.setting in names
        },
    }


def stack_points(
    data: TaskData, embeddings: Embeddings, rows: MapRows, names: Sequence[str], *, centred: bool
) -> NDArray[np.float32]:
    """[points, D] unit vectors: the mixtures, the remainders of each reference, and the clean clips."""
    settings = {setting.name: setting for setting in data.settings}
    kinds = [(embeddings["mix"], rows.test, rows.train)]
    kinds += [(settings[name].features(embeddings), rows.test, rows.train) for name in names]
    if "clean" in embeddings:
        kinds.append((embeddings["clean"], rows.clean, rows.clean_train))
    return np.concatenate([_normalise(values, shown, trained if centred else None) for values, shown, trained in kinds])


def _normalise(
    values: NDArray[np.float32], shown: NDArray[np.int64], trained: NDArray[np.int64] | None
) -> NDArray[np.float32]:
    found = values[shown] if trained is None else values[shown] - values[trained].mean(axis=0)
    lengths = np.linalg.norm(found, axis=1, keepdims=True)
    unit: NDArray[np.float32] = (found / np.maximum(lengths, SMALLEST)).astype(np.float32)
    return unit


def _lay_out_by_pca(points: NDArray[np.float32], *, centred: bool) -> dict[str, Any]:
    """The first two principal components, and the share of the variance that each has."""
    model = PCA(n_components=2, random_state=0)
    places = model.fit_transform(points.astype(np.float64))
    shares = [round(float(share), PAGE_DECIMALS) for share in np.nan_to_num(model.explained_variance_ratio_)]
    return {"method": "PCA", "centred": centred, "shares": shares, **_pack_layout(places)}


def has_umap() -> bool:
    """Whether umap-learn is installed."""
    return importlib.util.find_spec("umap") is not None


def _lay_out_by_umap(points: NDArray[np.float32], *, centred: bool) -> dict[str, Any]:
    """A layout that keeps neighbours next to each other; its axes and large distances mean nothing."""
    module = importlib.import_module("umap")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a fixed seed needs one process, which umap warns about
        places = module.UMAP(n_components=2, random_state=0).fit_transform(points)
    return {"method": "UMAP", "centred": centred, "shares": None, **_pack_layout(np.asarray(places, dtype=np.float64))}


def _pack_layout(places: NDArray[np.float64]) -> dict[str, Any]:
    x, y = (pack_places(places[:, axis]) for axis in (0, 1))
    return {"x": x, "y": y}


def _average(measure: Measure) -> dict[str, float]:
    """The shown figures in percent, centred and not."""
    wanted = [f"{metric}{mark}" for metric in SHOWN_METRICS for mark in ("", UNCENTRED)]
    return {
        name: round(100 * float(measure.metrics[name].mean()), PAGE_DECIMALS)
        for name in wanted
        if name in measure.metrics
    }


def _pack_hits(measure: Measure) -> list[Packed]:
    """Whether the nearest clean clip is the own one, centred and not."""
    return [pack_flags(measure.metrics[f"clip R@1{mark}"] == 1.0) for mark in ("", UNCENTRED)]


def _pack_nearest(measure: Measure, data: TaskData, rows: MapRows) -> Packed:
    """The place of the nearest clean clip, centred."""
    place = {str(name): number for number, name in enumerate(data.clips()[rows.clean])}
    return pack_numbers([place[name] for name in measure.predicted], largest=len(place))
