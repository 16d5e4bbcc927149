"""Training for retrieval with patience against all its epochs: the epochs that are tested, and the time.

    python -m tests.speed.retrieval_patience SET --text-encoder minilm [--encoder logmel] [--scene rain]
                                             [--epochs 300] [--seeds 3] [--patience 30]

SET is a set of pairs with its audio. Systems are trained once for all epochs, once with patience, one training after
the other; CPU time is compared. Of the first training the best epoch so far is noted after every epoch, which also
says what other values of patience would have tested.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmark import tasks  # noqa: E402
from benchmark.composed_retrieval import ComposedSettings, evaluation  # noqa: E402
from benchmark.composed_retrieval.training import Training  # noqa: E402
from benchmark.embedding.embed import embed_clips  # noqa: E402
from benchmark.embedding.settings import EmbedSettings  # noqa: E402
from benchmark.encoders.registry import load_encoder  # noqa: E402
from benchmark.protocol import Protocol  # noqa: E402
from benchmark.tasks.contract import TaskOptions  # noqa: E402

PATIENCES = (5, 10, 20, 30, 50)


class Watched:
    """Stands in for ``train_systems``, and notes the best epochs after every epoch."""

    def __init__(self) -> None:
        self.best: list[list[int]] = []

    def __call__(self, pairs, systems, settings, *, device, progress, resume):
        began = time.process_time()
        training = Training(pairs, systems, settings, device)

        def note(epochs: int) -> None:
            if epochs:
                self.best.append(training.best_epoch.tolist())

        training.run(note, None)
        self.names = [f"{system.kind}, seed {system.seed}" for system in systems]
        self.epochs, self.cpu_s = training.epoch, time.process_time() - began
        self.tested = training.best_epoch.tolist()
        return training


def find_tested(best: list[list[int]], system: int, patience: int) -> int:
    """The epoch of a system that this patience tests."""
    for epoch, row in enumerate(best, start=1):
        if epoch - row[system] == patience:
            return row[system]
    return best[-1][system]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", type=Path)
    parser.add_argument("--text-encoder", required=True)
    parser.add_argument("--encoder", default="logmel")
    parser.add_argument("--scene", default="rain")
    parser.add_argument("--epochs", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--patience", type=int, default=30)
    given = parser.parse_args()
    loaded, settings = load_encoder(given.encoder), ComposedSettings(epochs=given.epochs)
    with tempfile.TemporaryDirectory() as cache:
        options = TaskOptions(cache=Path(cache), text_encoder=given.text_encoder)
        data = tasks.prepare(f"apwd-{given.scene}", given.set, options)
        embeddings = {
            side: embed_clips(loaded, clips, EmbedSettings(cache=Path(cache))) for side, clips in data.signals.items()
        }
        found, recall = [], []
        for patience in (0, given.patience):
            protocol = Protocol(seeds=given.seeds, retrieval=replace(settings, patience=patience))
            watched = Watched()
            with mock.patch.object(evaluation, "train_systems", watched):
                context = (data.table, data.folds[0], embeddings, data.text_encoder, protocol)
                ranked = list(evaluation.rank_queries(*context, device="cpu", cache=Path(cache)))
            found.append(watched)
            recall.append({f"{each.setting}, {each.seed}": float((each.ranks <= 10).mean()) for each in ranked})
    whole, stopped = found
    print(
        json.dumps(
            {
                "pairs": [len(data.folds[0].train), len(data.folds[0].test)],
                "tested_of_all_epochs": dict(zip(whole.names, whole.tested, strict=True)),
                "other_epochs_tested": {
                    patience: [
                        name
                        for place, name in enumerate(whole.names)
                        if find_tested(whole.best, place, patience) != whole.tested[place]
                    ]
                    for patience in PATIENCES
                },
                f"tested_with_patience_{given.patience}": stopped.tested,
                "epochs_run_with_it": stopped.epochs,
                "largest_difference_of_r_at_10": max(abs(recall[0][name] - recall[1][name]) for name in recall[0]),
                "cpu_time_of_all_epochs_over_with_it": round(whole.cpu_s / stopped.cpu_s, 2),
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
