"""The training loop: packed audio in, checkpoints out.

Read ``train`` from top to bottom, then ``trainer.Trainer.step``. What survives a kill is in ``state``, what is reported
during training in ``progress``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bgknown.errors import InvalidInputError
from bgknown.jobs import stopping
from bgknown.userpath import expand_fields
from pretrain.checkpoint import make_entries
from pretrain.config import Config
from pretrain.corpus import Corpus, open_corpus
from pretrain.frontend import Statistics
from pretrain.initial import load_initial
from pretrain.machine import disable_tf32, explain_out_of_memory, reuse_freed_memory, take_device
from pretrain.progress import TrainingProgress, import_summary_writer
from pretrain.ranks import join
from pretrain.state import Run
from pretrain.trainer import Trainer
from pretrain.trial import time_step

FINISHING = "finishing this step, Ctrl-C again to stop now"
"""The answer to a first interrupt."""
KEPT = "the last checkpoint is kept, and the same command resumes from it"
"""What a second interrupt ends with."""
AGREE_EVERY = 10
"""Steps after which processes on GPUs ask each other whether one was interrupted; on CPUs they ask after every step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainOptions:
    """What to train, on which corpus, where."""

    corpus: Path
    """Folder of a packed corpus."""
    config: Config
    """The configuration."""
    out: Path
    """Folder of the run."""
    device: str | None = None
    """cpu, cuda, cuda:1, ...; None for a GPU if there is one."""
    tensorboard: bool = False
    """Whether to write TensorBoard's files next to the log."""
    init: Path | None = None
    """File of the encoder to start from: published BYOL-A weights, a checkpoint, or an exported encoder; None starts
    from weights drawn from the seed."""

    def __post_init__(self) -> None:
        expand_fields(self, "corpus", "out", "init")


def train(options: TrainOptions) -> Path:
    """Train an encoder, from the start or from the checkpoint in the folder.

    Args:
        options: what to train, on which corpus, where.

    Returns:
        the checkpoint, ``OUT/checkpoint.pt``, which is also an encoder.

    Raises:
        NotFoundError: there is no corpus.
        InvalidInputError: corpus or processes do not fit the configuration, a loss is no longer finite, or memory ran
            out.
        StorageError: the folder holds another run, or cannot be written.
        KeyboardInterrupt: the run was interrupted. The current step is finished and stored; with several processes on
            GPUs, at most ``AGREE_EVERY`` steps later. A second signal stops at once and leaves the last checkpoint.
    """
    config, corpus, device = options.config, open_corpus(options.corpus), take_device(options.device)
    check_corpus(config, corpus)
    if options.tensorboard:
        import_summary_writer()  # fails before anything is written
    initial = None if options.init is None else load_initial(options.init, config)
    reuse_freed_memory(device)
    disable_tf32(device, config.training.precision)
    ranks = join(device)
    if config.training.compile and ranks.size > 1:
        raise InvalidInputError("training.compile is for one process; leave it off with several")
    remedy = (
        f"lower training.batch ({config.training.batch} now) or views.memory ({config.views.memory:,}), or raise "
        f"training.accumulate ({config.training.accumulate})"
    )
    with explain_out_of_memory(remedy), Run.claim(options.out, config, corpus, ranks, initial) as run:
        config = run.settle(device)
        disable_tf32(device, config.training.precision)
        trainer, progress = Trainer(config, corpus, device, ranks), TrainingProgress(run, device)
        start_or_resume(run, trainer, progress)
        progress.open(trainer.steps_done, tensorboard=options.tensorboard)
        if trainer.steps_done < progress.total:
            progress.estimate(partial(time_step, config, partial(Trainer, corpus=corpus, device=device), ranks.size))
        run_steps(run, trainer, progress)
        progress.close()
        return run.checkpoint


def run_steps(run: Run, trainer: Trainer, progress: TrainingProgress) -> None:
    """Train from the steps that are done to the last one, storing a checkpoint every so often.

    Raises:
        InvalidInputError: a loss or a weight is no longer finite; what was stored before is kept.
        StorageError: a checkpoint or the log cannot be written.
        KeyboardInterrupt: the run was interrupted; the current step is stored.
    """
    ranks, device, total = trainer.ranks, trainer.device, progress.total
    with stopping.finish_step_first(FINISHING, kept=KEPT) as request:
        for step, audio in trainer.batches(range(trainer.steps_done, total)):
            losses = trainer.step(step, audio)
            logged = progress.add(trainer.steps_done, losses)
            # processes agree on stopping only now and then: on a GPU, asking makes it wait for the step
            agree = logged or trainer.steps_done % (1 if device.type == "cpu" else AGREE_EVERY) == 0
            stop = request.is_set() if ranks.size == 1 else agree and ranks.any(request.is_set(), device)
            if stop or trainer.steps_done % run.config.training.checkpoint_every == 0 or trainer.steps_done == total:
                progress.check_losses(trainer.steps_done)
                progress.check_state(trainer.steps_done, trainer.find_not_finite())
                run.store(make_content(run, trainer, progress))
            if stop and trainer.steps_done < total:
                raise request.interruption()


def start_or_resume(run: Run, trainer: Trainer, progress: TrainingProgress) -> None:
    """Restore trainer and progress from the run's checkpoint; without one, take statistics and store the start.

    Raises:
        StorageError: the checkpoint is of another configuration or corpus, or the folder cannot be written.
        InvalidInputError: the checkpoint is damaged.
    """
    content = run.load(trainer.device)
    if content is None:
        if run.initial is not None:
            trainer.learner.start_from(run.initial.network)
        trainer.take_statistics()
        run.write_configuration()
        run.store(make_content(run, trainer, progress))
        return
    with run.explain_mismatch(content):
        trainer.statistics = Statistics(**content["statistics"])
        trainer.load_state_dict(content["training"])
        progress.load_state_dict(content["training"])
    run.write_configuration()


def make_content(run: Run, trainer: Trainer, progress: TrainingProgress) -> dict[str, Any]:
    """A checkpoint: the encoder, and everything that training resumes from. Every process must call this."""
    encoder, front_end, card = trainer.learner.encoder, run.config.front_end, run.make_card(trainer.steps_done)
    return {
        **make_entries(encoder, front_end, trainer.statistics, card=card, trained_on=run.list_sounds()),
        "training": {**trainer.state_dict(), **progress.state_dict()},
    }


def check_corpus(config: Config, corpus: Corpus) -> None:
    """Refuse a corpus that the configuration cannot be trained on.

    Raises:
        InvalidInputError: the rates differ, or there are fewer than two clips.
    """
    if corpus.rate_hz != config.front_end.rate_hz:
        raise InvalidInputError(
            f"{corpus.folder}: packed at {corpus.rate_hz} Hz, but front_end.rate_hz is {config.front_end.rate_hz}; "
            f"pack it again with --rate {config.front_end.rate_hz}"
        )
    if len(corpus) < 2:
        raise InvalidInputError(f"{corpus.folder}: holds 1 clip; training needs at least 2, to mix one into another")
