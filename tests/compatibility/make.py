"""Make one small file of each kind that a version writes; run with the code of that version alone on the path.

    cd AN-EMPTY-FOLDER && PYTHONPATH=CHECKOUT-OF-THE-VERSION python .../tests/compatibility/make.py

The tests open what 0.1.0 (commit 0f0a4b6) has written so. Audio is sparse clicks, of which FLAC needs next to nothing.
"""

from __future__ import annotations

import csv
import gzip
import shutil
from pathlib import Path

import numpy as np
import soundfile
import torch

from benchmark import resuming
from benchmark.cli import main as benchmark
from benchmark.embedding import texts
from benchmark.probe import ProbeProblem, ProbeSettings, Resuming, train_probes
from benchmark.probe.standardised import Standardisations
from bgknown.apwd.build import PairBuildOptions
from bgknown.apwd.build import build as build_pairs
from bgknown.cli import main as bgknown
from bgknown.corpora.pair import open_corpora
from bgknown.mixtures.build import build
from bgknown.mixtures.draw import DrawOptions
from bgknown.mixtures.options import BuildOptions
from pretrain.cli import main as pretrain

RATE_HZ = 44_100


def clicks(seconds: float, every: int, first: int) -> np.ndarray:
    audio = np.zeros(round(seconds * RATE_HZ))
    audio[first::every] = 0.9
    return audio


def write_wav(path: Path, audio: np.ndarray, rate_hz: int = RATE_HZ) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(str(path), audio, rate_hz, subtype="PCM_16")


def write_table(path: Path, rows: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def call(main, *arguments: object) -> None:
    main([str(argument) for argument in arguments], standalone_mode=False)


def make_corpora(root: Path) -> tuple[Path, Path]:
    rows = []
    for fold in range(1, 6):
        name = f"{fold}-{100 * fold}-A-0.wav"
        write_wav(root / "ESC-50" / "audio" / name, clicks(5.0, 14_000 + 100 * fold, 3_000))
        rows.append({"filename": name, "fold": fold, "target": 0, "category": "dog", "esc10": "False"})
        rows[-1].update({"src_file": 100 * fold, "take": "A"})
    write_table(root / "ESC-50" / "meta" / "esc50.csv", rows)
    for part, first in (("dev", 7000), ("eval", 8000)):
        rows = []
        for place in range(4):
            audio = clicks(12.0 + place, 14_000 + 500 * place, 5_000)
            write_wav(root / "FSD50K" / f"FSD50K.{part}_audio" / f"{first + place}.wav", audio)
            rows.append({"fname": first + place, "labels": "Rain,Water", "mids": "/m/a,/m/b"})
        write_table(root / "FSD50K" / "FSD50K.ground_truth" / f"{part}.csv", rows)
    return root / "ESC-50", root / "FSD50K"


def make_dataset(out: Path, work: Path) -> None:
    esc50, fsd50k = make_corpora(work / "corpora")
    cache = work / "cache"
    corpora = open_corpora(esc50, fsd50k, cache=cache)
    given = {"draw": DrawOptions(), "cache": cache, "jobs": 1, "engine": "direct"}
    build(corpora, BuildOptions(container="flac", limit=2, **given), out / "dataset")
    call(bgknown, "plan", "--esc50", esc50, "--fsd50k", fsd50k, "--cache", cache, "--out", out / "recipe.csv")
    for table in sorted((cache / "headers").glob("*.csv")):
        if "ESC" in str(table) or len(table.read_text().splitlines()) == 6:
            (out / "cache" / "headers").mkdir(parents=True)
            shutil.copy(table, out / "cache" / "headers" / "esc50.csv")


def make_results(out: Path, work: Path) -> None:
    rows = []
    for number in range(8):
        tone = 0.3 * np.sin(2 * np.pi * (400 + 900 * (number % 2) + 10 * number) * np.arange(1_600) / 16_000)
        write_wav(Path("clips") / f"{number}.wav", tone, 16_000)
        split = "test" if number > 5 else "train"
        rows.append({"file": f"{number}.wav", "label": "ab"[number % 2], "split": split})
    write_table(Path("clips") / "clips.csv", rows)
    Path("protocol.toml").write_text("seeds = 1\nmax_epochs = 3\nlr = 1e-3\n")
    call(
        benchmark,
        *("run", "--encoder", "logmel", "--task", "clips/clips.csv", "--cache", work / "embeddings"),
        *("--protocol", "protocol.toml", "--out", "results", "--device", "cpu"),
    )
    shutil.copytree("results", out / "results", ignore=shutil.ignore_patterns("*.lock"))
    shutil.copytree("clips", out / "clips")
    (store,) = (work / "embeddings" / "embeddings").iterdir()
    shutil.copytree(store, out / "cache" / "embeddings" / store.name)
    for index in (out / "cache" / "embeddings" / store.name).glob("part-*.csv"):
        index.write_text(index.read_text().replace(str(Path.cwd()), "/data"))


def make_caches(out: Path) -> None:
    (out / "cache" / "texts").mkdir()
    known = {"add the dog": np.arange(4, dtype=np.float32), "remove the dog": np.ones(4, np.float32)}
    texts._save(out / "cache" / "texts" / "texts.npz", known)
    resuming.INTERVAL_S = 0.0
    generator = torch.Generator().manual_seed(0)
    problem = ProbeProblem(
        name="tiny",
        features=torch.randn(20, 4, generator=generator),
        labels=torch.arange(20) % 2,
        train=np.arange(12),
        valid=np.arange(12, 16),
        test=np.arange(16, 20),
        classes=2,
        seed=0,
        fold="",
    )
    settings = ProbeSettings(lr=1e-3, batch_size=4, max_epochs=2, patience=2, validation_share=0.2)
    resuming.fingerprint([problem], settings, Standardisations())
    train_probes([problem], settings, device="cpu", resume=Resuming(out / "cache" / "probes"))


def make_training(out: Path, work: Path) -> None:
    for number in range(3):
        noise = np.random.default_rng(number).standard_normal(4_000) * 0.1
        write_wav(Path("noise") / f"{number}.wav", noise, 16_000)
    call(pretrain, "pack", "--audio", "noise", "--out", out / "corpus", "--jobs", 1)
    config = work / "tiny.toml"
    config.write_text(
        "[front_end]\nn_mels = 16\n[views]\nmemory = 4\n"
        "[network]\nd = 264\nhidden = 4\n"
        "[objective]\nhead_hidden = 8\nprojection = 4\n"
        '[training]\nbatch = 2\nsteps = 2\nframes = 32\nstatistics_crops = 4\nprecision = "float32"\n'
    )
    common = ("--corpus", out / "corpus", "--config", config, "--device", "cpu")
    call(pretrain, "train", *common, "--out", out / "training")
    (out / "training" / ".lock").unlink()
    checkpoint = out / "training" / "checkpoint.pt"
    content = torch.load(checkpoint, weights_only=True)
    _level(content)
    torch.save(content, checkpoint)
    call(pretrain, "export", out / "training", "--to", out / "encoder.safetensors")
    for path in (checkpoint, out / "encoder.safetensors"):
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes(), mtime=0))
        path.unlink()


