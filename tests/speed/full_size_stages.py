"""The stages that ``full_size.py`` measures: their inputs at each size, the command that is run, and the whole."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from full_size_corpora import CATEGORIES, NSYNTH, VC1, link_many, make_clips, make_esc50, make_fsd50k, write_noise
from full_size_fit import Cost
from full_size_watch import Usage

HERE = Path(__file__).resolve().parent
SOUNDSCAPES, APWD_SOURCES = 204_000, 520
"""Of APwD: both sides of 51,000 pairs of two scenes; 280 recordings and 240 clips in its published lists."""
AUDIOSET, EPOCHS, BATCH = 200_000, 100, 256
STEPS = EPOCHS * (AUDIOSET // BATCH)
PAIRS, RETRIEVAL_EPOCHS = 50_000, 300
CLIPS, CLIPS_ON_GPU = (200, 400, 800), (2_000, 4_000, 8_000)
"""Of embedding with the light encoder, or with any on a GPU."""


class Workshop:
    """Inputs of the stages, each made once, and the processes that are measured."""

    def __init__(self, folder: Path, device: str) -> None:
        self.folder, self.device, self._number = folder, device, 0
        self.environment = {
            **os.environ,
            **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"),
            "PYTHONPATH": os.pathsep.join(filter(None, [str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")])),
            "BGKNOWN_CACHE": str(folder / "cache"),
        }
        if device != "cpu":  # then the CPU is not what is measured
            self.environment = {**self.environment, "OMP_NUM_THREADS": str(os.cpu_count() or 1)}

    def take(self, name: str, maker: Callable[[Path], object]) -> Path:
        """A folder that is made where it is first needed."""
        path = self.folder / name
        if not path.exists():
            maker(path)
        return path

    def name_output(self) -> Path:
        """A path that does not exist."""
        self._number += 1
        return self.folder / f"out{self._number}"

    def run(self, command: Sequence[str | Path]) -> Usage:
        """Run a command, and say what it took.

        Raises:
            SystemExit: it failed; its output is shown.
        """
        log, usage = self.folder / "log.txt", self.folder / "usage.json"
        with log.open("w") as output:
            done = subprocess.run(
                [sys.executable, str(HERE / "full_size_watch.py"), str(usage), sys.executable, *map(str, command)],
                env=self.environment,
                stdout=output,
                stderr=output,
                check=False,
            )
        if done.returncode:
            sys.exit(f"{' '.join(map(str, command))}\n{log.read_text()[-3000:]}")
        return Usage(**json.loads(usage.read_text()))

    def measure(self, stage: Stage, size: int) -> Cost:
        """The cost of a stage with a number of units."""
        out = self.name_output()
        command = stage.command(self, size, out)
        usage = self.run(command)
        written = sum(path.stat().st_size for path in [out, *out.rglob("*")] if path.is_file())
        seconds = usage.cpu_s if self.device == "cpu" else usage.wall_s
        return Cost(seconds=seconds, written=written, peak_mb=usage.peak_mb, own_mb=usage.own_mb)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A command whose cost grows with the number of units."""

    name: str
    """Its name for ``--stage``."""
    unit: str
    """What a unit is."""
    sizes: tuple[int, int, int]
    """Numbers of units to measure."""
    whole: Mapping[str, int]
    """Projects, and how many units each has."""
    command: Callable[[Workshop, int, Path], list[str | Path]]
    """Makes the inputs of a size, and gives the command with its output."""
    gpu: tuple[float, str] | None = None
    """Seconds of a unit on a GPU where they were measured otherwise, with card and commit."""
    on_gpu: tuple[int, int, int] | None = None
    """Numbers of units to measure on a GPU, where ``--device`` matters."""
    compiles: bool = False
    """Whether its first run compiles code that later runs find in the cache; then that run is not counted."""


