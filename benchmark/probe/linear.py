"""Protocol ``linear``: logistic regression to its optimum, its strength chosen by the task's own folds.

For every setting the strength C, and where a setting has several the weight alpha of the background, is the one with
the highest accuracy on clips that were held out of training; of equals, the one with the lower loss there. The probe is
then fitted to all training rows. Nothing is drawn, so there are no seeds, and the only uncertainty left is that over
clips.

Rows are standardised by the rows that a fit is trained on, in every fold anew. Settings share what they share: the same
embeddings with the same rows are solved once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmark.probe import ridge
from benchmark.probe.logistic_model import LogisticFitter, find_shared_basis
from benchmark.probe.threads import run_threads

LOGIT_VARIANCES = tuple(10.0 ** (step / 2) for step in range(7))
"""Strengths to choose from, 1 to 1,000, as the variance C D of a logit that the penalty lets a probe expect.

A weight has the prior variance C, and a logit is the sum of D standardised values times weights: so the same values
suit embeddings of any size.
"""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Variant:
    """Embeddings of all rows that a probe can be trained on."""

    key: str
    """What they are; the same for the same embeddings."""
    alpha: float | None
    """Weight of the background that was subtracted, where there is a choice."""
    make: Callable[[], Tensor]
    """Gives them: [n, D]."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LinearProblem:
    """One probe: a setting in a fold of a task."""

    name: str
    """What it is, for messages."""
    variants: tuple[Variant, ...]
    """Embeddings to choose from."""
    labels: Tensor
    """[n] classes 0..K-1."""
    train: NDArray[np.int64]
    """Rows to train on."""
    inner: tuple[tuple[NDArray[np.int64], NDArray[np.int64]], ...]
    """Rows to fit and rows held out, for each fold in training; the same object for problems that share them."""
    test: NDArray[np.int64]
    """Rows to predict."""
    groups: Sequence[str]
    """[len(train)] group of each training row."""
    classes: int
    """K."""
    size: int
    """D."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TriedAlpha:
    """How a probe does on held-out clips with one of the weights of the background that it can choose from."""

    alpha: float
    """The weight."""
    accuracy: float
    """Accuracy of logistic regression at the best strength, 0..1."""
    ridge_accuracy: float
    """Accuracy of ridge regression on clips left out with their group, 0..1."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LinearResult:
    """A fitted probe on its test rows."""

    predicted: NDArray[np.int64]
    """[len(test)] predicted classes."""
    strength: float
    """The chosen C."""
    alpha: float | None
    """The chosen weight of the background."""
    held_out_accuracy: float
    """Accuracy on held-out clips with these, 0..1."""
    converged: bool
    """Whether the optimum was reached."""
    weakest: bool
    """Whether the weakest penalty was chosen."""
    ridge_predicted: NDArray[np.int64]
    """[len(test)] classes that ridge regression predicts."""
    ridge_alpha: float | None
    """The weight of the background that it chose."""
    tried: tuple[TriedAlpha, ...]
    """The weights of the background; empty where there is no choice."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Scores:
    """How a variant does on held-out clips, and the ridge regression on it."""

    accuracy: NDArray[np.float64]
    """[S] by strength."""
    loss: NDArray[np.float64]
    """[S] nats."""
    fit: ridge.RidgeFit


class InterruptedFitError(Exception):
    """Another thread has failed or was stopped: whatever this one does is not needed."""


def fit_linear_probes(
    problems: Sequence[LinearProblem], *, device: str = "cpu", progress: Callable[[int], object] = lambda done: None
) -> list[LinearResult]:
    """Choose strength and weight of every problem, fit it, and predict its test rows.

    Args:
        problems: what to fit.
        device: where products are computed; MPS has no float64, so there the CPU is used.
        progress: called with the number of steps done, of which there are ``count_steps``.
    """
    device = "cpu" if device.startswith("mps") else device
    units = list_units(problems)
    stopped = threading.Event()

    def stop() -> None:
        if stopped.is_set():
            raise InterruptedFitError

    def score(unit: tuple[LinearProblem, Variant]) -> _Scores:
        found = _score_variant(*unit, device, stop)
        progress(1)
        return found

    def finish(problem: LinearProblem) -> LinearResult:
        scored = [scores[_unit_key(problem, variant)] for variant in problem.variants]
        found = _fit_chosen(problem, scored, device, stop)
        progress(1)
        return found

    scores = dict(zip(units, run_threads(score, list(units.values()), device, stopped), strict=True))
    return run_threads(finish, problems, device, stopped)


def list_strengths(size: int) -> list[float]:
    """Values of C to choose from for embeddings of a size."""
    return [variance / size for variance in LOGIT_VARIANCES]


def count_steps(problems: Sequence[LinearProblem]) -> int:
    """Number of steps that ``fit_linear_probes`` reports."""
    return len(list_units(problems)) + len(problems)


def _unit_key(problem: LinearProblem, variant: Variant) -> tuple[str, int, int]:
    return variant.key, id(problem.train), id(problem.inner)


def list_units(problems: Sequence[LinearProblem]) -> dict[tuple[str, int, int], tuple[LinearProblem, Variant]]:
    """The variants of all problems, each with the same rows once."""
    units: dict[tuple[str, int, int], tuple[LinearProblem, Variant]] = {}
    for problem in problems:
        for variant in problem.variants:
            units.setdefault(_unit_key(problem, variant), (problem, variant))
    return units


def _score_variant(problem: LinearProblem, variant: Variant, device: str, stop: Callable[[], object]) -> _Scores:
    """Accuracy and loss on held-out clips for every strength."""
    features = variant.make()
    fitter = _make_fitter(problem, features, device, stop)
    strengths = list_strengths(features.shape[1])
    correct, losses, count = np.zeros(len(strengths)), np.zeros(len(strengths)), 0
    models = fitter.fit([rows for rows, _ in problem.inner], strengths)
    for model, (_, held) in zip(models, problem.inner, strict=True):
        logits = model.compute_logits(features, held)
        answers = problem.labels[torch.from_numpy(held)].to(logits.device)
        correct += (logits.argmax(dim=2) == answers).sum(dim=1).cpu().numpy()
        place = answers.expand(len(logits), -1).unsqueeze(2)
        losses += (torch.logsumexp(logits, 2) - logits.gather(2, place).squeeze(2)).sum(dim=1).cpu().numpy()
        count += len(held)
    fit = ridge.fit_ridge(features, problem.labels, problem.train, problem.groups, problem.classes)
    return _Scores(accuracy=correct / count, loss=losses / count, fit=fit)


def _fit_chosen(
    problem: LinearProblem, scored: Sequence[_Scores], device: str, stop: Callable[[], object]
) -> LinearResult:
    """Fit the best strength of the best variant to all training rows, and predict the test rows."""
    order = [
        (-scores.accuracy[place], scores.loss[place], place, which)
        for which, scores in enumerate(scored)
        for place in range(len(scores.loss))
    ]
    accuracy, _, place, which = min(order)
    variant = problem.variants[which]
    features = variant.make()
    fitter = _make_fitter(problem, features, device, stop)
    strength = list_strengths(features.shape[1])[place]
    model = fitter.fit([problem.train], [strength])[0]
    by_ridge = max(range(len(scored)), key=lambda i: (scored[i].fit.left_out_accuracy, -scored[i].fit.left_out_error))
    chosen = problem.variants[by_ridge]
    return LinearResult(
        predicted=model.compute_logits(features, problem.test)[0].argmax(dim=1).cpu().numpy(),
        strength=strength,
        alpha=variant.alpha,
        held_out_accuracy=float(-accuracy),
        converged=model.converged,
        weakest=place == len(LOGIT_VARIANCES) - 1,
        ridge_predicted=scored[by_ridge].fit.predict(chosen.make(), problem.test).numpy(),
        ridge_alpha=chosen.alpha,
        tried=tuple(
            TriedAlpha(
                alpha=tried.alpha,
                accuracy=float(scores.accuracy.max()),
                ridge_accuracy=scores.fit.left_out_accuracy,
            )
            for tried, scores in zip(problem.variants, scored, strict=True)
            if tried.alpha is not None
        ),
    )


def _make_fitter(problem: LinearProblem, features: Tensor, device: str, stop: Callable[[], object]) -> LogisticFitter:
    return LogisticFitter(
        features=features,
        labels=problem.labels,
        classes=problem.classes,
        basis=find_shared_basis(features, problem.train, device),
        device=device,
        stop=stop,
    )
