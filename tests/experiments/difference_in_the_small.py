"""The paper's claim at a small scale: does the difference loss keep more of what was added to a known background?

    python tests/experiments/difference_in_the_small.py --data ../shared/data --out experiment

Packs the training folds of ESC-10 and the development recordings of an FSD50K, pre-trains every variant with every seed
(configuration ``small``), builds BgKnown from both, measures all encoders on it, and prints the table: accuracy in
percent of y_mix, y_mix - y_bg with each reference and the clean clip (trained on folds 1-3, tested on folds 4 and 5),
mean over the pre-training seeds (each the mean of ten seeds of its probes) with the 95 % interval over them. Runs go
side by side, one thread each, which wastes less of a core than one run on all of them. What is done is not done again:
stop it as you like. Two cores take an hour.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmark.results.rows import read_rows
from benchmark.results.stats import summarise

VARIANTS = {
    "lambda 0 (BYOL-A)": ("0", "normalised"),
    "lambda 0.2": ("0.2", "normalised"),
    "lambda 0.5": ("0.5", "normalised"),
    "lambda 0.5, mixed in power": ("0.5", "power"),
}
PROBE_SEEDS = 10
"""More than the protocol's three: early stopping looks at 24 clips here, so a single probe says little."""
SETTINGS = ("mix", "a", "b", "c", "shuffled", "clean")


def run(*words: object, threads: int | None = None) -> None:
    """A command of the project; its progress goes to stderr."""
    limit = {} if threads is None else {"OMP_NUM_THREADS": str(threads)}
    command = [sys.executable, "-m", *map(str, words)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, **limit})


def name_of(variant: str, seed: int) -> str:
    weight, domain = VARIANTS[variant]
    return f"lambda{weight}{'-power' * (domain == 'power')}-seed{seed}"


def prepare(data: Path, out: Path) -> None:
    """The corpus that is trained on, and BgKnown of the same corpora."""
    esc10, fsd50k = data / "esc10", data / "fsd50k"
    training = ("--match", "esc10/audio/[1-3]-*", "--match", "fsd50k/FSD50K.dev_audio/*")
    folders = ("--audio", esc10 / "audio", "--audio", fsd50k / "FSD50K.dev_audio")
    run("pretrain", "pack", *folders, *training, "--out", out / "corpus")
    run("bgknown", "build", "--esc50", esc10, "--fsd50k", fsd50k, "--out", out / "bgknown")


def pretrain(out: Path, variant: str, seed: int, changes: list[str]) -> None:
    weight, domain = VARIANTS[variant]
    options = ["--lambda", weight, "--seed", seed, "--set", f"objective.mix_domain={domain}"]
    for change in changes:
        options += ["--set", change]
    common = ("--corpus", out / "corpus", "--config", "small", "--out", out / "runs" / name_of(variant, seed))
    print(name_of(variant, seed), file=sys.stderr)
    run("pretrain", "train", *common, *options, threads=1)


def measure(data: Path, out: Path, names: list[str]) -> None:
    encoders = [word for name in names for word in ("--encoder", out / "runs" / name / "checkpoint.pt")]
    folders = ("--data", f"bgknown={out / 'bgknown'}", "--data", f"esc50={data / 'esc10'}")
    places = ("--out", out / "results", "--cache", out / "cache")
    run("benchmark", "run", *encoders, *folders, "--seeds", PROBE_SEEDS, *places)


def table(out: Path, seeds: int) -> str:
    """Rows of Markdown, one for each variant."""
    rows = read_rows(out / "results" / "leaderboard.csv")
    means = {(row.encoder, row.setting): row.mean for row in rows if row.metric == "accuracy"}
    lines = ["| pre-training | " + " | ".join(SETTINGS) + " |", "| --- |" + " ---: |" * len(SETTINGS)]
    for variant in VARIANTS:
        cells = []
        for setting in SETTINGS:
            over = summarise([means[name_of(variant, seed), setting] for seed in range(seeds)])
            half = f" ± {over.ci95_high - over.mean:.1f}" if over.ci95_high is not None else ""
            cells.append(f"{over.mean:.1f}{half}")
        lines.append(f"| {variant} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--data", type=Path, required=True, help="Folder that holds esc10 and fsd50k.")
    parser.add_argument("--out", type=Path, required=True, help="Folder for everything that is made.")
    parser.add_argument("--seeds", type=int, default=3, help="Pre-training seeds.")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="Runs side by side.")
    parser.add_argument("--set", dest="changes", action="append", default=[], help="As for pretrain train.")
    given = parser.parse_args()
    prepare(given.data, given.out)
    runs = [(variant, seed) for seed in range(given.seeds) for variant in VARIANTS]
    with ThreadPoolExecutor(given.jobs) as side_by_side:
        list(side_by_side.map(lambda one: pretrain(given.out, *one, given.changes), runs))
    measure(given.data, given.out, [name_of(variant, seed) for variant, seed in runs])
    print(table(given.out, given.seeds))


if __name__ == "__main__":
    main()
