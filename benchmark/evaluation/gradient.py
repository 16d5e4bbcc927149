"""The probes of a task that are trained by gradient steps: protocols ``paper``, ``evar`` and ``search``."""

from __future__ import annotations

import dataclasses
import logging
import sys
from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from benchmark.evaluation.features import choose_alpha, make_features
from benchmark.evaluation.scoring import Place, make_score, score_gains, tabulate_probes, take_median
from benchmark.probe import (
    ProbeProblem,
    ProbeResult,
    ProbeSettings,
    Resuming,
    draw_random_validation_rows,
    draw_validation_rows,
    measure_share_finished,
    train_probes,
)
from benchmark.protocol import Protocol
from benchmark.scores import Score
from benchmark.tasks.contract import Embeddings, Fold, TaskData

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GradientProbes:
    """What came out of the probes of a task."""

    scores: list[Score]
    """One for each setting, and for each gain."""
    predictions: pd.DataFrame
    """Those of all probes."""
    chosen: list[dict[str, str | int | float]]
    """Setting, fold, seed, learning rate and weight of the background of each probe, where they were chosen."""
    probes: list[dict[str, str | int]]
    """Setting, fold, seed, ending and steps of each probe."""


def probe_by_gradient(
    data: TaskData,
    by_fold: Sequence[tuple[Fold, Embeddings]],
    protocol: Protocol,
    device: str,
    resuming: Resuming,
) -> GradientProbes:
    """Train all probes of a task together, with every learning rate to choose from.

    Args:
        data: the task.
        by_fold: each fold with the embeddings of every signal.
        protocol: how to train.
        device: where.
        resuming: where to store what a stopped training resumes from.
    """
    settings = make_settings(protocol, data.facts.lr)
    rates = protocol.rates or (settings.lr,)
    places, problems, alphas = _list_problems(data, by_fold, protocol, rates)
    epochs = len(problems) * settings.max_epochs
    with tqdm(total=epochs, desc="probes", unit="epoch", disable=not sys.stderr.isatty(), leave=False) as bar:
        trained = train_probes(problems, settings, device=device, progress=bar.update, resume=resuming)
    # of equal losses the smaller rate: rates are tried in their order
    tried = [range(i * len(rates), (i + 1) * len(rates)) for i in range(len(places))]
    best = [min(indices, key=lambda i: trained[i].valid_loss) for indices in tried]
    results, used = [trained[i] for i in best], [rates[i % len(rates)] for i in best]
    _warn_of_edges(data.facts.name, rates, used)
    metric = data.facts.metric
    table = tabulate_probes(data, places, [result.predicted for result in results], metric)
    scores = []
    for setting in data.settings:
        own = [i for i, place in enumerate(places) if place.setting == setting.name]
        scores.append(
            make_score(
                table,
                setting.name,
                metric,
                seeds=protocol.seeds,
                lr=take_median([used[i] for i in own]),
                alpha=take_median([alpha for i in own if (alpha := alphas[i]) is not None]),
                converged=measure_share_finished([results[i].ended for i in own]),
            )
        )
    scores += score_gains(table, data.gains, metric, seeds=protocol.seeds)
    return GradientProbes(
        scores=scores,
        predictions=table,
        chosen=_tabulate_choices(places, used if protocol.rates else None, alphas),
        probes=[_describe(place, result) for place, result in zip(places, results, strict=True)],
    )


def make_settings(protocol: Protocol, lr: float) -> ProbeSettings:
    """How a protocol trains a probe.

    Args:
        protocol: the protocol.
        lr: learning rate of the task, for a protocol that sets none.
    """
    shared = [each.name for each in dataclasses.fields(ProbeSettings) if each.name != "lr"]
    chosen = lr if protocol.lr is None else protocol.lr
    return ProbeSettings(lr=chosen, **{name: getattr(protocol, name) for name in shared})


