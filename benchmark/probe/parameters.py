"""Parameters of a stack of probes, and the optimiser's step on them."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.optim.adam import adam


@dataclass(slots=True, kw_only=True, eq=False)
class Parameters:
    """Stacked weights and biases of the probes still in training, and Adam's state."""

    weight: Tensor
    """[P, K, D]"""
    bias: Tensor
    """[P, K]"""
    moments: list[Tensor]
    """Adam's running averages: gradient and squared gradient of the weights, then of the biases."""
    steps: Tensor
    """[P, 2] steps taken by weights and bias, float32."""
    lr: list[float]
    """[P] learning rates."""

    def keep(self, places: list[int]) -> Parameters:
        """Select the probes at some places."""
        return Parameters(
            weight=self.weight[places],
            bias=self.bias[places],
            moments=[moment[places] for moment in self.moments],
            steps=self.steps[places],
            lr=[self.lr[place] for place in places],
        )

    def update(self, weight_grad: Tensor, bias_grad: Tensor, moving: list[int], weight_decay: float) -> None:
        """Take one step of Adam (Kingma and Ba 2015; betas 0.9 and 0.999, epsilon 1e-8) for the probes at some places.

        Each probe is a separate parameter with its own count of steps.
        """
        for lr in sorted({self.lr[place] for place in moving}):
            chosen = [place for place in moving if self.lr[place] == lr]
            adam(
                [tensor[place] for tensor in (self.weight, self.bias) for place in chosen],
                [tensor[place] for tensor in (weight_grad, bias_grad) for place in chosen],
                [tensor[place] for tensor in (self.moments[0], self.moments[2]) for place in chosen],
                [tensor[place] for tensor in (self.moments[1], self.moments[3]) for place in chosen],
                [],
                # weights and bias of a probe count their steps separately
                [steps[place] for steps in self.steps.unbind(1) for place in chosen],
                fused=True,
                amsgrad=False,
                beta1=0.9,
                beta2=0.999,
                lr=lr,
                weight_decay=weight_decay,
                eps=1e-8,
                maximize=False,
            )
