"""The first phase of a screening: several runs at once on one device, within a number of seconds.

Every process trains one run after another. With a budget and no number of steps, all processes first train together
for some seconds, each another variant; the steps that fit are computed from that, the same for every run.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
import time
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import torch

from pretrain.corpus import Corpus, open_corpus
from tests.experiments.screen_corpus import unpack_corpus
from tests.experiments.screen_runs import ScreenRun, read_runs, start_trainer, train_run, write_run

LARGEST = 15_000_000
"""Bytes of a file of several encoders, at most."""
WARM_UP, TRIAL_S = 30, 8.0
"""Steps before, and seconds of, the trial that the number of steps is computed from."""
SAFE = 0.85
"""Share of the time left that runs are planned for."""
_GIVE_UP_S = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainPlan:
    """What all processes of a screening share."""

    corpus: Path
    """Folder of a packed corpus."""
    scratch: Path
    """Folder of the runs that have ended, one file each."""
    device: str
    """cpu or cuda."""
    batch: int
    """Clips per step."""
    precision: str
    """float32 or bf16."""
    jobs: int
    """Processes."""
    deadline: float
    """When to stop, by ``time.time``."""

    def find(self, run: ScreenRun) -> Path:
        """The file of a run."""
        return self.scratch / f"{run.name}.safetensors"


def train_runs(runs: list[ScreenRun], plan: TrainPlan, coded: Path, *, steps: int, most_steps: int) -> list[ScreenRun]:
    """Train the runs that are not done yet.

    Args:
        runs: all runs, the most important first.
        plan: how.
        coded: the corpus in either form; it is unpacked to the plan's corpus if necessary.
        steps: steps of each run; 0 computes them from a trial, up to the next.
        most_steps: upper limit of the computed steps.

    Returns:
        the runs that are done, including those of earlier calls.
    """
    plan.scratch.mkdir(parents=True, exist_ok=True)
    unpack_corpus(coded, plan.corpus)
    left = [run for run in runs if not plan.find(run).is_file()]
    spawn = multiprocessing.get_context("spawn")
    shared = (plan, spawn.Barrier(plan.jobs))
    with ProcessPoolExecutor(plan.jobs, mp_context=spawn, initializer=_begin, initargs=shared) as pool:
        if left and not steps:
            steps = _choose_steps(left, plan, pool, most_steps)
        started = {pool.submit(_train, run, steps): run for run in left}
        _report(started, steps)
    return [run for run in runs if plan.find(run).is_file()]


def _report(started: dict[Future[bool], ScreenRun], steps: int) -> None:
    begun = time.time()
    for number, done in enumerate(as_completed(started), 1):
        ended = "" if done.result() else " stopped by the budget"
        run, passed = started[done], time.time() - begun
        print(f"{number}/{len(started)} {run.name} {steps} steps, {passed:.0f} s{ended}", file=sys.stderr, flush=True)


_state: dict[str, object] = {}


def _begin(plan: TrainPlan, together: threading.Barrier) -> None:
    """Prepare one process."""
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // plan.jobs) if plan.device == "cpu" else 1)
    _state.update(plan=plan, corpus=open_corpus(plan.corpus), together=together)


def _get() -> tuple[TrainPlan, Corpus]:
    plan, corpus = _state["plan"], _state["corpus"]
    assert isinstance(plan, TrainPlan)
    assert isinstance(corpus, Corpus)
    return plan, corpus


def _train(run: ScreenRun, steps: int) -> bool:
    plan, corpus = _get()
    if time.time() > plan.deadline:
        return False
    config = run.configure(steps=steps, batch=plan.batch, precision=plan.precision)
    return train_run(run, config, corpus, plan.device, plan.find(run), plan.deadline)


def _choose_steps(runs: list[ScreenRun], plan: TrainPlan, pool: ProcessPoolExecutor, most: int) -> int:
    """The steps that fit into the time, from the speed of each variant next to the others."""
    kinds = list({(run.network, run.variant): run for run in runs}.values())
    tried = [kinds[number % len(kinds)] for number in range(plan.jobs)]
    times = list(pool.map(_time_steps, tried))
    slowest = max(times)
    by_kind = {(run.network, run.variant): seconds for run, seconds in zip(tried, times, strict=True)}
    total = sum(by_kind.get((run.network, run.variant), slowest) for run in runs)
    fitting = int(SAFE * (plan.deadline - time.time()) * plan.jobs / total)
    rate = sum(plan.batch / seconds for seconds in times)
    print(f"trial: {rate:,.0f} clips/s in all; {fitting:,} steps fit for each run", file=sys.stderr, flush=True)
    return max(2, min(most, fitting))


def _time_steps(run: ScreenRun) -> float:
    """Seconds of a step while every process trains."""
    plan, corpus = _get()
    trainer = start_trainer(run.configure(steps=10**6, batch=plan.batch, precision=plan.precision), corpus, plan.device)
    together = _state["together"]
    assert hasattr(together, "wait")
    begun = 0.0
    for step, audio in trainer.batches(range(10**6)):
        if step == WARM_UP:
            together.wait(_GIVE_UP_S)
            begun = time.time()
        trainer.step(step, audio).total.item()
        if step > WARM_UP and time.time() - begun > TRIAL_S:
            return (time.time() - begun) / (step + 1 - WARM_UP)
    raise AssertionError("unreachable: the trial ends by time")


def bundle_runs(runs: list[ScreenRun], plan: TrainPlan, out: Path) -> list[Path]:
    """Write the encoders of runs into few files.

    Args:
        runs: runs that have ended.
        plan: where they are.
        out: folder of the files, ``encoders-0.safetensors`` and so on.
    """
    out.mkdir(parents=True, exist_ok=True)
    groups: list[list[ScreenRun]] = []
    size = LARGEST
    for run in runs:
        own = plan.find(run).stat().st_size
        if size + own > LARGEST:
            groups.append([])
            size = 0
        groups[-1].append(run)
        size += own
    paths = []
    for number, group in enumerate(groups):
        read = [one for run in group for one in read_runs(plan.find(run))]
        encoders, facts = ({one[0]: one[place] for one in read} for place in (1, 2))
        paths.append(out / f"encoders-{number}.safetensors")
        write_run(paths[-1], encoders, facts)
    return paths
