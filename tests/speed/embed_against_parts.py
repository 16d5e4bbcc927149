"""Time of the embedding pass against the parts that it cannot do without, for every built-in encoder.

    python tests/speed/embed_against_parts.py [--encoder logmel] [--clips 2000] [--rounds 5]

The clips are noise, 5 s at 44.1 kHz, 16 bits. Each round measures, in this process and one after another: the encoder
alone on batches that are decoded already; decoding alone in as many threads as there are cores; the whole pass; and a
second pass, which finds everything in the cache. The pass can be no faster than the encoder alone, than decoding alone,
nor than the CPU seconds of both spread over all cores. A ratio is taken in each round, and the median of the rounds
counts. On cores that other programs use as well, the ratio of CPU seconds is the one to trust. Memory is the growth of
this process's peak while the number of clips grows fourfold.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import soundfile
import torch

from benchmark.embedding.clips import Clip, read_clip
from benchmark.embedding.embed import EmbedSettings, embed_clips
from benchmark.encoders.contract import LoadedEncoder
from benchmark.encoders.registry import load_encoder
from bgknown.jobs.parallel import count_cores

RATE_HZ, FRAMES = 44_100, 220_500
ENCODERS = {"logmel": 1, "melpower": 1, "audiontt2022-untrained": 16}
"""The built-in encoders, and by how much fewer clips a slow one gets."""


def make_clips(folder: Path, count: int) -> list[Clip]:
    """Noise that differs from clip to clip."""
    noise = (np.random.default_rng(0).standard_normal(FRAMES) * 3000).astype(np.int16)
    clips = []
    for number in range(count):
        path = folder / f"{number:05}.wav"
        soundfile.write(str(path), np.roll(noise, number), RATE_HZ, subtype="PCM_16")
        clips.append(Clip(path=path, duration_s=5.0))
    return clips


def measure_decoding(loaded: LoadedEncoder, clips: list[Clip], batch: int) -> tuple[float, float]:
    """Wall and CPU seconds of decoding alone, in as many threads as there are cores."""
    begun, begun_s = time.process_time(), time.perf_counter()
    with ThreadPoolExecutor(count_cores()) as pool:
        for start in range(0, len(clips), batch):  # audio is dropped, as in the pass
            list(pool.map(lambda clip: read_clip(clip, loaded.encoder.rate_hz), clips[start : start + batch]))
    return time.perf_counter() - begun_s, time.process_time() - begun


def measure_encoding(loaded: LoadedEncoder, clips: list[Clip], batch: int) -> tuple[float, float]:
    """Wall and CPU seconds of the encoder alone, on batches that are decoded already."""
    encode_s = encode_cpu_s = 0.0
    for start in range(0, len(clips), batch):
        decoded = [read_clip(clip, loaded.encoder.rate_hz)[0] for clip in clips[start : start + batch]]
        audio = torch.from_numpy(np.stack(decoded)).to(loaded.device)
        begun, begun_s = time.process_time(), time.perf_counter()
        with torch.inference_mode():
            loaded.encoder.embed(audio).cpu()
        encode_s += time.perf_counter() - begun_s
        encode_cpu_s += time.process_time() - begun
    return encode_s, encode_cpu_s


def peak_mb() -> float:
    """Largest resident size of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure_encoder(name: str, clips: list[Clip], given: argparse.Namespace, folder: Path) -> None:
    """Print the ratios of one encoder."""
    loaded = load_encoder(name, device=given.device)
    fit_on = clips[: given.batch]
    quarter = EmbedSettings(cache=folder / "quarter", batch_size=given.batch)
    embed_clips(loaded, clips[: len(clips) // 4], quarter, fit_on=fit_on)
    before_mb, grown_mb, rounds = peak_mb(), 0.0, []
    for number in range(given.rounds):
        settings = EmbedSettings(cache=folder / f"{name}{number}", batch_size=given.batch)
        encode_s, encode_cpu_s = measure_encoding(loaded, clips, given.batch)
        decode_s, decode_cpu_s = measure_decoding(loaded, clips, given.batch)
        begun, begun_s = time.process_time(), time.perf_counter()
        embed_clips(loaded, clips, settings, fit_on=fit_on)
        pass_s, pass_cpu_s = time.perf_counter() - begun_s, time.process_time() - begun
        grown_mb = peak_mb() - before_mb if number == 0 else grown_mb
        begun_s = time.perf_counter()
        embed_clips(loaded, clips, settings, fit_on=fit_on)
        again_s = time.perf_counter() - begun_s
        parts_cpu_s = decode_cpu_s + encode_cpu_s
        bound_s = max(encode_s, decode_s, parts_cpu_s / count_cores())
        rounds.append((pass_s / bound_s, pass_cpu_s / parts_cpu_s, decode_cpu_s / encode_cpu_s, again_s / pass_s))
    bound, cpu, share, again = np.median(rounds, axis=0)
    print(f"{name}, {len(clips):,} clips of 5 s, {count_cores()} cores, medians of {given.rounds} rounds")
    print(f"  pass / the largest of decoding alone, encoding alone, and the CPU seconds of both over cores {bound:.2f}")
    print(f"  CPU seconds: pass / decoding and encoding alone {cpu:.2f}; decoding / encoding {share:.2f}")
    print(f"  second pass / pass {again:.3f}")
    print(f"  peak memory grew by {grown_mb:.0f} MB from {len(clips) // 4:,} to {len(clips):,} clips", end="")
    print(f" ({len(clips) * loaded.encoder.embedding_size * 4 / 1e6:.0f} MB are the embeddings)", flush=True)


def main() -> None:
    """Measure and print ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", action="append", help="instead of every built-in encoder")
    parser.add_argument("--clips", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        clips = make_clips(Path(folder), given.clips)
        for name in given.encoder or ENCODERS:
            chosen = clips[: max(len(clips) // ENCODERS.get(name, 1), 4 * given.batch)]
            measure_encoder(name, chosen, given, Path(folder))


if __name__ == "__main__":
    main()
