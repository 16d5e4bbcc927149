"""A hash of what a file sounds like, which does not depend on how it is stored."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from bgknown.audio.decoding import AudioFile, explain_file_faults


def hash_decoded(path: Path) -> str:
    """SHA-256 of a file's rate, channels and samples (32-bit floats), 64 hexadecimal digits.

    WAV, AIFF and FLAC of the same samples (up to 24 bits) have the same hash; lossy copies have others.

    Raises:
        NotFoundError: the file does not exist.
        InvalidInputError: it cannot be decoded to its end.
    """
    with AudioFile(path) as file, explain_file_faults("cannot be decoded"):
        digest = hashlib.sha256(f"{file.rate_hz} {file.channels}\n".encode())
        for block in file.blocks(np.dtype(np.float32)):
            digest.update(np.ascontiguousarray(block + np.float32(0.0), dtype="<f4").data)  # adding 0 makes -0 a 0
        return digest.hexdigest()