def hold_out(protocol: Protocol, labels: NDArray[np.int64], names: Sequence[str], seed: int) -> NDArray[np.bool_]:
    """[n] which training rows decide when to stop; rows of the same name, draws of one clip, are held out together."""
    draw = draw_validation_rows if protocol.validation_draw == "stratified" else draw_random_validation_rows
    unique, first, place = np.unique(np.array(names, dtype=np.str_), return_index=True, return_inverse=True)
    if len(unique) == len(names):
        return draw(labels, names, share=protocol.validation_share, seed=seed)
    return draw(labels[first], unique.tolist(), share=protocol.validation_share, seed=seed)[place]


def check_validation(data: TaskData, protocol: Protocol) -> None:
    """Refuse a task of which no validation part can be held out, before time is spent on its embeddings.

    Raises:
        InvalidInputError: no class has a clip to spare.
    """
    for fold in data.folds:
        for seed in range(protocol.seeds):
            _split(data, fold, protocol, seed)


def _list_problems(
    data: TaskData, by_fold: Sequence[tuple[Fold, Embeddings]], protocol: Protocol, rates: Sequence[float]
) -> tuple[list[Place], list[ProbeProblem], list[float | None]]:
    """What each probe is for, and for each the problems with one learning rate after another, and its alpha."""
    places, problems, alphas = [], [], []
    labels = torch.from_numpy(data.view_labels())
    for fold, embeddings in by_fold:
        splits = [_split(data, fold, protocol, seed) for seed in range(protocol.seeds)]
        for setting in data.settings:
            alpha = choose_alpha(setting, embeddings, data, fold)
            features = torch.from_numpy(
                make_features(setting, embeddings, data, fold, setting.alphas[0] if alpha is None else alpha)
            )
            for seed, (training, valid, standardise) in enumerate(splits):
                places.append(Place(setting=setting.name, fold=fold, seed=seed))
                alphas.append(alpha)
                name = f"{data.facts.name} {setting.name}, seed {seed}" + f", fold {fold.name}" * bool(fold.name)
                problems += [
                    ProbeProblem(
                        name=name,
                        features=features,
                        labels=labels,
                        train=training,
                        valid=valid,
                        test=fold.test,
                        classes=len(data.classes()),
                        seed=seed,
                        fold=fold.name,
                        lr=rate,
                        standardise=standardise,
                    )
                    for rate in rates
                ]
    return places, problems, alphas


def _split(
    data: TaskData, fold: Fold, protocol: Protocol, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64] | None]:
    """Views to train on, views that decide when to stop, and those that give mean and standard deviation if others."""
    if fold.valid is not None:
        return data.trained_on(fold.train), fold.valid, None
    names = data.clips()[fold.train].tolist()
    held = hold_out(protocol, data.labels()[fold.train], names, seed)
    training, valid = data.trained_on(fold.train[~held]), fold.train[held]
    return training, valid, None if protocol.standardise_on == "train" else np.concatenate([training, valid])


def _warn_of_edges(task: str, rates: Sequence[float], used: Sequence[float]) -> None:
    """Log a warning where most probes chose the smallest or largest rate, beyond which a better one may be."""
    if len(rates) < 3:
        return
    for what, edge in (("smallest", min(rates)), ("largest", max(rates))):
        count = used.count(edge)
        if 2 * count > len(used):
            log.warning(
                "%s: %d of %d probes chose the %s of the learning rates, %g; a --protocol file with other rates "
                "would show whether that is enough",
                *(task, count, len(used), what, edge),
            )


def _tabulate_choices(
    places: Sequence[Place], used: Sequence[float] | None, alphas: Sequence[float | None]
) -> list[dict[str, str | int | float]]:
    """What probes chose, for the stored configuration of the run; empty where nothing was chosen."""
    choices: list[dict[str, str | int | float]] = []
    for i, (place, alpha) in enumerate(zip(places, alphas, strict=True)):
        choice: dict[str, str | int | float] = {
            "setting": place.setting,
            "fold": place.fold.name,
            "seed": place.seed or 0,
        }
        if used is not None:
            choice["lr"] = used[i]
        if alpha is not None:
            choice["alpha"] = alpha
        if len(choice) > 3:
            choices.append(choice)
    return choices


def _describe(place: Place, result: ProbeResult) -> dict[str, str | int]:
    return {
        "setting": place.setting,
        "fold": place.fold.name,
        "seed": place.seed or 0,
        "ended": result.ended,
        "steps": result.steps,
    }
