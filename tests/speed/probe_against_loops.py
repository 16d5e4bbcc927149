"""Time of the probes of BgKnown trained together, against the same probes trained one after the other.

    python tests/speed/probe_against_loops.py [--settings 6] [--seeds 3] [--device cpu]

Embeddings are made: Gaussian clusters of 50 classes, 2,000 clips of 3,072 values, rectified like a network's. The
reference is a tight PyTorch loop (tensors on the device, batches by index, torch.nn.Linear, fused Adam, the same
threads, the same early stopping); one probe of it is also trained through a DataLoader. All run in this process,
taking turns; ratios are of their sums.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from torch.utils.data import DataLoader, TensorDataset

from benchmark.probe import ProbeProblem, ProbeSettings, draw_validation_rows, train_probes
from benchmark.probe.standardised import measure_standardisation

CLIPS, TRAINING, SIZE, CLASSES = 2000, 1200, 3072, 50
SETTINGS = ProbeSettings()


def problems(settings: int, seeds: int) -> list[ProbeProblem]:
    """The probes of one task; the settings differ in how far the classes lie apart."""
    draw = torch.Generator().manual_seed(0)
    labels = torch.arange(CLIPS) % CLASSES
    centres = torch.randn(CLASSES, SIZE, generator=draw)
    rows = np.arange(CLIPS)
    names = [f"clip {row}" for row in rows[:TRAINING]]
    found = []
    for setting in range(settings):
        noise = torch.randn(CLIPS, SIZE, generator=draw)
        features = torch.relu((0.2 - 0.02 * setting) * centres[labels] + noise)
        for seed in range(seeds):
            held = draw_validation_rows(labels[:TRAINING].numpy(), names, share=0.1, seed=seed)
            found.append(
                ProbeProblem(
                    name=f"setting {setting}, seed {seed}",
                    features=features,
                    labels=labels,
                    train=rows[:TRAINING][~held],
                    valid=rows[:TRAINING][held],
                    test=rows[TRAINING:],
                    classes=CLASSES,
                    seed=seed,
                )
            )
    return found


def loop(problem: ProbeProblem, device: str, *, loader: bool) -> tuple[float, int]:
    """One probe as anyone would write it: its accuracy and the epochs it took."""
    mean, scale = measure_standardisation(problem.features, problem.train)
    x, y = ((problem.features - mean) / scale).to(device), problem.labels.to(device)
    training, valid, test = (torch.from_numpy(rows).to(device) for rows in (problem.train, problem.valid, problem.test))
    x_train, y_train, x_valid, y_valid = x[training], y[training], x[valid], y[valid]
    layer = torch.nn.Linear(SIZE, CLASSES, device=device)
    optimiser = torch.optim.Adam(layer.parameters(), lr=SETTINGS.lr, fused=True)
    order = torch.Generator().manual_seed(problem.seed)
    batches = DataLoader(TensorDataset(x_train, y_train), SETTINGS.batch_size, shuffle=True, generator=order)
    best, best_epoch, kept, epoch = float("inf"), 0, {}, 0
    for epoch in range(1, SETTINGS.max_epochs + 1):
        if loader:
            epoch_batches = iter(batches)
        else:
            permutation = torch.randperm(len(x_train), generator=order).to(device)
            epoch_batches = ((x_train[part], y_train[part]) for part in permutation.split(SETTINGS.batch_size))
        for batch, labels in epoch_batches:
            loss = torch.nn.functional.cross_entropy(layer(batch), labels)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
        with torch.no_grad():
            loss = torch.nn.functional.cross_entropy(layer(x_valid), y_valid).item()
        if loss < best:
            best, best_epoch = loss, epoch
            kept = {name: value.clone() for name, value in layer.state_dict().items()}
        elif epoch - best_epoch >= SETTINGS.patience:
            break
    layer.load_state_dict(kept)
    with torch.no_grad():
        return float((layer(x[test]).argmax(dim=1) == y[test]).float().mean()), epoch


def clock(device: str) -> float:
    """Wall time, once the device has nothing left to do."""
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter()


def main() -> None:
    """Measure and print ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--settings", type=int, default=6)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    todo = problems(given.settings, given.seeds)
    loop(todo[0], given.device, loader=False)  # the first use of torch.optim loads its compiler
    train_probes(todo[:1], SETTINGS, device=given.device)

    start = clock(given.device)
    together = train_probes(todo, SETTINGS, device=given.device)
    together_s = clock(given.device) - start
    start = clock(given.device)
    one_by_one = [loop(problem, given.device, loader=False) for problem in todo]
    loop_s = clock(given.device) - start
    start = clock(given.device)
    _, epochs = loop(todo[0], given.device, loader=True)
    loader_s = (clock(given.device) - start) / epochs

    ours, theirs = (100 * np.array(values) for values in ([r.accuracy for r in together], [a for a, _ in one_by_one]))
    apart, half = (ours - theirs).mean(), 1.96 * (ours - theirs).std(ddof=1) / np.sqrt(len(ours))
    our_epochs, their_epochs = sum(r.epochs for r in together), sum(epochs for _, epochs in one_by_one)
    print(f"{len(todo)} probes of {CLIPS:,} clips, {SIZE:,} values, {CLASSES} classes on {given.device}", end=", ")
    print(f"{torch.get_num_threads()} threads")
    print(f"accuracy   together {ours.mean():.2f} %   one by one {theirs.mean():.2f} %   ", end="")
    print(f"difference {apart:.2f} +- {half:.2f} (95 %, paired)")
    print(f"epochs     together {our_epochs:,}   one by one {their_epochs:,}")
    print(f"ratio      tight loop / together {loop_s / together_s:.2f}", end="")
    print(f"   per epoch {loop_s / their_epochs / (together_s / our_epochs):.2f}")
    print(f"ratio      DataLoader loop / together, per epoch {loader_s / (together_s / our_epochs):.2f}")


if __name__ == "__main__":
    main()
