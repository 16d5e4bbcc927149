"""What a step draws: its clips, crops, views, shares and dropout masks.

Every kind of draw of every step has its own random stream, made from (seed, kind, step) alone. All lambdas therefore
see identical crops and views, a resumed run draws what an uninterrupted one would, and every process of a run draws for
the whole batch and uses its part. Shape letters: B clips of the whole batch, T frames.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bgknown import seeding
from pretrain.config import Config
from pretrain.networks import AudioNTT, draw_dropout_mask
from pretrain.objective import draw_gamma
from pretrain.views import ViewDraw, draw_views


@dataclass(frozen=True, slots=True, kw_only=True)
class CropDraw:
    """Which crops a step trains on. All are [B]."""

    clips: NDArray[np.int64]
    """Which clips."""
    places: NDArray[np.float64]
    """Where each crop starts, 0..1 of the possible places."""
    later: NDArray[np.int64] | None
    """How many samples later the reference's crop starts; None without shifted references."""

    def part(self, rows: slice) -> CropDraw:
        """The draws of some rows."""
        later = None if self.later is None else self.later[rows]
        return CropDraw(clips=self.clips[rows], places=self.places[rows], later=later)


class CropSampler:
    """Draws a step's crops: each epoch has its own order of the clips, and batches continue across its end."""

    def __init__(self, config: Config, clips: int) -> None:
        self._config = config
        self._clips = clips
        self._orders: dict[int, NDArray[np.int64]] = {}

    def draw(self, step: int) -> CropDraw:
        """The crops of a step, counted from 0."""
        training, front_end = self._config.training, self._config.front_end
        places = step * training.batch + np.arange(training.batch)
        epochs, within = np.divmod(places, self._clips)
        self._orders = {epoch: self._order(epoch) for epoch in np.unique(epochs).tolist()}
        clips = np.array([self._orders[epoch][place] for epoch, place in zip(epochs.tolist(), within, strict=True)])
        later = None
        objective = self._config.objective
        if objective.lambda_ and (span := round(objective.reference_shift_s * front_end.rate_hz)):
            later = seeding.make_generator(training.seed, "reference", str(step)).integers(
                -span, span + 1, training.batch
            )
        crops = seeding.make_generator(training.seed, "crop", str(step)).random(training.batch)
        return CropDraw(clips=clips, places=crops, later=later)

    def _order(self, epoch: int) -> NDArray[np.int64]:
        if epoch not in self._orders:
            return seeding.make_generator(self._config.training.seed, "order", str(epoch)).permutation(self._clips)
        return self._orders[epoch]


def draw_statistics_crops(config: Config, clips: int) -> CropDraw:
    """Draw the crops that mean and standard deviation of the log-mel are measured on; all clips in turn."""
    generator = seeding.make_generator(config.training.seed, "statistics")
    count = config.training.statistics_crops
    order = generator.permutation(clips)
    return CropDraw(clips=order[np.arange(count) % clips], places=generator.random(count), later=None)


class StepDraw:
    """What a step draws for its views, mixtures and dropout, for the whole batch or parts of it."""

    def __init__(self, config: Config, network: AudioNTT, step: int, device: torch.device) -> None:
        self._config, self._network, self._step, self._device = config, network, step, device
        clips, bands, frames = config.training.batch, config.front_end.n_mels, config.training.frames
        self._views = [
            draw_views(config.views, clips, bands, frames, self._generator(f"{which} view"))
            for which in ("first", "second")
        ]
        objective = config.objective
        self._gamma = draw_gamma(clips, objective.gamma_low, objective.gamma_high, self._generator("gamma"))

    def views(self, rows: slice) -> list[ViewDraw]:
        """The draws of both views of some clips, on the device."""
        return [view.part(rows).to(self._device) for view in self._views]

    def gamma(self, rows: slice) -> Tensor:
        """Each successor's share in the mixtures of some clips, first and second views: [2 clips]."""
        return _select_in_both(self._gamma, rows).to(self._device, non_blocking=True)

    def dropout_mask(self, purpose: str, rows: slice) -> Tensor:
        """The dropout mask of some clips, first and second views.

        It is drawn on the device for the whole batch, so that processes agree; kinds of device differ.
        """
        generator = self._generator(f"dropout {purpose}", self._device)
        whole = draw_dropout_mask(
            self._network, 2 * self._config.training.batch, self._config.training.frames, generator
        )
        return _select_in_both(whole, rows)

    def _generator(self, kind: str, device: torch.device | None = None) -> torch.Generator:
        seed = seeding.derive_key(self._config.training.seed, kind, str(self._step))
        return torch.Generator(device or torch.device("cpu")).manual_seed(seed)


def _select_in_both(values: Tensor, rows: slice) -> Tensor:
    first, second = values.chunk(2)
    return torch.cat([first[rows], second[rows]])
