"""Encoders on tasks: load, measure, and write rows, predictions and the resolved configuration."""

from __future__ import annotations

import dataclasses
import json
import logging
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmark import processes, tasks
from benchmark.clips import RESAMPLER
from benchmark.embed import EmbedSettings
from benchmark.encoder import LoadedEncoder
from benchmark.evaluate import Evaluation, evaluate
from benchmark.locations import Locations
from benchmark.protocol import Protocol
from benchmark.registry import load_encoder
from benchmark.results import ResultRow, add_rows, measured_row
from benchmark.runs import CONFIGURATION, run_name, write_run
from benchmark.task import TaskData
from bgknown.errors import InvalidInputError
from bgknown.provenance import now

log = logging.getLogger(__name__)

DEVICES = ("cpu", "cuda", "mps")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """What to measure, and how."""

    encoders: tuple[str, ...]
    """What ``benchmark.registry`` loads encoders by."""
    tasks: tuple[str, ...]
    """Names of tasks."""
    data: Locations
    """Where their data lies."""
    out: Path
    """Folder of results."""
    protocol: Protocol
    """How probes are trained."""
    embedding: EmbedSettings
    """How embeddings are computed."""
    device: str = "cpu"
    """Where encoders and probes run."""
    name: str | None = None
    """What the encoder is called in results, where there is one only."""
    limit: int | None = None
    """Only so many clips of each task."""
    trust_code: bool = False
    """Whether an encoder may be a program."""

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 1:
            raise InvalidInputError(f"the limit is {self.limit}; it must be at least 1")
        if self.name is not None and len(self.encoders) > 1:
            raise InvalidInputError(f"the name {self.name!r} is for one encoder, {len(self.encoders)} are given")
        if self.name is not None and not self.name.strip():
            raise InvalidInputError("the name of the encoder is empty")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outcome:
    """What came out of one encoder on one task."""

    encoder: str
    """Its name in results."""
    data: TaskData
    """The task."""
    rows: list[ResultRow]
    """Its rows."""
    folder: Path
    """The folder of the run."""


def run(options: RunOptions) -> Iterator[Outcome]:
    """Measure every encoder on every task; each outcome is written before it is handed on.

    Raises:
        BgknownError: a task, an encoder or their data break a rule; what was measured before is kept.
    """
    modules = [tasks.task(name) for name in options.tasks]
    needs = [need for name in tasks.MODULES for need in tasks.task(name).NEEDS]
    options.data.check(sorted({*tasks.MODULES, *needs}))
    measured = [
        module.index(options.data.of(name), data=options.data.known(module.NEEDS), limit=options.limit)
        for name, module in zip(options.tasks, modules, strict=True)
    ]
    for spec in options.encoders:
        loaded = load_encoder(spec, trust_code=options.trust_code, device=options.device, name=options.name)
        for data in measured:
            _check_same(options, loaded, data)
        for module, data in zip(modules, measured, strict=True):
            evaluation = evaluate(loaded, module, data, options.protocol, options.embedding)
            if processes.rank() == 0:
                yield _written(options, loaded, data, evaluation)


def device_of(name: str | None) -> str:
    """The device that was asked for, or the fastest there is; under torchrun every process takes its own GPU.

    Raises:
        InvalidInputError: there is no such device.
    """
    if name is None:
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and torch.cuda.is_available():
        name = f"cuda:{processes.local_rank() % torch.cuda.device_count()}"
    try:
        if torch.device(name).type not in DEVICES:
            raise RuntimeError(f"no device {name!r} here")
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        there = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
        raise InvalidInputError(f"device is {name!r}; this machine has {', '.join(there)}") from error
    return name


