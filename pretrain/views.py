"""The views of BYOL-A: mixup with a memory of past inputs, random resize crop, random linear fader, in batches.

A batch's views are drawn first, as numbers, from a generator (``draw_views``), then made on the device (``make_view``).
Every step equals what the published code does clip by clip.

Shape letters: B batch, F mel bands, T frames, M clips of memory. Spectrograms are normalised log-mels [B, 1, F, T] of
float32.

Source: D. Niizumi, D. Takeuchi, Y. Ohishi, N. Harada, K. Kashino, "BYOL for Audio: Exploring Pre-trained
General-purpose Audio Representations", IEEE/ACM TASLP 31, 2023 (arXiv:2204.07402), section III-B; canvas, scales, gains
and memory as in its published code.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Self

import torch
from torch import Tensor

from bgknown.errors import InvalidInputError
from pretrain.ranks import ALONE, Ranks

_BICUBIC = -0.75  # the free coefficient of the cubic kernel, as in torch.nn.functional.interpolate
_EPS = torch.finfo(torch.float32).eps


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewSettings:
    """How views are drawn; the defaults are the paper's."""

    mixup_ratio: float = 0.2
    """Largest share of a remembered clip in a view; 0 disables mixup."""
    memory: int = 2_048
    """Number of clips that are remembered."""
    canvas_time: float = 1.5
    """Width of the canvas that crops are taken from, in clip lengths."""
    crop_low: float = 0.6
    """Smallest scale of a crop, in both directions."""
    crop_high: float = 1.5
    """Largest scale of a crop, in both directions; larger crops are limited to the canvas."""
    fader_gain: float = 1.0
    """Largest change of level at an end of the fade, in units of the normalised log-mel; 0 disables the fader."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.mixup_ratio < 1.0:
            raise InvalidInputError(f"mixup_ratio is {self.mixup_ratio}; it must be at least 0 and below 1")
        if self.memory < 1:
            raise InvalidInputError(f"memory is {self.memory}; it must be at least 1 clip")
        if not 1.0 <= self.canvas_time < math.inf:
            raise InvalidInputError(f"canvas_time is {self.canvas_time}; the canvas must hold the clip: at least 1")
        if not 0.0 < self.crop_low <= self.crop_high < math.inf:
            raise InvalidInputError(
                f"crops of {self.crop_low} to {self.crop_high}; both must be above 0, the smaller one first"
            )
        if not 0.0 <= self.fader_gain < math.inf:
            raise InvalidInputError(f"fader_gain is {self.fader_gain}; it must be at least 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewDraw:
    """What was drawn for one view of each clip of a batch. All are [B]."""

    share: Tensor
    """Share of the remembered clip, 0..mixup_ratio; float32."""
    partner: Tensor
    """Place of the remembered clip, 0..1 of those in memory; float64."""
    top: Tensor
    """First mel band of the crop."""
    height: Tensor
    """Mel bands of the crop."""
    left: Tensor
    """First frame of the crop on the canvas."""
    width: Tensor
    """Frames of the crop."""
    head: Tensor
    """Change of level at the first frame; float32."""
    tail: Tensor
    """Change of level at the last frame; float32."""

    def to(self, device: torch.device) -> Self:
        """Copy the numbers to a device, without waiting."""
        return type(self)(
            **{field.name: getattr(self, field.name).to(device, non_blocking=True) for field in fields(self)}
        )

    def part(self, place: slice) -> Self:
        """The draws of some clips of the batch."""
        return type(self)(**{field.name: getattr(self, field.name)[place] for field in fields(self)})


def draw_views(settings: ViewSettings, clips: int, bands: int, frames: int, generator: torch.Generator) -> ViewDraw:
    """Draw one view of each clip of a batch.

    Args:
        settings: the ranges.
        clips: B.
        bands: F.
        frames: T.
        generator: on the CPU, so that every device gets the same views.
    """

    def uniform() -> Tensor:
        return torch.rand(clips, generator=generator, dtype=torch.float64)

    share, partner = settings.mixup_ratio * uniform(), uniform()
    canvas = count_canvas_frames(settings, frames)
    span = settings.crop_high - settings.crop_low
    height = ((settings.crop_low + span * uniform()) * bands).floor().clamp(1, bands).long()
    width = ((settings.crop_low + span * uniform()) * frames).floor().clamp(1, canvas).long()
    top = (uniform() * (bands - height + 1)).floor().long()
    left = (uniform() * (canvas - width + 1)).floor().long()
    head, tail = (settings.fader_gain * (2.0 * uniform() - 1.0) for _ in range(2))
    return ViewDraw(
        share=share.float(),
        partner=partner,
        top=top,
        height=height,
        left=left,
        width=width,
        head=head.float(),
        tail=tail.float(),
    )


def count_canvas_frames(settings: ViewSettings, frames: int) -> int:
    """Width of the canvas in frames; its height is that of the clips."""
    return math.floor(settings.canvas_time * frames)


def make_view(log_mel: Tensor, drawn: ViewDraw, memory: Tensor, settings: ViewSettings) -> Tensor:
    """One view of each clip.

    Args:
        log_mel: [B, 1, F, T].
        drawn: on the same device.
        memory: [M, F, T] remembered clips; with M = 0 nothing is mixed in.
        settings: those of the draw.

    Returns:
        [B, 1, F, T].
    """
    mixed = mixup(log_mel, drawn, memory)
    canvas = count_canvas_frames(settings, log_mel.shape[3])
    return fade_linearly(resize_crop(mixed, drawn, canvas), drawn)


def mixup(log_mel: Tensor, drawn: ViewDraw, memory: Tensor) -> Tensor:
    """Mix a remembered clip into each clip, as powers: log((1 - share) exp(x) + share exp(z) + eps).

    Args:
        log_mel: [B, 1, F, T].
        drawn: shares and partners.
        memory: [M, F, T]; with M = 0 the clips are unchanged.
    """
    if memory.shape[0] == 0:
        return log_mel
    partners = (drawn.partner * memory.shape[0]).long().clamp_(max=memory.shape[0] - 1)
    share = drawn.share[:, None, None, None]
    powers = (1.0 - share) * log_mel.exp() + share * memory[partners].unsqueeze(1).exp()
    return torch.log(powers + _EPS)


def resize_crop(log_mel: Tensor, drawn: ViewDraw, canvas: int) -> Tensor:
    """Crop each clip, placed in the middle of a wider canvas of zeros, and resize the crop to the clip.

    Bicubic interpolation with aligned corners is linear in each direction by itself: two matrix products per clip, one
    over bands and one over frames, both with the columns that fall on the clip and not on the zeros around it.

    Args:
        log_mel: [B, 1, F, T].
        drawn: where the crops lie.
        canvas: width of the canvas in frames.
    """
    bands, frames = log_mel.shape[2], log_mel.shape[3]
    vertical = make_interpolation(drawn.top, drawn.height, bands, bands)
    horizontal = make_interpolation(drawn.left - (canvas - frames) // 2, drawn.width, frames, frames)
    return torch.matmul(torch.matmul(vertical, log_mel.squeeze(1)), horizontal.transpose(1, 2)).unsqueeze(1)


def make_interpolation(first: Tensor, count: Tensor, size: int, length: int) -> Tensor:
    """Matrices of bicubic interpolation with aligned corners, of crops that may be partly outside.

    Args:
        first: [B] first sample of each crop, counted from the first sample that there is; may be negative.
        count: [B] samples of each crop, at least 1.
        size: samples there are; what a crop has beyond them is zero.
        length: number of samples to make of each crop.

    Returns:
        [B, length, size] float32. A tap beyond the crop takes the crop's outermost sample, as
        ``torch.nn.functional.interpolate(mode="bicubic", align_corners=True)`` does.
    """
    steps = torch.arange(length, device=first.device, dtype=torch.float32)
    ratio = (count - 1).float() / max(length - 1, 1)
    place = steps[None, :] * ratio[:, None]
    below = place.floor()
    matrix = torch.zeros(first.shape[0], length, size + 1, device=first.device)
    for tap, weight in zip(range(-1, 3), _cubic(place - below), strict=True):
        inside = torch.minimum((below.long() + tap).clamp(min=0), (count - 1)[:, None]) + first[:, None]
        column = torch.where((inside >= 0) & (inside < size), inside, size)  # a last column gathers the zeros
        matrix.scatter_add_(2, column.unsqueeze(2), weight.unsqueeze(2))
    return matrix[:, :, :size]


def _cubic(place: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Weights of the samples at -1, 0, 1 and 2 for a place in 0..1.

    Source: R. Keys, "Cubic convolution interpolation for digital image processing", IEEE TASSP 29, 1981.
    """
    a = _BICUBIC

    def near(x: Tensor) -> Tensor:
        return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0

    def far(x: Tensor) -> Tensor:
        return ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a

    return far(place + 1.0), near(place), near(1.0 - place), far(2.0 - place)


