"""One encoder on one task: embeddings, probes and measures, to scores and predictions."""

from __future__ import annotations

import dataclasses
import logging
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from benchmark import processes
from benchmark.composed_retrieval import KINDS
from benchmark.composed_retrieval.evaluation import (
    CHANCE,
    make_report_tables,
    rank_queries,
    score_setting,
    tabulate_predictions,
    tabulate_queries,
)
from benchmark.embedding.broken import explain_broken_pairs
from benchmark.embedding.embed import EmbedSettings, embed_clips
from benchmark.embedding.texts import BrokenTextsError
from benchmark.encoders.contract import FittedEncoder, LoadedEncoder
from benchmark.predictions import PREDICTION_COLUMNS, add_optional_columns, average_by_seed
from benchmark.probe import ProbeProblem, ProbeResult, ProbeSettings, Resuming, draw_validation_rows, train_probes
from benchmark.protocol import Protocol
from benchmark.ranking import chance
from benchmark.scores import Evaluation, Score
from benchmark.tasks.contract import Embeddings, Fold, TaskData, check_folds
from bgknown.jobs.caches import PROBES

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Place:
    """What a probe is for."""

    setting: str
    """The setting."""
    fold: Fold
    """The fold."""
    seed: int
    """The seed."""


def evaluate(loaded: LoadedEncoder, data: TaskData, protocol: Protocol, settings: EmbedSettings) -> Evaluation:
    """Measure an encoder on a task.

    Args:
        loaded: the encoder; the probes are trained on its device.
        data: the task on disk.
        protocol: how probes are trained.
        settings: how embeddings are computed.

    Raises:
        BgknownError: data, encoder or protocol break a rule.
    """
    began = time.monotonic()
    check_folds(data)
    notes: list[str] = []
    by_fold = list(_embedded(loaded, data, settings, notes))
    if data.text_encoder is not None:
        retrieved = _retrieval(data, by_fold[0], protocol, loaded.device, settings.cache)
        return dataclasses.replace(retrieved, seconds=time.monotonic() - began, notes=notes)
    scores: list[Score] = []
    tables: list[pd.DataFrame] = []
    chosen: list[dict[str, str | int | float]] = []
    resuming = Resuming(settings.cache / PROBES.folder)
    if processes.rank() == 0:
        found, table, chosen = _probe(data, by_fold, protocol, loaded.device, resuming)
        scores, tables = [*scores, *found], [*tables, table]
        if data.measures is not None:
            found, table = _measure(data, by_fold[0][1])
            scores, tables = [*scores, *found], [*tables, table]
    predictions = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=PREDICTION_COLUMNS)
    seconds = time.monotonic() - began
    return Evaluation(
        scores=scores, predictions=predictions, seconds=seconds, chosen=chosen, resuming=resuming, notes=notes
    )


def _embedded(
    loaded: LoadedEncoder, data: TaskData, settings: EmbedSettings, notes: list[str]
) -> Iterator[tuple[Fold, Embeddings]]:
    """Embeddings of every signal for each fold; the same for all folds unless the encoder is fitted to audio."""
    clips = [clip for signal in data.signals.values() for clip in signal]
    ends = np.cumsum([len(signal) for signal in data.signals.values()])
    shared: NDArray[np.float32] | None = None
    for fold in data.folds:
        if isinstance(loaded.encoder, FittedEncoder):
            heard = data.signals[data.settings[0].signal]
            rows = embed_clips(
                loaded,
                clips,
                settings,
                fit_on=[heard[row] for row in data.trained_on(fold.train)],
                twice=True,
                notes=notes,
            )
        else:
            shared = rows = embed_clips(loaded, clips, settings, twice=True, notes=notes) if shared is None else shared
        yield fold, dict(zip(data.signals, np.split(rows, ends[:-1]), strict=True))


