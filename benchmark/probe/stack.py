"""The training of a stack of probes, step by step.

``Stack.run`` is the training; each probe takes the same steps as if it were trained alone.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmark.probe.parameters import Parameters
from benchmark.probe.problem import Ending, ProbeProblem, ProbeResult, ProbeSettings
from benchmark.probe.standardised import BLOCK_ROWS, Standardisations, StandardisedRows
from benchmark.resuming import TrainingState
from bgknown.errors import InvalidInputError
from bgknown.seeding import derive_key

_STORED = ("weight", "bias", "moments", "steps", "lr")
_RECORDED = ("active", "best_weight", "best_bias", "best_loss", "best_accuracy", "best_epoch", "epochs")


class Stack:
    """Probes that take their steps together.

    Args:
        problems: the probes, all of the same D and K.
        settings: how they are trained.
        device: where.
        known: means and standard deviations that other stacks have measured already.
        copy_bytes: up to this size the training data is standardised once and kept.
    """

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
        self.parameters = self._draw_initial()
        self.weight_grad = torch.empty_like(self.parameters.weight)
        self.bias_grad = torch.empty_like(self.parameters.bias)
        self.active = list(range(len(problems)))
        self.best_weight, self.best_bias = self.parameters.weight.clone(), self.parameters.bias.clone()
        self.best_loss = [math.inf] * len(problems)
        self.best_accuracy = [-math.inf] * len(problems)
        self.best_epoch = [0] * len(problems)
        self.epochs = [0] * len(problems)

    def run(
        self, interrupted: threading.Event, progress: Callable[[int], object], stored: TrainingState | None = None
    ) -> list[ProbeResult]:
        """Train until every probe has stopped, then predict.

        Args:
            interrupted: ends the training after the current epoch.
            progress: called with the number of epochs done.
            stored: where the state is stored and restored from.

        Returns:
            A result for each problem; none if the training was interrupted.

        Raises:
            InvalidInputError: a validation loss is not finite.
        """
        with torch.no_grad():
            first = 1
            if stored is not None and (state := stored.load()) is not None:
                self._restore(state)
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
                self._judge(epoch, *self._validate())
                spared = (trained - len(self.active)) * (self.settings.max_epochs - epoch)
                progress(trained + spared)  # epochs that will not be needed count as done
                if stored is not None and (stored.due or (stored.used and not self.active)):
                    stored.store(self._state())
            return self._results()

    def _state(self) -> dict[str, Any]:
        """Collect everything that is needed to resume the training."""
        return {
            "parameters": {field: getattr(self.parameters, field) for field in _STORED},
            "orders": [order.get_state() for order in self.orders],
            **{name: getattr(self, name) for name in _RECORDED},
        }

    def _restore(self, state: dict[str, Any]) -> None:
        """Continue from a stored state."""
        found = state["parameters"]
        moments = [moment.to(self.device) for moment in found["moments"]]
        weight, bias, steps = (found[name].to(self.device) for name in ("weight", "bias", "steps"))
        self.parameters = Parameters(weight=weight, bias=bias, moments=moments, steps=steps, lr=found["lr"])
        self.weight_grad, self.bias_grad = torch.empty_like(weight), torch.empty_like(bias)
        for order, kept in zip(self.orders, state["orders"], strict=True):
            order.set_state(kept)
        for name in _RECORDED:
            value = state[name]
            setattr(self, name, value.to(self.device) if isinstance(value, Tensor) else value)

    def _draw_initial(self) -> Parameters:
        """Draw initial parameters as torch.nn.Linear does: uniform within 1 / sqrt(D)."""
        size, classes = self.problems[0].features.shape[1], self.problems[0].classes
        weights, biases = [], []
        for problem in self.problems:
            draw = torch.Generator().manual_seed(derive_key(problem.seed, "probe weights", problem.fold))
            bound = 1.0 / math.sqrt(size)
            weights.append(torch.empty(classes, size).uniform_(-bound, bound, generator=draw))
            biases.append(torch.empty(classes).uniform_(-bound, bound, generator=draw))
        weight, bias = torch.stack(weights).to(self.device), torch.stack(biases).to(self.device)
        return Parameters(
            weight=weight,
            bias=bias,
            moments=[torch.zeros_like(like) for like in (weight, weight, bias, bias)],
            steps=torch.zeros(len(weights), 2, device=self.device),
            lr=[self.settings.lr if problem.lr is None else problem.lr for problem in self.problems],
        )

    def _train_epoch(self) -> None:
        orders = [torch.randperm(len(self.problems[p].train), generator=self.orders[p]) for p in self.active]
        labels = _pad([self.labels[p][order] for p, order in zip(self.active, orders, strict=True)]).to(self.device)
        places = _pad(orders).to(self.device)
        counts = [len(order) for order in orders]
        for start in range(0, max(counts), self.settings.batch_size):
            part = slice(start, start + self.settings.batch_size)
            in_batch = [min(max(count - start, 0), self.settings.batch_size) for count in counts]
            self._step(places[:, part], labels[:, part], in_batch)

    def _step(self, places: Tensor, labels: Tensor, counts: list[int]) -> None:
        """Take one step with every probe that has clips left in this epoch: the first counts [P] of the places [P, B].

        With Z = X W^T + b, P = softmax(Z), Y the labels one-hot and B clips in the batch, the gradient of the
        cross-entropy, averaged over the clips, is
            dL/dZ = (P - Y) / B,  dL/dW = dL/dZ^T X,  dL/db = the sum of dL/dZ over the clips.
        Averaged over clips and classes, all of it is divided by K.
        """
        x = self.rows.take(self.active, places)
        z = torch.baddbmm(self.parameters.bias.unsqueeze(1), x, self.parameters.weight.mT).softmax(dim=2)  # [P, B, K]
        z.scatter_add_(2, labels.unsqueeze(2), torch.full((1, 1, 1), -1.0, device=self.device).expand(*labels.shape, 1))
        shares = self._shares(counts, places.shape[1])
        z.mul_(shares if self.settings.loss_mean == "clips" else shares / z.shape[2])  # now dL/dZ
        torch.bmm(z.mT, x, out=self.weight_grad)
        torch.sum(z, dim=1, out=self.bias_grad)
        moving = [p for p, count in enumerate(counts) if count]
        self.parameters.update(self.weight_grad, self.bias_grad, moving, self.settings.weight_decay)

    def _shares(self, counts: list[int], width: int) -> Tensor:
        """Weigh each place in the mean over its problem's part of a batch: [P, width, 1], or one weight for all."""
        if min(counts) == width:
            return torch.tensor(1.0 / width)
        inside = torch.arange(width) < torch.tensor(counts).unsqueeze(1)
        shares = inside / torch.tensor(counts).clamp(min=1).unsqueeze(1)
        return shares.unsqueeze(2).to(self.device)

    def _validate(self) -> tuple[list[float], list[float]]:
        """Measure loss (nats) and accuracy (0..1) of the probes in training on their validation rows."""
        firsts = [len(self.problems[p].train) for p in self.active]
        sizes = [len(self.problems[p].valid) for p in self.active]
        total = torch.zeros(len(self.active), dtype=torch.float64, device=self.device)
        correct = torch.zeros(len(self.active), dtype=torch.int64, device=self.device)
        for start in range(0, max(sizes), BLOCK_ROWS):
            counts = [min(max(size - start, 0), BLOCK_ROWS) for size in sizes]
            places = [torch.arange(n + start, n + start + count) for n, count in zip(firsts, counts, strict=True)]
            labels = _pad([self.labels[p][part] for p, part in zip(self.active, places, strict=True)]).to(self.device)
            x = self.rows.take(self.active, _pad(places).to(self.device))
            logits = torch.baddbmm(self.parameters.bias.unsqueeze(1), x, self.parameters.weight.mT)
            losses = torch.nn.functional.cross_entropy(logits.mT, labels, reduction="none")
            sums = (losses.unsqueeze(2) * self._shares(counts, losses.shape[1])).sum(dim=(1, 2)).double()
            number = torch.tensor(counts, device=self.device)
            total += sums * number
            inside = torch.arange(losses.shape[1], device=self.device) < number.unsqueeze(1)
            correct += ((logits.argmax(dim=2) == labels) & inside).sum(dim=1)
        losses_of, accuracies_of = (
            [value / size for value, size in zip(sums.tolist(), sizes, strict=True)] for sums in (total, correct)
        )
        return losses_of, accuracies_of

    def _judge(self, epoch: int, losses: list[float], accuracies: list[float]) -> None:
        """Keep the weights of probes that improved; drop probes that have not improved for long enough."""
        for place, (p, loss, accuracy) in enumerate(zip(self.active, losses, accuracies, strict=True)):
            self.epochs[p] = epoch
            if not math.isfinite(loss):
                raise InvalidInputError(
                    f"probe {self.problems[p].name}: the validation loss is {loss} after epoch {epoch}; "
                    f"lower the learning rate ({self.parameters.lr[place]:g})"
                )
            if self._is_better(p, loss, accuracy):
                self.best_loss[p], self.best_accuracy[p], self.best_epoch[p] = loss, accuracy, epoch
                self.best_weight[p].copy_(self.parameters.weight[place])
                self.best_bias[p].copy_(self.parameters.bias[place])
        places = [place for place, p in enumerate(self.active) if epoch - self.best_epoch[p] < self.settings.patience]
        if len(places) < len(self.active):
            self.active = [self.active[place] for place in places]
            self.parameters = self.parameters.keep(places)
            self.weight_grad, self.bias_grad = self.weight_grad[places], self.bias_grad[places]

    def _is_better(self, p: int, loss: float, accuracy: float) -> bool:
        """Whether an epoch replaces the best of problem p so far."""
        by_loss = self.settings.stop_on == "loss"
        now, best = (-loss, -self.best_loss[p]) if by_loss else (accuracy, self.best_accuracy[p])
        return now > best or (now == best and self.settings.ties == "last")

    def _ending(self, p: int) -> Ending:
        """How the training of problem p ended."""
        return "stopped early" if self.epochs[p] - self.best_epoch[p] >= self.settings.patience else "cut"

    def _results(self) -> list[ProbeResult]:
        """Predict the test rows with each problem's best weights."""
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
                    valid_accuracy=self.best_accuracy[p],
                    best_epoch=self.best_epoch[p],
                    epochs=self.epochs[p],
                    steps=self.best_epoch[p] * math.ceil(len(problem.train) / self.settings.batch_size),
                    ended=self._ending(p),
                    weight=self.best_weight[p].cpu().clone(),
                    bias=self.best_bias[p].cpu().clone(),
                )
            )
        return results


def _pad(parts: list[Tensor]) -> Tensor:
    """Put rows of unequal number into one tensor [P, M], padded with 0."""
    return torch.nn.utils.rnn.pad_sequence(parts, batch_first=True)
