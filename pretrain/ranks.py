"""The processes of a training run, and what is defined over all of them: rows, statistics, neighbours, gradients.

A run of W processes (ranks, started by torchrun) trains on the same global batch as one process would: rank r holds
the r-th of W equal parts. Whatever depends on several clips depends on those of all ranks:

- BatchNorm takes mean and variance over the global batch (``batchnorm.GlobalBatchNorm``);
- the shift within the batch continues with the next rank's first clip (``Ranks.successors``);
- views are normalised by the global batch's mean and standard deviation, and the memory holds the clips of all ranks.

A single process exchanges nothing. Shape letters: B clips, C channels; W ranks.
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

from bgknown.errors import InvalidInputError


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process and how many there are."""

    rank: int = 0
    """Its number, from 0."""
    size: int = 1
    """The number of processes, W."""

    def part(self, rows: range) -> slice:
        """This rank's part of rows that all ranks share.

        Raises:
            InvalidInputError: they cannot be shared equally.
        """
        if len(rows) % self.size:
            raise InvalidInputError(
                f"{len(rows)} clips cannot be shared by {self.size} processes; use a batch size that "
                f"is divisible by {self.size}"
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
        """The rows of all ranks in their order, without gradients: [W B, ...]."""
        if self.size == 1:
            return rows.detach()
        return torch.cat(self.every(rows.detach().contiguous()))

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
        """Whether something holds on any rank; every rank must call this."""
        return bool(self.mean(torch.tensor(float(here), device=device)) > 0) if self.size > 1 else here

    def wait(self) -> None:
        """Block until every rank arrives."""
        if self.size > 1:
            dist.barrier()

    def every(self, tensor: Tensor) -> list[Tensor]:
        """The tensors of all ranks in their order, without gradients."""
        parts = [torch.empty_like(tensor) for _ in range(self.size)]
        dist.all_gather(parts, tensor)
        return parts


ALONE = Ranks()
"""A run of one process."""


class _FromNext(torch.autograd.Function):
    """The next rank's tensor; its gradient flows back to that rank."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, ranks: Ranks) -> Tensor:
        ctx.ranks = ranks
        return ranks.every(own)[(ranks.rank + 1) % ranks.size]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        ranks: Ranks = ctx.ranks
        return ranks.every(gradients[0].contiguous())[(ranks.rank - 1) % ranks.size], None


def join(device: torch.device) -> Ranks:
    """Connect the ranks that torchrun has started (nccl between GPUs, gloo between CPUs), or be alone.

    They stay connected until the process ends, so that several runs can follow one another.

    Args:
        device: the device of this process.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return ALONE
    if not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        atexit.register(dist.destroy_process_group)
    return Ranks(dist.get_rank(), dist.get_world_size())
