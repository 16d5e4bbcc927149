"""Decoding batches of clips in threads, a few ahead of the encoder, so that memory does not grow with their number.

Decoding goes on while the encoder computes. An encoder on the CPU whose ``embed`` may run in several threads at once
(``Encoder``: ``concurrent``) computes in the same threads, a whole batch in each: a light encoder loses more by
dividing every operation among the cores than it gains.
"""

from __future__ import annotations

import contextlib
import itertools
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from benchmark.embedding.broken import BrokenClips
from benchmark.embedding.clips import BrokenClipError, Clip, read_clip
from benchmark.encoders.contract import LoadedEncoder
from bgknown.audio.amplitude import Amplitude
from bgknown.jobs.parallel import count_cores

AHEAD = 4
"""Batches that are decoded before the encoder needs them; at least one for each thread that also embeds."""
PARTS_PER_THREAD = 4
"""Parts of a batch for each thread: fewer cost less to hand over, more keep all threads decoding to the end."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DecodedClip:
    """A clip with its audio."""

    clip: Clip
    """The clip."""
    samples: NDArray[np.float32]
    """[N] at the encoder's rate."""
    sha256: str
    """SHA-256 of the file."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EncodedBatch:
    """What an encoder makes of a batch, and what is heard in it."""

    rows: NDArray[np.float32]
    """[B, D] embeddings."""
    amplitudes: list[Amplitude]
    """Which clips are silent or beyond full scale."""

    def take(self, places: Sequence[int]) -> EncodedBatch:
        """Some of the clips."""
        return EncodedBatch(rows=self.rows[places], amplitudes=[self.amplitudes[place] for place in places])


Encode = Callable[[Sequence[DecodedClip]], EncodedBatch]
"""Embeds a batch of at least one clip."""
_Reading = list[Future[list[DecodedClip | BrokenClipError]]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DecodedBatch:
    """A batch without its broken clips."""

    clips: list[DecodedClip]
    """At least one clip."""
    encoded: EncodedBatch | None
    """Their embeddings, where the threads have computed them."""


def decode_ahead(
    batches: Sequence[list[Clip]],
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
        submitted = _submit(pool, batches, loaded.encoder.rate_hz, threads, inside)
        waiting: deque[tuple[_Reading, Future[EncodedBatch | None] | None]] = deque()
        try:
            while True:
                waiting.extend(itertools.islice(submitted, ahead - len(waiting)))
                if not waiting:
                    break
                reading, encoding = waiting.popleft()
                encoded = encoding.result() if encoding is not None else None  # first: it wakes this thread only once
                clips, errors = _collect(reading)
                for error in errors:
                    broken.add(error)
                if clips:
                    yield DecodedBatch(clips=clips, encoded=encoded)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _submit(
    pool: ThreadPoolExecutor, batches: Sequence[list[Clip]], rate_hz: int, threads: int, encode: Encode | None
) -> Iterator[tuple[_Reading, Future[EncodedBatch | None] | None]]:
    """Hand batches to the threads; each is embedded once the next is being decoded, so that no thread waits for audio.

    That is soon, while the audio is in the processor's cache. The last two batches are embedded at the same time.
    """
    before: _Reading = []
    for number, batch in enumerate([*batches, []], start=1):
        size = max(len(batch) // (PARTS_PER_THREAD * threads), 1)
        parts = [batch[i : i + size] for i in range(0, len(batch), size)]
        first = threads if number < len(batches) else len(parts)
        reading = [pool.submit(_read, part, rate_hz) for part in parts[:first]]
        encoding = pool.submit(_embed, before, encode) if before and encode is not None else None
        reading += [pool.submit(_read, part, rate_hz) for part in parts[first:]]
        if before:
            yield before, encoding
        before = reading


def _read(clips: Sequence[Clip], rate_hz: int) -> list[DecodedClip | BrokenClipError]:
    found: list[DecodedClip | BrokenClipError] = []
    for clip in clips:
        try:
            samples, sha256 = read_clip(clip, rate_hz)
            found.append(DecodedClip(clip=clip, samples=samples, sha256=sha256))
        except BrokenClipError as error:
            found.append(error)
    return found


def _embed(reading: _Reading, encode: Encode) -> EncodedBatch | None:
    clips, _ = _collect(reading)
    return encode(clips) if clips else None


def _collect(reading: _Reading) -> tuple[list[DecodedClip], list[BrokenClipError]]:
    """The clips of a batch that could be decoded, and what is wrong with the others."""
    found = [clip for part in reading for clip in part.result()]
    clips = [clip for clip in found if isinstance(clip, DecodedClip)]
    return clips, [error for error in found if isinstance(error, BrokenClipError)]


@contextlib.contextmanager
def _one_core_each() -> Iterator[None]:
    """Let every thread that begins within compute on one core."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
