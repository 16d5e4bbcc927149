"""Small corpora of a user's own, as tables, for the tests."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.conftest import RATE_HZ, noise, write_table, write_wav

CLASSES = ("bark", "siren")
EVENT_FRAMES = 60_013
"""Length of the clips of take 1: one of the lengths whose seconds Scaper rounds down to a sample less."""


@dataclass
class TableCorpora:
    """Two tables that a test may damage."""

    root: Path

    @property
    def foreground(self) -> Path:
        return self.root / "yard" / "yard.csv"

    @property
    def background(self) -> Path:
        return self.root / "places" / "places.csv"

    def given(self, **changes):
        """Arguments of ``build_dataset``."""
        tables = {"foreground_table": self.foreground, "background_table": self.background}
        return {**tables, "cache": self.root / "cache", "engine": "direct", "jobs": 1, "duration_s": 1.5, **changes}

    def arguments(self) -> list[str]:
        tables = ["--foreground-table", str(self.foreground), "--background-table", str(self.background)]
        return [*tables, "--cache", str(self.root / "cache"), "--duration", "1.5"]


def make_tables(root: Path) -> TableCorpora:
    """Twenty clips (two of each class in each of five folds, with names that occur twice) and eight recordings."""
    corpora = TableCorpora(root)
    rows = []
    for fold in range(1, 6):
        for place, label in enumerate(CLASSES):
            for take in range(2):
                file = f"fold{fold}/{label}{take}.wav"
                tone = np.sin(2 * np.pi * (300 + 90 * fold + 500 * place) * np.arange(2 * RATE_HZ) / RATE_HZ)
                audio = 0.3 * tone + noise(2.0, 10 * fold + place, 0.1)
                write_wav(corpora.foreground.parent / file, audio[: EVENT_FRAMES if take else None])
                rows.append({"file": file, "label": label, "fold": fold, "group": f"dog {fold}"})
                rows[-1].update({"licence": "CC0-1.0", "uploader": f"me {take}", "title": f"{label} at noon"})
    write_table(corpora.foreground, rows)
    rows = []
    for split, first in (("training", 0), ("Eval", 4)):
        for place in range(first, first + 4):
            write_wav(corpora.background.parent / f"{place}.wav", noise(3.0 + 0.5 * place, place, 0.3))
            rows.append({"file": f"{place}.wav", "label": "Rain,Water", "split": split, "source": f"tape {place}"})
    write_wav(corpora.background.parent / "short.wav", noise(2.5, 9, 0.3))
    rows.append({"file": "short.wav", "label": "Rain", "split": "validation", "source": ""})
    write_table(corpora.background, rows)
    return corpora
