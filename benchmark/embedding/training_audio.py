"""A task's training audio as ``fit`` receives it: batches to iterate over, and single clips on request."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from benchmark.embedding.broken import BrokenClips
from benchmark.embedding.clips import BrokenClipError, Clip, count_samples, read_clip
from bgknown.jobs.parallel import count_cores


class DecodedAudio:
    """Clips that are decoded on request; an implementation of ``TrainingAudio``.

    No audio is kept, so only the batches in use take memory, however often the clips are read.
    """

    def __init__(
        self,
        batches: Sequence[Sequence[Clip]],
        rate_hz: int,
        stream: Callable[[], Iterator[Tensor]],
        *,
        jobs: int,
        report: Callable[[int], object],
        broken: BrokenClips,
    ) -> None:
        """Describe the audio; nothing is decoded yet.

        Args:
            batches: the clips; those of one batch have equal length.
            rate_hz: the rate to decode at.
            stream: decodes all batches, in their order.
            jobs: threads that decode single clips; 0 for the number of cores.
            report: called with the number of clips that ``read`` decoded, for a progress bar.
            broken: collects clips that ``read`` cannot decode, for which it gives silence, and silent ones: statistics
                that broken clips have entered are not used.
        """
        self.lengths = [samples for batch in batches for samples in [count_samples(batch[0], rate_hz)] * len(batch)]
        self._clips = [clip for batch in batches for clip in batch]
        self._batches, self._rate_hz, self._stream, self._report = len(batches), rate_hz, stream, report
        self._jobs, self._broken = jobs or count_cores(), broken

    def __len__(self) -> int:
        """The number of batches."""
        return self._batches

    def __iter__(self) -> Iterator[Tensor]:
        """Batches [B, N] where the encoder is."""
        return self._stream()

    def read(self, numbers: Sequence[int]) -> list[Tensor]:
        """Clips [N] on the CPU by their numbers."""
        with ThreadPoolExecutor(min(self._jobs, max(len(numbers), 1))) as pool:
            decoded = list(pool.map(self._read, numbers))
        self._report(len(numbers))
        return decoded

    def _read(self, number: int) -> Tensor:
        clip = self._clips[number]
        try:
            samples, _ = read_clip(clip, self._rate_hz)
        except BrokenClipError as error:
            self._broken.add(error)
            return torch.zeros(self.lengths[number])
        if not samples.any():
            self._broken.add_silent(clip)
        return torch.from_numpy(samples)
