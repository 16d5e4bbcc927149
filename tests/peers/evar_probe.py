"""The protocol ``evar`` against EVAR's own probe, on the same embeddings.

    git clone https://github.com/daisukelab/general-learning
    python tests/peers/evar_probe.py --checkout general-learning embeddings.npz [--settings mix,a] [--seeds 10]

EVAR (https://github.com/nttcslab/eval-audio-repr, lineareval.py) trains its probe with ``TorchMLPClassifier2`` of that
repository, MLP/torch_mlp_clf2.py. The file of embeddings has arrays of features [n, D], ``labels`` [n], and the rows
``train`` and ``test``. A setting is the name of an array, or of two with a minus between them. Two comparisons:

- shared draws: EVAR's program is handed this project's initial weights, order of batches and validation clips. Every
  step must then give the same weights to rounding, and every probe stop at the same epoch;
- own draws: each program makes its own, so only mean and standard deviation over seeds can agree. The interval is
  Welch's for the difference of means.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats
from torch.optim.optimizer import register_optimizer_step_post_hook

from benchmark.probe import ProbeProblem, ProbeSettings, draw_random_validation_rows, train_probes
from benchmark.probe.stack import Stack
from benchmark.protocol import PROTOCOLS
from bgknown.seeding import derive_key

EVAR = PROTOCOLS["evar"]


def import_peer(checkout: Path) -> Any:
    """Import EVAR's module; it imports torchvision without using it."""
    for name in ("torchvision", "torchvision.datasets"):
        sys.modules.setdefault(name, types.ModuleType(name))
    sys.path.insert(0, str(checkout / "MLP"))
    return importlib.import_module("torch_mlp_clf2")


def make_problem(data: Any, setting: str, seed: int, lr: float) -> ProbeProblem:
    """The probe of this project, as ``benchmark.evaluate`` makes it."""
    train, labels = data["train"], data["labels"]
    names = [f"clip {row}" for row in train]
    held = draw_random_validation_rows(labels[train], names, share=EVAR.validation_share, seed=seed)
    return ProbeProblem(
        name=f"{setting}, seed {seed}",
        features=torch.from_numpy(data[setting]),
        labels=torch.from_numpy(labels),
        train=train[~held],
        valid=train[held],
        test=data["test"],
        classes=len(np.unique(labels)),
        seed=seed,
        lr=lr,
        standardise=train,
    )


def make_settings() -> ProbeSettings:
    """The settings of the protocol ``evar``."""
    names = [name for name in ProbeSettings.__slots__ if name != "lr"]
    return ProbeSettings(**{name: getattr(EVAR, name) for name in names})


def make_classifier(peer: Any, lr: float) -> Any:
    """EVAR's classifier with the arguments of its lineareval.py."""
    return peer.TorchMLPClassifier2(
        hidden_layer_sizes=(),
        max_iter=200,
        learning_rate_init=lr,
        early_stopping=True,
        n_iter_no_change=20,
        standard_scaler=True,
        mixup=False,
        debug=False,
    )


def run_peer(peer: Any, data: Any, setting: str, seed: int, lr: float) -> float:
    """Train EVAR's probe with its own draws: its accuracy."""
    peer.seed_everything(seed)
    classifier = make_classifier(peer, lr)
    train, test, labels = data["train"], data["test"], data["labels"]
    classifier.fit(data[setting][train], labels[train])
    return float(classifier.score(data[setting][test], labels[test])[0])


