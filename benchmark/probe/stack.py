"""The training of a stack of probes, step by step."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim.adam import adam

from benchmark.probe.problem import ProbeProblem, ProbeResult, ProbeSettings
from benchmark.probe.standardised import BLOCK_ROWS, Standardisations, StandardisedRows
from benchmark.resuming import TrainingState
from bgknown.errors import InvalidInputError
from bgknown.seeding import derive_key


@dataclass(slots=True, kw_only=True, eq=False)
class _Parameters:
    """Weights and biases of the probes still in training, stacked, and Adam's memory of them."""

    weight: Tensor
    """[P, K, D]"""
    bias: Tensor
    """[P, K]"""
    moments: list[Tensor]
    """Adam's averages: gradient and squared gradient of the weights, then of the biases."""
    steps: Tensor
    """[P, 2] steps taken by weights and bias, float32."""
    lr: list[float]
    """[P] learning rates."""

    def keep(self, places: list[int]) -> _Parameters:
        """Those of some probes alone."""
        return _Parameters(
            weight=self.weight[places],
            bias=self.bias[places],
            moments=[moment[places] for moment in self.moments],
            steps=self.steps[places],
            lr=[self.lr[place] for place in places],
        )

    def update(self, weight_grad: Tensor, bias_grad: Tensor, moving: list[int]) -> None:
        """One step of Adam (Kingma and Ba 2015; betas 0.9 and 0.999, epsilon 1e-8) for the probes at some places.

        Each probe is a parameter of its own, with its own count of steps.
        """
        for lr in sorted({self.lr[place] for place in moving}):
            chosen = [place for place in moving if self.lr[place] == lr]
            adam(
                [tensor[place] for tensor in (self.weight, self.bias) for place in chosen],
                [tensor[place] for tensor in (weight_grad, bias_grad) for place in chosen],
                [tensor[place] for tensor in (self.moments[0], self.moments[2]) for place in chosen],
                [tensor[place] for tensor in (self.moments[1], self.moments[3]) for place in chosen],
                [],
                # the two parameters of a probe each count for themselves
                [steps[place] for steps in self.steps.unbind(1) for place in chosen],
                fused=True,
                amsgrad=False,
                beta1=0.9,
                beta2=0.999,
                lr=lr,
                weight_decay=0.0,
                eps=1e-8,
                maximize=False,
            )


_STORED = ("weight", "bias", "moments", "steps", "lr")
_TOLD = ("active", "best_weight", "best_bias", "best_loss", "best_epoch", "epochs")


