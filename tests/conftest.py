"""Tiny corpora made for the tests: noise and tones, seconds long, in the official layouts."""

from __future__ import annotations

import csv
import functools
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:  # the workers share the cores, so each computes in one thread
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import hypothesis
import numpy as np
import pytest
import soundfile

from bgknown.corpora.pair import Corpora, open_corpora
from bgknown.mixtures.build import build
from bgknown.mixtures.draw import DrawOptions
from bgknown.mixtures.options import BuildOptions

RATE_HZ = 44_100
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"

hypothesis.settings.register_profile("no deadline", deadline=None)  # a busy machine is no fault of an example
hypothesis.settings.load_profile("no deadline")


LONGEST = (
    *("test_readmes.py", "benchmark/test_run.py", "test_real_audio.py", "test_reproduce.py"),
    *(
        "bgknown/mixtures/test_build_stopped.py",
        "pretrain/test_train_stopped.py",
        "bgknown/jobs/test_cluster_faults.py",
    ),
    *("bgknown/jobs/test_cluster.py", "benchmark/encoders/test_contract.py", "pretrain/test_ranks.py"),
    *("pretrain/test_precision.py", "bgknown/jobs/test_resumable.py", "statistics/test_coverage.py"),
    *("bgknown/mixtures/test_engine.py", "benchmark/tasks/test_tasks.py", "bgknown/jobs/test_shards.py"),
)
"""The files that take longest: first, for a worker that comes to one of them last leaves the others without work."""


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    if hasattr(config.option, "loadscopereorder"):  # else xdist begins with the files that hold most tests
        config.option.loadscopereorder = False


def pytest_collection_modifyitems(items):
    places = {Path(__file__).parent / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


@dataclass
class TinyCorpora:
    """Two corpora that a test may damage."""

    root: Path

    @property
    def esc50(self) -> Path:
        return self.root / "ESC-50"

    @property
    def fsd50k(self) -> Path:
        return self.root / "FSD50K"

    def clip(self, clip_id: str) -> Path:
        return self.esc50 / "audio" / f"{clip_id}.wav"

    def recording(self, part: str, number: int) -> Path:
        return self.fsd50k / f"FSD50K.{part}_audio" / f"{number}.wav"

    def open(self) -> Corpora:
        return open_corpora(self.esc50, self.fsd50k, cache=self.root / "cache")

    def options(self, **changes) -> BuildOptions:
        draw = {
            name: changes.pop(name)
            for name in ("seed", "snr_db", "ref_db", "min_level_lufs", "keep_sources")
            if name in changes
        }
        return BuildOptions(draw=DrawOptions(**draw), cache=self.root / "cache", **{"jobs": 1, **changes})

    def build(self, out: Path, **changes):
        return build(self.open(), self.options(**changes), out)

    def arguments(self) -> list[str]:
        return ["--esc50", str(self.esc50), "--fsd50k", str(self.fsd50k), "--cache", str(self.root / "cache")]


def noise(duration_s: float, seed: int, peak: float = 0.5, rate_hz: int = RATE_HZ) -> np.ndarray:
    audio = np.random.default_rng(seed).standard_normal(round(duration_s * rate_hz))
    return audio * (peak / np.abs(audio).max())


def write_wav(path: Path, audio: np.ndarray, rate_hz: int = RATE_HZ, subtype: str = "PCM_16") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(str(path), audio, rate_hz, subtype=subtype)


def write_table(path: Path, rows: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def make_tiny(root: Path) -> TinyCorpora:
    """Ten clips (two in each fold) and five recordings a part; one of each part is too short."""
    for name, data in compute_tiny().items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return TinyCorpora(root)


@functools.cache
def compute_tiny() -> dict[str, bytes]:
    """The files of the tiny corpora: writing them takes a twentieth of the time that computing them takes."""
    with tempfile.TemporaryDirectory() as folder:
        write_tiny(TinyCorpora(Path(folder)))
        return contents(Path(folder))


def write_tiny(corpora: TinyCorpora) -> None:
    rows = []
    for fold in range(1, 6):
        for target, category in enumerate(("bell", "drum")):
            clip_id = f"{fold}-{100 * fold + target}-A-{target}"
            tone = np.sin(2 * np.pi * (300 + 90 * fold + 500 * target) * np.arange(5 * RATE_HZ) / RATE_HZ)
            write_wav(corpora.clip(clip_id), 0.3 * tone + noise(5.0, fold + 10 * target, 0.1))
            src_file = 100 * fold + target
            rows.append({"filename": f"{clip_id}.wav", "fold": fold, "target": target, "category": category})
            rows[-1].update({"esc10": "False", "src_file": src_file, "take": "A"})
    write_table(corpora.esc50 / "meta" / "esc50.csv", rows)
    for part, first in (("dev", 7000), ("eval", 8000)):
        durations_s = [10.0, 12.5, 14.0, 16.0, 6.0]
        rows = []
        for place, duration_s in enumerate(durations_s):
            audio = noise(duration_s, first + place, 0.1 + 0.2 * place)
            write_wav(corpora.recording(part, first + place), audio)
            rows.append({"fname": first + place, "labels": "Rain,Water", "mids": "/m/a,/m/b"})
        write_table(corpora.fsd50k / "FSD50K.ground_truth" / f"{part}.csv", rows)


@pytest.fixture
def tiny(tmp_path) -> TinyCorpora:
    return make_tiny(tmp_path / "corpora")


@pytest.fixture(scope="session")
def built(tmp_path_factory) -> Iterator[tuple[TinyCorpora, Path]]:
    """A finished dataset of the tiny corpora; a test that changes it fails the session."""
    root = tmp_path_factory.mktemp("built")
    corpora = make_tiny(root / "corpora")
    corpora.build(root / "dataset")
    before = contents(root / "dataset")
    yield corpora, root / "dataset"
    assert contents(root / "dataset") == before


@pytest.fixture(scope="session")
def shared_data() -> Path:
    if not SHARED.is_dir():
        pytest.skip("the real audio is not there (../shared/data)")
    return SHARED


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a dataset by its relative name, the workspace left out."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".work" not in path.parts
    }
