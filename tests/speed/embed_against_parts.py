"""Time of the embedding pass against the parts that it cannot do without, for every built-in encoder.

    python tests/speed/embed_against_parts.py [--encoder logmel] [--clips 2000] [--rounds 5]
    python tests/speed/embed_against_parts.py --encoder melpower --clips 8000 --seconds 0.1 --rate-hz 16000

The clips are noise, 5 s at 44.1 kHz, 16 bits. After passes that warm everything up, each round measures, in this
process and one after another: the encoder alone on batches that are decoded already, in the same number of threads as
in the pass; decoding alone in as many threads as there are cores; the whole pass; and a second pass, which finds
everything in the cache. Every other round measures the pass before its parts. A ratio is taken in each round, and the
median of the rounds counts.

The larger of decoding alone and encoding alone is a bound that the pass can meet only if the other part finds a core of
its own, which it does on a GPU. On a CPU both parts need all cores, so the floor is the CPU seconds of both, spread
over all cores, if that is more; both ratios are printed. On cores that other programs use as well, what counts is the
ratio of CPU seconds, and that to the time of the parts one after another. Memory is the growth of this process's peak
while the number of clips grows fourfold.
"""

from __future__ import annotations

import argparse
import itertools
import resource
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
import torch

from benchmark.embedding.clips import Clip, read_clip
from benchmark.embedding.embed import EmbedSettings, embed_clips
from benchmark.encoders.contract import LoadedEncoder
from benchmark.encoders.registry import load_encoder
from bgknown.jobs.parallel import count_cores

ENCODERS = {"logmel": 1, "melpower": 1, "audiontt2022-untrained": 16}
"""The built-in encoders, and by how much fewer clips a slow one gets."""
GROUP = 4
"""Batches for each thread that are decoded before the encoder is measured on them."""


def make_clips(folder: Path, count: int, seconds: float, rate_hz: int) -> list[Clip]:
    """Noise that differs from clip to clip."""
    noise = (np.random.default_rng(0).standard_normal(round(seconds * rate_hz)) * 3000).astype(np.int16)
    clips = []
    for number in range(count):
        path = folder / f"{number:06}.wav"
        noise[:2] = number % 30_000, number // 30_000
        soundfile.write(str(path), np.roll(noise, number), rate_hz, subtype="PCM_16")
        clips.append(Clip(path=path, duration_s=seconds))
    return clips


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """Seconds that some work took."""

    wall_s: float
    cpu_s: float

    def __add__(self, other: Taken) -> Taken:
        """Both one after another."""
        return Taken(wall_s=self.wall_s + other.wall_s, cpu_s=self.cpu_s + other.cpu_s)


def measure_work(work: Callable[[], object]) -> Taken:
    """Do some work."""
    begun, begun_s = time.process_time(), time.perf_counter()
    work()
    return Taken(wall_s=time.perf_counter() - begun_s, cpu_s=time.process_time() - begun)


def measure_decoding(loaded: LoadedEncoder, clips: list[Clip]) -> Taken:
    """Decoding alone, in as many threads as there are cores; the audio is dropped."""

    def decode() -> None:
        with ThreadPoolExecutor(count_cores()) as pool:
            for _ in pool.map(lambda clip: read_clip(clip, loaded.encoder.rate_hz)[1], clips):
                pass

    return measure_work(decode)


