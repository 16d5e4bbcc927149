"""Screening of pre-training objectives: do embeddings need the right background, and is that more than chance?

    python -m tests.experiments.screen prepare --data ../shared/data --out build/screen
    python -m tests.experiments.screen train --corpus build/screen/corpus --out build/screen/encoders --budget 400
    python -m tests.experiments.screen measure --encoders build/screen/encoders --corpus build/screen/corpus \
        --bgknown bgk400x6 --esc50 ../shared/data/esc10 --task 'build/screen/digits.csv?duration_s=1' \
        --out build/screen/measured

Two phases that can run on two machines. ``train`` needs torch, numpy and the packed corpus: it trains every objective
with every seed, several runs at once, and writes the encoders into few files. ``measure`` embeds BgKnown (``bgknown
build --draws 6``) and further tasks, fits the probes of protocol ``linear``, and prints the tables, as ``table`` does
of what is measured so far. What is done is not done again: stop either as you like.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

NARROW, SEEDS = ["narrow"], 4
REFERENCES = ("lambda0", "lambda0.5")
"""Variants that the others are compared with."""


def prepare(given: argparse.Namespace) -> None:
    """The corpus: the training clips of ESC-10 and the development recordings, nothing of the test set.

    Next to it a table of spoken digits, an own task of three folds of two speakers.
    """
    from tests.experiments.screen_corpus import shrink_corpus  # noqa: PLC0415

    esc10, fsd50k = given.data / "esc10", given.data / "fsd50k"
    folders = ("--audio", esc10 / "audio", "--audio", fsd50k / "FSD50K.dev_audio")
    training = ("--match", "esc10/audio/[1-3]-*", "--match", "fsd50k/FSD50K.dev_audio/*")
    command = [sys.executable, "-m", "pretrain", "pack", *folders, *training, "--out", given.out / "packed"]
    subprocess.run([str(word) for word in command], check=True, stdout=sys.stderr)
    size = shrink_corpus(given.out / "packed", given.out / "corpus", given.longest)
    print(f"{given.out / 'corpus'}: {size / 2**20:.1f} MiB")
    recordings = sorted((given.data / "tasks" / "fsdd" / "recordings").resolve().glob("*.wav"))
    speakers = sorted({path.stem.split("_")[1] for path in recordings})
    rows = ["file,label,fold,group"]
    for path in recordings:
        digit, speaker, _ = path.stem.split("_")
        rows.append(f"{path},{digit},{speakers.index(speaker) % 3 + 1},{speaker}")
    (given.out / "digits.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")


def train(given: argparse.Namespace) -> None:
    """All runs, as many as fit into the budget; the encoders of those that ended."""
    started = time.time()
    import torch  # noqa: PLC0415

    from tests.experiments.screen_runs import list_runs  # noqa: PLC0415
    from tests.experiments.screen_train import TrainPlan, bundle_runs, train_runs  # noqa: PLC0415

    device = given.device or ("cuda" if torch.cuda.is_available() else "cpu")
    scratch = given.scratch or given.out / "runs"
    plan = TrainPlan(
        corpus=scratch / "corpus" if (given.corpus / "audio.deflate").is_file() else given.corpus,
        scratch=scratch,
        device=device,
        batch=given.batch,
        precision="bf16" if device == "cuda" else "float32",
        jobs=given.jobs or (8 if device == "cuda" else os.cpu_count() or 1),
        deadline=started + (given.budget or 1e9),
    )
    runs = list_runs(given.variant or list(list_variants()), given.network or NARROW, given.seeds)
    steps = given.steps or (0 if given.budget else given.most_steps)
    done = train_runs(runs, plan, given.corpus, steps=steps, most_steps=given.most_steps)
    for path in bundle_runs(done, plan, given.out):
        print(path)
    print(f"{len(done)} of {len(runs)} runs, {time.time() - started:.0f} s", file=sys.stderr)
    if len(done) == len(runs) and given.scratch is None and not given.keep:
        shutil.rmtree(scratch)


def measure(given: argparse.Namespace) -> None:
    """Predictions of all encoders."""
    from pretrain.corpus import open_corpus  # noqa: PLC0415
    from tests.experiments.screen_corpus import unpack_corpus  # noqa: PLC0415
    from tests.experiments.screen_measure import MeasurePlan, measure_encoders, unpack_encoders  # noqa: PLC0415

    corpus = open_corpus(unpack_corpus(given.corpus, given.out / "corpus"))
    bundles = list(given.encoders.glob("encoders-*.safetensors"))
    plan = MeasurePlan(
        encoders=unpack_encoders(bundles, corpus, given.out / "encoders"),
        bgknown=given.bgknown,
        esc50=given.esc50,
        own=given.task,
        training_draws=given.training_draws,
        out=given.out,
        jobs=given.jobs,
        device=given.device,
    )
    measure_encoders(plan)
    table(given)


def table(given: argparse.Namespace) -> None:
    """The tables, of what is measured so far."""
    from tests.experiments.screen_measure import read_predictions_of  # noqa: PLC0415
    from tests.experiments.screen_table import format_differences, format_means, tabulate_scores  # noqa: PLC0415

    scores = tabulate_scores(read_predictions_of(given.out))
    for network, part in scores.groupby("network", sort=False):
        print(f"{network}: {part['seed'].nunique()} seeds\n\n{format_means(part)}\n")
        for reference in [name for name in REFERENCES if name in set(part["variant"])]:
            print(f"{format_differences(part, reference)}\n")


def list_variants() -> list[str]:
    """The names of the objectives."""
    from tests.experiments.screen_runs import VARIANTS  # noqa: PLC0415

    return list(VARIANTS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    phases = parser.add_subparsers(required=True)
    one = phases.add_parser("prepare", help="Pack the corpus.")
    one.add_argument("--data", type=Path, required=True, help="Folder that holds esc10 and fsd50k.")
    one.add_argument("--out", type=Path, required=True, help="Folder to write: packed, and corpus, which travels.")
    one.add_argument("--longest", type=float, default=20.0, help="Clips are cut to this duration, in s.")
    one.set_defaults(call=prepare)
    one = phases.add_parser("train", help="Train all runs.")
    one.add_argument("--corpus", type=Path, required=True, help="Packed corpus, in either form.")
    one.add_argument("--out", type=Path, required=True, help="Folder of the encoders.")
    one.add_argument("--scratch", type=Path, help="Folder of single runs [default: OUT/runs].")
    one.add_argument("--keep", action="store_true", help="Keep OUT/runs at the end.")
    one.add_argument("--variant", action="append", help="Objective; may be repeated [default: all].")
    one.add_argument("--network", action="append", help="narrow or full; may be repeated [default: narrow].")
    one.add_argument("--seeds", type=int, default=SEEDS, help="Pre-training seeds.")
    one.add_argument("--steps", type=int, default=0, help="Steps of each run [default: as many as the budget allows].")
    one.add_argument("--most-steps", type=int, default=3_000, help="Limit of the steps that the budget allows.")
    one.add_argument("--batch", type=int, default=128, help="Clips per step.")
    one.add_argument("--budget", type=float, default=0.0, help="Seconds; runs that have not ended leave nothing.")
    one.add_argument("--jobs", type=int, default=0, help="Runs side by side [default: 8 on a GPU, or all cores].")
    one.add_argument("--device", help="cpu or cuda.")
    one.set_defaults(call=train)
    one = phases.add_parser("measure", help="Measure all encoders.")
    one.add_argument("--encoders", type=Path, required=True, help="Folder of what train wrote.")
    one.add_argument("--corpus", type=Path, required=True, help="The corpus that they were trained on.")
    one.add_argument("--bgknown", type=Path, required=True, help="Dataset of bgknown build.")
    one.add_argument("--esc50", type=Path, required=True, help="ESC-50, or a part of it: the clean clips.")
    one.add_argument("--task", action="append", default=[], help="Table of an own task; may be repeated.")
    one.add_argument("--out", type=Path, required=True, help="Folder of predictions.")
    one.add_argument("--training-draws", type=int, default=99, help="Draws of each training clip [default: all].")
    one.add_argument("--jobs", type=int, default=1, help="Encoders side by side, one thread each.")
    one.add_argument("--device", default="cpu", help="cpu or cuda.")
    one.set_defaults(call=measure)
    one = phases.add_parser("table", help="Print the tables of what is measured so far.")
    one.add_argument("--out", type=Path, required=True, help="Folder of predictions.")
    one.set_defaults(call=table)
    given = parser.parse_args()
    given.call(given)


if __name__ == "__main__":
    main()