def _retrieval(
    data: TaskData, embedded: tuple[Fold, Embeddings], protocol: Protocol, device: str, cache: Path
) -> Evaluation:
    """Retrieval with a text modifier: all systems in one training, their scores, and tables of queries."""
    fold, embeddings = embedded
    if data.text_encoder is None or processes.rank() > 0:
        return Evaluation(scores=[], predictions=pd.DataFrame(columns=PREDICTION_COLUMNS), seconds=0.0)
    resuming = Resuming(cache / PROBES.folder)
    given = (data.table, fold, embeddings, data.text_encoder, protocol)
    try:
        found = list(rank_queries(*given, device=device, cache=cache, resume=resuming))
    except BrokenTextsError as error:
        raise explain_broken_pairs(data, error) from error
    test = data.table.iloc[fold.test]
    queries = tabulate_queries(found, test["clip_id"].to_numpy())
    scores = []
    for setting in data.settings:
        if setting.name == CHANCE:
            by_metric = {metric: [value] for metric, value in chance(len(test)).items()}
            by_clip: dict[str, NDArray[np.float64]] = {}
        else:
            by_metric, by_clip = score_setting(queries, setting.name)
        trained = setting.name in KINDS
        scores += [
            Score(
                setting=setting.name,
                metric=metric,
                by_seed=values,
                by_clip=by_clip.get(metric, np.empty(0)),
                seeds=len(values) if trained else 0,
                lr=protocol.retrieval.lr if trained else None,
                n_test=len(test),
            )
            for metric, values in by_metric.items()
        ]
    return Evaluation(
        scores=scores,
        predictions=tabulate_predictions(queries, data.facts.name),
        seconds=0.0,
        tables=make_report_tables(queries, test),
        resuming=resuming,
    )


def _probe(
    data: TaskData, by_fold: list[tuple[Fold, Embeddings]], protocol: Protocol, device: str, resuming: Resuming
) -> tuple[list[Score], pd.DataFrame, list[dict[str, str | int | float]]]:
    """Train all probes of a task together, including those of all learning rates to choose from."""
    lr = data.facts.lr if protocol.lr is None else protocol.lr
    settings = ProbeSettings(
        lr=lr,
        batch_size=protocol.batch_size,
        max_epochs=protocol.max_epochs,
        patience=protocol.patience,
        validation_share=protocol.validation_share,
    )
    rates = protocol.rates or (lr,)
    places, problems = _problems(data, by_fold, settings, protocol.seeds, rates)
    epochs = len(problems) * settings.max_epochs
    with tqdm(total=epochs, desc="probes", unit="epoch", disable=not sys.stderr.isatty(), leave=False) as bar:
        trained = train_probes(problems, settings, device=device, progress=bar.update, resume=resuming)
    # for equal losses the smaller rate: rates are in ascending order
    tried = [range(i * len(rates), (i + 1) * len(rates)) for i in range(len(places))]
    best = [min(indices, key=lambda i: trained[i].valid_loss) for indices in tried]
    results = [trained[i] for i in best]
    chosen = [rates[i % len(rates)] for i in best]
    _tell_of_edges(data.facts.name, rates, chosen)
    table = _predicted(data, places, results)
    scores = [
        _score(
            table,
            setting.name,
            data.facts.metric,
            sorted(rate for rate, place in zip(chosen, places, strict=True) if place.setting == setting.name),
        )
        for setting in data.settings
    ]
    told: list[dict[str, str | int | float]] = [
        {"setting": place.setting, "fold": place.fold.name, "seed": place.seed, "lr": rate}
        for place, rate in zip(places, chosen, strict=True)
    ]
    return scores, table, told if protocol.rates else []


def _tell_of_edges(task: str, rates: Sequence[float], chosen: Sequence[float]) -> None:
    """Log a warning if most probes chose the smallest or largest rate: a better one may be outside the range."""
    if len(rates) < 3:
        return
    for what, edge in (("smallest", min(rates)), ("largest", max(rates))):
        count = chosen.count(edge)
        if 2 * count > len(chosen):
            log.warning(
                "%s: %d of %d probes chose the %s learning rate there was, %g; a --protocol file with other rates "
                "would show whether that is enough",
                *(task, count, len(chosen), what, edge),
            )


