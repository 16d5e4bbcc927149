"""The losses: BYOL's, the difference loss of a mixture minus its known part, and what goes beyond the paper.

Shape letters: B clips, D embedding size, P projection size. A batch of two views is [2 B, ...], the first view's clips
first. All losses are computed in float32 (float64 for float64 input), outside autocast.

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
    """Create a projector or predictor: Linear, BatchNorm, ReLU, Linear.

    Args:
        values: size of the input.
        hidden: units of the first layer.
        out: size of the output.
    """
    return nn.Sequential(
        nn.Linear(values, hidden), nn.BatchNorm1d(hidden), nn.ReLU(inplace=True), nn.Linear(hidden, out)
    )


def measure_spread(vectors: Tensor, ranks: Ranks = ALONE) -> Tensor:
    """Spread of vectors scaled to length 1: the square root of their variance summed over dimensions, 0..1.

    0 means that all clips have the same vector: the network has collapsed. Independent directions give nearly 1.

    Args:
        vectors: [B, P], of any length.
        ranks: the processes that share the batch.
    """
    units = nn.functional.normalize(vectors.detach().float(), dim=1)
    mean = ranks.mean(units.mean(dim=0))
    return (1.0 - mean.square().sum()).clamp_min(0.0).sqrt()


def compute_distance(predicted: Tensor, target: Tensor) -> Tensor:
    """Squared distance between two vectors after scaling each to length 1: 2 - 2 cos (equations 1 and 3).

    Args:
        predicted: [B, P].
        target: [B, P]; no gradient flows into it.

    Returns:
        the mean over the batch, 0..4.
    """
    with torch.autocast(device_type=predicted.device.type, enabled=False):
        return (2.0 - 2.0 * _compute_cosines(predicted, target)).mean()


def _compute_cosines(predicted: Tensor, target: Tensor) -> Tensor:
    """[B] cosine of each clip's pair; no gradient flows into the target."""
    first, second = (_widen(values) for values in (predicted, target.detach()))
    return nn.functional.cosine_similarity(first, second, dim=1, eps=1e-12)


def compute_contrast(right: Tensor, wrong: Tensor, target: Tensor, temperature: float) -> Tensor:
    """How much nearer to the target the right background leads than a wrong one: -log softmax of the two cosines.

    With c = cos(right, target) and c' = cos(wrong, target) it is log(1 + exp((c' - c) / temperature)): log 2 where the
    background makes no difference, near 0 where the right one is needed.

    Args:
        right: [2 B, P] predictions of both views from the remainder after the right background.
        wrong: [2 B, P] the same with the background of another mixture.
        target: [2 B, P] target projections of both views, compared crosswise like in ``compute_symmetric_distance``.
        temperature: above 0.
    """
    with torch.autocast(device_type=right.device.type, enabled=False):
        near, far = (_compute_cosines(predicted, swap_views(target)) for predicted in (right, wrong))
        return nn.functional.softplus((far - near) / temperature).mean()


def compute_symmetric_distance(predicted: Tensor, target: Tensor) -> Tensor:
    """``compute_distance`` in both directions: the first view's prediction to the second view's target, and vice versa.

    Args:
        predicted: [2 B, P] predictions of both views.
        target: [2 B, P] target projections of both views.
    """
    return compute_distance(predicted, swap_views(target))


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
        ranks: the processes that share the batch; a rank's last clip is followed by the next rank's first.
    """
    _check_views(views)
    first, second = views.chunk(2)
    if ranks.size == 1:
        return torch.cat([first.roll(-1, dims=0), second.roll(-1, dims=0)])
    following = ranks.successors(torch.stack([first, second], dim=1))
    return torch.cat([following[:, 0], following[:, 1]])


def mix(views: Tensor, gamma: Tensor, *, scale: Tensor | float = 1.0, ranks: Ranks = ALONE) -> Tensor:
    """Mix each clip's successor into it: w = log(gamma exp(s(v)) + (1 - gamma) exp(v)) (equation 2).

    With a scale k it is log(gamma exp(k s(v)) + (1 - gamma) exp(k v)) / k. If k is the standard deviation that the
    views were divided by in total, the exponentials are powers, except for a factor that cancels: sounds are mixed as
    in air, and the mixture is normalised like the views.

    Args:
        views: [2 B, 1, F, T] normalised log-mels.
        gamma: [2 B] share of the successor, 0 < gamma < 1.
        scale: k, above 0.
        ranks: as for ``shift_views``.

    Returns:
        [2 B, 1, F, T] float32 (or float64).
    """
    with torch.autocast(device_type=views.device.type, enabled=False):
        values = _widen(views) * scale
        share = _widen(gamma).to(values.dtype)[:, None, None, None]
        return torch.logaddexp(shift_views(values, ranks) + torch.log(share), values + torch.log1p(-share)) / scale


def subtract_background(mixed: Tensor, known: Tensor, share: Tensor) -> Tensor:
    """A mixture's embedding minus its known part: f(w) - gamma f(s(v)) (section 4): [2 B, D].

    Args:
        mixed: [2 B, D] embeddings of the mixtures; gradients flow through it.
        known: [2 B, D] embeddings of the known parts, in the order of the mixtures; gradients flow through it too.
        share: [2 B] of the known part, gamma for the successor.
    """
    with torch.autocast(device_type=mixed.device.type, enabled=False):
        known = _widen(known)
        return _widen(mixed) - _widen(share).to(known.dtype)[:, None] * known


class LearnedSubtraction(nn.Module):
    """A subtraction with learned matrices: W1 f(w) - W2 f(s(v)) in place of f(w) - gamma f(s(v)).

    It starts as the plain subtraction with one weight: W1 = I, W2 = weight I.
    """

    def __init__(self, size: int, weight: float) -> None:
        """Create the matrices.

        Args:
            size: D.
            weight: of the known part at the start.
        """
        super().__init__()
        self.mixture = nn.Parameter(torch.eye(size))
        self.background = nn.Parameter(weight * torch.eye(size))

    def forward(self, mixed: Tensor, known: Tensor) -> Tensor:
        """[2 B, D] embeddings of mixtures and of their known parts -> [2 B, D], in float32."""
        with torch.autocast(device_type=mixed.device.type, enabled=False):
            return mixed.float() @ self.mixture.T - known.float() @ self.background.T


def draw_gamma(clips: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    """Draw the shares for both views of a batch, uniform, one for each input: [2 B] float32.

    Args:
        clips: B.
        low: smallest share.
        high: largest share.
        generator: a separate one, so that views do not depend on whether there is a difference loss.
    """
    if not 0.0 < low <= high < 1.0:
        raise InvalidInputError(f"gamma of {low} to {high}; both must be between 0 and 1, the smaller one first")
    return low + (high - low) * torch.rand(2 * clips, generator=generator)


def _widen(values: Tensor) -> Tensor:
    """float64 unchanged, everything else as float32."""
    return values if values.dtype == torch.float64 else values.float()


def _check_views(views: Tensor) -> None:
    if views.shape[0] % 2:
        raise InvalidInputError(f"a batch of two views must have an even number of clips, but has {views.shape[0]}")
