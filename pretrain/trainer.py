"""A training step: one batch of audio in, networks that have learned from it out.

Read ``Trainer.step`` from top to bottom. What a step draws is in ``draws``, the two losses in ``learner``, the loop
around the steps in ``train``.

Shape letters: B clips of a batch that this process holds, N samples, F mel bands, T frames.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from pretrain.config import Config
from pretrain.corpus import Corpus
from pretrain.draws import CropDraw, CropSampler, StepDraw, draw_statistics_crops
from pretrain.frontend import LogMelSpectrogram, Statistics, measure
from pretrain.learner import Inputs, Learner, Losses
from pretrain.machine import make_autocast
from pretrain.ranks import ALONE, Ranks
from pretrain.views import MemoryBank, ViewDraw, make_view, normalise_batch

log = logging.getLogger(__name__)

_STATISTICS_BATCH = 256
READERS = 4
"""Steps whose audio is read ahead, each by one thread: random reads wait for the disk."""


class Trainer:
    """Everything that changes during training, and one step of it."""

    def __init__(self, config: Config, corpus: Corpus, device: torch.device, ranks: Ranks = ALONE) -> None:
        """Create networks, optimizer and memory in their state before the first step; call ``take_statistics`` next.

        Args:
            config: configuration of the run.
            corpus: the corpus to train on.
            device: the device to train on.
            ranks: the processes that share each batch.
        """
        training = config.training
        self.corpus, self.device, self.ranks = corpus, device, ranks
        self.learner = Learner(config, ranks).to(device).train()
        if training.channels_last:
            self.learner.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if training.compile:
            self.learner.encoder.compile()
            self.learner.target_encoder.compile()
        self.optimizer = torch.optim.Adam(self.learner.list_trainable(), lr=training.learning_rate, fused=True)
        self.memory = MemoryBank(config.views, config.front_end.n_mels, training.frames, device)
        self.statistics = Statistics(mean=0.0, std=1.0)
        self.steps_done = 0
        self._log_mel = LogMelSpectrogram(config.front_end).to(device)
        self.set_batch(config)

    def set_batch(self, config: Config) -> None:
        """Use another batch size from now on.

        Args:
            config: a configuration that differs from the present one in nothing else.
        """
        training = config.training
        self.config = config
        self._crops = CropSampler(config, len(self.corpus))
        part = training.batch // training.accumulate
        self._rows = [self.ranks.part(range(first, first + part)) for first in range(0, training.batch, part)]

    def take_statistics(self) -> None:
        """Measure mean and standard deviation of the log-mel, on as many crops as the configuration says."""
        crops = draw_statistics_crops(self.config, len(self.corpus))
        log.info("mean and standard deviation of the log-mel: %s crops", f"{len(crops.clips):,}")
        rows = range(0, len(crops.clips), _STATISTICS_BATCH)
        batches = (self._read(crops.part(slice(row, row + _STATISTICS_BATCH))) for row in rows)
        measured = measure(self._log_mel(self._scale(audio)) for audio in batches)
        mean, std = self.ranks.first(torch.tensor([measured.mean, measured.std], dtype=torch.float64).to(self.device))
        self.statistics = Statistics(mean=mean.item(), std=std.item())

    def batches(self, steps: range) -> Iterator[tuple[int, list[Tensor]]]:
        """This process's audio of each step, read ahead.

        Yields:
            the step's number, and int16 [B, N] for each part of the batch (``training.accumulate``). With shifted
            references there are 2 B rows, the references after the clips.
        """

        def read(crops: CropDraw) -> list[Tensor]:
            return [self._read(crops.part(rows)) for rows in self._rows]

        with ThreadPoolExecutor(READERS) as readers:
            ahead = deque(readers.submit(read, self._crops.draw(step)) for step in steps[:READERS])
            for step in steps:
                audio = ahead.popleft().result()
                if step + READERS in steps:
                    ahead.append(readers.submit(read, self._crops.draw(step + READERS)))
                yield step, audio

    def step(self, step: int, audio: list[Tensor]) -> Losses:
        """Learn from one batch.

        Args:
            step: its number, from 0.
            audio: from ``batches``.

        Returns:
            the losses of this process's clips.
        """
        draws = StepDraw(self.config, self.learner.encoder, step, self.device)
        self.optimizer.zero_grad()
        log_mels, losses = [], []
        for rows, samples in zip(self._rows, audio, strict=True):
            log_mel = self.statistics.normalise(self._log_mel(self._scale(samples)))
            clips, *references = torch.split(log_mel, rows.stop - rows.start)
            views, std = self._make_views(clips, draws.views(rows))
            inputs = Inputs(
                views=views,
                mask=draws.dropout_mask("online", rows),
                target_mask=draws.dropout_mask("target", rows),
            )
            if self.config.objective.lambda_:
                inputs = replace(
                    inputs,
                    gamma=draws.gamma(rows),
                    mixture_mask=draws.dropout_mask("mixed", rows),
                    scale=std * self.statistics.std if self.config.objective.mix_domain == "power" else 1.0,
                )
            if references:
                reference, _ = self._make_views(references[0], draws.views(rows))
                inputs = replace(inputs, reference=reference, reference_mask=draws.dropout_mask("reference", rows))
            with make_autocast(self.device, self.config.training.precision):
                losses.append(self.learner(inputs))
            (losses[-1].total / len(self._rows)).backward()
            log_mels.append(self.ranks.gather(clips))
        self.ranks.average_gradients(self.learner.list_trainable())
        self.optimizer.step()
        self.learner.move_target()
        self.memory.remember(torch.cat(log_mels))
        self.steps_done = step + 1
        return Losses.mean(losses)

    def _make_views(self, log_mel: Tensor, draws: list[ViewDraw]) -> tuple[Tensor, Tensor]:
        """Both views of clips, normalised over the global batch.

        Args:
            log_mel: [B, 1, F, T] normalised by the statistics.
            draws: of the first and the second view.

        Returns:
            [2 B, 1, F, T], and the standard deviation that the views were divided by.
        """
        views = torch.cat([make_view(log_mel, draw, self.memory.clips, self.config.views) for draw in draws])
        normalised, std = normalise_batch(views, self.ranks)
        if self.config.training.channels_last:
            normalised = normalised.contiguous(memory_format=torch.channels_last)
        return normalised, std

    def find_not_finite(self) -> str:
        """The first weight, optimizer average or part of the memory that is not finite; empty if all are."""
        named = [("the weight " + name, values) for name, values in self.learner.state_dict().items()]
        for number, state in self.optimizer.state_dict()["state"].items():
            named += [(f"the optimizer's {name} of parameter {number}", values) for name, values in state.items()]
        named += [(f"the memory's {name}", values) for name, values in self.memory.state_dict().items()]
        for name, values in named:
            if isinstance(values, Tensor) and values.is_floating_point() and not bool(values.isfinite().all()):
                return name
        return ""

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next step depends on, except statistics, configuration and corpus."""
        return {
            "steps_done": self.steps_done,
            "learner": self.learner.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "memory": self.memory.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
        self.learner.load_state_dict(state["learner"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.memory.load_state_dict(state["memory"])
        self.steps_done = state["steps_done"]

    def _read(self, crops: CropDraw) -> Tensor:
        """The audio of crops, int16 [B, N]; with shifted references [2 B, N]."""
        samples = self.config.crop_samples
        audio = [self.corpus.crops(crops.clips, crops.places, samples)]
        if crops.later is not None:
            audio.append(self.corpus.crops(crops.clips, crops.places, samples, crops.later))
        tensor = torch.cat([torch.from_numpy(part) for part in audio])
        return tensor.pin_memory() if self.device.type == "cuda" else tensor

    def _scale(self, audio: Tensor) -> Tensor:
        """int16 samples on the device as float32, full scale -1..1."""
        return audio.to(self.device, non_blocking=True).float() * 2.0**-15
