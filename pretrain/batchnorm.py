"""BatchNorm beyond torch's own: over the batches of all ranks, and folded into a convolution of one channel.

Shape letters: B clips, C channels, F mel bands, T frames, K values under the kernel; W ranks.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from pretrain.ranks import ALONE, Ranks


class GlobalBatchNorm(_BatchNorm):
    """BatchNorm over the batches of all ranks, on any device; parameters, buffers and names are torch's.

    torch's SyncBatchNorm refuses CPU tensors.

    Source: S. Ioffe, C. Szegedy, "Batch Normalization", ICML 2015. Means and variances of the ranks are combined as
    in T. F. Chan, G. H. Golub, R. J. LeVeque, "Updating formulae and a pairwise algorithm for computing sample
    variances", 1979, which loses nothing where means are large.
    """

    def __init__(self, layer: _BatchNorm, ranks: Ranks) -> None:
        """Replace a layer, with its parameters and buffers.

        Args:
            layer: BatchNorm of one or two dimensions.
            ranks: the ranks whose batches it normalises together.
        """
        super().__init__(layer.num_features, layer.eps, layer.momentum, device="meta")
        self.weight, self.bias = layer.weight, layer.bias
        self.running_mean, self.running_var = layer.running_mean, layer.running_var
        self.num_batches_tracked = layer.num_batches_tracked
        self.ranks = ranks

    def _check_input_dim(self, _: Tensor) -> None:
        return

    def forward(self, input: Tensor) -> Tensor:
        """Normalise [B, C] or [B, C, F, T] in the type of the input; statistics are float32."""
        if not self.training:
            return super().forward(input)
        normalised: Tensor
        normalised, mean, variance, count = _Normalise.apply(  # type: ignore[no-untyped-call]
            input, self.weight, self.bias, self.eps, self.ranks
        )
        update_statistics(self, mean, variance, count)
        return normalised


class _Normalise(torch.autograd.Function):
    @staticmethod
    def forward(  # noqa: PLR0917 (torch passes them by position)
        ctx: Any, values: Tensor, weight: Tensor, bias: Tensor, eps: float, ranks: Ranks
    ) -> tuple[Tensor, Tensor, Tensor, float]:
        over = [dim for dim in range(values.dim()) if dim != 1]
        own = float(values.numel() // values.shape[1])
        variance, mean = torch.var_mean(values.float(), dim=over, correction=0)
        parts = torch.stack(ranks.every(torch.stack([mean, variance])))  # [W, 2, C]
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


def replace_batch_norms(ranks: Ranks, module: nn.Module) -> None:
    """Replace every BatchNorm of a module by ``GlobalBatchNorm``, unless there is only one rank."""
    if ranks.size == 1:
        return
    for name, child in list(module.named_children()):
        if isinstance(child, _BatchNorm):
            setattr(module, name, GlobalBatchNorm(child, ranks))
        else:
            replace_batch_norms(ranks, child)


@torch.no_grad()
def update_statistics(layer: _BatchNorm, mean: Tensor, variance: Tensor, count: float) -> None:
    """Move a layer's running statistics towards those of a batch, as torch does, unless the layer does not track them.

    Args:
        layer: in training mode, with a momentum.
        mean: [C].
        variance: [C], divided by the count.
        count: number of values of each channel that they are computed from.
    """
    if not layer.track_running_stats or layer.running_mean is None or layer.running_var is None:
        return
    momentum = layer.momentum or 0.0
    layer.running_mean.lerp_(mean.to(layer.running_mean.dtype), momentum)
    layer.running_var.lerp_((variance * (count / (count - 1))).to(layer.running_var.dtype), momentum)
    if layer.num_batches_tracked is not None:
        layer.num_batches_tracked.add_(1)


def fold_batch_norm(convolution: nn.Module, layer: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """Weights and bias of a convolution that includes the BatchNorm of a training step.

    The output of a convolution w of one channel on the values p under its kernel has the mean w mean(p) and the
    variance w Cov(p) w', so BatchNorm's statistics follow from the K x K covariance of the images' patches. Nothing of
    size [B, C, F, T] is normalised, neither forwards nor backwards: gradients reach weight, scale and offset through
    the folded values, which depend on the batch only through constants, as the images need no gradient. The
    convolution's own bias has no effect, as BatchNorm subtracts it again.

    Args:
        convolution: from one channel to C, 3 x 3, padded by 1.
        layer: the BatchNorm after it, in training mode; its running statistics are updated.
        images: [B, 1, F, T], no gradient.

    Returns:
        [C, 1, 3, 3] and [C].
    """
    assert isinstance(convolution, nn.Conv2d)
    assert isinstance(layer, _BatchNorm)
    with torch.autocast(device_type=images.device.type, enabled=False):
        ranks = layer.ranks if isinstance(layer, GlobalBatchNorm) else ALONE
        mean, covariance = (values.to(convolution.weight.dtype) for values in _patch_moments(images, ranks))
        kernels = convolution.weight.flatten(1)
        centre, variance = kernels @ mean, ((kernels @ covariance) * kernels).sum(dim=1).clamp_min(0.0)
        scale = layer.weight * torch.rsqrt(variance + layer.eps)
        offset = 0.0 if convolution.bias is None else convolution.bias
        update_statistics(layer, centre + offset, variance, images.numel() * ranks.size)
        # not computed from ``kernels``: the product keeps the weight's memory format, which the result follows
        return convolution.weight * scale[:, None, None, None], layer.bias - scale * centre


@torch.no_grad()
def _patch_moments(images: Tensor, ranks: Ranks) -> tuple[Tensor, Tensor]:
    """Mean [K] and covariance [K, K], in float64, of all 3 x 3 patches of all ranks' images padded with zeros."""
    bands, frames = images.shape[2:]
    padded = nn.functional.pad(images[:, 0], (1, 1, 1, 1))
    patches = torch.stack([padded[:, i : i + bands, j : j + frames] for i in range(3) for j in range(3)], dim=1)
    patches = (patches if patches.dtype == torch.float64 else patches.float()).flatten(2)  # [B, K, F T]
    products = patches @ patches.transpose(1, 2)
    first = ranks.mean(patches.mean(dim=2).double().mean(dim=0))
    second = ranks.mean(products.double().mean(dim=0) / patches.shape[2])
    return first, second - torch.outer(first, first)
