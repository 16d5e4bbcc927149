"""Decoding batches of clips in threads, a few ahead of the encoder, so that memory does not grow with their number.

Decoding goes on while the encoder computes. An encoder on the CPU whose ``embed`` may run in several threads at once
(``Encoder``: ``concurrent``) computes in the same threads, a whole batch in each: a light encoder loses more by
dividing every operation among the cores than it gains.
"""

from __future__ import annotations

import contextlib
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from benchmark.embedding.broken import BrokenClips
from benchmark.embedding.clips import BrokenClipError, Clip, read_clip
from benchmark.encoders.contract import LoadedEncoder
from bgknown.jobs.parallel import count_cores

AHEAD = 4
"""Batches that are decoded before the encoder needs them; at least one for each thread that also embeds."""

Decoded = list[tuple[NDArray[np.float32], str]]
"""Samples and SHA-256 of the file, of each clip of a batch."""
Encode = Callable[[Sequence[Clip], Decoded], NDArray[np.float32]]
"""Embeds a batch: clips and their audio to [B, D]."""
_Reading = list[tuple[Clip, Future[tuple[NDArray[np.float32], str]]]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DecodedBatch:
    """A batch without its broken clips."""

    clips: list[Clip]
    """At least one clip."""
    decoded: Decoded
    """Their audio."""
    rows: NDArray[np.float32] | None
    """Their embeddings [B, D], where the threads have computed them."""


def decode_ahead(
    batches: Iterable[list[Clip]],
    loaded: LoadedEncoder,
    jobs: int,
    broken: BrokenClips,
    encode: Encode | None = None,
) -> Iterator[DecodedBatch]:
    """Batches with their audio, in their order.

    Args:
        batches: the clips.
        loaded: the encoder that they are for.
        jobs: threads; 0 for the number of cores.
        broken: takes the clips that cannot be decoded.
        encode: embeds a batch in a thread, if the encoder may run in several.

    Raises:
        BgknownError: what ``encode`` raises.
    """
    threads = jobs or count_cores()
    inside = encode if loaded.device == "cpu" and getattr(loaded.encoder, "concurrent", False) else None
    ahead = AHEAD if inside is None else max(AHEAD, threads)
    with contextlib.ExitStack() as stack:
        if inside is not None:
            stack.enter_context(_one_core_each())
        pool = stack.enter_context(ThreadPoolExecutor(threads))
        submitted = _submit(pool, batches, loaded.encoder.rate_hz, inside)
        waiting: deque[tuple[_Reading, Future[NDArray[np.float32]] | None]] = deque()
        try:
            while True:
                waiting.extend(itertools.islice(submitted, ahead - len(waiting)))
                if not waiting:
                    break
                reading, encoding = waiting.popleft()
                clips, decoded, errors = _collect(reading)
                for error in errors:
                    broken.add(error)
                if clips:
                    yield DecodedBatch(clips=clips, decoded=decoded, rows=encoding.result() if encoding else None)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _submit(
    pool: ThreadPoolExecutor, batches: Iterable[list[Clip]], rate_hz: int, encode: Encode | None
) -> Iterator[tuple[_Reading, Future[NDArray[np.float32]] | None]]:
    """Hand batches to the threads; each is embedded after the next has been handed out, so that no thread waits."""
    before: _Reading = []
    for batch in itertools.chain(batches, [[]]):
        reading = [(clip, pool.submit(read_clip, clip, rate_hz)) for clip in batch]
        if before:
            yield before, None if encode is None else pool.submit(_embed, before, encode)
        before = reading


def _embed(reading: _Reading, encode: Encode) -> NDArray[np.float32]:
    clips, decoded, _ = _collect(reading)
    return encode(clips, decoded) if clips else np.empty((0, 0), np.float32)


def _collect(reading: _Reading) -> tuple[list[Clip], Decoded, list[BrokenClipError]]:
    """The clips of a batch that could be decoded, their audio, and what is wrong with the others."""
    clips: list[Clip] = []
    decoded: Decoded = []
    errors: list[BrokenClipError] = []
    for clip, future in reading:
        try:
            decoded.append(future.result())
            clips.append(clip)
        except BrokenClipError as error:
            errors.append(error)
    return clips, decoded, errors


@contextlib.contextmanager
def _one_core_each() -> Iterator[None]:
    """Let every thread that begins within compute on one core."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
