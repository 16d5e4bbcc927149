"""A trial step: how long a step takes on this machine, found out in seconds before the first one begins.

Networks of their own learn from a few clips, then from more, until a step is long enough to be measured or holds the
whole batch. Nothing of the run is touched: a run with a trial ends with the same weights, bit for bit.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from pretrain.config import Config

if TYPE_CHECKING:
    from pretrain.train import Trainer

LONG_ENOUGH_S = 0.5
"""A step of this length is measured well enough."""
_FEWEST, _MORE = 2, 4


def time_step(config: Config, make: Callable[[Config], Trainer], processes: int = 1) -> float | None:
    """Seconds that one step of a run takes, from steps of as few clips as it takes to measure that.

    What processes tell each other is not part of it, nor is what torch.compile gains.

    Args:
        config: of the run.
        make: makes a trainer of its own, on the run's device.
        processes: how many the batch is spread over.

    Returns:
        The time; None where memory has no room for a trial beside the run.
    """
    share = config.training.batch // config.training.accumulate // processes
    try:
        return config.training.accumulate * _extrapolate(_times(config, make, max(share, _FEWEST)), share)
    except torch.OutOfMemoryError:
        return None
    finally:
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _times(config: Config, make: Callable[[Config], Trainer], share: int) -> dict[int, float]:
    """Seconds by the number of clips in a step, up to a step that is long enough or holds the whole share."""
    trainer = make(_with_batch(config, _FEWEST))
    _time(trainer, 0)  # the first step also loads code and asks for memory
    times: dict[int, float] = {}
    clips = _FEWEST
    while True:
        trainer.set_batch(_with_batch(config, clips))
        times[clips] = _time(trainer, len(times) + 1)
        if clips == share or times[clips] >= LONG_ENOUGH_S:
            return times
        clips = min(_MORE * clips, share)


def _with_batch(config: Config, clips: int) -> Config:
    return replace(config, training=replace(config.training, batch=clips, accumulate=1, compile=False))


def _time(trainer: Trainer, step: int) -> float:
    begun = time.perf_counter()
    for number, audio in trainer.batches(range(step, step + 1)):
        losses = trainer.step(number, audio)
        losses.total.item()  # a GPU has finished when its result is here
    return time.perf_counter() - begun


def _extrapolate(times: dict[int, float], clips: int) -> float:
    """Seconds for a number of clips: a constant and a share per clip, from the last two sizes."""
    sizes = list(times)
    largest = sizes[-1]
    if len(sizes) == 1:
        return times[largest] * clips / largest
    per_clip = (times[largest] - times[sizes[-2]]) / (largest - sizes[-2])
    return times[largest] + max(per_clip, 0.0) * (clips - largest)
