"""One encoder on one task: embeddings, probes and measures, to scores and predictions."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmark import processes
from benchmark.embedding.clips import Clip
from benchmark.embedding.embed import EmbedSettings, embed_clips, embed_share
from benchmark.encoders.contract import FittedEncoder, LoadedEncoder
from benchmark.evaluation.bands import tabulate_bands
from benchmark.evaluation.gradient import check_validation, probe_by_gradient
from benchmark.evaluation.linear import probe_linear
from benchmark.evaluation.measures import measure_composed_retrieval, measure_untrained
from benchmark.predictions import PREDICTION_COLUMNS
from benchmark.protocol import Protocol
from benchmark.results.run_folder import SNR_TABLE
from benchmark.resuming import Resuming
from benchmark.scores import Evaluation
from benchmark.tasks.contract import Embeddings, Fold, TaskData, check_folds
from bgknown.jobs.caches import PROBES


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
    if data.text_encoder is None and protocol.probe == "gradient":
        check_validation(data, protocol)
    notes: list[str] = []
    by_fold = list(embed_folds(loaded, data, settings, notes))
    if data.text_encoder is not None:
        found = measure_composed_retrieval(data, by_fold[0], protocol, loaded.device, settings.cache)
    elif processes.rank() == 0:
        found = _probe(data, by_fold, protocol, loaded.device, Resuming(settings.cache / PROBES.folder))
    else:
        found = Evaluation(scores=[], predictions=pd.DataFrame(columns=PREDICTION_COLUMNS), seconds=0.0)
    return dataclasses.replace(found, seconds=time.monotonic() - began, notes=notes)


def _probe(
    data: TaskData, by_fold: list[tuple[Fold, Embeddings]], protocol: Protocol, device: str, resuming: Resuming
) -> Evaluation:
    """All probes of a task, and the figures that need none."""
    if protocol.probe == "logistic":
        evaluation = probe_linear(data, by_fold, device)
    else:
        probes = probe_by_gradient(data, by_fold, protocol, device, resuming)
        evaluation = Evaluation(
            scores=probes.scores,
            predictions=probes.predictions,
            seconds=0.0,
            chosen=probes.chosen,
            probes=probes.probes,
            resuming=resuming,
        )
    metric = data.facts.metric
    alphas = {
        score.setting: score.alpha for score in evaluation.scores if score.alpha is not None and score.metric == metric
    }
    scores, table = measure_untrained(data, by_fold[0][1], alphas)
    tables = [part for part in (evaluation.predictions, table) if not part.empty]
    predictions = pd.concat(tables, ignore_index=True) if tables else table
    more = {} if data.bands is None else {SNR_TABLE: tabulate_bands(data, data.bands, predictions)}
    return dataclasses.replace(
        evaluation,
        scores=[*evaluation.scores, *scores],
        predictions=predictions,
        tables={**evaluation.tables, **more},
    )


def embed_share_of_task(loaded: LoadedEncoder, data: TaskData, settings: EmbedSettings) -> int:
    """Embed a share of what ``evaluate`` needs into the cache; returns how many embeddings that holds of all."""
    clips = [clip for signal in data.signals.values() for clip in signal]
    if not isinstance(loaded.encoder, FittedEncoder):
        return embed_share(loaded, clips, settings)
    return sum(embed_share(loaded, clips, settings, fit_on=_list_heard(data, fold)) for fold in data.folds)


def _list_heard(data: TaskData, fold: Fold) -> list[Clip]:
    """The clips that an encoder with statistics takes them from."""
    heard = data.signals[data.settings[0].signal]
    return [heard[row] for row in data.trained_on(fold.train)]


def embed_folds(
    loaded: LoadedEncoder, data: TaskData, settings: EmbedSettings, notes: list[str]
) -> Iterator[tuple[Fold, Embeddings]]:
    """Every signal's embeddings for each fold; the same for all unless the encoder is fitted to training audio."""
    clips = [clip for signal in data.signals.values() for clip in signal]
    ends = np.cumsum([len(signal) for signal in data.signals.values()])
    shared: NDArray[np.float32] | None = None
    for fold in data.folds:
        if isinstance(loaded.encoder, FittedEncoder):
            heard = _list_heard(data, fold)
            rows = embed_clips(loaded, clips, settings, fit_on=heard, twice=True, notes=notes)
        else:
            shared = rows = embed_clips(loaded, clips, settings, twice=True, notes=notes) if shared is None else shared
        yield fold, dict(zip(data.signals, np.split(rows, ends[:-1]), strict=True))