def _identity(options: RunOptions, loaded: LoadedEncoder, data: TaskData) -> dict[str, str]:
    """What makes a run the same run."""
    precision = options.embedding.precision
    return {
        "encoder": loaded.name if precision == "float32" else f"{loaded.name} ({precision})",
        "checkpoint_sha256": loaded.weights_sha256,
        "task": data.facts.name,
        "protocol": options.protocol.name
        if options.limit is None
        else f"{options.protocol.name}, limit {options.limit}",
        "dataset_sha256": data.sha256,
    }


def _check_same(options: RunOptions, loaded: LoadedEncoder, data: TaskData) -> None:
    """Refuse to replace results of the same name that were measured with another configuration of the encoder."""
    identity = _identity(options, loaded, data)
    config = options.out / "runs" / run_name(**identity) / CONFIGURATION
    try:
        before = json.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return  # none, or damaged: it will be written anew
    if not isinstance(before, dict):
        return
    now_settings = {setting.name for setting in data.settings}
    lost = sorted(set(before.get("settings", {})) - now_settings)
    if lost:
        log.warning("%s on %s was measured with %s too; those rows go", *_named(identity), ", ".join(lost))
    if before.get("encoder_configuration") != json.loads(json.dumps(loaded.configuration)):
        raise InvalidInputError(
            f"{identity['encoder']} on {identity['task']} was measured with another configuration of the encoder "
            f"({config}); give this one another name with --name, or delete that folder"
        )


def _named(identity: Mapping[str, str]) -> tuple[str, str]:
    return identity["encoder"], identity["task"]


def _written(options: RunOptions, loaded: LoadedEncoder, data: TaskData, evaluation: Evaluation) -> Outcome:
    """Add the rows to the leaderboard and write the folder of the run."""
    identity = _identity(options, loaded, data)
    date = now()
    rows = [
        measured_row(
            **identity,
            setting=score.setting,
            metric=score.metric,
            by_seed=score.by_seed,
            by_clip=score.by_clip.tolist(),
            seeds=score.seeds,
            n_skipped=data.skipped,
            leak_check=data.leak_check,
            lr=score.lr,
            seconds=round(evaluation.seconds, 1),
            date=date,
        )
        for score in evaluation.scores
    ]
    name = run_name(**identity)
    config = {**identity, "date": date, **_configuration(options, loaded, data)}
    folder = write_run(
        options.out, name, config=config, predictions=evaluation.predictions, log="".join(f"{n}\n" for n in data.notes)
    )
    add_rows(options.out, rows)
    return Outcome(encoder=identity["encoder"], data=data, rows=rows, folder=folder)


def _configuration(options: RunOptions, loaded: LoadedEncoder, data: TaskData) -> dict[str, Any]:
    """Everything that the figures depend on, and where they were measured."""
    cuda = options.device.startswith("cuda")
    return {
        "spec": loaded.spec,
        "kind": loaded.kind,
        "encoder_configuration": loaded.configuration,
        "rate_hz": loaded.encoder.rate_hz,
        "embedding_size": loaded.encoder.embedding_size,
        "data": str(data.root),
        "settings": {setting.name: setting.about for setting in data.settings},
        "limit": options.limit,
        "protocol_settings": dataclasses.asdict(options.protocol),
        "lr": data.facts.lr if options.protocol.lr is None else options.protocol.lr,
        "precision": options.embedding.precision,
        "batch_size": options.embedding.batch_size,
        "resampler": RESAMPLER,
        "device": torch.cuda.get_device_name(options.device) if cuda else platform.processor() or platform.machine(),
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__},
        "notes": data.notes,
    }


def summary(rows: Sequence[ResultRow]) -> list[list[str]]:
    """Rows as texts for a table: setting, metric, mean, half-width over seeds, interval over clips."""
    lines = []
    for row in rows:
        seeds = "" if row.ci95_high is None else f"± {row.ci95_high - row.mean:.1f}"
        clips = "" if row.boot_low is None else f"{row.boot_low:.1f} .. {row.boot_high:.1f}"
        lines.append([row.setting, row.metric, f"{row.mean:.1f}", seeds, clips])
    return lines
