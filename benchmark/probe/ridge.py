"""Ridge regression on one-hot classes, in closed form, with exact scores on clips that were left out.

It answers in hundredths of a second, has no draw and no stopping rule, and so is the check beside every other probe; it
also chooses the weight of the background for probes that are trained by gradient steps.

For standardised training rows in their basis (``benchmark.probe.design``: Z with Z^T Z = diag(s^2)), centred one-hot
targets Y and a penalty r, the fitted values are H Y with

    H = 1/n 1 1^T + Z diag(1 / (s^2 + r)) Z^T.

Leaving out the rows G of one group changes their residuals E = Y - H Y to exactly

    E_G' = (I - H_GG)^-1 E_G,

as if the regression had been fitted without them: so one fit gives the prediction of every clip by the others. Groups
(recordings, speakers) are left out whole, or a clip would be predicted from its twin.

Source: Cook and Weisberg, Residuals and Influence in Regression (1982), section 2.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmark.probe.design import Standardiser, find_basis, measure_covariance, rotate_rows
from benchmark.probe.standardised import BLOCK_ROWS

PENALTIES = (1e-3, 1e-2, 1e-1, 1.0, 1e1, 1e2, 1e3)
"""Penalties to choose from, as multiples of the number of training rows."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RidgeFit:
    """A ridge regression with the penalty that predicts best what was left out."""

    standardiser: Standardiser
    """That of the training rows."""
    weight: Tensor
    """[D, K] float64."""
    bias: Tensor
    """[K]"""
    penalty: float
    """The penalty, as a multiple of the number of training rows."""
    left_out_accuracy: float
    """Accuracy on training clips that were left out with their group, 0..1."""
    left_out_error: float
    """Mean squared error on them; decides between equal accuracies."""

    def predict(self, features: Tensor, rows: NDArray[np.int64]) -> Tensor:
        """[m] classes of some rows."""
        x = self.standardiser.apply(features, rows, dtype=torch.float64, device="cpu")
        return (x @ self.weight + self.bias).argmax(dim=1)


def fit_ridge(
    features: Tensor, labels: Tensor, rows: NDArray[np.int64], groups: Sequence[str], classes: int
) -> RidgeFit:
    """Fit a ridge regression, and choose its penalty by leaving out one group after another.

    The standardisation is that of all training rows throughout.

    Args:
        features: [n, D] raw embeddings.
        labels: [n] classes 0..K-1.
        rows: [m] training rows.
        groups: [m] the group of each training row; a clip with an empty name is a group of its own.
        classes: K.
    """
    standardiser = Standardiser(features, rows)
    basis, energy = _find_directions(features, rows, standardiser)
    mean = torch.bincount(labels[torch.from_numpy(rows)], minlength=classes).double() / len(rows)
    projected = torch.zeros(basis.shape[1], classes, dtype=torch.float64)
    blocks = _pack_groups(groups)

    def read(places: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Rows in the basis, and their classes."""
        x = standardiser.apply(features, rows[places], dtype=torch.float64, device="cpu")
        return x @ basis, labels[torch.from_numpy(rows[places])]

    for members in blocks:
        z, answers = read(np.concatenate(members))
        projected += z.T @ (torch.nn.functional.one_hot(answers, classes) - mean)
    shrunk = 1.0 / (energy + torch.tensor(PENALTIES, dtype=torch.float64)[:, None] * len(rows))  # [S, q]
    correct, errors = torch.zeros(len(PENALTIES)), torch.zeros(len(PENALTIES), dtype=torch.float64)
    for members in blocks:
        z, answers = read(np.concatenate(members))
        targets = torch.nn.functional.one_hot(answers, classes) - mean
        residual = targets - z @ (shrunk[:, :, None] * projected)  # [S, m, K]
        ends = np.cumsum([len(group) for group in members])
        for start, end in zip(ends - [len(group) for group in members], ends, strict=True):
            part = z[start:end]
            inner = torch.eye(len(part), dtype=z.dtype) - 1.0 / len(rows) - (part * shrunk[:, None]) @ part.T
            left_out = torch.linalg.solve(inner, residual[:, start:end])
            guessed = (targets[start:end] - left_out + mean).argmax(dim=2)
            correct += (guessed == answers[start:end]).sum(dim=1)
            errors += left_out.square().sum(dim=(1, 2))
    order = [(-float(correct[i]), float(errors[i]), -penalty) for i, penalty in enumerate(PENALTIES)]
    best = order.index(min(order))
    return RidgeFit(
        standardiser=standardiser,
        weight=basis @ (shrunk[best][:, None] * projected),
        bias=mean,
        penalty=PENALTIES[best],
        left_out_accuracy=float(correct[best]) / len(rows),
        left_out_error=float(errors[best]) / (len(rows) * classes),
    )


def _find_directions(features: Tensor, rows: NDArray[np.int64], standardiser: Standardiser) -> tuple[Tensor, Tensor]:
    """V [D, q] and s^2 [q]."""
    if len(rows) <= features.shape[1]:
        z, basis = rotate_rows(standardiser.apply(features, rows, dtype=torch.float64, device="cpu"))
        return basis, z.square().sum(dim=0)
    covariance = measure_covariance(features, rows, standardiser)
    basis = find_basis(covariance)
    return basis, torch.einsum("dq,de,eq->q", basis, covariance, basis).clamp_(min=0.0) * len(rows)


def _pack_groups(groups: Sequence[str]) -> list[list[NDArray[np.int64]]]:
    """Places of the rows of each group, several groups in a block of about ``BLOCK_ROWS`` rows."""
    places: dict[str, list[int]] = {}
    for place, group in enumerate(groups):
        places.setdefault(group or f"\0{place}", []).append(place)
    blocks: list[list[NDArray[np.int64]]] = [[]]
    size = 0
    for members in places.values():
        if size and size + len(members) > BLOCK_ROWS:
            blocks.append([])
            size = 0
        blocks[-1].append(np.array(members))
        size += len(members)
    return blocks
