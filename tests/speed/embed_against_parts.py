"""Time of the embedding pass against the parts that it cannot do without.

    python tests/speed/embed_against_parts.py [--encoder audiontt2022-untrained] [--clips 2000]

The clips are noise, 5 s at 44.1 kHz, 16 bits. Measured in this process, in rounds whose medians count: the encoder
alone on batches that are decoded already, in wall time; CPU seconds of decoding and of encoding; the whole pass; and a
second pass, which finds everything in the cache. The pass can be no faster than the encoder alone, nor than all CPU
seconds spread over all cores. Memory is the growth of this process's peak while the number of clips grows fourfold.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
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


def make_clips(folder: Path, count: int) -> list[Clip]:
    """Noise that differs from clip to clip."""
    noise = (np.random.default_rng(0).standard_normal(FRAMES) * 3000).astype(np.int16)
    clips = []
    for number in range(count):
        path = folder / f"{number:05}.wav"
        soundfile.write(str(path), np.roll(noise, number), RATE_HZ, subtype="PCM_16")
        clips.append(Clip(path=path, duration_s=5.0))
    return clips


def parts(loaded: LoadedEncoder, clips: list[Clip], batch: int) -> tuple[float, float, float]:
    """Wall seconds of the encoder alone, CPU seconds of decoding, CPU seconds of encoding."""
    rate_hz = loaded.encoder.rate_hz
    encode_s = decode_cpu_s = encode_cpu_s = 0.0
    for start in range(0, len(clips), batch):
        begun = time.process_time()
        decoded = [read_clip(clip, rate_hz)[0] for clip in clips[start : start + batch]]
        decode_cpu_s += time.process_time() - begun
        audio = torch.from_numpy(np.stack(decoded)).to(loaded.device)
        begun, begun_s = time.process_time(), time.perf_counter()
        with torch.inference_mode():
            loaded.encoder.embed(audio).cpu()
        encode_s += time.perf_counter() - begun_s
        encode_cpu_s += time.process_time() - begun
    return encode_s, decode_cpu_s, encode_cpu_s


def peak_mb() -> float:
    """Largest resident size of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Measure and print ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default="audiontt2022-untrained")
    parser.add_argument("--clips", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    loaded = load_encoder(given.encoder, device=given.device)
    with tempfile.TemporaryDirectory() as folder:
        clips = make_clips(Path(folder), given.clips)
        fit_on = clips[: given.batch]
        quarter = EmbedSettings(cache=Path(folder) / "quarter", batch_size=given.batch)
        embed_clips(loaded, clips[: given.clips // 4], quarter, fit_on=fit_on)
        before_mb, grown_mb = peak_mb(), 0.0
        rounds = []
        for number in range(given.rounds):
            settings = EmbedSettings(cache=Path(folder) / f"cache{number}", batch_size=given.batch)
            begun = time.perf_counter()
            embed_clips(loaded, clips, settings, fit_on=fit_on)
            pass_s = time.perf_counter() - begun
            grown_mb = peak_mb() - before_mb if number == 0 else grown_mb
            begun = time.perf_counter()
            embed_clips(loaded, clips, settings, fit_on=fit_on)
            rounds.append((pass_s, time.perf_counter() - begun, *parts(loaded, clips, given.batch)))
        pass_s, again_s, encode_s, decode_cpu_s, encode_cpu_s = np.median(rounds, axis=0)
        bound_s = max(encode_s, (decode_cpu_s + encode_cpu_s) / count_cores())
        print(f"{loaded.name}, {len(clips):,} clips of 5 s, {count_cores()} cores")
        print(f"decoding {decode_cpu_s / encode_cpu_s:.2f} of encoding in CPU seconds")
        print(f"ratio  pass / encoder alone {pass_s / encode_s:.2f}")
        print(f"ratio  pass / the larger of encoder alone and CPU seconds over cores {pass_s / bound_s:.2f}")
        print(f"ratio  second pass / pass {again_s / pass_s:.3f} ({again_s:.1f} s)")
        print(f"memory  peak grew by {grown_mb:.0f} MB from {len(clips) // 4:,} to {len(clips):,} clips", end="")
        print(f" ({len(clips) * loaded.encoder.embedding_size * 4 / 1e6:.0f} MB are the embeddings)")


if __name__ == "__main__":
    main()
