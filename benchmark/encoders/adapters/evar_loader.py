"""Training audio as EVAR's ``precompute`` takes it: a DataLoader over pairs of audio [N] and a label.

EVAR's own classes read ``batch_size``, ``dataset`` and ``len`` of it, and stop after the first 5,000 clips, which are a
random draw because the loader shuffles.

Source: ``create_dataloader`` and ``WavDataset`` of EVAR's evar/data.py, ``_calculate_stats`` of its evar/ar_base.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from benchmark.encoders.contract import TrainingAudio
from bgknown.seeding import make_generator

_Pair = tuple[Tensor, Tensor]


class HeldAudio:
    """Batches in memory, as a ``TrainingAudio``."""

    def __init__(self, batches: Iterable[Tensor]) -> None:
        self.batches = [batch.cpu() for batch in batches]
        self._clips = [clip for batch in self.batches for clip in batch]
        self.lengths = [len(clip) for clip in self._clips]

    def __len__(self) -> int:
        """The number of batches."""
        return len(self.batches)

    def __iter__(self) -> Iterator[Tensor]:
        """The batches."""
        return iter(self.batches)

    def read(self, numbers: Sequence[int]) -> list[Tensor]:
        """Clips [N] by their numbers."""
        return [self._clips[number] for number in numbers]


class PairDataset(Dataset[_Pair]):
    """Clips with a label each, which is always 0: statistics must not depend on labels."""

    split = "train"
    """As in EVAR's datasets."""

    def __init__(self, audio: TrainingAudio) -> None:
        self.audio = audio

    def __len__(self) -> int:
        """The number of clips."""
        return len(self.audio.lengths)

    def __getitem__(self, number: int) -> _Pair:
        """A clip [N] and its label."""
        return self.__getitems__([number])[0]

    def __getitems__(self, numbers: Sequence[int]) -> list[_Pair]:
        """Several clips at once, decoded in parallel; torch's loader requests batches like this."""
        every = range(len(self))  # knows negative numbers, and ends an iteration with IndexError
        return [(clip, torch.tensor(0)) for clip in self.audio.read([every[number] for number in numbers])]


class PairLoader(DataLoader[_Pair]):
    """A DataLoader whose batches hold clips of one length, although those of the dataset may differ."""

    def __init__(self, dataset: PairDataset, batches: list[list[int]], batch_size: int) -> None:
        super().__init__(dataset, batch_sampler=batches)
        # torch keeps None here when batches are given as lists, and guards it; EVAR's classes read a number
        object.__setattr__(self, "batch_size", batch_size)


def make_loader(audio: TrainingAudio, batch_size: int) -> PairLoader:
    """A loader over training audio.

    Args:
        audio: the audio. It is shuffled, always in the same way, and cut into new batches, except that batches which
            are in memory stay as they are.
        batch_size: clips in a batch; fewer if no more of one length remain.
    """
    if not isinstance(audio, HeldAudio):
        return PairLoader(PairDataset(audio), _shuffle(audio.lengths, batch_size), batch_size)
    numbers = iter(range(len(audio.lengths)))
    kept = [[next(numbers) for _ in batch] for batch in audio]
    return PairLoader(PairDataset(audio), kept, max(map(len, kept), default=batch_size))


def _shuffle(lengths: Sequence[int], batch_size: int) -> list[list[int]]:
    """Batches of clips of equal length in random order; where all are equal, a cut of one random order."""
    draw = make_generator(0, "evar training audio")
    by_length: dict[int, list[int]] = {}
    for number in draw.permutation(len(lengths)).tolist():
        by_length.setdefault(lengths[number], []).append(number)
    batches = [group[i : i + batch_size] for group in by_length.values() for i in range(0, len(group), batch_size)]
    if len(by_length) == 1:
        return batches
    return [batches[place] for place in draw.permutation(len(batches))]
