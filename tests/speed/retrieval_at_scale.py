"""Retrieval with a text modifier at APwD's size on made embeddings: all seeds at once against one after another.

    python -m tests.speed.retrieval_at_scale [--pairs 50000] [--test 1000] [--audio 3072] [--text 768] [--texts 5000]
                                             [--seeds 3] [--steps 20] [--turns 3] [--epochs 1] [--patience 0]
                                             [--dropout 0.1] [--device cpu]
                                             [--folder DIR]

The embeddings of both sides lie in a file that is mapped, as they come from the cache: s2 = s1 + v(text) + noise.

First the whole way from embeddings to the ranks of every setting, with the systems of all seeds and controls trained
for ``--epochs``, or until they run out of ``--patience``; its peak memory is told, and of it anonymous memory (not
pages of the mapped file). On a GPU ``--epochs 300`` is the whole training. Then steps of a training of all seeds and
steps of trainings of one seed each take turns, so that what else the machine does bears on both alike; medians over
turns. Time is told as wall time and as CPU time, which other processes bear on less; ``epoch`` and ``whole`` are
projected from the steps of all seeds.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pandas as pd
import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmark.composed_retrieval import KINDS, ComposedSettings, Pairs, System, evaluation  # noqa: E402
from benchmark.composed_retrieval.training import Training  # noqa: E402
from benchmark.protocol import Protocol  # noqa: E402
from tests.speed.probe_at_scale import Watch  # noqa: E402

EPOCHS = 300
CODES = ("event_added:dog", "event_removed:dog", "event_louder:bell", "background_quieter:rain")
CLASSES = ("bell", "birds", "dog", "footsteps", "horn", "thunder")


def made(path: Path, count: int, words: np.ndarray, texts: np.ndarray, size: int) -> np.ndarray:
    """Write both sides of all pairs to a file, some at a time, and map it: [2 count, D], first the s1."""
    fixed = np.random.default_rng(1)
    turn = fixed.standard_normal((words.shape[1], size), dtype=np.float32) / words.shape[1] ** 0.5
    with path.open("wb") as file:
        for side in (0, 1):
            draw = np.random.default_rng(2)  # the same soundscapes on both sides
            for start in range(0, count, 4096):
                part = texts[start : start + 4096]
                rows = draw.standard_normal((len(part), size), dtype=np.float32)
                if side:
                    noise = fixed.standard_normal(rows.shape, dtype=np.float32)
                    rows += words[part] @ turn + 0.3 * noise
                file.write(rows.tobytes())
    return np.memmap(path, dtype=np.float32, mode="c", shape=(2 * count, size))


def spent(device: str, work: object) -> tuple[float, float]:
    """Wall and CPU seconds of some work."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()  # type: ignore[operator]
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter() - wall, time.process_time() - cpu


def whole_way(
    table: pd.DataFrame, audio: np.ndarray, words: np.ndarray, given: argparse.Namespace
) -> dict[str, object]:
    """From embeddings to ranks; seconds, peak memory, and R@1 of each setting."""
    train, test = np.split(np.arange(len(table)), [given.pairs])
    embeddings = dict(zip(("s1", "s2"), np.split(audio, 2), strict=True))
    retrieval = ComposedSettings(epochs=given.epochs, patience=given.patience, dropout=given.dropout)
    protocol = Protocol(seeds=given.seeds, retrieval=retrieval)
    places = table["text"].to_numpy(dtype=np.int64, copy=True)
    began = time.perf_counter()
    with (
        Watch() as watch,
        tempfile.TemporaryDirectory() as cache,
        mock.patch.object(evaluation, "embed_texts", return_value=(words, places)),
    ):
        found = list(
            evaluation.rank_queries(
                table,
                SimpleNamespace(name="", train=train, test=test),  # the tasks' record needs the audio libraries
                embeddings,
                SimpleNamespace(name="made"),
                protocol,
                device=given.device,
                cache=Path(cache),
            )
        )
    recall: dict[str, list[float]] = {}
    for each in found:
        recall.setdefault(each.setting, []).append(round(float((each.ranks == 1).mean()), 3))
    return {
        "epochs": given.epochs,
        "seconds": round(time.perf_counter() - began, 1),
        "peak_resident_gib": round(watch.largest["VmRSS"], 2),
        "peak_anonymous_gib": round(watch.largest["RssAnon"], 2),
        "recall_at_1": recall,
    }