def measure_encoding(loaded: LoadedEncoder, clips: list[Clip], batch: int) -> Taken:
    """The encoder alone: whole batches in threads of one core each where it may run in several, as in the pass."""
    beside = loaded.device == "cpu" and getattr(loaded.encoder, "concurrent", False)
    threads, before = count_cores() if beside else 1, torch.get_num_threads()

    def embed(audio: torch.Tensor) -> None:
        with torch.inference_mode():
            loaded.encoder.embed(audio.to(loaded.device)).cpu()

    def embed_all(over: Callable[..., Iterable[None]], batches: Sequence[torch.Tensor]) -> None:
        for _ in over(embed, batches):
            pass

    taken, size = Taken(wall_s=0.0, cpu_s=0.0), GROUP * threads * batch
    for start in range(0, len(clips), size):
        decoded = [read_clip(clip, loaded.encoder.rate_hz)[0] for clip in clips[start : start + size]]
        batches = torch.split(torch.from_numpy(np.stack(decoded)), batch)
        if beside:
            torch.set_num_threads(1)
        with ThreadPoolExecutor(threads) as pool:
            taken += measure_work(partial(embed_all, pool.map if beside else map, batches))
        torch.set_num_threads(before)
    return taken


def peak_mb() -> float:
    """Largest resident size of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure_encoder(name: str, clips: list[Clip], given: argparse.Namespace, folder: Path) -> None:
    """Print the ratios of one encoder."""
    loaded, cores = load_encoder(name, device=given.device), count_cores()
    fit_on, numbers = clips[: given.batch], itertools.count()

    def embed(some: list[Clip], cache: Path) -> None:
        embed_clips(loaded, some, EmbedSettings(cache=cache, batch_size=given.batch), fit_on=fit_on)

    def measure_pass() -> tuple[Taken, Taken]:
        cache = folder / f"{name}{next(numbers)}"
        return measure_work(lambda: embed(clips, cache)), measure_work(lambda: embed(clips, cache))

    embed(clips[: len(clips) // 4], folder / f"{name}-quarter")
    before_mb = peak_mb()
    embed(clips, folder / f"{name}-whole")
    grown_mb, rounds = peak_mb() - before_mb, []
    for number in range(given.rounds):
        first = measure_pass() if number % 2 else None
        encode, decode = measure_encoding(loaded, clips, given.batch), measure_decoding(loaded, clips)
        whole, again = first or measure_pass()
        parts, larger_s = decode + encode, max(decode.wall_s, encode.wall_s)
        rounds.append(
            (
                whole.wall_s / max(larger_s, parts.cpu_s / cores),
                whole.wall_s / larger_s,
                whole.wall_s / parts.wall_s,
                whole.cpu_s / parts.cpu_s,
                decode.cpu_s / encode.cpu_s,
                whole.cpu_s / whole.wall_s,
                whole.cpu_s / len(clips) * 1e6,
                again.cpu_s / len(clips) * 1e6,
            )
        )
    floor, larger, one, cpu, share, busy, clip_us, again_us = np.median(rounds, axis=0)
    print(f"{name}, {len(clips):,} clips of {given.seconds:g} s, {cores} cores, medians of {given.rounds} rounds")
    print(f"  pass / floor {floor:.2f}; / the larger of decoding alone and encoding alone {larger:.2f};", end=" ")
    print(f"/ both one after another {one:.2f}")
    print(f"  CPU seconds: pass / both alone {cpu:.2f}; decoding / encoding {share:.2f}; cores busy {busy:.2f}")
    print(f"  CPU time per clip: pass {clip_us:.0f} us, second pass {again_us:.0f} us")
    print(f"  peak memory grew by {grown_mb:.0f} MB from {len(clips) // 4:,} to {len(clips):,} clips", end="")
    print(f" ({len(clips) * loaded.encoder.embedding_size * 4 / 1e6:.0f} MB are the embeddings)", flush=True)


def main() -> None:
    """Measure and print ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", action="append", help="instead of every built-in encoder")
    parser.add_argument("--clips", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=5.0, help="length of a clip")
    parser.add_argument("--rate-hz", type=int, default=44_100, help="sampling rate of the files")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        clips = make_clips(Path(folder), given.clips, given.seconds, given.rate_hz)
        for name in given.encoder or ENCODERS:
            chosen = clips[: max(len(clips) // ENCODERS.get(name, 1), 4 * given.batch)]
            measure_encoder(name, chosen, given, Path(folder))


if __name__ == "__main__":
    main()