def run_shared(peer: Any, data: Any, problem: ProbeProblem, setting: str, lr: float) -> dict[str, Any]:
    """Train both probes with the draws of this project, and compare them step by step."""
    steps: list[torch.Tensor] = []
    real = Stack._step

    def record(stack: Stack, *given: Any) -> None:
        real(stack, *given)
        steps.append(stack.parameters.weight[0].clone())

    stack = Stack([problem], make_settings(), "cpu")
    initial = stack.parameters.weight[0].clone(), stack.parameters.bias[0].clone()
    Stack._step = record  # type: ignore[method-assign]
    (result,) = train_probes([problem], make_settings())
    Stack._step = real  # type: ignore[method-assign]

    class SharedModel(peer.MLP):  # type: ignore[misc]
        def __init__(self, **sizes: Any) -> None:
            super().__init__(**sizes)
            with torch.no_grad():
                self.mlp[0].weight.copy_(initial[0])
                self.mlp[0].bias.copy_(initial[1])

    order = torch.Generator().manual_seed(derive_key(problem.seed, "probe order", problem.fold))

    class SharedOrder(torch.utils.data.Sampler):
        def __init__(self, source: Any, **_: Any) -> None:
            self.size = len(source)

        def __iter__(self) -> Any:
            return iter(torch.randperm(self.size, generator=order).tolist())

        def __len__(self) -> int:
            return self.size

    theirs: list[torch.Tensor] = []

    def watch(optimiser: torch.optim.Optimizer, *_: Any) -> None:
        theirs.append(optimiser.param_groups[0]["params"][0].detach().clone())

    model, sampler = peer.MLP, torch.utils.data.dataloader.RandomSampler
    peer.MLP, torch.utils.data.dataloader.RandomSampler = SharedModel, SharedOrder
    hook = register_optimizer_step_post_hook(watch)
    classifier = make_classifier(peer, lr)
    train, test, labels = data["train"], data["test"], data["labels"]
    held = set(np.flatnonzero(np.isin(train, problem.valid)).tolist())
    _, best_epoch, _ = classifier.fit(data[setting][train], labels[train], val_idxs=held)
    accuracy = float(classifier.score(data[setting][test], labels[test])[0])
    hook.remove()
    peer.MLP, torch.utils.data.dataloader.RandomSampler = model, sampler
    apart = [float((ours - other).abs().max()) for ours, other in zip(steps, theirs, strict=False)]
    return {
        "apart": max(apart),
        "steps": len(apart),
        "same": (len(steps), result.best_epoch, result.accuracy) == (len(theirs), best_epoch + 1, accuracy),
    }


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("embeddings", type=Path, nargs="+")
    parser.add_argument("--checkout", type=Path, required=True, help="folder of general-learning")
    parser.add_argument("--settings", default="mix,mix-a,mix-b,mix-c,clean")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--lr", type=float, default=1e-3)
    given = parser.parse_args()
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    peer = import_peer(given.checkout)
    for file in given.embeddings:
        data = dict(np.load(file, allow_pickle=True))
        for setting in given.settings.split(","):
            one, _, other = setting.partition("-")
            data[setting] = data[one] - data[other] if other else data[one]
            problems = [make_problem(data, setting, seed, given.lr) for seed in range(given.seeds)]
            shared = [run_shared(peer, data, problem, setting, given.lr) for problem in problems]
            results = train_probes(problems, make_settings())
            ours = 100 * np.array([result.accuracy for result in results])
            theirs = 100 * np.array([run_peer(peer, data, setting, seed, given.lr) for seed in range(given.seeds)])
            interval = stats.ttest_ind(ours, theirs, equal_var=False).confidence_interval(0.95)
            cut = sum(result.ended == "cut" for result in results)
            print(
                f"{file.stem} {setting}: evar {ours.mean():.2f} (std {ours.std(ddof=1):.2f}), "
                f"EVAR's {theirs.mean():.2f} (std {theirs.std(ddof=1):.2f}), "
                f"difference {ours.mean() - theirs.mean():+.2f} ({interval.low:+.2f} .. {interval.high:+.2f}); "
                f"shared draws: {sum(each['same'] for each in shared)} of {len(shared)} probes the same, "
                f"weights at most {max(each['apart'] for each in shared):.1e} apart in "
                f"{sum(each['steps'] for each in shared):,} steps; {cut} cut at the last epoch",
                flush=True,
            )


if __name__ == "__main__":
    main()
