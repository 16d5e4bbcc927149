"""Trainings of probes and retrieval systems that resume where they left off: their state, stored now and then.

States are kept until the results are written, so that a full disk at the end does not cost a training.
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
"""A stack is stored after the first epoch that ends at least this long after the last time."""


class TrainingState:
    """The stored state of one training; nothing is stored of one that ends within ``INTERVAL_S``.

    Args:
        folder: where it is stored.
        name: identifies the training.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.path = folder / f"{name}.pt"
        self.last = time.monotonic()

    def load(self) -> dict[str, Any] | None:
        """The state that was stored last; None where there is none, or it is damaged.

        States of version 0.1.0, which have no checksum, count as damaged: the training starts again.
        """
        data = read_sealed(self.path)
        if data is None:
            return None
        state: dict[str, Any] = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        return state

    @property
    def used(self) -> bool:
        """Whether a state is stored. Then the final one is stored too, to be kept while other trainings continue."""
        return self.path.exists()

    @property
    def due(self) -> bool:
        """Whether it is time to store the state."""
        return time.monotonic() - self.last >= INTERVAL_S

    @advise_option("--cache")
    def store(self, state: dict[str, Any]) -> None:
        """Replace the stored state.

        Raises:
            StorageError: the disk is full or refuses.
        """
        make_folder(self.path.parent)
        data = io.BytesIO()
        torch.save(state, data)
        write_sealed(self.path, data.getbuffer())
        self.last = time.monotonic()

    def forget(self) -> None:
        """Delete the stored state."""
        self.path.unlink(missing_ok=True)


class Resuming:
    """The stored states of several trainings.

    Args:
        folder: where they are stored.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._all: list[TrainingState] = []

    def of(self, name: str) -> TrainingState:
        """The stored state of the training with this name."""
        state = TrainingState(self.folder, name)
        self._all.append(state)
        return state

    def forget(self) -> None:
        """Delete the states of all trainings that ``of`` was called for."""
        for state in self._all:
            state.forget()
