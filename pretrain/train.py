"""The training loop: crops in, checkpoints out.

Read ``train`` from top to bottom, then ``Trainer.step``. What a step draws stands in ``draws``, what it learns in
``learner``, what survives a kill in ``state``, what is told on the way in ``progress``.

Shape letters: B clips that this process holds of a batch, N samples, F mel bands, T frames.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bgknown.errors import InvalidInputError
from bgknown.jobs import stopping
from bgknown.userpath import expand_fields
from pretrain.config import Config
from pretrain.corpus import Corpus, open_corpus
from pretrain.draws import CropDraw, CropSampler, StepDraw, draw_statistics_crops
from pretrain.frontend import LogMel, Statistics, measure
from pretrain.learner import Inputs, Learner, Losses
from pretrain.machine import disable_tf32, explain_out_of_memory, keep_freed_memory, make_autocast, pick_device
from pretrain.progress import TrainingProgress, import_summary_writer
from pretrain.ranks import ALONE, Ranks, join
from pretrain.state import Run
from pretrain.views import MemoryBank, make_view, normalise_batch

log = logging.getLogger(__name__)

_STATISTICS_BATCH = 256
READERS = 4
"""Steps whose audio is read ahead, each by a thread: reading at random waits for the disk."""
FINISHING = "finishing this step, Ctrl-C again to stop now"
"""The answer to a first interrupt."""
KEPT = "the last checkpoint is kept, and the same command resumes from it"
"""What a second one ends with."""
AGREE_EVERY = 10
"""Steps after which processes on GPUs ask each other whether one was interrupted; on CPUs they do after every step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainOptions:
    """What to train on what, and where."""

    corpus: Path
    """Folder of a packed corpus."""
    config: Config
    """The configuration."""
    out: Path
    """Folder of the run."""
    device: str | None = None
    """cpu, cuda, cuda:1, ...; None takes a GPU if there is one."""
    tensorboard: bool = False
    """Whether to write TensorBoard's files beside the log."""

    def __post_init__(self) -> None:
        expand_fields(self, "corpus", "out")


def train(options: TrainOptions) -> Path:
    """Train an encoder, from the start or from the folder's checkpoint on.

    Args:
        options: what, on what, where.

    Returns:
        the checkpoint, ``OUT/checkpoint.pt``, which is an encoder too.

    Raises:
        NotFoundError: there is no corpus.
        InvalidInputError: corpus or processes do not fit the configuration, a loss is no longer finite, or memory ran
            out.
        StorageError: the folder holds another run, or cannot be written.
        KeyboardInterrupt: the run was interrupted; the step in hand is finished and stored, of several processes on
            GPUs at most ``AGREE_EVERY`` steps later. A second signal stops at once: a command ends where it is, and
            the last checkpoint stays.
    """
    config, corpus, device = options.config, open_corpus(options.corpus), pick_device(options.device)
    check_corpus(config, corpus)
    if options.tensorboard:
        import_summary_writer()  # refuses before anything is made
    keep_freed_memory(device)
    disable_tf32(device, config.training.precision)
    ranks = join(device)
    if config.training.compile and ranks.size > 1:
        raise InvalidInputError("training.compile is for one process; leave it off with several")
    remedy = (
        f"lower training.batch ({config.training.batch} now) or views.memory ({config.views.memory:,}), or raise "
        f"training.accumulate ({config.training.accumulate})"
    )
    with explain_out_of_memory(remedy), Run.claim(options.out, config, corpus, ranks) as run:
        config = run.settle(device)
        disable_tf32(device, config.training.precision)
        trainer = Trainer(config, corpus, device, ranks)
        run.restore(trainer)
        total = config.total_steps(len(corpus))
        progress = TrainingProgress(run, total, trainer, tensorboard=options.tensorboard)
        if trainer.steps_done < total:
            progress.estimate(lambda trial: Trainer(trial, corpus, device))
        with stopping.finish_step_first(FINISHING, kept=KEPT) as request:
            for step, audio in trainer.batches(range(trainer.steps_done, total)):
                losses = trainer.step(step, audio)
                logged = progress.add(trainer, losses)
                # processes agree on stopping now and then: on a GPU asking makes it wait for the step
                agree = logged or trainer.steps_done % (1 if device.type == "cpu" else AGREE_EVERY) == 0
                stop = request.is_set() if ranks.size == 1 else agree and ranks.any(request.is_set(), device)
                if stop or trainer.steps_done % config.training.checkpoint_every == 0 or trainer.steps_done == total:
                    progress.check(trainer)
                    progress.check_state(trainer)
                    trainer.share_window()
                    run.store(trainer)
                if stop and trainer.steps_done < total:
                    raise request.interruption()
        progress.close()
        return run.checkpoint


