"""The processes of a training run, and what is defined over all of them: rows, statistics, neighbours, gradients.

A run of W processes (ranks, started by torchrun) trains on the same global batch as one process would: rank r holds
its r-th part, W times as short. What looks at several clips looks at all ranks' clips:

- BatchNorm takes mean and variance over the global batch (``GlobalBatchNorm``; torch's SyncBatchNorm knows no CPU);
- the shift within the batch goes on to the next rank's first clip (``Ranks.successors``);
- views are normalised by the global batch's mean and deviation, and the memory holds every rank's clips.

With one process nothing is exchanged. Shape letters: B clips, C channels; W ranks.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from bgknown.errors import InvalidInputError


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among all."""

    rank: int = 0
    """Its number, from 0."""
    size: int = 1
    """How many there are, W."""

    def part(self, rows: range) -> slice:
        """This rank's rows of rows that all share.

        Raises:
            InvalidInputError: they cannot be shared equally.
        """
        if len(rows) % self.size:
            raise InvalidInputError(
                f"{len(rows)} clips cannot be shared by {self.size} processes; take a batch size they divide"
            )
        share = len(rows) // self.size
        return slice(rows.start + self.rank * share, rows.start + (self.rank + 1) * share)

    def successors(self, rows: Tensor) -> Tensor:
        """Each row's successor in the global batch, the first one after the last: [B, ...]; gradients flow back."""
        if self.size == 1:
            return rows.roll(-1, dims=0)
        following: Tensor = _FromNext.apply(rows[:1].contiguous(), self)  # type: ignore[no-untyped-call]
        return torch.cat([rows[1:], following])

    def gather(self, rows: Tensor) -> Tensor:
        """All ranks' rows in their order, without gradients: [W B, ...]."""
        if self.size == 1:
            return rows.detach()
        return torch.cat(self._all(rows.detach().contiguous()))

    def moments(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation over all values of all ranks, without gradients."""
        values = values.detach()
        if self.size == 1:
            return values.mean(), values.std(correction=0)
        shifted = values.double()
        sums = torch.stack([torch.full_like(shifted.sum(), shifted.numel()), shifted.sum(), shifted.square().sum()])
        dist.all_reduce(sums)
        mean = sums[1] / sums[0]
        return mean.to(values.dtype), (sums[2] / sums[0] - mean.square()).clamp_min(0.0).sqrt().to(values.dtype)

    def mean(self, values: Tensor) -> Tensor:
        """The mean over the ranks of each value, without gradients."""
        values = values.detach().clone()
        if self.size > 1:
            dist.all_reduce(values)
            values /= self.size
        return values

    def first(self, values: Tensor) -> Tensor:
        """The first rank's values, on all ranks."""
        if self.size > 1:
            dist.broadcast(values, src=0)
        return values

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace each gradient by its mean over the ranks."""
        if self.size == 1:
            return
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        for pending in [dist.all_reduce(gradient, async_op=True) for gradient in gradients]:
            pending.wait()
        for gradient in gradients:
            gradient.div_(self.size)

    def any(self, here: bool, device: torch.device) -> bool:
        """Whether it is so on any rank."""
        return bool(self.mean(torch.tensor(float(here), device=device)) > 0) if self.size > 1 else here

    def wait(self) -> None:
        """Go on only when all ranks have come here."""
        if self.size > 1:
            dist.barrier()

    def _all(self, tensor: Tensor) -> list[Tensor]:
        parts = [torch.empty_like(tensor) for _ in range(self.size)]
        dist.all_gather(parts, tensor)
        return parts


ALONE = Ranks()
"""A run of one process."""


class _FromNext(torch.autograd.Function):
    """The next rank's tensor; its gradient goes back there."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, ranks: Ranks) -> Tensor:
        ctx.ranks = ranks
        return ranks._all(own)[(ranks.rank + 1) % ranks.size]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        ranks: Ranks = ctx.ranks
        return ranks._all(gradients[0].contiguous())[(ranks.rank - 1) % ranks.size], None


def join(device: torch.device) -> Ranks:
    """The ranks that torchrun has started (nccl between GPUs, gloo between CPUs), or this process alone.

    They stay joined until the process ends, so that several runs may follow one another.

    Args:
        device: this process's.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return ALONE
    if not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        atexit.register(dist.destroy_process_group)
    return Ranks(dist.get_rank(), dist.get_world_size())


class GlobalBatchNorm(_BatchNorm):
    """BatchNorm over the batches of all ranks, on any device; parameters, buffers and names are torch's.

    Source: S. Ioffe, C. Szegedy, "Batch Normalization", ICML 2015. Means and variances of the ranks are put together
    as T. F. Chan, G. H. Golub, R. J. LeVeque, "Updating formulae and a pairwise algorithm for computing sample
    variances", 1979, which loses nothing where means are large.
    """

    def __init__(self, layer: _BatchNorm, ranks: Ranks) -> None:
        """Take the place of a layer, with its parameters and buffers.

        Args:
            layer: of one or two dimensions.
            ranks: whose batches.
        """
        super().__init__(layer.num_features, layer.eps, layer.momentum, device="meta")
        self.weight, self.bias = layer.weight, layer.bias
        self.running_mean, self.running_var = layer.running_mean, layer.running_var
        self.num_batches_tracked = layer.num_batches_tracked
        self.ranks = ranks

    def _check_input_dim(self, _: Tensor) -> None:
        return

    def forward(self, input: Tensor) -> Tensor:
        """Normalise [B, C] or [B, C, F, T], in the type that comes in; statistics are float32."""
        if not self.training:
            return super().forward(input)
        normalised: Tensor
        normalised, mean, variance, count = _Normalise.apply(  # type: ignore[no-untyped-call]
            input, self.weight, self.bias, self.eps, self.ranks
        )
        if self.track_running_stats and self.running_mean is not None and self.running_var is not None:
            with torch.no_grad():
                self.running_mean.lerp_(mean, self.momentum or 0.0)
                self.running_var.lerp_(variance * (count / (count - 1)), self.momentum or 0.0)
                if self.num_batches_tracked is not None:
                    self.num_batches_tracked.add_(1)
        return normalised


class _Normalise(torch.autograd.Function):
    @staticmethod
    def forward(  # noqa: PLR0917 (torch gives them by position)
        ctx: Any, values: Tensor, weight: Tensor, bias: Tensor, eps: float, ranks: Ranks
    ) -> tuple[Tensor, Tensor, Tensor, float]:
        over = [dim for dim in range(values.dim()) if dim != 1]
        own = float(values.numel() // values.shape[1])
        variance, mean = torch.var_mean(values.float(), dim=over, correction=0)
        parts = torch.stack(ranks._all(torch.stack([mean, variance])))  # [W, 2, C]
        mean = parts[:, 0].mean(dim=0)
        variance = parts[:, 1].mean(dim=0) + (parts[:, 0] - mean).square().mean(dim=0)
        ctx.save_for_backward(values, weight, mean, scale := torch.rsqrt(variance + eps))
        ctx.over, ctx.count, ctx.ranks = over, own * ranks.size, ranks
        ctx.mark_non_differentiable(mean, variance)
        shape = [1, -1] + [1] * (values.dim() - 2)
        factor = scale * weight
        normalised = values * factor.view(shape) + (bias - mean * factor).view(shape)
        return normalised.to(values.dtype), mean, variance, own * ranks.size

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        values, weight, mean, scale = ctx.saved_tensors
        shape = [1, -1] + [1] * (values.dim() - 2)
        gradient = gradients[0].float()
        unit = (values.float() - mean.view(shape)) * scale.view(shape)
        own = torch.stack([gradient.sum(dim=ctx.over), (gradient * unit).sum(dim=ctx.over)])
        total = own.clone()
        dist.all_reduce(total)
        total /= ctx.count
        back = (gradient - total[0].view(shape) - unit * total[1].view(shape)) * (scale * weight).view(shape)
        return back.to(values.dtype), own[1], own[0], None, None


def across(ranks: Ranks, module: nn.Module) -> None:
    """Put ``GlobalBatchNorm`` in the place of every BatchNorm of a module, unless there is one rank alone."""
    if ranks.size == 1:
        return
    for name, child in list(module.named_children()):
        if isinstance(child, _BatchNorm):
            setattr(module, name, GlobalBatchNorm(child, ranks))
        else:
            across(ranks, child)