def _problems(
    data: TaskData,
    by_fold: list[tuple[Fold, Embeddings]],
    settings: ProbeSettings,
    seeds: int,
    rates: Sequence[float],
) -> tuple[list[_Place], list[ProbeProblem]]:
    """What each probe is for, and its problems with each learning rate in turn."""
    places, problems = [], []
    labels = torch.from_numpy(data.view_labels())
    classes = len(data.classes())
    for fold, embeddings in by_fold:
        splits = [_split(data, fold, settings, seed) for seed in range(seeds)]
        for setting in data.settings:
            features = torch.from_numpy(setting.features(embeddings))
            for seed, (training, valid) in enumerate(splits):
                place = _Place(setting=setting.name, fold=fold, seed=seed)
                name = f"{data.facts.name} {setting.name}, seed {seed}" + f", fold {fold.name}" * bool(fold.name)
                places.append(place)
                problems += [
                    ProbeProblem(
                        name=name,
                        features=features,
                        labels=labels,
                        train=training,
                        valid=valid,
                        test=fold.test,
                        classes=classes,
                        seed=seed,
                        fold=fold.name,
                        lr=rate,
                    )
                    for rate in rates
                ]
    return places, problems


def _predicted(data: TaskData, places: Sequence[_Place], results: Sequence[ProbeResult]) -> pd.DataFrame:
    """The predictions of all probes."""
    metric, classes, labels = data.facts.metric, np.array(data.classes()), data.table["label"].to_numpy()
    tables = []
    for place, result in zip(places, results, strict=True):
        rows = place.fold.test
        table = _predictions(data, rows, setting=place.setting, metric=metric, fold=place.fold.name, seed=place.seed)
        tables.append(
            table.assign(label=labels[rows], predicted=classes[result.predicted], score=result.correct.astype(float))
        )
    return add_optional_columns(pd.concat(tables, ignore_index=True))


def _split(
    data: TaskData, fold: Fold, settings: ProbeSettings, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Views to train on, and views that decide when to stop."""
    if fold.valid is not None:
        return data.trained_on(fold.train), fold.valid
    names = data.table["clip_id"].to_numpy()[fold.train].tolist()
    held = draw_validation_rows(data.labels()[fold.train], names, share=settings.validation_share, seed=seed)
    return data.trained_on(fold.train[~held]), fold.train[held]


def _predictions(data: TaskData, rows: NDArray[np.int64], **facts: str | int) -> pd.DataFrame:
    """One row per clip, with the values that are the same for all clips."""
    return pd.DataFrame({"clip_id": data.table["clip_id"].to_numpy()[rows]}).assign(task=data.facts.name, **facts)


def _score(table: pd.DataFrame, setting: str, metric: str, rates: Sequence[float]) -> Score:
    """A setting's score; that of a clip is the mean over seeds, and the rate the median over its probes."""
    part = table[table["setting"] == setting]
    scores = average_by_seed(part, setting, metric)
    by_clip = part.groupby("clip_id", sort=True)["score"].mean()
    return Score(
        setting=setting,
        metric=metric,
        by_seed=scores,
        by_clip=by_clip.to_numpy(),
        seeds=len(scores),
        lr=rates[(len(rates) - 1) // 2],
    )


def _measure(data: TaskData, embeddings: Embeddings) -> tuple[list[Score], pd.DataFrame]:
    """The figures of a task that need no training."""
    if data.measures is None:
        return [], pd.DataFrame(columns=PREDICTION_COLUMNS)
    scores, tables = [], [pd.DataFrame(columns=PREDICTION_COLUMNS)]
    for measure in data.measures(data, embeddings):
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
            tables.append(add_optional_columns(table))
    return scores, pd.concat([table for table in tables if not table.empty] or tables[:1], ignore_index=True)