def check_corpus(config: Config, corpus: Corpus) -> None:
    """Refuse a corpus that the configuration cannot be trained on.

    Raises:
        InvalidInputError: rates differ, or there are fewer than two clips.
    """
    if corpus.rate_hz != config.front_end.rate_hz:
        raise InvalidInputError(
            f"{corpus.folder}: packed at {corpus.rate_hz} Hz, front_end.rate_hz is {config.front_end.rate_hz}; "
            f"pack it again with --rate {config.front_end.rate_hz}"
        )
    if len(corpus) < 2:
        raise InvalidInputError(f"{corpus.folder}: holds 1 clip; training needs at least 2, to mix one into another")


class Trainer:
    """All that changes while training goes on, and one step of it."""

    def __init__(self, config: Config, corpus: Corpus, device: torch.device, ranks: Ranks = ALONE) -> None:
        """Make networks, optimizer and memory as they are before the first step; ``take_statistics`` comes next.

        Args:
            config: of the run.
            corpus: what is trained on.
            device: where.
            ranks: the processes that each batch is spread over.
        """
        training = config.training
        self.corpus, self.device, self.ranks = corpus, device, ranks
        self.learner = Learner(config, ranks).to(device).train()
        if training.channels_last:
            self.learner.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if training.compile:
            self.learner.encoder.compile()
            self.learner.target_encoder.compile()
        self.optimizer = torch.optim.Adam(self.learner.trained(), lr=training.learning_rate, fused=True)
        self.memory = MemoryBank(config.views, config.front_end.n_mels, training.frames, device)
        self.statistics = Statistics(mean=0.0, std=1.0)
        self.steps_done = 0
        self.window: list[Tensor] = []
        self._log_mel = LogMel(config.front_end).to(device)
        self.set_batch(config)

    def set_batch(self, config: Config) -> None:
        """Take the size of the batches that follow from a configuration that differs in nothing else."""
        training = config.training
        self.config = config
        self._crops = CropSampler(config, len(self.corpus))
        part = training.batch // training.accumulate
        self._rows = [self.ranks.part(range(first, first + part)) for first in range(0, training.batch, part)]

    def take_statistics(self) -> None:
        """Take mean and deviation of the log-mel from the configuration's number of crops."""
        drawn = draw_statistics_crops(self.config, len(self.corpus))
        log.info("mean and deviation of the log-mel: %s crops", f"{len(drawn.clips):,}")
        rows = range(0, len(drawn.clips), _STATISTICS_BATCH)
        batches = (self._audio(drawn.part(slice(row, row + _STATISTICS_BATCH))) for row in rows)
        taken = measure(self._log_mel(self._samples(audio)) for audio in batches)
        mean, std = self.ranks.first(torch.tensor([taken.mean, taken.std], dtype=torch.float64, device=self.device))
        self.statistics = Statistics(mean=mean.item(), std=std.item())

    def batches(self, steps: range) -> Iterator[tuple[int, list[Tensor]]]:
        """This process' audio of each step, read ahead: int16 [B, N] for each part that the batch is worked on in.

        With shifted references there are 2 B rows, the references after the clips.
        """

        def read(drawn: CropDraw) -> list[Tensor]:
            return [self._audio(drawn.part(rows)) for rows in self._rows]

        with ThreadPoolExecutor(READERS) as readers:
            ahead = deque(readers.submit(read, self._crops.draw(step)) for step in steps[:READERS])
            for step in steps:
                audio = ahead.popleft().result()
                if step + READERS in steps:
                    ahead.append(readers.submit(read, self._crops.draw(step + READERS)))
                yield step, audio

    def step(self, step: int, audio: list[Tensor]) -> Losses:
        """Learn from one batch: losses, gradients, the optimizer's step, the target's; and remember the clips.

        Args:
            step: its number, from 0.
            audio: from ``batches``.

        Returns:
            the losses of this process' clips.
        """
        drawn = StepDraw(self.config, self.learner.encoder, step, self.device)
        self.optimizer.zero_grad()
        seen, losses = [], []
        for rows, samples in zip(self._rows, audio, strict=True):
            log_mel = self.statistics.normalise(self._log_mel(self._samples(samples)))
            inputs = self._inputs(drawn, rows, log_mel)
            with make_autocast(self.device, self.config.training.precision):
                losses.append(self.learner(inputs))
            (losses[-1].total / len(self._rows)).backward()
            seen.append(self.ranks.gather(log_mel[: rows.stop - rows.start]))
        self.ranks.average_gradients(self.learner.trained())
        self.optimizer.step()
        self.learner.follow()
        self.memory.remember(torch.cat(seen))
        self.steps_done = step + 1
        return Losses.mean(losses)

    def _inputs(self, drawn: StepDraw, rows: slice, log_mel: Tensor) -> Inputs:
        """Views of this process' clips and what their mixtures need.

        Args:
            drawn: of the step.
            rows: the clips' places in the batch.
            log_mel: [B, 1, F, T] normalised; with shifted references [2 B, 1, F, T].
        """
        views = self.config.views
        draws, memory = drawn.views(rows), self.memory.clips

        def both(clips: Tensor) -> tuple[Tensor, Tensor]:
            made = torch.cat([make_view(clips, draw, memory, views) for draw in draws])
            normalised, deviation = normalise_batch(made, self.ranks)
            if self.config.training.channels_last:
                normalised = normalised.contiguous(memory_format=torch.channels_last)
            return normalised, deviation

        clips, *references = torch.split(log_mel, rows.stop - rows.start)
        plain, deviation = both(clips)
        kept, kept_target = (drawn.kept(which, rows) for which in ("online", "target"))
        if not self.config.objective.lambda_:
            return Inputs(views=plain, kept=kept, kept_target=kept_target)
        in_power = self.config.objective.mix_domain == "power"
        return Inputs(
            views=plain,
            kept=kept,
            kept_target=kept_target,
            gamma=drawn.gamma(rows),
            kept_mixed=drawn.kept("mixed", rows),
            scale=deviation * self.statistics.std if in_power else 1.0,
            reference=both(references[0])[0] if references else None,
            kept_reference=drawn.kept("reference", rows) if references else None,
        )

    def share_window(self) -> None:
        """Make what was measured since the last row the mean over the ranks, as the first of them stores it for all."""
        if self.window and self.ranks.size > 1:
            self.window = list(self.ranks.mean(torch.stack(self.window)))

    def not_finite(self) -> str:
        """The first weight, average of the optimizer or part of the memory that is not finite; empty for none."""
        named = [("the weight " + name, values) for name, values in self.learner.state_dict().items()]
        for number, state in self.optimizer.state_dict()["state"].items():
            named += [(f"the optimizer's {name} of parameter {number}", values) for name, values in state.items()]
        named += [(f"the memory's {name}", values) for name, values in self.memory.state_dict().items()]
        for name, values in named:
            if isinstance(values, Tensor) and values.is_floating_point() and not bool(values.isfinite().all()):
                return name
        return ""

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next step depends on, but for statistics, configuration and corpus."""
        return {
            "steps_done": self.steps_done,
            "learner": self.learner.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "memory": self.memory.state_dict(),
            "window": torch.stack(self.window).cpu() if self.window else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from ``state_dict``."""
        self.learner.load_state_dict(state["learner"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.memory.load_state_dict(state["memory"])
        window = state["window"]
        self.window = [] if window is None else list(window.to(self.device))
        self.steps_done = state["steps_done"]

    def _audio(self, drawn: CropDraw) -> Tensor:
        samples = self.config.crop_samples
        crops = [self.corpus.crops(drawn.clips, drawn.places, samples)]
        if drawn.later is not None:
            crops.append(self.corpus.crops(drawn.clips, drawn.places, samples, drawn.later))
        audio = torch.cat([torch.from_numpy(crop) for crop in crops])
        return audio.pin_memory() if self.device.type == "cuda" else audio

    def _samples(self, audio: Tensor) -> Tensor:
        return audio.to(self.device, non_blocking=True).float() * 2.0**-15
