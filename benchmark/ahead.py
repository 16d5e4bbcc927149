"""Decoding batches of clips in threads, a few ahead of the encoder, so that memory does not grow with their number."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait

import numpy as np
from numpy.typing import NDArray

from benchmark.clips import Clip, read_clip
from benchmark.encoder import LoadedEncoder
from bgknown.parallel import default_jobs

AHEAD = 4
"""Batches that may be decoded before the encoder wants them."""

Decoded = list[tuple[NDArray[np.float32], str]]
"""Samples and SHA-256 of the file, of each clip of a batch."""


def decode_ahead(batches: list[list[Clip]], loaded: LoadedEncoder, jobs: int) -> Iterator[tuple[list[Clip], Decoded]]:
    """Batches with their audio, of which at most ``AHEAD`` are decoded and not yet asked for."""
    rate_hz, at_once = loaded.encoder.rate_hz, 1 if loaded.device != "cpu" else AHEAD
    with ThreadPoolExecutor(jobs or default_jobs()) as pool:
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
                    batch, futures = waiting.popleft()
                    yield batch, [future.result() for future in futures]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
