"""Multinomial logistic regression with an L2 penalty, to its optimum, for many problems and strengths at once.

For rows z_i with classes y_i, weights W and biases b the objective is

    J(W, b) = 1/n sum_i -log softmax(W z_i + b)[y_i] + lambda/2 |W|^2,   lambda = 1 / (C n),

which is scikit-learn's ``LogisticRegression(C=C)`` divided by C n; the biases are not penalised. J is convex, and has
one optimum, up to a constant in all biases.

It is found by Newton's method. Each step solves H d = -g for the Hessian H by conjugate gradients, where one product
with H costs two matrix products, as the gradient g does. In the basis of ``benchmark.probe.design`` the rows'
covariance is diagonal, so H is close to

    M = diag(c_k spectrum_j + lambda),   c_k = mean_i p_ik (1 - p_ik),

and conjugate gradients preconditioned by M need few products: about 150 for seven strengths together, whatever their
range. They need to be solved to a tenth only, for which float32 is enough even where g is computed in float64. A step
is halved until the objective falls far enough (Armijo). Since J - lambda/2 |W|^2 is convex,

    J(W, b) - J_min <= |g|^2 / (2 lambda)

for the gradient by W, which says when to stop (the gradient by b counts in the same way).

Source: Nocedal and Wright, Numerical Optimization (2006), chapter 7 (Newton-CG) and section 3.1 (Armijo).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmark.probe.design import Design

GAP_TOLERANCE = 1e-6
"""Largest distance from the optimum, as a share of the objective, in float64."""
TOLERANCE_FLOAT32 = 1e-4
"""The same in float32, whose rounding a sum over many rows cannot go below."""
NEWTON_STEPS = 100
"""Steps at most; what has not converged by then says so."""
CG_STEPS = 250
"""Products with the Hessian in a step at most."""
FORCING = 0.1
"""A step's equations are solved to this share of their right-hand side."""
ARMIJO = 1e-4
"""A step must lower the objective by at least this share of what its slope promises."""
HALVINGS = 30
"""Halvings of a step at most."""
SMALLEST_CURVATURE = 1e-30
"""Curvatures below this, of classes that have no rows, count as this."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LogisticFit:
    """Solutions of U problems with S strengths each."""

    coordinates: Tensor
    """[U, S, 1 + q, K] biases, then weights in the basis of the design."""
    objective: Tensor
    """[U, S] J, nats."""
    gap: Tensor
    """[U, S] upper bound of the distance from the optimum, as a share of J."""
    converged: Tensor
    """[U, S] whether that is small enough."""


@dataclass(slots=True, kw_only=True, eq=False)
class _State:
    """Where the strengths that are still in work are."""

    columns: list[int]
    """Which strengths."""
    penalty: Tensor
    """[U, S] lambda."""
    x: Tensor
    """[U, S, 1 + q, K] biases and weights."""
    objective: Tensor
    """[U, S]"""
    gradient: Tensor
    """Like x."""
    chances: list[Tensor]
    """For each block of rows [U, m, S, K]: the softmax, float32."""

    def gap(self) -> Tensor:
        """[U, S] bound of the distance from the optimum, relative."""
        return _dot(self.gradient, self.gradient) / (
            2.0 * self.penalty * self.objective.clamp(min=torch.finfo(self.objective.dtype).tiny)
        )

    def keep(self, places: list[int]) -> None:
        """Go on with some of the strengths alone."""
        self.columns = [self.columns[place] for place in places]
        self.penalty, self.objective = self.penalty[:, places], self.objective[:, places]
        self.x, self.gradient = self.x[:, places], self.gradient[:, places]
        self.chances = [block[:, :, places] for block in self.chances]


class LogisticSolver:
    """Solves U problems on one design.

    Args:
        design: the training rows.
        labels: [U, n] classes 0..K-1; anything where the design's weight is 0.
        classes: K.
        stop: called in every step; may raise to end the work.
    """

    def __init__(self, design: Design, labels: Tensor, classes: int, stop: Callable[[], object] = lambda: None) -> None:
        self.design, self.labels, self.classes, self.stop = design, labels, classes, stop

    def solve(self, strengths: Sequence[float], start: Tensor | None = None) -> LogisticFit:
        """Find the optimum for each strength C.

        Args:
            strengths: S values of C.
            start: [U, S, 1 + q, K] where to begin; by default at 0.
        """
        weight = self.design.weight
        rows = (weight > 0).sum(dim=1)
        penalty = 1.0 / (torch.tensor(strengths, dtype=weight.dtype, device=weight.device) * rows[:, None])
        shape = (len(weight), len(strengths), 1 + self.design.spectrum.shape[1], self.classes)
        x = weight.new_zeros(shape) if start is None else start.clone()
        state = _State(
            columns=list(range(len(strengths))), penalty=penalty, x=x, objective=penalty, gradient=x, chances=[]
        )
        state.objective, state.gradient, state.chances = self._evaluate(x, penalty)
        tolerance = GAP_TOLERANCE if weight.dtype == torch.float64 else TOLERANCE_FLOAT32
        found, objective, gap = weight.new_zeros(shape), torch.zeros_like(penalty), torch.zeros_like(penalty)
        for _ in range(NEWTON_STEPS):
            moved = self._step(state, tolerance)
            found[:, state.columns], objective[:, state.columns] = state.x, state.objective
            gap[:, state.columns] = state.gap()
            open_ = (gap[:, state.columns] > tolerance).any(dim=0) & moved
            places = torch.nonzero(open_).flatten().tolist()
            if not places:
                break
            if len(places) < len(state.columns):
                state.keep(places)
        return LogisticFit(coordinates=found, objective=objective, gap=gap, converged=gap <= tolerance)

    def _step(self, state: _State, tolerance: float) -> Tensor:
        """One step of Newton's method; [S] whether any problem of a strength could still move."""
        open_ = state.gap() > tolerance
        direction = self._direction(state, open_)
        slope = _dot(state.gradient, direction)
        step = open_.to(slope.dtype)
        for _ in range(HALVINGS):
            x = state.x + step[:, :, None, None] * direction
            objective, gradient, chances = self._evaluate(x, state.penalty)
            # a difference below what the sum of the losses rounds to is none
            slack = torch.finfo(objective.dtype).eps * 8 * state.objective.abs()
            bad = (objective > state.objective + ARMIJO * step * slope + slack) & (step > 0)
            if not bool(bad.any()):
                break
            step = torch.where(bad, step / 2, step)
        else:
            step = torch.where(bad, torch.zeros_like(step), step)
            x = state.x + step[:, :, None, None] * direction
            objective, gradient, chances = self._evaluate(x, state.penalty)
        state.x, state.objective, state.gradient, state.chances = x, objective, gradient, chances
        return (step > 0).any(dim=0)

    def _direction(self, state: _State, open_: Tensor) -> Tensor:
        """Newton's direction by preconditioned conjugate gradients, for the problems that are open [U, S].

        Strengths whose equations are solved are dropped, since weak penalties need many more products than strong ones.
        """
        found = torch.zeros_like(state.gradient)
        inverse, penalty, chances = self._preconditioner(state), state.penalty.float(), state.chances
        scale = state.gradient.abs().amax(dim=(2, 3), keepdim=True).clamp(min=SMALLEST_CURVATURE)  # in float32's range
        residual = -(state.gradient / scale).float()
        direction, scaled = torch.zeros_like(residual), inverse * residual
        search, size = scaled.clone(), _dot(residual, scaled)
        target = torch.where(open_, FORCING**2 * size, torch.full_like(size, torch.inf))
        columns = list(range(size.shape[1]))
        for _ in range(CG_STEPS):
            going = size > target
            places = torch.nonzero(going.any(dim=0)).flatten().tolist()
            if len(places) < len(columns):
                found[:, columns] = direction.to(found.dtype)
                columns = [columns[place] for place in places]
                if not columns:
                    break
                direction, residual, search = direction[:, places], residual[:, places], search[:, places]
                size, target, going = size[:, places], target[:, places], going[:, places]
                inverse, penalty = inverse[:, places], penalty[:, places]
                chances = [block[:, :, places] for block in chances]
            image = self._multiply(search, penalty, chances)
            curvature = _dot(search, image)
            going &= curvature > 0
            length = torch.where(going, size / curvature, torch.zeros_like(size))[:, :, None, None]
            direction += length * search
            residual -= length * image
            scaled = inverse * residual
            new = _dot(residual, scaled)
            ratio = torch.where(going, new / size, torch.zeros_like(size))[:, :, None, None]
            search = scaled + ratio * search
            size = torch.where(going, new, torch.zeros_like(size))
        if columns:
            found[:, columns] = direction.to(found.dtype)
        return found * scale

    def _preconditioner(self, state: _State) -> Tensor:
        """1 / M, like x, float32."""
        spread = torch.zeros(*state.penalty.shape, self.classes, device=state.x.device)
        weight = self.design.weight.float()
        for (rows, _), chances in zip(self.design.blocks(torch.float32), state.chances, strict=True):
            spread += torch.einsum("un,unsk->usk", weight[:, rows], chances * (1 - chances))
        spectrum = torch.nn.functional.pad(self.design.spectrum.float(), (1, 0), value=1.0)
        curvature = spread[:, :, None] * spectrum[:, None, :, None]
        curvature[:, :, 1:] += state.penalty.float()[:, :, None, None]
        return 1.0 / curvature.clamp_(min=SMALLEST_CURVATURE)

    def _evaluate(self, x: Tensor, penalty: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Objective [U, S], gradient like x, and the softmax of each block [U, m, S, K]."""
        units, strengths = penalty.shape
        weights = self._spread(x)
        objective = 0.5 * penalty.double() * x[:, :, 1:].double().square().sum(dim=(2, 3))
        bias_gradient = torch.zeros(units, strengths, self.classes, dtype=torch.float64, device=x.device)
        gradient, kept = torch.zeros_like(weights, dtype=torch.float64), []
        for rows, block in self.design.blocks(x.dtype):
            self.stop()
            labels, weight = self.labels[:, rows], self.design.weight[:, rows]
            logits = (block @ weights).view(units, -1, strengths, self.classes).add_(x[:, None, :, 0])
            place = labels[:, :, None, None].expand(-1, -1, strengths, 1)
            total = torch.logsumexp(logits, dim=3, keepdim=True)
            losses = (total - logits.gather(3, place)).squeeze(3)
            objective += torch.einsum("un,uns->us", weight, losses).double()
            chances = logits.sub_(total).exp_()
            kept.append(chances.to(torch.float32, copy=True))
            error = chances.scatter_add_(3, place, chances.new_full((1, 1, 1, 1), -1.0).expand_as(place))
            error *= weight[:, :, None, None]
            bias_gradient += error.sum(dim=1).double()
            gradient += (block.mT @ error.flatten(2)).double()
        collected = self._collect(gradient.to(x.dtype), strengths) + penalty[:, :, None, None] * x[:, :, 1:]
        whole = torch.cat([bias_gradient.to(x.dtype).unsqueeze(2), collected], dim=2)
        return objective.to(x.dtype), whole, kept

    def _multiply(self, x: Tensor, penalty: Tensor, kept: list[Tensor]) -> Tensor:
        """The Hessian times x, float32.

        For a row with softmax p, the change v of its logits changes p by p (v - p . v).
        """
        units, strengths = penalty.shape
        weights, row_weight = self._spread(x), self.design.weight.float()
        bias_part = torch.zeros(units, strengths, self.classes, device=x.device)
        image = torch.zeros_like(weights)
        for (rows, block), chances in zip(self.design.blocks(torch.float32), kept, strict=True):
            self.stop()
            change = (block @ weights).view(units, -1, strengths, self.classes).add_(x[:, None, :, 0])
            change.sub_((chances * change).sum(dim=3, keepdim=True)).mul_(chances)
            change *= row_weight[:, rows, None, None]
            bias_part += change.sum(dim=1)
            image += block.mT @ change.flatten(2)
        collected = self._collect(image, strengths) + penalty[:, :, None, None] * x[:, :, 1:]
        return torch.cat([bias_part.unsqueeze(2), collected], dim=2)

    def _spread(self, x: Tensor) -> Tensor:
        """Weights [U, d, S K] of the design's values."""
        return self.design.spread(x[:, :, 1:].permute(0, 2, 1, 3).flatten(2))

    def _collect(self, weights: Tensor, strengths: int) -> Tensor:
        """[U, S, q, K] of weights [U, d, S K]."""
        found = self.design.collect(weights)
        return found.view(len(found), -1, strengths, self.classes).permute(0, 2, 1, 3)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """[U, S] scalar products."""
    return (a * b).sum(dim=(2, 3))
