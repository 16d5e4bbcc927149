"""A packed corpus that travels: cut to a longest duration, coded without loss, and unpacked where it is trained on.

A machine for training may have no audio library, and a limit on what it receives. The first differences of 16-bit
samples, high and low bytes apart, deflate to about two thirds.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
import pandas as pd

from bgknown.jobs.files import hash_bytes, write_whole
from pretrain.corpus import AUDIO, DESCRIPTION, INDEX, open_corpus

CODED = "audio.deflate"


def shrink_corpus(corpus: Path, to: Path, longest_s: float) -> int:
    """Write a corpus in the form that travels.

    Args:
        corpus: folder of ``pretrain pack``.
        to: folder to write.
        longest_s: clips are cut to it, in s.

    Returns:
        the size of the folder in bytes.
    """
    whole = open_corpus(corpus)
    lengths = np.minimum(whole.lengths, round(longest_s * whole.rate_hz))
    audio = np.concatenate(
        [whole.audio[first : first + count] for first, count in zip(whole.starts, lengths, strict=True)]
    )
    table = pd.read_csv(corpus / INDEX).assign(start=lengths.cumsum() - lengths, length=lengths)
    index = table.to_csv(index=False).encode()
    description = json.loads((corpus / DESCRIPTION).read_text(encoding="utf-8"))
    description["index_sha256"] = hash_bytes(index)
    description["counts"]["hours"] = round(len(audio) / whole.rate_hz / 3_600, 4)
    description["notes"] = [*description.get("notes", []), f"clips are cut to {longest_s:g} s"]
    differences = np.diff(audio, prepend=np.int16(0)).astype("<i2")
    to.mkdir(parents=True, exist_ok=True)
    write_whole(to / CODED, zlib.compress(differences.view(np.uint8).reshape(-1, 2).T.tobytes(), 6))
    write_whole(to / INDEX, index)
    write_whole(to / DESCRIPTION, json.dumps(description, indent=2).encode())
    return sum(path.stat().st_size for path in to.iterdir())


def unpack_corpus(coded: Path, to: Path) -> Path:
    """Write the packed corpus that ``shrink_corpus`` coded; a plain corpus is returned as it is."""
    if not (coded / CODED).is_file():
        return coded
    if not (to / INDEX).is_file():
        to.mkdir(parents=True, exist_ok=True)
        parts = np.frombuffer(zlib.decompress((coded / CODED).read_bytes()), dtype=np.uint8).reshape(2, -1)
        differences = np.ascontiguousarray(parts.T).view("<i2")[:, 0]
        write_whole(to / AUDIO, np.cumsum(differences, dtype=np.int16).astype("<i2").tobytes())
        for name in (DESCRIPTION, INDEX):
            write_whole(to / name, (coded / name).read_bytes())
    return to
