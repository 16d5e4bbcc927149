"""The pre-training runs of a screening: which there are, and one run from its configuration to its encoder.

A run is a variant of the objective, a network and a seed. Its encoder is kept as safetensors with matrices in float16
and vectors in float32; its metadata say how it was trained.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pretrain.config import Config, read_config
from pretrain.corpus import Corpus
from pretrain.learner import list_terms
from pretrain.machine import disable_tf32, reuse_freed_memory
from pretrain.progress import MEASURED
from pretrain.trainer import Trainer

VARIANTS = {
    "lambda0": ("objective.lambda=0",),
    "lambda0.5": ("objective.lambda=0.5",),
    "stop": ("objective.lambda=0.5", "objective.stop_gradient=true"),
    "learned": ("objective.lambda=0.5", "objective.subtraction=learned"),
    "contrast": ("objective.lambda=0.5", "objective.contrast=1"),
    "reverse": ("objective.lambda=0.5", "objective.reverse=0.5"),
    "contrast-reverse": ("objective.lambda=0.5", "objective.contrast=1", "objective.reverse=0.5"),
}
"""The objectives by name: changes to the configuration ``small``."""
NETWORKS = {
    "narrow": (
        *("front_end.n_mels=32", "front_end.hop=320", "training.frames=48"),
        *("network.d=1024", "network.hidden=512", "objective.head_hidden=1024"),
    ),
    "full": (),
}
"""The networks by name. The narrow one sees a quarter of the log-mel (32 bands every 20 ms), in the same 0.94 s."""
_TAIL = 100
"""Steps at the end whose mean losses are stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScreenRun:
    """One run."""

    variant: str
    network: str
    seed: int

    @property
    def name(self) -> str:
        """Its name, which is that of its files and of its encoder in results."""
        return f"{self.network}_{self.variant}_seed{self.seed}"

    def configure(self, *, steps: int, batch: int, precision: str) -> Config:
        """Its configuration."""
        length = (f"training.steps={steps}", f"training.batch={batch}", f"training.seed={self.seed}")
        least = ("training.statistics_crops=2000", f"training.precision={precision}")
        return read_config("small", [*NETWORKS[self.network], *VARIANTS[self.variant], *length, *least])


def list_runs(variants: list[str], networks: list[str], seeds: int) -> list[ScreenRun]:
    """All runs, seed by seed, so that what a stop leaves undone are the last seeds."""
    return [
        ScreenRun(variant=variant, network=network, seed=seed)
        for network in networks
        for seed in range(seeds)
        for variant in variants
    ]


def start_trainer(config: Config, corpus: Corpus, device: str) -> Trainer:
    """A trainer before its first step."""
    chosen = torch.device(device)
    disable_tf32(chosen, config.training.precision)
    reuse_freed_memory(chosen)
    trainer = Trainer(config, corpus, chosen)
    trainer.take_statistics()
    return trainer


def train_run(run: ScreenRun, config: Config, corpus: Corpus, device: str, to: Path, deadline: float) -> bool:
    """Train one run and write its encoder.

    Args:
        run: the run.
        config: its configuration.
        corpus: what to train on.
        device: cpu or cuda.
        to: the file to write.
        deadline: by ``time.time``; a run that has not ended by then leaves nothing.

    Returns:
        whether it ended.
    """
    started, trainer = time.time(), start_trainer(config, corpus, device)
    last: list[Tensor] = []
    for step, audio in trainer.batches(range(config.training.steps)):
        losses = trainer.step(step, audio)
        last = [*last[1 - _TAIL :], losses.stack()]
        if step % 20 == 0 and time.time() > deadline:
            return False
    if broken := trainer.find_not_finite():
        raise RuntimeError(f"{run.name}: {broken} is not finite")
    facts = {
        **{"variant": run.variant, "network": run.network, "seed": run.seed, "seconds": time.time() - started},
        "steps_done": config.training.steps,
        "config": config.tables(),
        "statistics": {"mean": trainer.statistics.mean, "std": trainer.statistics.std},
        "losses": _name_losses(config, torch.stack(last).mean(dim=0).tolist()),
        "index_sha256": corpus.fingerprint,
        "torch": torch.__version__,
    }
    write_run(to, {run.name: trainer.learner.encoder.state_dict()}, {run.name: facts})
    return True


def _name_losses(config: Config, means: list[float]) -> dict[str, float]:
    names = [*MEASURED, *(f"loss_{name}" for name in list_terms(config.objective))]
    return {name: round(mean, 5) for name, mean in zip(names, means, strict=True) if math.isfinite(mean)}


def write_run(path: Path, encoders: Mapping[str, Mapping[str, Tensor]], facts: Mapping[str, Mapping[str, Any]]) -> None:
    """Write encoders of one or several runs, matrices in float16; whole or not at all."""
    from safetensors.torch import save_file  # noqa: PLC0415

    tensors = {f"{name}/{key}": _halve(values) for name, encoder in encoders.items() for key, values in encoder.items()}
    part = path.with_suffix(".part")
    save_file(tensors, part, {name: json.dumps(about) for name, about in facts.items()})
    part.replace(path)


def _halve(values: Tensor) -> Tensor:
    wide = values.is_floating_point() and values.dim() > 1
    return values.detach().cpu().to(torch.float16 if wide else values.dtype).contiguous()


def read_runs(path: Path) -> Iterator[tuple[str, dict[str, Tensor], dict[str, Any]]]:
    """The runs in a file: name, state dict in float32, facts."""
    from safetensors import safe_open  # noqa: PLC0415

    with safe_open(path, framework="pt") as file:
        keys = list(file.keys())
        for name, text in sorted((file.metadata() or {}).items()):
            own = {key.partition("/")[2]: file.get_tensor(key) for key in keys if key.partition("/")[0] == name}
            yield name, {key: _widen(values) for key, values in own.items()}, json.loads(text)


def _widen(values: Tensor) -> Tensor:
    return values.float() if values.is_floating_point() else values
