"""The probe of VoxCeleb1's size on made data: time of an epoch, the whole projected, and peak memory.

    python tests/speed/probe_at_scale.py [--clips 138361] [--classes 1251] [--size 3072] [--kind float32]
                                         [--seeds 3] [--epochs 3] [--device cpu] [--folder DIR]

The features lie in a file that is mapped, as they come from the cache of embeddings: Gaussian classes, with 5 % more
clips for validation and 6 % for the test. All seeds train together. ``--epochs 200`` with the protocol's patience is
the whole training; fewer are measured and projected to 200, which is the most that there can be. Memory is the largest
resident size of this process; of it, anonymous memory (not pages of the mapped file, which the system may drop at any
time) is told beside it.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import torch

from benchmark.probe import ProbeProblem, ProbeSettings, train_probes

MOST_EPOCHS = 200
LR = 4e-5


def made(path: Path, labels: np.ndarray, classes: int, size: int, kind: str) -> np.ndarray:
    """Write features to a file, some at a time, and map it."""
    draw = np.random.default_rng(0)
    centres = 0.15 * draw.standard_normal((classes, size), dtype=np.float32)
    with path.open("wb") as file:
        for start in range(0, len(labels), 4096):
            part = labels[start : start + 4096]
            noise = draw.standard_normal((len(part), size), dtype=np.float32)
            file.write((centres[part] + noise).astype(kind).tobytes())
    return np.memmap(path, dtype=kind, mode="c", shape=(len(labels), size))


def memory() -> dict[str, float]:
    """Resident and anonymous memory of this process, GiB."""
    facts = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
    return {name: int(facts[name].split()[0]) / 2**20 for name in ("VmRSS", "RssAnon")}


class Watch:
    """The largest memory while something runs."""

    def __enter__(self) -> Watch:
        self.largest, self.stop = memory(), threading.Event()
        self.thread = threading.Thread(target=self._look)
        self.thread.start()
        return self

    def _look(self) -> None:
        while not self.stop.wait(0.05):
            self.largest = {name: max(value, self.largest[name]) for name, value in memory().items()}

    def __exit__(self, *error: object) -> None:
        self.stop.set()
        self.thread.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=138_361)
    parser.add_argument("--classes", type=int, default=1_251)
    parser.add_argument("--size", type=int, default=3_072)
    parser.add_argument("--kind", choices=["float32", "float16"], default="float32")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    valid, test = given.clips // 20, given.clips // 17
    total = given.clips + valid + test
    labels = np.arange(total) % given.classes
    rows = np.arange(total)
    parts = np.split(rows, [given.clips, given.clips + valid])
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        features = torch.from_numpy(made(Path(folder) / "features", labels, given.classes, given.size, given.kind))
        problems = [
            ProbeProblem(
                name=f"seed {seed}",
                features=features,
                labels=torch.from_numpy(labels),
                train=parts[0],
                valid=parts[1],
                test=parts[2],
                classes=given.classes,
                seed=seed,
            )
            for seed in range(given.seeds)
        ]
        settings = ProbeSettings(lr=LR, max_epochs=given.epochs)
        began = time.perf_counter()
        ends: list[float] = []
        with Watch() as watch:
            results = train_probes(
                problems, settings, device=given.device, progress=lambda done: ends.append(time.perf_counter())
            )
        seconds = time.perf_counter() - began
    epochs = sum(result.epochs for result in results)
    per_epoch = seconds / epochs
    print(
        json.dumps(
            {
                "device": torch.cuda.get_device_name() if given.device.startswith("cuda") else "cpu",
                "threads": torch.get_num_threads(),
                "features_gib": round(features.nbytes / 2**30, 2),
                "seconds": round(seconds, 1),
                "epochs": epochs,
                "seconds_per_epoch_of_a_probe": round(per_epoch, 2),
                "hours_for_all_seeds_at_most": round(per_epoch * MOST_EPOCHS * given.seeds / 3600, 2),
                "peak_resident_gib": round(watch.largest["VmRSS"], 2),
                "peak_anonymous_gib": round(watch.largest["RssAnon"], 2),
                "accuracy": [round(result.accuracy, 4) for result in results],
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
