"""Broken audio files by the thousand: each is read whole, or refused in one line, in little time and memory.

Run by hand: ``python -m tests.fuzz.audio_files --cases 2000 --seed 0``. CI runs a few cases
(``test_audio_files.py``).
"""

from __future__ import annotations

import argparse
import io
import struct
import sys
import tempfile
import time
import traceback
import tracemalloc
from collections import Counter
from pathlib import Path

import numpy as np
import soundfile

from benchmark.embedding.clips import examine_file
from bgknown.audio.files import read_file, read_header, read_sliceable
from bgknown.errors import BgknownError
from pretrain.pack import _decode_file

KINDS = [
    ("WAV", "PCM_16"),
    ("WAV", "PCM_24"),
    ("WAV", "FLOAT"),
    ("WAV", "GSM610"),
    ("WAV", "IMA_ADPCM"),
    ("WAV", "MS_ADPCM"),
    ("WAVEX", "PCM_16"),
    ("RF64", "PCM_16"),
    ("W64", "PCM_16"),
    ("AIFF", "PCM_16"),
    ("AU", "PCM_16"),
    ("CAF", "PCM_16"),
    ("FLAC", "PCM_16"),
    ("OGG", "VORBIS"),
    ("OGG", "OPUS"),
    ("MP3", "MPEG_LAYER_III"),
]
LENGTHS = (0, 1, 44, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**32 - 45, 0x7FFFF000)
MOST_SECONDS = 5.0
MOST_BYTES = 64 << 20
"""Memory for a file of some kilobytes: mostly the blocks that are decoded at a time."""


def sources() -> list[bytes]:
    """A whole file of every kind, 8 kHz so that they are small."""
    time_s = np.arange(12_000) / 8_000
    audio = 0.4 * np.sin(2 * np.pi * 440 * time_s) + 0.05 * np.random.default_rng(0).standard_normal(time_s.size)
    files = []
    for container, coding in KINDS:
        for channels in (1, 2):
            buffer = io.BytesIO()
            try:
                soundfile.write(buffer, np.stack([audio] * channels, 1), 8_000, format=container, subtype=coding)
            except soundfile.SoundFileError:  # GSM is mono
                continue
            files.append(buffer.getvalue())
    return files


def damage(data: bytes, random: np.random.Generator) -> bytes:
    """One kind of damage or two, most of them to the first bytes."""
    out = bytearray(data)
    for _ in range(int(random.integers(1, 4))):
        place = int(random.integers(min(len(out), 120) if random.random() < 0.7 else len(out)))
        match random.integers(8):
            case 0:
                out[place] = int(random.integers(256))
            case 1:
                out[place] ^= 1 << int(random.integers(8))
            case 2:
                order = "<" if random.random() < 0.5 else ">"
                out[place : place + 4] = struct.pack(f"{order}I", LENGTHS[random.integers(len(LENGTHS))])
            case 3:
                del out[place + 1 :]
            case 4:
                out[place:place] = random.bytes(int(random.integers(1, 64)))
            case 5:
                del out[place : place + int(random.integers(1, 64))]
            case 6:
                out[place : place + 16] = bytes(16)
            case _:
                out += data if random.random() < 0.5 else random.bytes(200)
        if not out:
            break
    return bytes(out)


def check(path: Path) -> str:
    """Read a file in all ways; returns how it ended.

    Raises:
        AssertionError: what was read is not what was said, or too much time or memory was taken.
    """
    began = time.monotonic()
    tracemalloc.start()
    try:
        header, audio = read_file(path, 16_000, np.float32)
        assert header == read_header(path)
        assert audio.size == header.frames * 16_000 // header.rate_hz
        sliceable = read_sliceable(path)
        assert sliceable is None or sliceable == header
        outcome = "read"
    except BgknownError as error:
        outcome = "refused" if len(str(error).splitlines()) == 1 else "refused in other than one line"
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    fault, _ = examine_file(path)
    assert bool(fault) == (outcome == "refused") or "NaN" in fault, fault
    packed = _decode_file(path.parent, 16_000, path.name).file
    assert (packed.problem is None) != bool(fault) or "less than one sample" in str(packed.problem), (packed, fault)
    limit = MOST_BYTES + 64 * (audio.nbytes if outcome == "read" else path.stat().st_size)
    assert peak < limit, f"{peak:,} bytes of memory"
    assert time.monotonic() - began < MOST_SECONDS, f"{time.monotonic() - began:.1f} s"
    return outcome


def run(cases: int, seed: int, folder: Path) -> Counter[str]:
    """Check broken files; returns how many were read and how many refused.

    Raises:
        AssertionError: names the case that failed; its file is left in the folder.
    """
    whole, outcomes = sources(), Counter[str]()
    for case in range(cases):
        random = np.random.default_rng([seed, case])
        path = folder / f"case{case}.wav"
        path.write_bytes(damage(whole[case % len(whole)], random))
        try:
            outcomes[check(path)] += 1
        except Exception as error:
            raise AssertionError(f"case {case} of seed {seed}: {error}; its file is {path}") from error
        path.unlink()
    return outcomes


def main() -> None:
    """Run as a script."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="audio-fuzz-"))
    try:
        sys.stdout.write(f"{dict(run(given.cases, given.seed, folder))}\n")
    except AssertionError:
        traceback.print_exc()
        raise SystemExit(1) from None
    folder.rmdir()


if __name__ == "__main__":
    main()
