"""Draws README's figure from one row of a built BgKnown ESC-50: mixture, reference background a, and what is left.

    pip install '.[plot]'
    python .github/figures/mixture_minus_background.py bgknown-esc50 CLIP_ID

The panels are log-mel spectrograms of the dataset's own files on one dB scale; 0 dB is the mixture's loudest value.
The last one is of the samples mix - a. README's figure is row 5-200334-B-1 of BgKnown made from ESC-10 (seed 0).
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image

import bgknown

matplotlib.use("Agg")
from matplotlib import pyplot as plt

RANGE_DB = 60
"""Dynamic range of the colours."""
TITLES = ("mixture", "known background (a)", "mixture − background")
SIGNS = ("−", "=")


def compute_power(audio: NDArray[np.float32], rate_hz: int = 44_100) -> NDArray[np.float64]:
    """Mel power of [N] samples: [F, T] with 96 bands from 50 Hz to 16 kHz, windows of 46 ms every 10 ms."""
    import librosa  # noqa: PLC0415  (slow to import)

    power = librosa.feature.melspectrogram(
        y=audio.astype(np.float64), sr=rate_hz, n_fft=2_048, hop_length=441, n_mels=96, fmin=50.0, fmax=16_000.0
    )
    return np.asarray(power)


def draw(folder: Path, clip_id: str, out: Path) -> None:
    """Draw the figure of one row.

    Args:
        folder: a built dataset.
        clip_id: the row.
        out: the PNG to write.
    """
    data = bgknown.open_dataset(folder)
    row = data.table.loc[clip_id]
    mix, background = (data.read(row[f"{name}_file"]) for name in ("mix", "a"))
    powers = [compute_power(audio) for audio in (mix, background, mix - background)]
    loudest = powers[0].max()
    figure, axes = plt.subplots(1, 3, figsize=(9.6, 2.3), sharey=True, layout="constrained")
    for axis, power, title in zip(axes, powers, TITLES, strict=True):
        level_db = 10 * np.log10(np.maximum(power / loudest, 1e-12))
        image = axis.imshow(
            level_db, origin="lower", aspect="auto", extent=(0, 5, 0, 96), cmap="cividis", vmin=-RANGE_DB, vmax=0
        )
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("time (s)", fontsize=8)
        axis.tick_params(labelsize=8)
        axis.set_yticks([])
    axes[0].set_ylabel("mel band", fontsize=8)
    for axis, sign in zip(axes[1:], SIGNS, strict=True):
        axis.text(-0.045, 0.5, sign, transform=axis.transAxes, fontsize=15, ha="center", va="center")
    bar = figure.colorbar(image, ax=axes, pad=0.01)
    bar.ax.tick_params(labelsize=8)
    bar.set_label("level (dB)", fontsize=8)
    pixels = io.BytesIO()
    figure.savefig(pixels, dpi=125)
    Image.open(pixels).convert("RGB").quantize(96).save(out, optimize=True)  # a quarter of the size


if __name__ == "__main__":
    draw(Path(sys.argv[1]), sys.argv[2], Path(__file__).with_suffix(".png"))
