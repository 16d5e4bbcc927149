"""Trainings of probes and retrieval systems that go on where they were stopped: their state, stored now and then.

What is stored is forgotten when the results are written, not before: a full disk at the end does not cost a training.
"""

from __future__ import annotations

import io
import time
from pathlib import Path
from typing import Any

import torch

from bgknown.jobs.files import advise_option, make_folder
from bgknown.jobs.sealed import read_sealed, write_sealed

INTERVAL_S = 60.0
"""A stack is stored after the first epoch that ends so long after the last time."""
FOLDER = "probes"
"""Folder below the cache."""
SUFFIX = ".pt"


class Progress:
    """What is stored of one training; nothing of one that ends within ``INTERVAL_S``.

    Args:
        folder: where.
        name: what tells it from any other training.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.path = folder / f"{name}{SUFFIX}"
        self.last = time.monotonic()

    def load(self) -> dict[str, Any] | None:
        """The state that was stored last; None where there is none, or it is damaged.

        States of 0.1.0, which have no checksum, count as damaged: the training begins again.
        """
        data = read_sealed(self.path)
        if data is None:
            return None
        state: dict[str, Any] = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        return state

    @property
    def used(self) -> bool:
        """Whether anything is stored: then the end is, too, so that it is there while others are still trained."""
        return self.path.exists()

    @property
    def due(self) -> bool:
        """Whether it is time to store."""
        return time.monotonic() - self.last >= INTERVAL_S

    @advise_option("--cache")
    def store(self, state: dict[str, Any]) -> None:
        """Replace what is stored.

        Raises:
            StorageError: the disk is full or refuses.
        """
        make_folder(self.path.parent)
        data = io.BytesIO()
        torch.save(state, data)
        write_sealed(self.path, data.getbuffer())
        self.last = time.monotonic()

    def done(self) -> None:
        """Forget what is stored."""
        self.path.unlink(missing_ok=True)


class Resuming:
    """Where trainings of more than a minute store what they go on from.

    Args:
        folder: the folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._all: list[Progress] = []

    def of(self, name: str) -> Progress:
        """What is stored of one training, by what tells it from any other."""
        progress = Progress(self.folder, name)
        self._all.append(progress)
        return progress

    def done(self) -> None:
        """Forget what is stored of all trainings that were asked for."""
        for progress in self._all:
            progress.done()
