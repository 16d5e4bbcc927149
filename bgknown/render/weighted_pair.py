"""Loudness of two signals at the same time, which takes little longer than that of one.

The loops are those of ``bgknown.render.weighted``, and so are the results, bit for bit.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bgknown.audio.files import RATE_HZ
from bgknown.audio.loudness import design_k_weighting
from bgknown.render.compiled import compile_function
from bgknown.render.weighted import CHUNK, Recording, Samples, fill_chunks, find_scale, measure_slice_lufs


def measure_both_lufs(first: Samples, second: Samples) -> tuple[float, float]:
    """``measure_samples_lufs`` of two signals in the time of the longer one, with the same results.

    Each sample has to wait for the one before it, and a processor has time for another signal meanwhile.
    """
    scales = find_scale(first), find_scale(second)
    tables = _fill_both_tables(first, second, scales, _FILTERS)
    measured = []
    for samples, scale, (energies, states) in zip((first, second), scales, (tables[:2], tables[2:]), strict=True):
        recording = Recording(samples=samples, scale=scale, energies=energies, states=states)
        measured.append(measure_slice_lufs(recording, 0, recording.frames, recording.frames))
    return measured[0], measured[1]


_FILTERS = design_k_weighting(RATE_HZ)


@compile_function
def _fill_both_tables(
    first: Samples, second: Samples, scales: tuple[float, float], filters: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """``_fill_tables`` of two signals at the same time, as far as both go, and then of the rest of the longer one."""
    chunks = first.shape[0] // CHUNK, second.shape[0] // CHUNK
    energies = np.empty(chunks[0]), np.empty(chunks[1])
    states = np.empty((chunks[0] + 1, 4)), np.empty((chunks[1] + 1, 4))
    a0, a1, a2, c1, c2 = filters[0, 0], filters[0, 1], filters[0, 2], filters[0, 4], filters[0, 5]
    b0, b1, b2, d1, d2 = filters[1, 0], filters[1, 1], filters[1, 2], filters[1, 4], filters[1, 5]
    s1 = s2 = t1 = t2 = u1 = u2 = v1 = v2 = 0.0
    both = min(chunks[0], chunks[1])
    for chunk in range(both):
        states[0][chunk] = s1, s2, t1, t2
        states[1][chunk] = u1, u2, v1, v2
        energy = other = 0.0
        for index in range(chunk * CHUNK, (chunk + 1) * CHUNK):
            x, p = first[index] * scales[0], second[index] * scales[1]
            y, q = a0 * x + s1, a0 * p + u1
            s1, u1 = a1 * x - c1 * y + s2, a1 * p - c1 * q + u2
            s2, u2 = a2 * x - c2 * y, a2 * p - c2 * q
            z, r = b0 * y + t1, b0 * q + v1
            t1, v1 = b1 * y - d1 * z + t2, b1 * q - d1 * r + v2
            t2, v2 = b2 * y - d2 * z, b2 * q - d2 * r
            energy += z * z
            other += r * r
        energies[0][chunk] = energy
        energies[1][chunk] = other
    states[0][both] = s1, s2, t1, t2
    states[1][both] = u1, u2, v1, v2
    fill_chunks(first, scales[0], both, energies[0], states[0], filters)
    fill_chunks(second, scales[1], both, energies[1], states[1], filters)
    return energies[0], states[0], energies[1], states[1]
