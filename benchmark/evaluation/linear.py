"""The probes of a task by protocol ``linear``: problems, predictions and scores."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from benchmark.evaluation.bands import DECIMALS
from benchmark.evaluation.features import make_features, name_features, split_inner
from benchmark.evaluation.scoring import Place, make_score, score_gains, tabulate_probes, take_median
from benchmark.probe.cost import check_memory, estimate_seconds
from benchmark.probe.linear import LinearProblem, LinearResult, Variant, count_steps, fit_linear_probes
from benchmark.probe.threads import count_workers
from benchmark.report import RIDGE
from benchmark.results.run_folder import ALPHA_TABLE
from benchmark.scores import Evaluation, Score
from benchmark.tasks.contract import Embeddings, Fold, Setting, TaskData
from bgknown.shown import format_duration

log = logging.getLogger(__name__)

ALPHA_COLUMNS = ["setting", "fold", "alpha", "n", "accuracy", "ridge_accuracy", "chosen"]
"""Columns of the table of weights: setting, fold, weight of the background, training clips that were held out in turn,
their accuracy by logistic regression at its best strength and by ridge regression in percent, and whether the probe of
the setting has this weight (1 or 0)."""
WORTH_SAYING_S = 30.0
"""Estimates above this are logged."""


def probe_linear(data: TaskData, by_fold: Sequence[tuple[Fold, Embeddings]], device: str) -> Evaluation:
    """Fit all probes of a task to their optimum.

    Args:
        data: the task.
        by_fold: each fold with the embeddings of every signal.
        device: where to compute.

    Returns:
        scores of every setting, by logistic and by ridge regression; predictions; for each probe setting, fold and what
        it chose; and the table of the weights that it chose from.
    """
    places, problems = _list_problems(data, by_fold)
    total = count_steps(problems)
    workers = count_workers(total, device)
    check_memory(problems, workers=workers)
    seconds = estimate_seconds(problems, device=device, workers=workers)
    if seconds > WORTH_SAYING_S:
        log.info("%s: the probes of protocol linear take about %s", data.facts.name, format_duration(seconds))
    with tqdm(total=total, desc="probes", unit="fit", disable=not sys.stderr.isatty(), leave=False) as bar:
        results = fit_linear_probes(problems, device=device, progress=bar.update)
    metric = data.facts.metric
    table = pd.concat(
        [
            tabulate_probes(data, places, [result.predicted for result in results], metric),
            tabulate_probes(data, places, [result.ridge_predicted for result in results], RIDGE + metric),
        ],
        ignore_index=True,
    )
    scores = [
        score for setting in data.settings for score in _score_setting(table, setting.name, metric, places, results)
    ]
    scores += score_gains(table, data.gains, metric)
    _warn_of_edges(data.facts.name, results)
    alphas = tabulate_alphas(places, problems, results)
    return Evaluation(
        scores=scores,
        predictions=table,
        seconds=0.0,
        chosen=_tabulate_choices(places, results),
        tables={} if alphas.empty else {ALPHA_TABLE: alphas},
    )


def _score_setting(
    table: pd.DataFrame, setting: str, metric: str, places: Sequence[Place], results: Sequence[LinearResult]
) -> Iterator[Score]:
    """The scores of a setting, by logistic and by ridge regression."""
    own = [result for place, result in zip(places, results, strict=True) if place.setting == setting]
    yield make_score(
        table,
        setting,
        metric,
        strength=take_median([result.strength for result in own]),
        alpha=take_median([result.alpha for result in own if result.alpha is not None]),
        converged=float(np.mean([result.converged for result in own])),
    )
    ridge_alphas = [result.ridge_alpha for result in own if result.ridge_alpha is not None]
    yield make_score(table, setting, RIDGE + metric, alpha=take_median(ridge_alphas))


def _list_problems(
    data: TaskData, by_fold: Sequence[tuple[Fold, Embeddings]]
) -> tuple[list[Place], list[LinearProblem]]:
    labels = torch.from_numpy(data.view_labels())
    places, problems = [], []
    for fold, embeddings in by_fold:
        inner, training = split_inner(data, fold), data.trained_on(fold.train)
        groups = data.groups()[fold.train].tolist()
        for setting in data.settings:
            places.append(Place(setting=setting.name, fold=fold))
            variants = tuple(
                Variant(
                    key=name_features(setting, fold, alpha),
                    alpha=alpha if len(setting.alphas) > 1 else None,
                    make=_promise(setting, embeddings, data, fold, alpha),
                )
                for alpha in setting.alphas
            )
            problems.append(
                LinearProblem(
                    name=f"{data.facts.name} {setting.name}" + f", fold {fold.name}" * bool(fold.name),
                    variants=variants,
                    labels=labels,
                    train=training,
                    inner=inner,
                    test=fold.test,
                    groups=groups,
                    classes=len(data.classes()),
                    size=embeddings[setting.signal].shape[1],
                )
            )
    return places, problems


def _promise(
    setting: Setting, embeddings: Embeddings, data: TaskData, fold: Fold, alpha: float
) -> Callable[[], Tensor]:
    """The features of a setting, made when they are needed: all of them together may be many times the embeddings."""
    return lambda: torch.from_numpy(make_features(setting, embeddings, data, fold, alpha))


def _warn_of_edges(task: str, results: Sequence[LinearResult]) -> None:
    """Log a warning where most probes chose the weakest penalty, beyond which a better one may be."""
    count = sum(result.weakest for result in results)
    if 2 * count > len(results):
        log.warning(
            "%s: %d of %d probes chose the weakest penalty of protocol linear; a weaker one might predict better, so "
            "read these figures next to `ridge accuracy`",
            *(task, count, len(results)),
        )


def tabulate_alphas(
    places: Sequence[Place], problems: Sequence[LinearProblem], results: Sequence[LinearResult]
) -> pd.DataFrame:
    """Accuracy on held-out training clips with every weight of the background, for settings that choose one.

    Args:
        places, problems, results: of each probe.

    Returns:
        a table with ``ALPHA_COLUMNS``.
    """
    rows = [
        [
            *(place.setting, place.fold.name, tried.alpha, sum(len(held) for _, held in problem.inner)),
            *(100 * tried.accuracy, 100 * tried.ridge_accuracy, int(tried.alpha == result.alpha)),
        ]
        for place, problem, result in zip(places, problems, results, strict=True)
        for tried in result.tried
    ]
    return pd.DataFrame(rows, columns=ALPHA_COLUMNS).round(DECIMALS)


def _tabulate_choices(places: Sequence[Place], results: Sequence[LinearResult]) -> list[dict[str, str | int | float]]:
    """What every probe chose, for the stored configuration of the run."""
    choices: list[dict[str, str | int | float]] = []
    for place, result in zip(places, results, strict=True):
        choice: dict[str, str | int | float] = {
            "setting": place.setting,
            "fold": place.fold.name,
            "strength": result.strength,
            "held_out_accuracy": result.held_out_accuracy,
        }
        if result.alpha is not None:
            choice["alpha"] = result.alpha
        choices.append(choice)
    return choices
