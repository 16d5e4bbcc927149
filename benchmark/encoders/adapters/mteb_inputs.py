"""What models of mteb take: a DataLoader whose batches are lists of clips with their sampling rate, or of texts.

Most models of mteb replace the loader's ``collate_fn`` by mteb's own ``AudioCollator``, which resamples to the model's
rate, and needs torchaudio for it. The loader puts in its place a collator that does the rest of the same work (cut to
the model's longest input, pad to its shortest), and remembers the rate: once it is known, audio comes at that rate.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from bgknown.audio.files import resample
from bgknown.errors import NotFoundError

INSTRUCTION = "Represent the sounds of this recording."
"""What models that take an instruction are given."""


def import_mteb() -> Any:
    """The package mteb.

    Raises:
        NotFoundError: it is not installed.
    """
    try:
        import mteb  # noqa: PLC0415
    except ImportError as error:
        raise NotFoundError("models and tasks of mteb need it: pip install 'bgknown[mteb]'") from error
    return mteb


def describe_inputs() -> Any:
    """The metadata of a task that models of mteb are called with."""
    return import_mteb().TaskMetadata(
        name="BgKnownEmbedding",
        description="Audio, or texts, that bgknown embeds.",
        dataset={"path": "bgknown/embedding", "revision": "1"},
        type="Any2AnyRetrieval",
        category="at2a",
        modalities=["audio", "text"],
        eval_langs=["eng-Latn"],
        main_score="hit_rate_at_1",
        prompt=INSTRUCTION,
    )


class Rows(Dataset[dict[str, Any]]):
    """Rows of one column, ``audio`` or ``text``, with what mteb's models read of a dataset: ``features``."""

    def __init__(self, column: str, values: Sequence[Any]) -> None:
        self.column, self.values = column, values
        self.features = {column: None}
        self.column_names = [column]

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, row: int) -> dict[str, Any]:
        value = self.values[row]
        return {self.column: dict(value) if isinstance(value, dict) else value}


class InputLoader(DataLoader[dict[str, Any]]):
    """A loader of one batch; ``asked_rate_hz`` is the rate that a model's collator asked for, or None."""

    asked_rate_hz: int | None = None

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "collate_fn" and type(value).__name__ == "AudioCollator":
            self.asked_rate_hz = int(value.target_sampling_rate)
            value = FittingCollator(
                rate_hz=self.asked_rate_hz,
                shortest=getattr(value, "min_samples", None),
                longest=getattr(value, "max_samples", None),
            )
        super().__setattr__(name, value)


class FittingCollator:
    """mteb's ``AudioCollator`` for mono audio, with this project's resampler: cut and pad."""

    def __init__(self, *, rate_hz: int, shortest: int | None, longest: int | None) -> None:
        self.rate_hz, self.shortest, self.longest = rate_hz, shortest, longest

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
        """A batch of rows whose audio is at the rate, cut and padded."""
        for row in rows:
            if "audio" in row:
                audio = resample(row["audio"]["array"], row["audio"]["sampling_rate"], self.rate_hz)
                row["audio"] = {"array": self._fit(audio), "sampling_rate": self.rate_hz}
        return collate(rows)

    def _fit(self, audio: NDArray[np.float32]) -> NDArray[np.float32]:
        audio = audio[: self.longest]
        return np.pad(audio, (0, max(0, (self.shortest or 0) - len(audio))))


def collate(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """A batch of rows as mteb's loaders give it: a list for each column."""
    return {column: [row[column] for row in rows] for column in rows[0]}


def load_audio(audio: torch.Tensor, rate_hz: int) -> InputLoader:
    """A loader of clips [B, N]."""
    clips = audio.detach().to("cpu", torch.float32).numpy()
    rows = [{"array": clip, "sampling_rate": rate_hz} for clip in clips]
    return InputLoader(Rows("audio", rows), batch_size=len(rows), collate_fn=collate)


def load_texts(texts: Sequence[str]) -> InputLoader:
    """A loader of texts."""
    return InputLoader(Rows("text", list(texts)), batch_size=len(texts), collate_fn=collate)
