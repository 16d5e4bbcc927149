"""The losses: BYOL's, and the difference loss of a mixture less its known part.

Shape letters: B clips, D embedding size, P projection size. A batch of two views is [2 B, ...], the first view's clips
first. All losses are computed in float32 (or float64, if that is what comes in), outside autocast.

Source: D. Takeuchi, M. Yasuda, D. Niizumi, N. Harada, "Towards Learning a Difference-Aware General-Purpose Audio
Representation", equations 1 to 3; J.-B. Grill et al., "Bootstrap your own latent", NeurIPS 2020.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bgknown.errors import InvalidInputError
from pretrain.ranks import ALONE, Ranks

HIDDEN = 4_096
"""Units between the two layers of projector and predictors."""
PROJECTION = 256
"""P."""


def make_head(values: int, *, hidden: int = HIDDEN, out: int = PROJECTION) -> nn.Sequential:
    """A projector or predictor: Linear, BatchNorm, ReLU, Linear.

    Args:
        values: size of what comes in.
        hidden: units of the first layer.
        out: size of what comes out.
    """
    return nn.Sequential(
        nn.Linear(values, hidden), nn.BatchNorm1d(hidden), nn.ReLU(inplace=True), nn.Linear(hidden, out)
    )


def measure_spread(vectors: Tensor, ranks: Ranks = ALONE) -> Tensor:
    """How far vectors of length 1 lie apart: the square root of their variance summed over dimensions, 0..1.

    0 means that all clips have the same vector: the network has collapsed. Independent directions give nearly 1.

    Args:
        vectors: [B, P], of any length.
        ranks: the processes that the batch is spread over.
    """
    units = nn.functional.normalize(vectors.detach().float(), dim=1)
    mean = ranks.mean(units.mean(dim=0))
    return (1.0 - mean.square().sum()).clamp_min(0.0).sqrt()


def distance(predicted: Tensor, target: Tensor) -> Tensor:
    """Squared distance of two vectors after each is scaled to length 1: 2 - 2 cos (equations 1 and 3).

    Args:
        predicted: [B, P].
        target: [B, P]; no gradient flows into it.

    Returns:
        The mean over the batch, 0..4.
    """
    with torch.autocast(device_type=predicted.device.type, enabled=False):
        first, second = (_wide(values) for values in (predicted, target.detach()))
        return (2.0 - 2.0 * nn.functional.cosine_similarity(first, second, dim=1, eps=1e-12)).mean()


def symmetric(predicted: Tensor, target: Tensor) -> Tensor:
    """``distance`` of both directions: the first view's prediction to the second view's target, and back.

    Args:
        predicted: [2 B, P] predictions of both views.
        target: [2 B, P] target projections of both views.
    """
    return distance(predicted, swap_views(target))


def swap_views(views: Tensor) -> Tensor:
    """Both views of a batch [2 B, ...], the second one first."""
    _check_views(views)
    first, second = views.chunk(2)
    return torch.cat([second, first])


def shift_views(views: Tensor, ranks: Ranks = ALONE) -> Tensor:
    """Each clip's successor within its own view: s([v_1, ..., v_B]) = [v_2, ..., v_B, v_1] (section 4).

    The shift stays within each view, so that a clip is never mixed with its own other view.

    Args:
        views: [2 B, ...].
        ranks: the processes that the batch is spread over; a rank's last clip is followed by the next rank's first.
    """
    _check_views(views)
    first, second = views.chunk(2)
    if ranks.size == 1:
        return torch.cat([first.roll(-1, dims=0), second.roll(-1, dims=0)])
    following = ranks.successors(torch.stack([first, second], dim=1))
    return torch.cat([following[:, 0], following[:, 1]])


def mix(views: Tensor, gamma: Tensor, *, scale: Tensor | float = 1.0, ranks: Ranks = ALONE) -> Tensor:
    """Mix each clip's successor into it: w = log(gamma exp(s(v)) + (1 - gamma) exp(v)) (equation 2).

    With a scale k it is log(gamma exp(k s(v)) + (1 - gamma) exp(k v)) / k. Where k is the deviation by which the views
    were divided in all, the exponentials are powers, but for a factor that cancels: sounds are mixed as in air, and the
    mixture is normalised as the views are.

    Args:
        views: [2 B, 1, F, T] normalised log-mels.
        gamma: [2 B] share of the successor, 0..1, neither end included.
        scale: k, above 0.
        ranks: as for ``shift_views``.

    Returns:
        [2 B, 1, F, T] float32 (or float64).
    """
    with torch.autocast(device_type=views.device.type, enabled=False):
        values = _wide(views) * scale
        share = _wide(gamma).to(values.dtype)[:, None, None, None]
        return torch.logaddexp(shift_views(values, ranks) + torch.log(share), values + torch.log1p(-share)) / scale


def subtract_background(mixed: Tensor, plain: Tensor, gamma: Tensor, *, ranks: Ranks = ALONE) -> Tensor:
    """What a mixture's embedding has beyond its known part: f(w) - gamma s(f(v)) (section 4).

    Args:
        mixed: [2 B, D] embeddings of the mixtures; gradients flow through it.
        plain: [2 B, D] embeddings of the views, the same ones that BYOL's loss has; gradients flow through it too.
        gamma: [2 B] share of the successor.
        ranks: as for ``shift_views``.
    """
    with torch.autocast(device_type=mixed.device.type, enabled=False):
        known = shift_views(_wide(plain), ranks)
        return _wide(mixed) - _wide(gamma).to(known.dtype)[:, None] * known


def draw_gamma(clips: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    """Shares for both views of a batch, uniform, one for each input: [2 B] float32.

    Args:
        clips: B.
        low: least share.
        high: largest share.
        generator: of its own, so that views do not depend on whether there is a difference loss.
    """
    if not 0.0 < low <= high < 1.0:
        raise InvalidInputError(f"gamma of {low} to {high}; both must lie between 0 and 1, the least first")
    return low + (high - low) * torch.rand(2 * clips, generator=generator)


def _wide(values: Tensor) -> Tensor:
    """Float64 as it is, all else as float32."""
    return values if values.dtype == torch.float64 else values.float()


def _check_views(views: Tensor) -> None:
    if views.shape[0] % 2:
        raise InvalidInputError(f"a batch of two views has an even number of clips, this one {views.shape[0]}")
