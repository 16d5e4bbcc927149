"""The samples of plain 16-bit WAV files from their bytes, for what has read the file anyway."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bgknown.audio.files import Sample, convert_rate
from bgknown.audio.mono import mix_down
from bgknown.audio.plain_wav import HEAD_BYTES, parse_plain_wav


def decode_plain_wav(data: bytes, rate_hz: int, dtype: type[Sample]) -> NDArray[Sample] | None:
    """``read_file`` of a file's bytes; None if it is not a plain WAV file of 16 bits.

    Args:
        data: the whole file.
        rate_hz: the rate to convert to.
        dtype: float64 or float32.

    Returns:
        [N] mono, full scale -1..1; always finite.
    """
    plain = parse_plain_wav(data[:HEAD_BYTES], len(data))
    if plain is None or plain.bits != 16:
        return None
    block = np.frombuffer(data, "<i2", plain.frames * plain.channels, plain.start).reshape(-1, plain.channels)
    mono = np.empty(plain.frames, dtype)
    mix_down(block, mono)
    return convert_rate(mono, plain.rate_hz, rate_hz)
