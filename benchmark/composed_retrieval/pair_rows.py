"""Rows of embedded pairs as a step takes them: standardised for each seed, on the device of the training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from benchmark.composed_retrieval.networks import Batch
from benchmark.composed_retrieval.pairs import Pairs
from benchmark.probe.standardised import copy_if_room, measure_standardisation


class PairStatistics:
    """Mean and 1 / deviation of embeddings for each seed, of the pairs that its systems are trained on."""

    def __init__(self, pairs: Pairs, training: Sequence[Tensor], device: str) -> None:
        found = []
        for rows in training:
            heard = np.concatenate([pairs.s1[rows.numpy()], pairs.s2[rows.numpy()]])
            read = pairs.texts[rows.numpy()]
            found.append((*measure_standardisation(pairs.audio, heard), *measure_standardisation(pairs.text, read)))
        mean, scale, text_mean, text_scale = (
            torch.stack(each).unsqueeze(1).to(device) for each in zip(*found, strict=True)
        )
        self.audio, self.text = (mean, 1.0 / scale), (text_mean, 1.0 / text_scale)
        """[seeds, 1, D] means and factors."""


class PairRows:
    """Embeddings of pairs, standardised for each seed and handed to its systems."""

    def __init__(self, pairs: Pairs, statistics: PairStatistics, of: Tensor, device: str) -> None:
        self.pairs, self.statistics, self.device = pairs, statistics, device
        self.choose(torch.arange(int(of.max()) + 1), of)
        self.audio, self.text = copy_if_room(pairs.audio, device), copy_if_room(pairs.text, device)
        self.s1, self.s2, self.texts = (torch.from_numpy(rows) for rows in (pairs.s1, pairs.s2, pairs.texts))

    def choose(self, seeds: Tensor, of: Tensor) -> None:
        """Serve some of the seeds from now on, and systems of which each belongs to the seed at ``of``."""
        self.of, chosen = of.to(self.device), seeds.to(self.device)
        self.audio_scale, self.text_scale = (
            tuple(each[chosen] for each in both) for both in (self.statistics.audio, self.statistics.text)
        )

    def batch(self, pairs: Tensor, kept: Tensor | None = None) -> Batch:
        """The pairs [seeds, B] of each seed, for its systems; ``kept`` [seeds, 3 B, H] likewise."""
        sides = torch.cat([self.s1[pairs], self.s2[pairs]], dim=1)
        heard = torch.cat([self.pairs.classes_s1[pairs], self.pairs.classes_s2[pairs]], dim=1).to(self.device)
        return Batch(
            audio=self._take(self.audio, sides, self.audio_scale)[self.of],
            text=self._take(self.text, self.texts[pairs], self.text_scale)[self.of],
            classes=heard[self.of],
            kept=None if kept is None else kept[self.of],
        )

    def _take(self, source: Tensor, rows: Tensor, statistics: tuple[Tensor, ...]) -> Tensor:
        """[seeds, B] rows -> [seeds, B, D]; a copy, so that it may be worked on in place."""
        flat = source.index_select(0, rows.reshape(-1).to(source.device)).to(self.device).float()
        mean, factor = statistics
        return flat.view(*rows.shape, -1).sub_(mean).mul_(factor)
