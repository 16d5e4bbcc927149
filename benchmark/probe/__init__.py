"""Linear probes on frozen embeddings, many at once.

A probe is one linear layer with softmax cross-entropy on standardised embeddings, trained by Adam and stopped early;
the epoch of smallest validation loss is tested (PROTOCOL.md, section 3: the linear evaluation of BYOL-A and EVAR).

The probes of a task (settings x folds x seeds) differ in data, in draws and in when they stop, and share everything
else, so they are trained together. Their weights are stacked [P, K, D], and one step of all of them is one batched
product forward and one back; the gradient of a linear layer is written out, with nothing to trace or to allocate. On a
GPU all probes make one stack. On a CPU a step of one probe already fills a core's caches, so a stack holds one probe,
and each core trains another stack: no core waits for another within a step. A probe's result is the same in any stack,
to rounding, and does not depend on what else is trained.

Shape letters: P probes, B batch, D embedding size, K classes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch

from benchmark.probe import standardised
from benchmark.probe.problem import ProbeProblem, ProbeResult, ProbeSettings, check_problems, draw_validation_rows
from benchmark.probe.stack import Stack
from benchmark.probe.standardised import Standardisations, fingerprint_training
from benchmark.resuming import Resuming
from bgknown.errors import InvalidInputError

__all__ = ["ProbeProblem", "ProbeResult", "ProbeSettings", "Resuming", "draw_validation_rows", "train_probes"]


def train_probes(
    problems: Sequence[ProbeProblem],
    settings: ProbeSettings,
    *,
    device: str = "cpu",
    stack: int | None = None,
    progress: Callable[[int], object] | None = None,
    resume: Resuming | None = None,
) -> list[ProbeResult]:
    """Train all probes and predict their test rows.

    Args:
        problems: what to train; all of the same D and K.
        settings: how.
        device: where; draws are made on the CPU, so that they are the same everywhere.
        stack: probes in a stack (default: one on a CPU, all on a GPU).
        progress: called with the number of epochs done after each epoch of a stack; epochs that a probe does not need
            because it has stopped count as done.
        resume: where trainings of more than a minute store what they go on from after they were stopped, to the same
            result; its owner says when they are done. By default they begin anew.

    Raises:
        StorageError: that folder cannot be written.
        InvalidInputError: a problem breaks a rule (shapes, an empty split, a class without training rows, NaN).
    """
    for problem in problems:
        check_problems(problem)
    if len({(problem.features.shape[1], problem.classes) for problem in problems}) > 1:
        raise InvalidInputError("the probes of one training must have the same embedding size and classes")
    size = stack or (1 if device == "cpu" else max(len(problems), 1))
    stacks = [list(problems[i : i + size]) for i in range(0, len(problems), size)]
    workers = min(torch.get_num_threads(), len(stacks)) if device == "cpu" else 1
    interrupted, known = threading.Event(), Standardisations()

    def work(part: list[ProbeProblem]) -> list[ProbeResult]:
        stack = Stack(part, settings, device, known=known, copy_bytes=standardised.COPY_BYTES // max(workers, 1))
        mine = resume.of(fingerprint_training(part, settings, known)) if resume is not None else None
        return stack.run(interrupted, progress or (lambda done: None), mine)

    return _worked(work, stacks, workers, interrupted)


def _worked(
    work: Callable[[list[ProbeProblem]], list[ProbeResult]],
    stacks: Sequence[list[ProbeProblem]],
    workers: int,
    interrupted: threading.Event,
) -> list[ProbeResult]:
    """Results of all stacks, of which as many are trained at a time as there are workers."""
    if workers <= 1:
        return [result for part in stacks for result in work(part)]
    threads = torch.get_num_threads()
    torch.set_num_threads(threads // workers)
    try:
        with ThreadPoolExecutor(workers) as pool:
            try:
                return [result for part in pool.map(work, stacks) for result in part]
            except BaseException:
                interrupted.set()
                pool.shutdown(cancel_futures=True)
                raise
    finally:
        torch.set_num_threads(threads)