class Stack:
    """Probes that take their steps together."""

    def __init__(
        self,
        problems: list[ProbeProblem],
        settings: ProbeSettings,
        device: str,
        *,
        known: Standardisations | None = None,
        copy_bytes: int | None = None,
    ) -> None:
        self.problems, self.settings, self.device = problems, settings, device
        self.rows = StandardisedRows(problems, device, known=known, copy_bytes=copy_bytes)
        self.labels = [
            problem.labels[self.rows.used[same]] for problem, same in zip(problems, self.rows.same, strict=True)
        ]
        self.orders = [
            torch.Generator().manual_seed(derive_key(problem.seed, "probe order", problem.fold)) for problem in problems
        ]
        self.parameters = self._initial()
        self.weight_grad = torch.empty_like(self.parameters.weight)
        self.bias_grad = torch.empty_like(self.parameters.bias)
        self.active = list(range(len(problems)))
        self.best_weight, self.best_bias = self.parameters.weight.clone(), self.parameters.bias.clone()
        self.best_loss = [math.inf] * len(problems)
        self.best_epoch = [0] * len(problems)
        self.epochs = [0] * len(problems)

    def run(
        self, interrupted: threading.Event, progress: Callable[[int], object], stored: TrainingState | None = None
    ) -> list[ProbeResult]:
        """Train until every probe has stopped, then predict; nothing comes out of a training that was interrupted.

        Args:
            interrupted: ends the training after the epoch.
            progress: called with the number of epochs done.
            stored: where the state is stored, and taken up from.
        """
        with torch.no_grad():
            first = 1
            if stored is not None and (state := stored.load()) is not None:
                self._take_up(state)
                first = max(self.epochs) + 1
                running = len(self.active)
                progress((first - 1) * running + (len(self.problems) - running) * self.settings.max_epochs)
            for epoch in range(first, self.settings.max_epochs + 1):
                if interrupted.is_set():
                    return []
                if not self.active:
                    break
                trained = len(self.active)
                self._train_epoch()
                self._judge(epoch, self._validation_losses())
                spared = (trained - len(self.active)) * (self.settings.max_epochs - epoch)
                progress(trained + spared)  # epochs that will not be needed count as done
                if stored is not None and (stored.due or (stored.used and not self.active)):
                    stored.store(self._state())
            return self._results()

    def _state(self) -> dict[str, Any]:
        """Everything that the training goes on from."""
        return {
            "parameters": {field: getattr(self.parameters, field) for field in _STORED},
            "orders": [order.get_state() for order in self.orders],
            **{name: getattr(self, name) for name in _TOLD},
        }

    def _take_up(self, state: dict[str, Any]) -> None:
        """Go on from a stored state."""
        found = state["parameters"]
        moments = [moment.to(self.device) for moment in found["moments"]]
        weight, bias, steps = (found[name].to(self.device) for name in ("weight", "bias", "steps"))
        self.parameters = _Parameters(weight=weight, bias=bias, moments=moments, steps=steps, lr=found["lr"])
        self.weight_grad, self.bias_grad = torch.empty_like(weight), torch.empty_like(bias)
        for order, kept in zip(self.orders, state["orders"], strict=True):
            order.set_state(kept)
        for name in _TOLD:
            value = state[name]
            setattr(self, name, value.to(self.device) if isinstance(value, Tensor) else value)

    def _initial(self) -> _Parameters:
        """The parameters as torch.nn.Linear begins: uniform within 1 / sqrt(D)."""
        size, classes = self.problems[0].features.shape[1], self.problems[0].classes
        weights, biases = [], []
        for problem in self.problems:
            draw = torch.Generator().manual_seed(derive_key(problem.seed, "probe weights", problem.fold))
            bound = 1.0 / math.sqrt(size)
            weights.append(torch.empty(classes, size).uniform_(-bound, bound, generator=draw))
            biases.append(torch.empty(classes).uniform_(-bound, bound, generator=draw))
        weight, bias = torch.stack(weights).to(self.device), torch.stack(biases).to(self.device)
        return _Parameters(
            weight=weight,
            bias=bias,
            moments=[torch.zeros_like(like) for like in (weight, weight, bias, bias)],
            steps=torch.zeros(len(weights), 2, device=self.device),
            lr=[self.settings.lr if problem.lr is None else problem.lr for problem in self.problems],
        )

    def _train_epoch(self) -> None:
        orders = [torch.randperm(len(self.problems[p].train), generator=self.orders[p]) for p in self.active]
        labels = _padded([self.labels[p][order] for p, order in zip(self.active, orders, strict=True)]).to(self.device)
        places = _padded(orders).to(self.device)
        counts = [len(order) for order in orders]
        for start in range(0, max(counts), self.settings.batch_size):
            part = slice(start, start + self.settings.batch_size)
            in_batch = [min(max(count - start, 0), self.settings.batch_size) for count in counts]
            self._step(places[:, part], labels[:, part], in_batch)

    def _step(self, places: Tensor, labels: Tensor, counts: list[int]) -> None:
        """One step of every probe that has clips left in this epoch: counts [P] of the places [P, B] are meant."""
        x = self.rows.take(self.active, places)
        z = torch.baddbmm(self.parameters.bias.unsqueeze(1), x, self.parameters.weight.mT).softmax(dim=2)  # [P, B, K]
        z.scatter_add_(2, labels.unsqueeze(2), torch.full((1, 1, 1), -1.0, device=self.device).expand(*labels.shape, 1))
        z.mul_(self._shares(counts, places.shape[1]))  # now the gradient of the mean cross-entropy by the logits
        torch.bmm(z.mT, x, out=self.weight_grad)
        torch.sum(z, dim=1, out=self.bias_grad)
        self.parameters.update(self.weight_grad, self.bias_grad, [p for p, count in enumerate(counts) if count])

    def _shares(self, counts: list[int], width: int) -> Tensor:
        """Each place's share in the mean over its problem's part of a batch, [P, width, 1] or one for all."""
        if min(counts) == width:
            return torch.tensor(1.0 / width)
        inside = torch.arange(width) < torch.tensor(counts).unsqueeze(1)
        shares = inside / torch.tensor(counts).clamp(min=1).unsqueeze(1)
        return shares.unsqueeze(2).to(self.device)

    def _validation_losses(self) -> list[float]:
        firsts = [len(self.problems[p].train) for p in self.active]
        sizes = [len(self.problems[p].valid) for p in self.active]
        total = torch.zeros(len(self.active), dtype=torch.float64, device=self.device)
        for start in range(0, max(sizes), BLOCK_ROWS):
            counts = [min(max(size - start, 0), BLOCK_ROWS) for size in sizes]
            places = [torch.arange(n + start, n + start + count) for n, count in zip(firsts, counts, strict=True)]
            labels = _padded([self.labels[p][part] for p, part in zip(self.active, places, strict=True)])
            x = self.rows.take(self.active, _padded(places).to(self.device))
            logits = torch.baddbmm(self.parameters.bias.unsqueeze(1), x, self.parameters.weight.mT)
            losses = torch.nn.functional.cross_entropy(logits.mT, labels.to(self.device), reduction="none")
            sums = (losses.unsqueeze(2) * self._shares(counts, losses.shape[1])).sum(dim=(1, 2)).double()
            total += sums * torch.tensor(counts, device=self.device)
        return [loss / size for loss, size in zip(total.tolist(), sizes, strict=True)]

    def _judge(self, epoch: int, losses: list[float]) -> None:
        """Note which probes got better; go on without those that have not for long enough."""
        for place, (p, loss) in enumerate(zip(self.active, losses, strict=True)):
            self.epochs[p] = epoch
            if loss < self.best_loss[p]:
                self.best_loss[p], self.best_epoch[p] = loss, epoch
                self.best_weight[p].copy_(self.parameters.weight[place])
                self.best_bias[p].copy_(self.parameters.bias[place])
            elif not math.isfinite(loss):
                raise InvalidInputError(
                    f"probe {self.problems[p].name}: the validation loss is {loss} after epoch {epoch}; "
                    f"lower the learning rate ({self.parameters.lr[place]:g})"
                )
        places = [place for place, p in enumerate(self.active) if epoch - self.best_epoch[p] < self.settings.patience]
        if len(places) < len(self.active):
            self.active = [self.active[place] for place in places]
            self.parameters = self.parameters.keep(places)
            self.weight_grad, self.bias_grad = self.weight_grad[places], self.bias_grad[places]

    def _results(self) -> list[ProbeResult]:
        results = []
        for p, problem in enumerate(self.problems):
            predicted = []
            for start in range(0, len(problem.test), BLOCK_ROWS):
                x = self.rows.rows(p, torch.from_numpy(problem.test[start : start + BLOCK_ROWS]))
                predicted.append(torch.addmm(self.best_bias[p], x, self.best_weight[p].T).argmax(dim=1).cpu())
            classes = torch.cat(predicted).numpy()
            correct = np.asarray(classes == problem.labels.numpy()[problem.test])
            results.append(
                ProbeResult(
                    predicted=classes,
                    correct=correct,
                    accuracy=float(correct.mean()),
                    valid_loss=self.best_loss[p],
                    best_epoch=self.best_epoch[p],
                    epochs=self.epochs[p],
                    weight=self.best_weight[p].cpu().clone(),
                    bias=self.best_bias[p].cpu().clone(),
                )
            )
        return results


def _padded(parts: list[Tensor]) -> Tensor:
    """Rows of unequal number in one tensor [P, M], filled up with 0."""
    return torch.nn.utils.rnn.pad_sequence(parts, batch_first=True)
