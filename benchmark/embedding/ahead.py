"""Decoding batches of clips in threads, a few ahead of the encoder, so that memory does not grow with their number."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait

import numpy as np
from numpy.typing import NDArray

from benchmark.embedding.broken import BrokenClips
from benchmark.embedding.clips import BrokenClipError, Clip, read_clip
from benchmark.encoders.contract import LoadedEncoder
from bgknown.jobs.parallel import count_cores

AHEAD = 4
"""Largest number of batches decoded before the encoder needs them."""

Decoded = list[tuple[NDArray[np.float32], str]]
"""Samples and SHA-256 of the file, of each clip of a batch."""


def decode_ahead(
    batches: list[list[Clip]], loaded: LoadedEncoder, jobs: int, broken: BrokenClips
) -> Iterator[tuple[list[Clip], Decoded]]:
    """Batches with their audio, without broken clips, which are recorded; at most ``AHEAD`` are decoded ahead."""
    rate_hz, at_once = loaded.encoder.rate_hz, 1 if loaded.device != "cpu" else AHEAD
    with ThreadPoolExecutor(jobs or count_cores()) as pool:
        waiting: deque[tuple[list[Clip], list[Future[tuple[NDArray[np.float32], str]]]]] = deque()
        ahead = iter(batches)
        try:
            while True:
                for batch in itertools.islice(ahead, AHEAD - len(waiting)):
                    waiting.append((batch, [pool.submit(read_clip, clip, rate_hz) for clip in batch]))
                if not waiting:
                    break
                if at_once > 1:
                    wait(future for _, futures in waiting for future in futures)
                for _ in range(min(at_once, len(waiting))):
                    whole = _collect_batch(*waiting.popleft(), broken)
                    if whole:
                        yield [clip for clip, _ in whole], [audio for _, audio in whole]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _collect_batch(
    batch: list[Clip], futures: list[Future[tuple[NDArray[np.float32], str]]], broken: BrokenClips
) -> list[tuple[Clip, tuple[NDArray[np.float32], str]]]:
    """The clips of a batch that could be decoded."""
    found = []
    for clip, future in zip(batch, futures, strict=True):
        try:
            found.append((clip, future.result()))
        except BrokenClipError as error:
            broken.add(error)
    return found
