"""Which clips of a store of embeddings are silent or beyond full scale, kept next to the embeddings.

A clip that is embedded already is not decoded again, so what was found out then is remembered.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bgknown.amplitude import Amplitude, describe_amplitudes, measure_amplitude
from bgknown.files import append_line

FILE = "amplitudes.jsonl"


@dataclass(frozen=True, slots=True)
class Amplitudes:
    """The clips of a store that are silent or beyond full scale."""

    found: Mapping[tuple[str, str], Amplitude]
    """By the SHA-256 of the file and the part of it."""

    def describe(self, clips: Mapping[str, tuple[str, str]]) -> list[str]:
        """One sentence on silence and one on clipping, where there is any.

        Args:
            clips: SHA-256 and part by the clip's name.
        """
        found = {name: self.found[key] for name, key in clips.items() if key in self.found}
        return describe_amplitudes(found, what="clips", cut_off=False)


def read_amplitudes(folder: Path) -> Amplitudes:
    """What is known in a store; lines that a kill cut short are passed over."""
    found: dict[tuple[str, str], Amplitude] = {}
    with contextlib.suppress(OSError), (folder / FILE).open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            with contextlib.suppress(ValueError, KeyError, TypeError, RecursionError):
                entry = json.loads(line)
                key = (str(entry["sha256"]), str(entry["crop"]))
                found[key] = Amplitude(silent=bool(entry["silent"]), clipped=bool(entry["clipped"]))
    return Amplitudes(found)


def write_amplitudes(folder: Path, clips: Sequence[tuple[str, str, NDArray[np.floating[Any]]]]) -> None:
    """Remember the clips that are silent or beyond full scale.

    Args:
        folder: of the store.
        clips: SHA-256 of the file, part of it, and [N] samples.

    Raises:
        StorageError: the disk is full or refuses.
    """
    lines = [
        json.dumps({"sha256": sha256, "crop": crop, **asdict(amplitude)})
        for sha256, crop, audio in clips
        if (amplitude := measure_amplitude(audio)) != Amplitude()
    ]
    if lines:
        append_line(folder / FILE, "\n".join(lines))