def _build(shop: Workshop, rows: int, out: Path, *options: str, draws: int = 1) -> list[str | Path]:
    """As many clips, because ``--limit`` draws for all; and so many recordings that each row needs another one."""
    clips = rows // draws
    esc50 = shop.take(
        f"esc50_{clips}", lambda path: make_esc50(path, per_class_and_fold=1, categories=CATEGORIES[: clips // 5])
    )
    fsd50k = shop.take("fsd50k", lambda path: make_fsd50k(path, {"dev": 330, "eval": 220}))
    return ["-m", "bgknown", "build", "--esc50", esc50, "--fsd50k", fsd50k, "--draws", str(draws), "--jobs", "1",
            *options, "--out", out]  # fmt: skip


def _verify(shop: Workshop, rows: int, out: Path) -> list[str | Path]:
    del out
    built = shop.take(f"dataset{rows}", lambda path: shop.run(_build(shop, rows, path, "--engine", "direct")))
    return ["-m", "bgknown", "verify", built, "--jobs", "1"]


def _prepare(shop: Workshop, files: int, out: Path) -> list[str | Path]:
    """Half of the files are recordings, three quarters of these in dev, about as in the published lists."""
    recordings = files // 2
    parts = {"dev": recordings * 3 // 4, "eval": recordings - recordings * 3 // 4}
    fsd50k = shop.take(f"rain{files}", lambda path: make_fsd50k(path, parts, labels=("Rain",)))
    events = CATEGORIES[: -(-recordings // 40)]
    clips = recordings // (5 * len(events))
    esc50 = shop.take(f"events{files}", lambda path: make_esc50(path, per_class_and_fold=clips, categories=events))
    chosen = _name_events(len(events))
    return ["-m", "bgknown", "apwd", "prepare", "--fsd50k", fsd50k, "--esc50", esc50, "--background", "rain=Rain",
            *chosen, "--keep-sources", "--jobs", "1", "--out", out]  # fmt: skip


def _name_events(count: int) -> list[str]:
    return [part for name in CATEGORIES[:count] for part in ("--event", name)]


def _draw(shop: Workshop, pairs: int, out: Path) -> list[str | Path]:
    source = shop.take("source", lambda path: shop.run(_prepare(shop, 240, path)))
    held = pairs // 10
    counts = ["--pairs", f"dev={pairs - held}", "--pairs", f"eval={held}"]
    return ["-m", "bgknown", "apwd", "draw", "--source", source, "--scene", "rain", *_name_events(3), *counts,
            "--keep-sources", "--jobs", "1", "--out", out]  # fmt: skip


def _take_jams(shop: Workshop, pairs: int) -> Path:
    return shop.take(f"jams{pairs}", lambda path: shop.run(_draw(shop, pairs, path)))


def _build_pairs(shop: Workshop, soundscapes: int, out: Path) -> list[str | Path]:
    jams = _take_jams(shop, soundscapes // 2)
    return ["-m", "bgknown", "apwd", "build", "--jams", jams, "--source", shop.folder / "source", "--jobs", "1",
            "--out", out]  # fmt: skip


def _write_texts(shop: Workshop, pairs: int, out: Path) -> list[str | Path]:
    """Only the manifest and the texts, of as many JAMS; each JAMS is linked several times under other names."""
    drawn = sorted(_take_jams(shop, 100).rglob("*_s1.jams"))

    def link(path: Path) -> None:
        path.mkdir()
        for side in ("s1", "s2"):
            bases = [jams.with_name(jams.name.replace("_s1", f"_{side}")) for jams in drawn]
            link_many(bases, [path / f"pair{number:06}_{side}.jams" for number in range(pairs)])

    return ["-m", "bgknown", "apwd", "build", "--jams", shop.take(f"links{pairs}", link), "--manifest-only",
            "--jobs", "1", "--out", out]  # fmt: skip


def _embed(encoder: str, duration_s: float) -> Callable[[Workshop, int, Path], list[str | Path]]:
    """Embedding of clips at 16 kHz; the first encoder that needs clips of a length makes them for all.

    Beside a GPU, all cores decode, and more clips are needed for it to be the larger part.
    """

    def command(shop: Workshop, clips: int, out: Path) -> list[str | Path]:
        most = max(CLIPS if shop.device == "cpu" else CLIPS_ON_GPU)
        made = shop.take(f"clips{duration_s:g}", lambda path: make_clips(path, most, duration_s, rate_hz=16_000))
        part = shop.take(f"clips{duration_s:g}_{clips}", lambda path: _link_first(made, path, clips))
        cache = shop.name_output()  # an earlier run's embeddings would be found
        jobs = ["--jobs", "1"] if shop.device == "cpu" else []
        return ["-m", "benchmark", "embed", "--encoder", encoder, part, "--duration", f"{duration_s:g}", *jobs,
                "--device", shop.device, "--cache", cache, "--out", out]  # fmt: skip

    return command


def _link_first(folder: Path, to: Path, count: int) -> None:
    to.mkdir()
    first = sorted(folder.iterdir())[:count]
    link_many(first, [to / path.name for path in first])


def _retrieve(shop: Workshop, pairs: int, out: Path) -> list[str | Path]:
    del out
    return [HERE / "retrieval_at_scale.py", "--pairs", str(pairs), "--test", "100", "--texts", "500", "--turns", "0",
            "--epochs", "1", "--device", shop.device, "--folder", shop.folder]  # fmt: skip


def _pack(shop: Workshop, clips: int, out: Path) -> list[str | Path]:
    """Clips of 10 s in stereo."""

    def make(path: Path) -> None:
        bases = [write_noise(shop.folder / "stereo" / f"{seed}.wav", 10.0, channels=2, seed=seed) for seed in range(9)]
        path.mkdir()
        link_many(bases, [path / f"{number:06}.wav" for number in range(clips)])

    return ["-m", "pretrain", "pack", "--audio", shop.take(f"stereo{clips}", make), "--jobs", "1", "--out", out]


def _train(weight: float) -> Callable[[Workshop, int, Path], list[str | Path]]:
    """Training in the paper's configuration; statistics come from fewer crops, which is a fixed cost."""

    def command(shop: Workshop, steps: int, out: Path) -> list[str | Path]:
        corpus = shop.take("corpus", lambda path: shop.run(_pack(shop, 256, path)))
        changes = [f"training.steps={steps}", "training.statistics_crops=256", "training.precision=float32"]
        changes = changes[:2] if shop.device != "cpu" else changes
        options = [part for change in changes for part in ("--set", change)]
        return ["-m", "pretrain", "train", "--corpus", corpus, "--config", "paper", "--lambda", f"{weight:g}", *options,
                "--device", shop.device, "--out", out]  # fmt: skip

    return command


_VC1, _NSYNTH = {"VoxCeleb1": sum(VC1.values())}, {"NSynth": sum(NSYNTH.values())}
_ROWS = {"one draw": 2_000, "six draws": 12_000}
STAGES = [
    Stage(
        name="build",
        unit="row of BgKnown (Scaper)",
        sizes=(30, 60, 120),
        whole=_ROWS,
        command=_build,
        compiles=True,
    ),
    Stage(
        name="build-direct",
        unit="row of BgKnown (direct engine)",
        sizes=(30, 60, 120),
        whole=_ROWS,
        command=lambda shop, rows, out: _build(shop, rows, out, "--engine", "direct"),
        compiles=True,
    ),
    Stage(
        name="build-six",
        unit="row of BgKnown in six draws (direct engine)",
        sizes=(30, 60, 120),
        whole={"six draws": 12_000},
        command=lambda shop, rows, out: _build(shop, rows, out, "--engine", "direct", draws=6),
        compiles=True,
    ),
    Stage(name="verify", unit="row of BgKnown", sizes=(30, 60, 120), whole=_ROWS, command=_verify, compiles=True),
    Stage(
        name="apwd-prepare",
        unit="source file of APwD",
        sizes=(120, 240, 480),
        whole={"published lists": APWD_SOURCES},
        command=_prepare,
        compiles=True,
    ),
    Stage(
        name="apwd-draw",
        unit="pair",
        sizes=(200, 400, 800),
        whole={"as many as published": SOUNDSCAPES // 2},
        command=_draw,
        compiles=True,
    ),
    Stage(
        name="apwd-build",
        unit="soundscape of 10 s",
        sizes=(200, 400, 800),
        whole={"published": SOUNDSCAPES},
        command=_build_pairs,
        compiles=True,
    ),
    Stage(
        name="apwd-texts",
        unit="pair, manifest and text alone",
        sizes=(400, 800, 1_600),
        whole={"published": SOUNDSCAPES // 2},
        command=_write_texts,
    ),
    *(
        Stage(
            name=f"embed-{task}-{short}",
            unit=f"clip of {duration_s:g} s, {encoder}",
            sizes=sizes,
            whole=whole,
            command=_embed(encoder, duration_s),
            on_gpu=CLIPS_ON_GPU,
        )
        for task, duration_s, whole in (("vc1", 8.2, _VC1), ("nsynth", 4.0, _NSYNTH))
        for short, encoder, sizes in (
            ("logmel", "logmel", CLIPS),
            ("audiontt2022", "audiontt2022-untrained", (64, 128, 256)),
        )
    ),
    Stage(
        name="retrieval",
        unit="pair in an epoch (3,072 + 768 values, three seeds and controls)",
        sizes=(1_024, 2_048, 4_096),
        whole={"one scene, 300 epochs": PAIRS * RETRIEVAL_EPOCHS},
        command=_retrieve,
        gpu=(52.1 / 40 / PAIRS, "H100, 08c340c"),
    ),
    Stage(
        name="pack",
        unit="clip of 10 s, stereo at 44.1 kHz",
        sizes=(200, 400, 800),
        whole={"200,000 clips": AUDIOSET},
        command=_pack,
    ),
    Stage(
        name="train",
        unit="step of 256 clips, lambda 0.5 (float32; bf16 on a GPU)",
        sizes=(1, 2, 4),
        whole={"100 epochs": STEPS},
        command=_train(0.5),
        gpu=(BATCH / 7_400, "H200, 1160ba1"),
        on_gpu=(100, 200, 400),
    ),
    Stage(
        name="train-byol-a",
        unit="step of 256 clips, lambda 0 (float32; bf16 on a GPU)",
        sizes=(1, 2, 4),
        whole={"100 epochs": STEPS},
        command=_train(0.0),
        gpu=(BATCH / 10_200, "H200, 1160ba1"),
        on_gpu=(100, 200, 400),
    ),
]
