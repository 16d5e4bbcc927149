"""A sweep: one run for each combination of settings and seeds, each in a folder of its own below one parent.

Runs are named after what differs (``lambda0.5-seed1``), and so are their encoders in results. They follow one another
seed by seed, so that a sweep that is stopped has whole sets of settings; several processes or machines can each take a
share of them. The same command continues: finished runs are recognised, an unfinished one resumes.
"""

from __future__ import annotations

import itertools
import logging
import math
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bgknown.errors import BgknownError, InvalidInputError, StorageError
from bgknown.jobs.shards import Shard
from bgknown.shown import format_duration
from bgknown.userpath import expand_fields
from pretrain.config import Config, read_config
from pretrain.corpus import open_corpus
from pretrain.initial import load_initial
from pretrain.train import TrainOptions, check_corpus, train

log = logging.getLogger(__name__)

MOST_RUNS = 10_000
"""Runs of a sweep; more are refused as a mistake."""
_LAMBDA, _SEED = "objective.lambda", "training.seed"


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepOptions:
    """What to train, on which corpus, where."""

    corpus: Path
    """Folder of a packed corpus."""
    config: str
    """Configuration of all runs: a name, or a .toml file."""
    out: Path
    """Folder of the runs."""
    changes: tuple[str, ...] = ()
    """Settings that all runs have, such as ``training.batch=64``."""
    lambdas: tuple[float, ...] = ()
    """Weights of the difference loss; none takes that of the configuration."""
    vary: tuple[str, ...] = ()
    """Settings with several values, such as ``objective.contrast=0,1``; all combinations are trained."""
    seeds: int = 1
    """Number of seeds, from 0."""
    init: Path | None = None
    """Encoder that all runs start from; None for weights drawn from the seed."""
    device: str | None = None
    """cpu, cuda, cuda:1, ...; None for a GPU if there is one."""
    shard: Shard | None = None
    """The share of the runs to train; None for all."""

    def __post_init__(self) -> None:
        expand_fields(self, "corpus", "out", "init")
        if not 1 <= self.seeds <= MOST_RUNS:
            raise InvalidInputError(f"--seeds {self.seeds}: must be from 1 to {MOST_RUNS:,}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepRun:
    """One run of a sweep."""

    name: str
    """Name of its folder, and of its encoder."""
    config: Config
    """Its configuration."""


def list_sweep(options: SweepOptions) -> list[SweepRun]:
    """All runs of a sweep, seed by seed.

    Raises:
        NotFoundError: there is no such configuration.
        InvalidInputError: a setting is unknown, wrong, or given twice, or there are too many runs.
    """
    axes = _read_axes(options)
    count = options.seeds * math.prod(map(len, axes.values()))
    if count > MOST_RUNS:
        raise InvalidInputError(f"the sweep has {count:,} runs; at most {MOST_RUNS:,} are possible")
    short = _shorten(list(axes))
    runs = []
    for seed in range(options.seeds):
        for values in itertools.product(*axes.values()):
            changes = [f"{key}={value}" for key, value in zip(axes, values, strict=True)]
            config = read_config(options.config, [*options.changes, *changes, f"{_SEED}={seed}"])
            parts = [f"{short[key]}{_clean(value)}" for key, value in zip(axes, values, strict=True)]
            runs.append(SweepRun(name="-".join([*parts, f"seed{seed}"]), config=config))
    if len({run.name for run in runs}) < len(runs):
        raise InvalidInputError("two runs would have the same folder: give each value of a setting once")
    return runs


def sweep(options: SweepOptions) -> Iterator[Path]:
    """Train all runs that are not finished yet.

    A run that fails by itself, because its loss is no longer finite, does not stop the others; it is reported at the
    end.

    Yields:
        the checkpoint of each run, when it is finished.

    Raises:
        NotFoundError: there is no corpus or configuration.
        InvalidInputError: a setting is wrong, before anything is trained; or runs failed, after all others.
        StorageError: a folder holds another run, or cannot be written.
        KeyboardInterrupt: the sweep was interrupted; the current step is stored.
    """
    runs = list_sweep(options)
    corpus = open_corpus(options.corpus)
    for run in runs:  # all mistakes are found before hours of training
        check_corpus(run.config, corpus)
        if options.init is not None:
            load_initial(options.init, run.config)
    chosen = runs if options.shard is None else options.shard.take(runs)
    failed: list[str] = []
    started = time.monotonic()
    for number, run in enumerate(chosen, 1):
        log.info("run %s of %s: %s%s", number, len(chosen), run.name, _estimate(started, number - 1, len(chosen)))
        given = TrainOptions(
            corpus=options.corpus,
            config=run.config,
            out=options.out / run.name,
            device=options.device,
            init=options.init,
        )
        try:
            yield train(given)
        except StorageError:
            raise
        except BgknownError as error:
            log.warning("%s failed: %s", run.name, error)
            failed.append(run.name)
    if failed:
        raise InvalidInputError(
            f"{len(failed)} of {len(chosen)} runs failed: {', '.join(failed[:5])}{', ...' * (len(failed) > 5)}; the "
            f"reasons are above, the others are finished"
        )


def _estimate(started: float, done: int, total: int) -> str:
    """The time left, from the runs that are done."""
    if not done:
        return ""
    return f", about {format_duration((time.monotonic() - started) / done * (total - done))} left"


def _read_axes(options: SweepOptions) -> dict[str, tuple[str, ...]]:
    """The values of each setting that varies, as texts, by ``table.key``."""
    axes: dict[str, tuple[str, ...]] = {}
    lambdas = [f"{_LAMBDA}={','.join(f'{value:g}' for value in options.lambdas)}"] if options.lambdas else []
    for text in (*options.vary, *lambdas):
        key, given, values = (part.strip() for part in text.partition("="))
        parts = tuple(value.strip() for value in values.split(","))
        if not given or "." not in key or not all(parts):
            raise InvalidInputError(f"{text!r}: write TABLE.KEY=VALUE,VALUE, for example objective.contrast=0,1")
        if key in axes or key == _SEED:
            use = "--seeds" if key == _SEED else "one option with all its values"
            raise InvalidInputError(f"{key} cannot be varied here; use {use}")
        axes[key] = parts
    return axes


def _shorten(keys: Sequence[str]) -> dict[str, str]:
    """The names of settings in folders: without their table, unless two are then the same."""
    last = [key.rpartition(".")[2] for key in keys]
    return {key: name if last.count(name) == 1 else key for key, name in zip(keys, last, strict=True)}


def _clean(value: str) -> str:
    """A value as a part of a folder's name."""
    return re.sub(r"[^A-Za-z0-9.+_]+", "_", value.strip("\"'"))
