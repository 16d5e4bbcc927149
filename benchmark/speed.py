"""The speed of an encoder as a row of ``OUT/speed.csv``."""

from __future__ import annotations

from pathlib import Path

import torch

import bgknown
from benchmark.encoders.check import CHECK_BATCH, CHECK_CLIP_S, measure_rate
from benchmark.encoders.contract import LoadedEncoder
from benchmark.processes import name_device
from benchmark.results.speeds import SpeedRow, add_speed
from bgknown.jobs.provenance import read_clock


def record_speed(loaded: LoadedEncoder, out: Path) -> Path:
    """Measure how many clips a second an encoder embeds, and add it to ``OUT/speed.csv``.

    Args:
        loaded: the encoder; one that takes statistics of training audio must have them.
        out: folder of results.

    Returns:
        The path of the table.

    Raises:
        InvalidInputError: the encoder breaks its contract, or the existing table is damaged.
        StorageError: the table cannot be written.
    """
    row = SpeedRow(
        encoder=loaded.name,
        checkpoint_sha256=loaded.weights_sha256,
        device=name_device(loaded.device),
        threads=torch.get_num_threads() if loaded.device == "cpu" else 0,
        clip_s=CHECK_CLIP_S,
        batch_clips=CHECK_BATCH,
        clips_per_s=round(measure_rate(loaded), 3),
        version=bgknown.__version__,
        date=read_clock(),
    )
    return add_speed(out, row)
