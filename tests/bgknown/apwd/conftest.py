"""A small source tree and JAMS pairs of every kind of change, made for the tests."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from bgknown.apwd.build import PairBuildOptions, PairReport, build
from bgknown.audio.files import RATE_HZ
from bgknown.jams.writing import compose_jams
from bgknown.soundscape import Layer, Soundscape
from tests.conftest import noise

DURATION_S = 1.0
CHANGES = {
    "added": ("event_added:dog", [], [("dog", 8.0)]),
    "removed": ("event_removed:dog", [("dog", 8.0)], []),
    "louder": ("event_louder:dog", [("dog", 8.0)], [("dog", 18.0)]),
    "quieter": ("event_quieter:dog", [("dog", 8.0)], [("dog", -2.0)]),
    "more_rain": ("background_louder:rain", [], [("rain", 9.0)]),
    "less_rain": ("background_quieter:rain", [("rain", 9.0)], []),
    "two": ("event_added:thunder;event_removed:dog", [("dog", 8.0)], [("thunder", 7.0)]),
}
"""Name of a pair: its changes, and the events (class, SNR) of s1 and s2."""


@dataclass
class Pairs:
    """Source tree and JAMS that a test may damage."""

    root: Path
    numbers: dict[str, int] = field(default_factory=dict)

    @property
    def source(self) -> Path:
        return self.root / "source"

    @property
    def jams(self) -> Path:
        return self.root / "jams"

    def jams_of(self, pair: str, side: str = "s1") -> Path:
        return next(self.jams.rglob(f"*{pair}_{side}.jams"))

    def tree_of(self, pair: str, side: str = "s1") -> dict:
        return json.loads(self.jams_of(pair, side).read_text())

    def change(self, pair: str, edit, side: str = "s1") -> None:
        """Edit a JAMS file in place; ``edit`` gets its tree."""
        tree = self.tree_of(pair, side)
        edit(tree)
        self.jams_of(pair, side).write_text(json.dumps(tree))

    def options(self, out: Path, **changes) -> PairBuildOptions:
        given = {"jams": self.jams, "source": self.source, "jobs": 1, **changes}
        return PairBuildOptions(out=out, **given)

    def build(self, out: Path, **changes) -> PairReport:
        return build(self.options(out, **changes))


def event(split: str, label: str, snr_db: float, number: int) -> Layer:
    length = DURATION_S if label == "rain" else 0.4
    return Layer(
        label=label,
        file=f"source/{split}/foreground/{label}/{label}{number}.wav",
        source_time_s=0.3 if label == "rain" else 0.0,
        duration_s=length,
        event_time_s=0.0 if label == "rain" else 0.1 * (1 + number),
        snr_db=snr_db,
    )


def soundscape(split: str, events: list[tuple[str, float]], start_s: float, number: int) -> Soundscape:
    backgrounds = tuple(
        Layer(
            label="rain",
            file=f"source/{split}/background/rain/rain{k}.wav",
            source_time_s=start_s + 0.10107 * k,
            duration_s=DURATION_S,
        )
        for k in range(2)
    )
    sounding = tuple(event(split, label, snr_db, number) for label, snr_db in events)
    return Soundscape(name="x", duration_s=DURATION_S, ref_db=-36.0, backgrounds=backgrounds, events=sounding)


def make_pairs(root: Path) -> Pairs:
    for split in ("dev", "eval"):
        for role, label, number, length in (
            *(("background", "rain", k, 2.5) for k in range(2)),
            *(("foreground", "rain", k, 2.5) for k in range(2)),
            *(("foreground", "dog", k, 0.6) for k in range(2)),
            *(("foreground", "thunder", k, 0.7) for k in range(2)),
        ):
            path = root / "source" / split / role / label / f"{label}{number}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            audio = noise(length, hash_of(f"{split}{label}{number}"))
            soundfile.write(path, audio, RATE_HZ, subtype="PCM_16")
    for split in ("dev", "eval"):
        folder = root / "jams" / "apwd_rain_sc" / split / "jams"
        folder.mkdir(parents=True)
        for name, (_, first, second) in CHANGES.items():
            sides = soundscape(split, first, 0.21313, 0), soundscape(split, second, 0.73717, 1)
            for side, scape in zip(("s1", "s2"), sides, strict=True):
                path = folder / f"rain_{split}_{name}_{side}.jams"
                path.write_text(json.dumps(compose_jams(replace(scape, name=path.stem), no_audio=True), indent=2))
    return Pairs(root)


def hash_of(text: str) -> int:
    return int(np.frombuffer(text.encode().ljust(16)[:16], np.uint32).sum())


@pytest.fixture
def pairs(tmp_path) -> Pairs:
    return make_pairs(tmp_path / "made")
