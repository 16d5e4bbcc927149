"""A trial step: how long a step takes on this machine, measured within seconds before the first one.

Separate networks learn from a few clips, then from more, until a step is long enough to be measured or holds the whole
batch. The run itself is not touched: with or without a trial it ends with the same weights, bit for bit.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import replace

import torch

from pretrain.config import Config
from pretrain.trainer import Trainer

LONG_ENOUGH_S = 0.5
"""A step that takes this long is measured well enough."""
_FEWEST, _MORE = 2, 4


def time_step(config: Config, make: Callable[[Config], Trainer], processes: int = 1) -> float | None:
    """Seconds that one step of a run takes, extrapolated from steps with few clips.

    Communication between processes is not included, nor is what torch.compile gains.

    Args:
        config: configuration of the run.
        make: creates a separate trainer on the run's device.
        processes: number of processes that share the batch.

    Returns:
        the time; None where memory has no room for a trial next to the run.
    """
    share = config.training.batch // config.training.accumulate // processes
    try:
        times = _time_sizes(config, make, max(share, _FEWEST))
        return config.training.accumulate * _extrapolate(times, share)
    except torch.OutOfMemoryError:
        return None
    finally:
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _time_sizes(config: Config, make: Callable[[Config], Trainer], share: int) -> dict[int, float]:
    """Seconds by number of clips in a step, up to a step that is long enough or holds the whole share."""
    trainer = make(_with_batch(config, _FEWEST))
    _time(trainer, 0)  # the first step also loads code and allocates memory
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
    start = time.perf_counter()
    for number, audio in trainer.batches(range(step, step + 1)):
        losses = trainer.step(number, audio)
        losses.total.item()  # waits until a GPU has finished
    return time.perf_counter() - start


def _extrapolate(times: dict[int, float], clips: int) -> float:
    """Seconds for a number of clips: a constant plus a time per clip, from the last two sizes."""
    sizes = list(times)
    largest = sizes[-1]
    if len(sizes) == 1:
        return times[largest] * clips / largest
    per_clip = (times[largest] - times[sizes[-2]]) / (largest - sizes[-2])
    return times[largest] + max(per_clip, 0.0) * (clips - largest)
