"""Figures of a task that need no training, and those of retrieval with a text modifier."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmark import processes
from benchmark.composed_retrieval import KINDS
from benchmark.composed_retrieval.evaluation import (
    CHANCE_SETTING,
    make_report_tables,
    rank_queries,
    score_setting,
    tabulate_predictions,
    tabulate_queries,
)
from benchmark.embedding.broken import explain_broken_pairs
from benchmark.embedding.texts import BrokenTextsError
from benchmark.evaluation.scoring import make_score, tabulate_clips
from benchmark.predictions import PREDICTION_COLUMNS
from benchmark.protocol import Protocol
from benchmark.ranking import chance
from benchmark.resuming import Resuming
from benchmark.scores import Evaluation, Score
from benchmark.tasks.contract import Embeddings, Fold, TaskData
from bgknown.jobs.caches import PROBES


def measure_untrained(
    data: TaskData, embeddings: Embeddings, alphas: Mapping[str, float]
) -> tuple[list[Score], pd.DataFrame]:
    """The figures of a task that need no probe.

    Args:
        data: the task.
        embeddings: of each signal.
        alphas: by setting the weight of the background that its probe chose.

    Returns:
        scores and predictions.
    """
    tables, scores = [], []
    for measure in [] if data.measures is None else data.measures(data, embeddings, alphas):
        for metric, values in measure.metrics.items():
            table = tabulate_clips(data, measure.rows, setting=measure.setting, metric=metric, fold="", seed="")
            tables.append(table.assign(label=data.clips()[measure.rows], predicted=measure.predicted, score=values))
            scores.append(make_score(tables[-1], measure.setting, metric))
    if not tables:
        return [], pd.DataFrame(columns=PREDICTION_COLUMNS)
    return scores, pd.concat(tables, ignore_index=True)[PREDICTION_COLUMNS]


def measure_composed_retrieval(
    data: TaskData, embedded: tuple[Fold, Embeddings], protocol: Protocol, device: str, cache: Path
) -> Evaluation:
    """Retrieval with a text modifier: all systems in one training, their scores, and tables of queries.

    Raises:
        InvalidInputError: texts cannot be embedded; names their pairs.
    """
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
        if setting.name == CHANCE_SETTING:
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
