"""What is reported during training: lines on stderr, a CSV, TensorBoard's files; and whether training goes wrong."""

from __future__ import annotations

import logging
import math
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bgknown.errors import InvalidInputError, NotFoundError
from bgknown.jobs.files import append, write_whole
from bgknown.shown import format_duration
from pretrain.learner import Losses, list_terms
from pretrain.state import Run

log = logging.getLogger(__name__)

MEASURED = ("loss", "loss_byol", "loss_difference", "target_spread", "embedding_spread")
COLUMNS = ("step", "epoch", *MEASURED, "clips_per_s")
"""The columns of a log; the terms beyond the paper that are in use follow them."""
_SPREADS = {"projection": "target_spread", "embedding": "embedding_spread"}
_ADVICE = (
    "the previous checkpoint is kept: start a new run with a lower training.learning_rate, or "
    "training.precision=float32"
)
SLOW_S = 30.0
"""Steps between two rows of the log are reported on stderr after this time without a line."""
COLLAPSED = 0.05
"""A spread of the target's projections, or of the embeddings, below this is reported as a collapse."""


class TrainingProgress:
    """The log of a run, and the losses since its last row. The first process writes it for all."""

    def __init__(self, run: Run, device: torch.device) -> None:
        """Prepare an empty log; ``load_state_dict`` and ``open`` come next.

        Args:
            run: the run.
            device: the device that losses are on.
        """
        self._run, self._device, self._config = run, device, run.config.training
        self.total = run.config.total_steps(len(run.corpus))
        """Number of steps of the run."""
        self._terms = [f"loss_{name}" for name in list_terms(run.config.objective)]
        self._columns = (*COLUMNS, *self._terms)
        self._writes = run.ranks.rank == 0
        self._window: list[Tensor] = []  # the losses of each step since the last row
        self._collapsed = False
        self._first = self._clips = 0
        self._started = self._since_row = self._since_line = time.monotonic()
        self._board: Any = None

    def open(self, steps_done: int, *, tensorboard: bool = False) -> None:
        """Open the log; rows after the checkpoint, whose steps will be repeated, are removed.

        Args:
            steps_done: steps that the checkpoint holds.
            tensorboard: whether to write TensorBoard's files too.

        Raises:
            NotFoundError: TensorBoard is requested and not installed.
            StorageError: the log cannot be written.
        """
        self._first = steps_done
        self._start_clocks()
        if not self._writes:
            return
        if tensorboard:
            self._board = import_summary_writer()(str(self._run.out), purge_step=steps_done + 1)
        rows = [",".join(self._columns), *read_rows_up_to(self._run.log, steps_done, len(self._columns))]
        write_whole(self._run.log, ("\n".join(rows) + "\n").encode())
        if steps_done:
            log.info("resuming from step %s of %s", f"{steps_done:,}", f"{self.total:,}")

    def estimate(self, measure: Callable[[], float | None]) -> None:
        """Report how long the run will take, from a trial step.

        Args:
            measure: gives the seconds that a step takes; None where they cannot be measured.
        """
        if self._writes:
            log.info("timing a trial step, in %s on %s", self._config.precision, self._device)
        step_s = measure()
        if self._writes and step_s is not None:
            left = self.total - self._first
            log.info(
                "estimate: about %s for %s steps, %s each", format_duration(left * step_s), f"{left:,}", _brief(step_s)
            )
        self._start_clocks()

    def add(self, step: int, losses: Losses) -> bool:
        """Record the losses of a step.

        Args:
            step: number of steps done, this one included.
            losses: of this process's clips.

        Returns:
            whether a row was written.

        Raises:
            InvalidInputError: a loss is no longer finite.
            StorageError: the log cannot be written.
        """
        self._window.append(losses.stack())
        self._clips += self._config.batch
        if step % self._config.log_every and step != self.total:
            self._report_slow_step(step)
            return False
        means = self.check_losses(step)
        self._window.clear()
        now = time.monotonic()
        rate = self._clips / max(now - self._since_row, 1e-9)
        self._since_row, self._clips = now, 0
        if self._writes:
            self._report(step, means, rate)
        return True

    def check_losses(self, step: int) -> dict[str, float]:
        """The means since the last row, over all processes; each of them must call this.

        Raises:
            InvalidInputError: a loss is not finite; what was stored before is kept.
        """
        if not self._window:
            return {}
        means = self._run.ranks.mean(torch.stack(self._window).mean(dim=0)).tolist()
        if not math.isfinite(means[0]):
            raise InvalidInputError(
                f"{self._run.out}: the loss is {means[0]} within the {len(self._window)} steps up to {step}; {_ADVICE}"
            )
        return dict(zip((*MEASURED, *self._terms), means, strict=True))

    def check_state(self, step: int, broken: str) -> None:
        """Refuse to store what training has broken; a loss only shows the weights before its step.

        Args:
            step: number of steps done.
            broken: what is not finite; empty for nothing.

        Raises:
            InvalidInputError: something is not finite.
        """
        if broken:
            raise InvalidInputError(f"{self._run.out}: {broken} is not finite after step {step}; {_ADVICE}")

    def state_dict(self) -> dict[str, Tensor | None]:
        """The losses since the last row, as means over the processes, which must all call this."""
        if self._window and self._run.ranks.size > 1:  # the first process stores them for all
            self._window = list(self._run.ranks.mean(torch.stack(self._window)))
        return {"window": torch.stack(self._window).cpu() if self._window else None}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
        window = state["window"]
        self._window = [] if window is None else list(window.to(self._device))

    def close(self) -> None:
        """Close TensorBoard's files."""
        if self._board is not None:
            self._board.close()

    def _start_clocks(self) -> None:
        self._started = self._since_row = self._since_line = time.monotonic()

    def _report_slow_step(self, step: int) -> None:
        """A line for slow steps between two rows."""
        now = time.monotonic()
        if self._writes and now - self._since_line >= SLOW_S:
            each, left = (now - self._started) / (step - self._first), self.total - step
            progress = f"{step:,}/{self.total:,}"
            log.info("step %s  %s each, about %s left", progress, _brief(each), format_duration(each * left))
            self._since_line = now

    def _report(self, step: int, means: dict[str, float], rate: float) -> None:
        epoch = step * self._config.batch / len(self._run.corpus)
        numbers = ["" if math.isnan(value) else f"{value:.6f}" for value in means.values()]
        measured, terms = numbers[: len(MEASURED)], numbers[len(MEASURED) :]
        row = [str(step), f"{epoch:.3f}", *measured, f"{rate:.1f}", *terms]
        append(self._run.log, (",".join(row) + "\n").encode())
        if self._board is not None:
            for name, value in means.items():
                if not math.isnan(value):
                    self._board.add_scalar(name, value, step)
            self._board.add_scalar("clips_per_s", rate, step)
        self._log_line(step, means, rate)
        self._warn_of_collapse(means)

    def _log_line(self, step: int, means: dict[str, float], rate: float) -> None:
        parts = [f"loss {means['loss']:.4f}", f"byol {means['loss_byol']:.4f}"]
        if not math.isnan(means["loss_difference"]):
            parts.append(f"difference {means['loss_difference']:.4f}")
        parts += [f"{name.removeprefix('loss_')} {means[name]:.4f}" for name in self._terms]
        parts.append(f"spread {means['target_spread']:.2f}")
        left = (self.total - step) * self._config.batch / rate
        parts += [f"{rate:,.0f} clips/s", f"{format_duration(left)} left" if step < self.total else "done"]
        self._since_line = time.monotonic()
        log.info("step %s/%s  %s", f"{step:,}", f"{self.total:,}", "  ".join(parts))

    def _warn_of_collapse(self, means: dict[str, float]) -> None:
        """Warn once when the networks collapse, and again if they do after a recovery."""
        same = [what for what, name in _SPREADS.items() if means[name] < COLLAPSED]
        if same and not self._collapsed:
            log.warning(
                "the networks have collapsed: all clips have nearly the same %s (spread %.3f); "
                "BYOL needs its predictor, BatchNorm and a large enough batch, or a lower learning rate",
                " and ".join(same),
                min(means[name] for name in _SPREADS.values()),
            )
        self._collapsed = bool(same)


def read_rows_up_to(path: Path, step: int, columns: int = len(COLUMNS)) -> list[str]:
    """The complete rows of a log of so many columns, up to a step; none if there is no log."""
    if not path.is_file():
        return []
    rows = [line.split(",") for line in path.read_text(encoding="utf-8", errors="replace").splitlines()]
    whole = [row for row in rows if len(row) == columns and re.fullmatch("[0-9]{1,18}", row[0])]
    return [",".join(row) for row in whole if int(row[0]) <= step]


def _brief(seconds: float) -> str:
    return f"{seconds:.2g} s" if seconds < 10 else format_duration(seconds)


def import_summary_writer() -> Any:
    """TensorBoard's class for writing files.

    Raises:
        NotFoundError: TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415
    except ImportError as error:
        raise NotFoundError("--tensorboard: the package is not installed; pip install tensorboard") from error
    return SummaryWriter
