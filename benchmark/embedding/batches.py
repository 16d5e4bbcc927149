"""Clips in batches of equal length, in one fixed order, whatever is cached and however many processes there are."""

from __future__ import annotations

from collections.abc import Sequence

from benchmark.embedding.broken import BrokenClips
from benchmark.embedding.clips import BrokenClipError, Clip, count_samples
from bgknown.jobs.parallel import in_threads


def group_by_length(clips: Sequence[Clip], rate_hz: int, size: int, broken: BrokenClips) -> list[list[Clip]]:
    """Batches of clips of equal length, in an order that depends on the list alone.

    Args:
        clips: the clips, each once.
        rate_hz: the rate at which lengths are compared.
        size: most clips in a batch.
        broken: takes the clips whose length cannot be read; they are in no batch.
    """

    def read_length(clip: Clip) -> int:
        try:
            return count_samples(clip, rate_hz)
        except BrokenClipError as error:
            broken.add(error)
            return 0

    unknown = [clip for clip in clips if clip.duration_s is None]
    known = dict(zip(unknown, in_threads(read_length, unknown, title="headers", unit="file"), strict=True))
    by_length: dict[int, list[Clip]] = {}
    for clip in clips:
        samples = known[clip] if clip in known else count_samples(clip, rate_hz)
        if samples:
            by_length.setdefault(samples, []).append(clip)
    return [group[i : i + size] for _, group in sorted(by_length.items()) for i in range(0, len(group), size)]
