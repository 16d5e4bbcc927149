"""Can a ridge regression learn on drawn pairs what a text changes? APwD without training a network.

    python tests/experiments/text_heads.py --set apwd --jams jams --text-encoder minilm --encoder logmel --cache cache

Each query is y_s1 of a test pair and its text, the gallery the y_s2 of all test pairs. A ridge regression
predicts y_s2 - y_s1 from [y_s1, text embedding], trained on the development pairs; it is added to y_s1. Its strength is
chosen on pairs held out: those whose first background recording the others do not have. Controls: the same from y_s1
alone, from the text alone, and y_s1 itself. The row `zero-shot difference` is that of `benchmark run`; it is given the
codes of the changes instead of the text. Each side is centred by its mean over the training pairs. Prints R@1, R@10 and
mean rank with 95 % intervals over pairs, and paired differences of R@10 and mean rank from `zero-shot difference`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmark.composed_retrieval.zero_shot import apply_changes, fit_differences
from benchmark.embedding.embed import embed_clips
from benchmark.embedding.settings import EmbedSettings
from benchmark.embedding.texts import embed_texts
from benchmark.encoders.registry import load_encoder
from benchmark.ranking import compute_ranks
from benchmark.results.paired import compare_paired
from benchmark.results.stats import estimate_mean, estimate_share
from benchmark.tasks import prepare
from benchmark.tasks.contract import TaskOptions
from benchmark.text_tables import align_columns
from bgknown.jams.reading import parse_jams

FOLDS = 5
PENALTIES = tuple(10.0**power for power in np.arange(-3, 3.5, 0.5))
Array = NDArray[np.float64]


def solve(x: Array, y: Array, penalty: float) -> tuple[Array, Array]:
    """Weight [P, D] and bias [D] of a ridge regression with a penalty per row."""
    x_mean, y_mean = x.mean(axis=0), y.mean(axis=0)
    centred = x - x_mean
    gram = centred.T @ centred + len(x) * penalty * np.eye(x.shape[1])
    weight = np.linalg.solve(gram, centred.T @ (y - y_mean))
    return weight, y_mean - x_mean @ weight


def choose_penalty(x: Array, y: Array, folds: NDArray[np.int64]) -> float:
    """The penalty with the least error on folds that were not fitted."""

    def measure_error(penalty: float) -> float:
        errors = []
        for fold in np.unique(folds):
            held_out = folds == fold
            weight, bias = solve(x[~held_out], y[~held_out], penalty)
            errors.append(np.square(y[held_out] - x[held_out] @ weight - bias).sum())
        return float(np.sum(errors))

    best: float = min(PENALTIES, key=measure_error)
    return best


def predict(x: Array, y: Array, train: NDArray[np.int64], folds: NDArray[np.int64]) -> Array:
    """Predictions for all rows, by a ridge regression on the training pairs."""
    x = (x - x[train].mean(axis=0)) / (x[train].std(axis=0) + 1e-6)
    scale = y[train].std(axis=0) + 1e-6
    penalty = choose_penalty(x[train], y[train] / scale, folds)
    weight, bias = solve(x[train], y[train] / scale, penalty)
    print(f"penalty {penalty:g} for {x.shape[1]} features")
    predictions: Array = (x @ weight + bias) * scale
    return predictions


def rank(queries: Array, targets: Array, train: NDArray[np.int64], test: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rank of every test query's target, each side centred by its mean over the training pairs."""
    query, target = (
        torch.from_numpy((side[test] - side[train].mean(axis=0)).astype(np.float32)) for side in (queries, targets)
    )
    places = torch.arange(len(test))
    return compute_ranks(query, target, places, places)[0].numpy()


def number_folds(files: list[Path]) -> NDArray[np.int64]:
    """[n] a fold for every soundscape, by the recording of its first background."""
    backgrounds = []
    for file in files:
        backgrounds.append(parse_jams(file.read_bytes(), str(file)).backgrounds[0].file)
    _, numbers = np.unique(backgrounds, return_inverse=True)
    return (numbers % FOLDS).astype(np.int64)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--set", type=Path, required=True, help="Pairs built by `bgknown apwd build`.")
    parser.add_argument("--jams", type=Path, required=True, help="The JAMS of the pairs.")
    parser.add_argument("--encoder", required=True, help="As for benchmark.")
    parser.add_argument("--text-encoder", required=True, help="As for benchmark.")
    parser.add_argument("--task", default="apwd-rain", help="apwd-rain or apwd-traffic.")
    parser.add_argument("--cache", type=Path, required=True, help="Cache folder.")
    given = parser.parse_args()
    data = prepare(given.task, given.set, TaskOptions(cache=given.cache, text_encoder=given.text_encoder))
    loaded = load_encoder(given.encoder)
    settings = EmbedSettings(cache=given.cache)
    first, second = (embed_clips(loaded, data.signals[side], settings) for side in ("s1", "s2"))
    assert data.text_encoder is not None
    texts, places = embed_texts(data.text_encoder, data.table["text"].tolist(), given.cache)
    train, test = data.folds[0].train, data.folds[0].test
    folds = number_folds([given.jams / file for file in data.table["jams_s1"].iloc[train]])
    audio, text = first.astype(np.float64), texts[places].astype(np.float64)
    difference = second.astype(np.float64) - audio
    queries = {
        "ridge: audio and text": audio + predict(np.hstack([audio, text]), difference, train, folds),
        "ridge: text alone": audio + predict(text, difference, train, folds),
        "ridge: audio alone": audio + predict(audio, difference, train, folds),
        "ridge: text alone, without y_s1": predict(text, audio + difference, train, folds),
        "zero-shot audio": audio,
    }
    changes = [tuple(filter(None, codes.split(";"))) for codes in data.table["changes"]]
    codes, found = fit_differences(first, second, train, [changes[row] for row in train])
    queries = {
        "zero-shot difference": apply_changes(np.asarray(first), changes, codes, found).astype(np.float64)
    } | queries
    ranks = {name: rank(rows, audio + difference, train, test) for name, rows in queries.items()}
    print(align_columns(["query", "R@1", "R@10", "mean rank", "R@10 gain", "rank gain"], list_rows(ranks)))


def list_rows(ranks: dict[str, NDArray[np.int64]]) -> list[list[str]]:
    """A row of figures for every kind of query; gains are over the first."""
    base = next(iter(ranks.values()))
    rows = []
    for name, found in ranks.items():
        cells = [name]
        for k in (1, 10):
            share = estimate_share(found <= k)
            cells.append(f"{100 * share.mean:.1f} [{100 * (share.low or 0):.1f}, {100 * (share.high or 0):.1f}]")
        cells.append(f"{found.mean():.1f}")
        gain = compare_paired(found <= 10, base <= 10)
        cells.append(f"{100 * gain.mean:+.1f} [{100 * (gain.low or 0):.1f}, {100 * (gain.high or 0):.1f}]")
        closer = estimate_mean(base.astype(np.float64) - found)
        cells.append(f"{closer.mean:+.1f} [{closer.low or 0:.1f}, {closer.high or 0:.1f}]")
        rows.append(cells)
    return rows


if __name__ == "__main__":
    main()
