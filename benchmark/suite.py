"""Suites: tasks that are reported together, and their average."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmark.protocol import PLAIN_SETTING
from benchmark.record import Outcome
from benchmark.results.rows import OF_ITS_TASKS, add_rows, make_row
from benchmark.scores import Score
from benchmark.tasks import SUITES
from benchmark.tasks.locations import Locations
from bgknown.errors import NotFoundError
from bgknown.jobs.files import hash_bytes
from bgknown.nearest import suggest

log = logging.getLogger(__name__)

AVERAGE = "average"
"""Setting of the row of an average, whose task is ``{suite}-tasks``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Average:
    """The mean over the tasks of a suite of one encoder."""

    encoder: str
    """Its name in results."""
    mean: float
    """Percent."""
    over: tuple[str, ...]
    """The tasks that it averages."""
    missing: tuple[str, ...]
    """The tasks of the suite that it does not include."""
    in_part: tuple[str, ...] = ()
    """The tasks measured on a subset of their corpus."""

    def text(self) -> str:
        """One line for people."""
        parts = f"; on a subset of the corpus: {', '.join(self.in_part)}" if self.in_part else ""
        if not self.missing:
            return f"{self.encoder}: average over {len(self.over)} tasks {self.mean:.2f} %{parts}"
        return (
            f"{self.encoder}: mean over {', '.join(self.over)} {self.mean:.2f} %; this is not the average of the "
            f"suite: {', '.join(self.missing)} missing{parts}"
        )


def find_present_tasks(suite: str, data: Locations) -> tuple[str, ...]:
    """The tasks of a suite whose corpora are present; a log warning names the others, which are not counted.

    Raises:
        NotFoundError: there is no such suite, or none of its corpora is present.
    """
    names = list_suite_tasks(suite)
    present = tuple(name for name in names if data.given(name))
    absent = [name for name in names if name not in present]
    if not present:
        raise NotFoundError(
            f"suite {suite}: none of its corpora was found; give --data DIR with folders {', '.join(names)}, "
            f"or --data NAME=DIR for each (`benchmark data status DIR` shows what is missing)"
        )
    if absent:
        log.warning("suite %s: no data for %s; they are skipped and not counted", suite, ", ".join(absent))
    return present


def list_suite_tasks(suite: str) -> tuple[str, ...]:
    """The tasks of a suite.

    Raises:
        NotFoundError: there is no such suite.
    """
    if suite not in SUITES:
        raise NotFoundError(f"no suite {suite!r}; {suggest(suite, SUITES)}")
    return SUITES[suite]


def average_suite(suite: str, outcomes: Sequence[Outcome], out: Path) -> list[Average]:
    """Average each encoder over the tasks; averages of complete suites are added to the leaderboard.

    Each seed is averaged over the tasks separately, so that the interval is over seeds, like that of a task.

    Args:
        suite: its name.
        outcomes: the results of all tasks that were measured.
        out: folder of results.

    Raises:
        StorageError: the leaderboard cannot be written.
    """
    found, rows = [], []
    by_encoder: dict[tuple[str, str], list[Outcome]] = {}
    for outcome in outcomes:
        by_encoder.setdefault((outcome.encoder, outcome.rows[0].checkpoint_sha256), []).append(outcome)
    for (encoder, checkpoint), measured in by_encoder.items():
        of_task = {outcome.data.facts.name: outcome for outcome in measured}
        metric = measured[0].data.facts.metric
        scores = [list(outcome.by_seed[PLAIN_SETTING, metric]) for outcome in of_task.values()]
        by_seed = [sum(seed) / len(seed) for seed in zip(*scores, strict=True)]
        missing = tuple(name for name in list_suite_tasks(suite) if name not in of_task)
        average = Average(
            encoder=encoder,
            mean=100 * sum(by_seed) / len(by_seed),
            over=tuple(of_task),
            missing=missing,
            in_part=tuple(name for name, outcome in of_task.items() if outcome.data.in_part),
        )
        found.append(average)
        if missing:
            continue
        plain = [next(row for row in outcome.rows if row.setting == PLAIN_SETTING) for outcome in of_task.values()]
        leak_checks = {row.leak_check for row in plain}
        rows.append(
            make_row(
                Score(
                    setting=AVERAGE, metric=metric, by_seed=by_seed, by_clip=np.zeros(0), seeds=len(by_seed), lr=None
                ),
                encoder=encoder,
                checkpoint_sha256=checkpoint,
                task=f"{suite}-tasks",
                protocol=plain[0].protocol,
                dataset_sha256=hash_bytes(*(row.dataset_sha256.encode() for row in plain)),
                n_skipped=sum(row.n_skipped or 0 for row in plain),
                leak_check=leak_checks.pop() if len(leak_checks) == 1 else OF_ITS_TASKS,
            )
        )
    if rows:
        add_rows(out, rows)
    return found