def fade_linearly(log_mel: Tensor, drawn: ViewDraw) -> Tensor:
    """Add a slope that is linear in time to each clip: a gain that rises or falls.

    Args:
        log_mel: [B, 1, F, T].
        drawn: the slope's ends.
    """
    steps = torch.linspace(0.0, 1.0, log_mel.shape[3], device=log_mel.device)
    slope = drawn.head[:, None] + (drawn.tail - drawn.head)[:, None] * steps[None, :]
    return log_mel + slope[:, None, None, :]


class MemoryBank:
    """The inputs of the last batches, before they became views.

    Args:
        settings: how many clips.
        bands: F.
        frames: T.
        device: where they are kept.
    """

    def __init__(self, settings: ViewSettings, bands: int, frames: int, device: torch.device) -> None:
        self._clips = torch.zeros(settings.memory, bands, frames, device=device)
        self._filled = 0
        self._next = 0

    @property
    def clips(self) -> Tensor:
        """[M, F, T] the remembered clips, M up to the settings' memory, in arbitrary order."""
        return self._clips[: self._filled]

    def remember(self, log_mel: Tensor) -> None:
        """Store a batch [B, 1, F, T] in place of the oldest clips; of a larger batch than the memory, the last."""
        size = self._clips.shape[0]
        new = log_mel.detach().squeeze(1)[-size:]
        places = (self._next + torch.arange(new.shape[0], device=new.device)) % size
        self._clips[places] = new
        self._next = (self._next + new.shape[0]) % size
        self._filled = min(self._filled + new.shape[0], size)

    def state_dict(self) -> dict[str, Tensor | int]:
        """Everything that a resumed run needs."""
        return {"clips": self._clips, "filled": self._filled, "next": self._next}

    def load_state_dict(self, state: dict[str, Tensor | int]) -> None:
        """Restore what ``state_dict`` returned."""
        clips = state["clips"]
        if not isinstance(clips, Tensor) or clips.shape != self._clips.shape:
            raise InvalidInputError(
                f"memory bank: the checkpoint holds {tuple(getattr(clips, 'shape', ()))}, this run needs "
                f"{tuple(self._clips.shape)}; resume with the configuration that it was started with"
            )
        self._clips.copy_(clips)
        self._filled, self._next = int(state["filled"]), int(state["next"])


def normalise_batch(views: Tensor, ranks: Ranks = ALONE) -> tuple[Tensor, Tensor]:
    """Normalise views by mean and standard deviation over all values of the global batch.

    Args:
        views: [2 B, 1, F, T], both views of this rank's clips.
        ranks: the processes that share the batch.

    Returns:
        [2 B, 1, F, T], and the standard deviation as a single value.
    """
    values = views.float()
    mean, std = ranks.moments(values)
    std = std.clamp_min(_EPS)
    return (values - mean) / std, std