def take(training: Training, steps: int) -> None:
    """Some steps of an epoch."""
    for rows, kept in itertools.islice(training.steps(), steps):
        training.step(rows, kept)


def steps(table: pd.DataFrame, audio: np.ndarray, words: np.ndarray, given: argparse.Namespace) -> dict[str, object]:
    """Steps of all seeds at once, and of one seed after another, in turns."""
    rows = np.arange(given.pairs)
    heard = torch.rand(given.pairs, len(CLASSES), generator=torch.Generator().manual_seed(0)) > 0.7
    pairs = Pairs(
        audio=torch.from_numpy(audio),
        text=torch.from_numpy(words),
        s1=rows,
        s2=rows + len(table),
        texts=table["text"].to_numpy(dtype=np.int64, copy=True)[: given.pairs],
        classes_s1=heard.float(),
        classes_s2=heard.float(),
        names=table["clip_id"].tolist()[: given.pairs],
    )
    settings = ComposedSettings(dropout=given.dropout)
    seeds = range(given.seeds)
    together = Training(
        pairs, [System(kind=kind, seed=seed) for seed in seeds for kind in KINDS], settings, given.device
    )
    alone = [
        Training(pairs, [System(kind=kind, seed=seed) for kind in KINDS], settings, given.device) for seed in seeds
    ]
    for training in (together, *alone):
        take(training, 1)
    at_once, after = [], []
    for _ in range(given.turns):
        at_once.append(spent(given.device, lambda: take(together, given.steps)))
        one = [spent(given.device, lambda each=each: take(each, given.steps)) for each in alone]
        after.append((sum(wall for wall, _ in one), sum(cpu for _, cpu in one)))
    medians = {name: [statistics.median(each) for each in zip(*found, strict=True)] for name, found in
               (("at once", at_once), ("after", after))}  # fmt: skip
    per_epoch = [seconds / given.steps * len(together.batches()) for seconds in medians["at once"]]
    return {
        "steps_in_an_epoch": len(together.batches()),
        "one_after_another_over_at_once": {
            kind: [round(b[place] / a[place], 2) for a, b in zip(at_once, after, strict=True)]
            for place, kind in enumerate(("wall", "cpu"))
        },
        "median_ratio_wall": round(medians["after"][0] / medians["at once"][0], 2),
        "median_ratio_cpu": round(medians["after"][1] / medians["at once"][1], 2),
        "seconds_an_epoch_of_all_seeds": {"wall": round(per_epoch[0], 1), "cpu": round(per_epoch[1], 1)},
        f"hours_for_{EPOCHS}_epochs": {
            "wall": round(per_epoch[0] * EPOCHS / 3600, 2),
            "cpu": round(per_epoch[1] * EPOCHS / 3600, 2),
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=50_000)
    parser.add_argument("--test", type=int, default=1_000)
    parser.add_argument("--audio", type=int, default=3_072)
    parser.add_argument("--text", type=int, default=768)
    parser.add_argument("--texts", type=int, default=5_000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=1, help="of the whole way; 0 leaves it out")
    parser.add_argument("--patience", type=int, default=0)
    parser.add_argument("--dropout", type=float, default=ComposedSettings().dropout)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    draw, total = np.random.default_rng(0), given.pairs + given.test
    words = draw.standard_normal((given.texts, given.text), dtype=np.float32)
    texts = draw.integers(0, given.texts, total)
    table = pd.DataFrame(
        {
            "clip_id": [f"pair {number}" for number in range(total)],
            "text": texts.astype(str),
            "changes": [CODES[text % len(CODES)] for text in texts],
            "classes_s1": [CLASSES[text % len(CLASSES)] for text in texts],
            "classes_s2": [CLASSES[text // 2 % len(CLASSES)] for text in texts],
        }
    )
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        audio = made(Path(folder) / "audio", total, words, texts, given.audio)
        told: dict[str, object] = {
            "device": torch.cuda.get_device_name() if given.device.startswith("cuda") else "cpu",
            "threads": torch.get_num_threads(),
            "embeddings_gib": round(audio.nbytes / 2**30, 2),
        }
        if given.epochs:
            told["whole_way"] = whole_way(table, audio, words, given)
        if given.turns:
            told |= steps(table, audio, words, given)
    print(json.dumps(told, indent=2))


if __name__ == "__main__":
    main()
