"""Linear probes on frozen embeddings, many at once.

A probe is one linear layer with softmax cross-entropy on standardised embeddings, trained by Adam and stopped early;
the best epoch on the validation rows is tested (PROTOCOL.md, section 3: the linear evaluation of BYOL-A and EVAR).
What "best" means, and other choices, are fields of ``ProbeSettings``.

The probes of a task (settings x folds x seeds) have different data, draws and numbers of epochs but the same shapes, so
they are trained together. Their weights are stacked [P, K, D], and one step of all of them is one batched product
forward and one back; the gradient of a linear layer is written out, so nothing is traced or allocated. On a GPU all
probes are one stack. On a CPU a step of one probe already fills a core's caches, so a stack has one probe and each core
trains a different stack; no core waits for another within a step. A probe's result is the same in any stack, to
rounding, and does not depend on what else is trained.

Shape letters: P probes, B batch, D embedding size, K classes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from benchmark.probe import standardised
from benchmark.probe.problem import (
    Ending,
    ProbeProblem,
    ProbeResult,
    ProbeSettings,
    check_problem,
    describe_endings,
    measure_share_finished,
)
from benchmark.probe.stack import Stack
from benchmark.probe.standardised import Standardisations, fingerprint_training
from benchmark.probe.threads import count_workers, run_threads
from benchmark.probe.validation import draw_random_validation_rows, draw_validation_rows
from benchmark.resuming import Resuming
from bgknown.errors import InvalidInputError

__all__ = [
    "Ending",
    "ProbeProblem",
    "ProbeResult",
    "ProbeSettings",
    "Resuming",
    "describe_endings",
    "draw_random_validation_rows",
    "draw_validation_rows",
    "measure_share_finished",
    "train_probes",
]


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
        device: where; random draws are made on the CPU, so they are the same on every device.
        stack: probes in a stack (default: one on a CPU, all on a GPU).
        progress: called with the number of epochs done after each epoch of a stack; epochs that a probe does not need
            because it has stopped count as done.
        resume: where trainings that take more than a minute store their state, so that an interrupted one resumes and
            gives the same result; the caller deletes it when it is no longer needed. By default nothing is stored.

    Returns:
        A result for each problem, in their order.

    Raises:
        StorageError: the folder of ``resume`` cannot be written.
        InvalidInputError: a problem breaks a rule (shapes, an empty part, a class without training rows, NaN).
    """
    for problem in problems:
        check_problem(problem)
    if len({(problem.features.shape[1], problem.classes) for problem in problems}) > 1:
        raise InvalidInputError("probes trained together must have the same embedding size and number of classes")
    size = stack or (1 if device == "cpu" else max(len(problems), 1))
    stacks = [list(problems[i : i + size]) for i in range(0, len(problems), size)]
    workers = count_workers(len(stacks), device)
    interrupted, known = threading.Event(), Standardisations()

    def work(part: list[ProbeProblem]) -> list[ProbeResult]:
        stack = Stack(part, settings, device, known=known, copy_bytes=standardised.COPY_BYTES // workers)
        mine = resume.of(fingerprint_training(part, settings, known)) if resume is not None else None
        return stack.run(interrupted, progress or (lambda done: None), mine)

    return [result for part in run_threads(work, stacks, device, interrupted) for result in part]
