"""One encoder on one task: embeddings, probes and measures, to scores and predictions."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from benchmark import processes
from benchmark.embed import EmbedSettings, embed
from benchmark.encoder import FittedEncoder, LoadedEncoder
from benchmark.probe import ProbeSettings, Problem, train, validation_rows
from benchmark.protocol import Protocol
from benchmark.runs import PREDICTION_COLUMNS
from benchmark.task import Embeddings, Fold, TaskData, check_folds


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Score:
    """A metric in one setting."""

    setting: str
    """The setting."""
    metric: str
    """The metric."""
    by_seed: list[float]
    """The score of each seed, 0..1, the mean over its folds; one value where nothing was trained."""
    by_clip: NDArray[np.float64]
    """[n] the score of each test clip, the mean over its seeds."""
    seeds: int
    """Seeds; 0 where nothing was trained."""
    lr: float | None
    """Learning rate of the probe."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evaluation:
    """What came out of one encoder on one task."""

    scores: list[Score]
    """One per setting and metric."""
    predictions: pd.DataFrame
    """One row per setting, metric, seed and test clip."""
    seconds: float
    """Wall time."""


def evaluate(
    loaded: LoadedEncoder, module: ModuleType, data: TaskData, protocol: Protocol, settings: EmbedSettings
) -> Evaluation:
    """Measure an encoder on a task.

    Args:
        loaded: the encoder; the probes are trained on its device.
        module: the task's module.
        data: the task on disk.
        protocol: how probes are trained.
        settings: how embeddings are computed.

    Raises:
        BgknownError: data, encoder or protocol break a rule.
    """
    began = time.monotonic()
    check_folds(data)
    scores: list[Score] = []
    tables: list[pd.DataFrame] = []
    by_fold = list(_embedded(loaded, data, settings))
    if processes.rank() == 0:
        found, table = _probe(data, by_fold, protocol, loaded.device)
        scores, tables = [*scores, *found], [*tables, table]
        if hasattr(module, "measures"):
            found, table = _measure(module, data, by_fold[0][1])
            scores, tables = [*scores, *found], [*tables, table]
    predictions = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=PREDICTION_COLUMNS)
    return Evaluation(scores=scores, predictions=predictions, seconds=time.monotonic() - began)


def _embedded(loaded: LoadedEncoder, data: TaskData, settings: EmbedSettings) -> Iterator[tuple[Fold, Embeddings]]:
    """Every signal's embeddings for each fold; the same for all unless the encoder is fitted to training audio."""
    clips = [clip for signal in data.signals.values() for clip in signal]
    shared: NDArray[np.float32] | None = None
    for fold in data.folds:
        if isinstance(loaded.encoder, FittedEncoder):
            heard = data.signals[data.settings[0].signal]
            rows = embed(loaded, clips, settings, fit_on=[heard[row] for row in fold.train])
        else:
            shared = rows = embed(loaded, clips, settings) if shared is None else shared
        n = len(data.table)
        yield fold, {name: rows[i * n : (i + 1) * n] for i, name in enumerate(data.signals)}


def _probe(
    data: TaskData, by_fold: list[tuple[Fold, Embeddings]], protocol: Protocol, device: str
) -> tuple[list[Score], pd.DataFrame]:
    """All probes of a task in one training."""
    lr = data.facts.lr if protocol.lr is None else protocol.lr
    settings = ProbeSettings(
        lr=lr,
        batch_size=protocol.batch_size,
        max_epochs=protocol.max_epochs,
        patience=protocol.patience,
        validation_share=protocol.validation_share,
    )
    problems, places = [], []
    for fold, embeddings in by_fold:
        splits = [_split(data, fold, settings, seed) for seed in range(protocol.seeds)]
        for setting in data.settings:
            features = torch.from_numpy(setting.features(embeddings))
            for seed, (training, valid) in enumerate(splits):
                problems.append(
                    Problem(
                        name=f"{data.facts.name} {setting.name}, seed {seed}"
                        + (f", fold {fold.name}" * bool(fold.name)),
                        features=features,
                        labels=torch.from_numpy(data.labels()),
                        train=training,
                        valid=valid,
                        test=fold.test,
                        classes=len(data.classes()),
                        seed=seed,
                        fold=fold.name,
                    )
                )
                places.append((setting.name, fold, seed))
    with tqdm(total=len(problems), desc="probes", unit="probe", disable=not sys.stderr.isatty(), leave=False) as bar:
        results = train(problems, settings, device=device, progress=bar.update)
    classes, labels = np.array(data.classes()), data.table["label"].to_numpy()
    tables = [
        _predictions(data, fold.test, setting=setting, metric=data.facts.metric, fold=fold.name, seed=seed).assign(
            label=labels[fold.test], predicted=classes[result.predicted], score=result.correct.astype(float)
        )
        for (setting, fold, seed), result in zip(places, results, strict=True)
    ]
    table = pd.concat(tables, ignore_index=True)[PREDICTION_COLUMNS]
    return [_score(table, setting.name, data.facts.metric, lr) for setting in data.settings], table


def _split(
    data: TaskData, fold: Fold, settings: ProbeSettings, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows to train on and rows that decide when to stop."""
    if fold.valid is not None:
        return fold.train, fold.valid
    names = data.table["clip_id"].to_numpy()[fold.train].tolist()
    held = validation_rows(data.labels()[fold.train], names, share=settings.validation_share, seed=seed)
    return fold.train[~held], fold.train[held]


def _predictions(data: TaskData, rows: NDArray[np.int64], **facts: str | int) -> pd.DataFrame:
    """One row per clip, with what is the same for all of them."""
    return pd.DataFrame({"clip_id": data.table["clip_id"].to_numpy()[rows]}).assign(task=data.facts.name, **facts)


def _score(table: pd.DataFrame, setting: str, metric: str, lr: float) -> Score:
    """Folds are averaged within a seed; a clip's score is the mean over seeds."""
    part = table[table["setting"] == setting]
    by_seed = part.groupby(["seed", "fold"])["score"].mean().groupby("seed").mean()
    by_clip = part.groupby("clip_id", sort=True)["score"].mean()
    return Score(
        setting=setting,
        metric=metric,
        by_seed=by_seed.tolist(),
        by_clip=by_clip.to_numpy(),
        seeds=len(by_seed),
        lr=lr,
    )


def _measure(module: ModuleType, data: TaskData, embeddings: Embeddings) -> tuple[list[Score], pd.DataFrame]:
    """The figures of a task that need no training."""
    scores, tables = [], [pd.DataFrame(columns=PREDICTION_COLUMNS)]
    for measure in module.measures(data, embeddings):
        for metric, values in measure.metrics.items():
            scores.append(
                Score(
                    setting=measure.setting,
                    metric=metric,
                    by_seed=[float(values.mean())],
                    by_clip=values,
                    seeds=0,
                    lr=None,
                )
            )
            table = _predictions(data, measure.rows, setting=measure.setting, metric=metric, fold="", seed="")
            table = table.assign(label=table["clip_id"], predicted=measure.predicted, score=values)
            tables.append(table[PREDICTION_COLUMNS])
    return scores, pd.concat([table for table in tables if not table.empty] or tables[:1], ignore_index=True)