def _level(value: object) -> None:
    """Give all values of large tensors one and the same value, so that they can be compressed."""
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ():
        if isinstance(part, torch.Tensor):
            if part.is_floating_point() and part.numel() > 100:
                part.fill_(1 / 64)
        else:
            _level(part)


def make_apwd(out: Path, work: Path) -> None:
    from tests.bgknown.apwd.conftest import make_pairs  # noqa: PLC0415

    made = make_pairs(work / "pairs")
    build_pairs(PairBuildOptions(jams=made.jams, out=out / "apwd", jobs=1))
    tree = work / "tree" / "source" / "dev"
    for number in range(4):
        write_wav(tree / "background" / "rain" / f"rain{number}.wav", clicks(21.0, 14_000, 3_000))
        write_wav(tree / "foreground" / "rain" / f"rain{number}.wav", clicks(21.0, 14_000, 3_000))
        for label in ("dog", "thunder"):
            write_wav(tree / "foreground" / label / f"{label}{number}.wav", clicks(1.0, 14_000, 3_000))
    call(
        bgknown,
        *("apwd", "draw", "--source", tree.parent, "--out", work / "draws", "--scene", "rain"),
        *("--event", "dog", "--event", "thunder", "--pairs", "dev=1", "--pairs", "eval=0", "--name", "tiny"),
    )
    (out / "apwd-draw").mkdir()
    shutil.copy(work / "draws" / "tiny" / "draw.json", out / "apwd-draw" / "draw.json")


def main() -> None:
    out, work = Path("0.1.0").absolute(), Path("work").absolute()
    out.mkdir()
    for step in (make_dataset, make_results, make_training, make_apwd):
        step(out, work)
    make_caches(out)


if __name__ == "__main__":
    main()
