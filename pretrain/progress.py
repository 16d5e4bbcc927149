"""What is told while training goes on: lines on stderr, a CSV, TensorBoard's files; and whether it goes wrong."""

from __future__ import annotations

import logging
import math
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from bgknown.errors import InvalidInputError, NotFoundError
from bgknown.jobs.files import append, write_whole
from pretrain.learner import Losses
from pretrain.trial import time_step

if TYPE_CHECKING:
    from pretrain.config import Config
    from pretrain.state import Run
    from pretrain.train import Trainer

log = logging.getLogger(__name__)

MEASURED = ("loss", "loss_byol", "loss_difference", "target_spread", "embedding_spread")
COLUMNS = ("step", "epoch", *MEASURED, "clips_per_s")
_SPREADS = {"projection": "target_spread", "embedding": "embedding_spread"}
_ADVICE = (
    "the checkpoint before is kept: begin a new run with a lower training.learning_rate, or training.precision=float32"
)
SLOW_S = 30.0
"""Steps that are not logged are told of on stderr after this time without a line."""
COLLAPSED = 0.05
"""A spread of the target's projections, or of the embeddings, below this is called a collapse."""


class TrainingProgress:
    """The log of a run; the first process writes it for all."""

    def __init__(self, run: Run, total: int, trainer: Trainer, *, tensorboard: bool = False) -> None:
        """Open the log; rows beyond the checkpoint, which will come again, are taken out.

        Args:
            run: the run.
            total: its steps.
            trainer: as restored.
            tensorboard: whether to write TensorBoard's files too.

        Raises:
            NotFoundError: TensorBoard is asked for and not installed.
            StorageError: the log cannot be written.
        """
        self._run, self._total, self._config = run, total, run.config.training
        self._telling = run.ranks.rank == 0
        self._collapsed = False
        self._first, self._device = trainer.steps_done, trainer.device
        self._begun = self._since = self._told = time.monotonic()
        self._clips = 0
        self._board = None
        if tensorboard and self._telling:
            self._board = import_summary_writer()(str(run.out), purge_step=trainer.steps_done + 1)
        if self._telling:
            rows = [",".join(COLUMNS), *_rows_up_to(run.log, trainer.steps_done)]
            write_whole(run.log, ("\n".join(rows) + "\n").encode())
            if trainer.steps_done:
                log.info("going on from step %s of %s", f"{trainer.steps_done:,}", f"{total:,}")

    def estimate(self, make: Callable[[Config], Trainer]) -> None:
        """Say how long the run will take, from a trial step.

        Args:
            make: makes a trainer for the trial.
        """
        if self._telling:
            log.info("timing a trial step, in %s on %s", self._config.precision, self._device)
        step_s = time_step(self._run.config, make, self._run.ranks.size)
        if self._telling and step_s is not None:
            left = self._total - self._first
            log.info("estimate: about %s for %s steps, %s each", _duration(left * step_s), f"{left:,}", _brief(step_s))
        self._begun = self._since = self._told = time.monotonic()

    def add(self, trainer: Trainer, losses: Losses) -> bool:
        """Take in a step; gives whether a row was written.

        Raises:
            InvalidInputError: a loss is no longer finite.
            StorageError: the log cannot be written.
        """
        trainer.window.append(losses.values())
        self._clips += self._config.batch
        step = trainer.steps_done
        if step % self._config.log_every and step != self._total:
            self._show_life(step)
            return False
        means = self.check(trainer)
        trainer.window.clear()
        now = time.monotonic()
        rate = self._clips / max(now - self._since, 1e-9)
        self._since, self._clips = now, 0
        if self._telling:
            self._tell(step, means, rate, clips=len(trainer.corpus))
        return True

    def check(self, trainer: Trainer) -> dict[str, float]:
        """Means since the last row.

        Raises:
            InvalidInputError: a loss is not finite; what was stored before is kept.
        """
        if not trainer.window:
            return {}
        means = trainer.ranks.mean(torch.stack(trainer.window).mean(dim=0)).tolist()
        if not math.isfinite(means[0]):
            raise InvalidInputError(
                f"{self._run.out}: the loss is {means[0]} within the {len(trainer.window)} steps up to "
                f"{trainer.steps_done}; {_ADVICE}"
            )
        return dict(zip(MEASURED, means, strict=True))

    def check_state(self, trainer: Trainer) -> None:
        """Refuse to store what training has broken; a loss tells of the weights before its step alone.

        Raises:
            InvalidInputError: a weight, an average of the optimizer or the memory is not finite; names it.
        """
        broken = trainer.not_finite()
        if broken:
            raise InvalidInputError(
                f"{self._run.out}: {broken} is not finite after step {trainer.steps_done}; {_ADVICE}"
            )

    def close(self) -> None:
        """End the log."""
        if self._board is not None:
            self._board.close()

    def _show_life(self, step: int) -> None:
        """A word about slow steps before there is a row to tell."""
        now = time.monotonic()
        if self._telling and now - self._told >= SLOW_S:
            each, left = (now - self._begun) / (step - self._first), self._total - step
            progress = f"{step:,}/{self._total:,}"
            log.info("step %s  %s each, about %s left", progress, _brief(each), _duration(each * left))
            self._told = now

    def _tell(self, step: int, means: dict[str, float], rate: float, *, clips: int) -> None:
        epoch = step * self._config.batch / clips
        numbers = ["" if math.isnan(value) else f"{value:.6f}" for value in means.values()]
        self._append([str(step), f"{epoch:.3f}", *numbers, f"{rate:.1f}"])
        if self._board is not None:
            for name, value in means.items():
                if not math.isnan(value):
                    self._board.add_scalar(name, value, step)
            self._board.add_scalar("clips_per_s", rate, step)
        parts = [f"loss {means['loss']:.4f}", f"byol {means['loss_byol']:.4f}"]
        if not math.isnan(means["loss_difference"]):
            parts.append(f"difference {means['loss_difference']:.4f}")
        parts.append(f"spread {means['target_spread']:.2f}")
        left = (self._total - step) * self._config.batch / rate
        parts += [f"{rate:,.0f} clips/s", f"{_duration(left)} left" if step < self._total else "done"]
        self._told = time.monotonic()
        log.info("step %s/%s  %s", f"{step:,}", f"{self._total:,}", "  ".join(parts))
        same = [what for what, name in _SPREADS.items() if means[name] < COLLAPSED]
        if same and not self._collapsed:
            log.warning(
                "the networks have collapsed: all clips have nearly the same %s (spread %.3f); "
                "BYOL needs its predictor, BatchNorm and a large enough batch, or a lower learning rate",
                " and ".join(same),
                min(means[name] for name in _SPREADS.values()),
            )
        self._collapsed = bool(same)

    def _append(self, row: list[str]) -> None:
        append(self._run.log, (",".join(row) + "\n").encode())


def _rows_up_to(path: Path, step: int) -> list[str]:
    """Whole rows of a log that are of no later step."""
    if not path.is_file():
        return []
    rows = [line.split(",") for line in path.read_text(encoding="utf-8", errors="replace").splitlines()]
    whole = [row for row in rows if len(row) == len(COLUMNS) and re.fullmatch("[0-9]{1,18}", row[0])]
    return [",".join(row) for row in whole if int(row[0]) <= step]


def _brief(seconds: float) -> str:
    return f"{seconds:.2g} s" if seconds < 10 else _duration(seconds)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5_400 else f"{seconds / 3_600:.1f} h"


def import_summary_writer() -> Any:
    """TensorBoard's writer of files.

    Raises:
        NotFoundError: TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415
    except ImportError as error:
        raise NotFoundError("--tensorboard: the package is not installed; pip install tensorboard") from error
    return SummaryWriter
