"""Loudness of up to four signals at the same time, which takes as long as that of one.

Each sample of a signal has to wait for the one before it, and meanwhile a processor can work on other signals; four fit
into its vectors. The loops are those of ``bgknown.render.weighted``, and so are the results, bit for bit.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bgknown.audio.files import RATE_HZ
from bgknown.audio.loudness import design_k_weighting
from bgknown.render.compiled import compile_vectors
from bgknown.render.layers import convert_to_float
from bgknown.render.weighted import (
    CHUNK,
    Recording,
    Samples,
    fill_chunks,
    find_scale,
    measure_samples_lufs,
    measure_slice_lufs,
)

LANES = 4
"""Signals that are measured at the same time."""


def measure_each_lufs(signals: Sequence[Samples]) -> list[float]:
    """``measure_samples_lufs`` of each signal, four at a time, with the same results.

    Args:
        signals: [N] each, of any lengths.
    """
    found = [0.0] * len(signals)
    order = sorted(range(len(signals)), key=lambda place: (signals[place].dtype.char, signals[place].shape[0]))
    for begin in range(0, len(order), LANES):
        places = order[begin : begin + LANES]
        for place, lufs in zip(places, _measure_few([signals[place] for place in places]), strict=True):
            found[place] = lufs
    return found


def _measure_few(signals: Sequence[Samples]) -> list[float]:
    """The loudness of at most four signals."""
    if len(signals) == 1:
        return [measure_samples_lufs(signals[0])]
    if len({signal.dtype for signal in signals}) > 1:
        signals = [convert_to_float(signal) for signal in signals]
    scale = find_scale(signals[0])
    lanes = [*signals, *[signals[0]] * (LANES - len(signals))]
    energies, states = _fill_four((lanes[0], lanes[1], lanes[2], lanes[3]), scale, _FILTERS)
    measured = []
    for lane, signal in enumerate(signals):
        frames = signal.shape[0]
        chunks = frames // CHUNK
        own, own_states = energies[lane, :chunks], states[lane, : chunks + 1]
        fill_chunks(signal, scale, min(other.shape[0] for other in signals) // CHUNK, own, own_states, _FILTERS)
        recording = Recording(samples=signal, scale=scale, energies=own, states=own_states)
        measured.append(measure_slice_lufs(recording, 0, frames, frames))
    return measured


_FILTERS = design_k_weighting(RATE_HZ)


@compile_vectors
def _fill_four(
    signals: tuple[Samples, Samples, Samples, Samples], scale: float, filters: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The tables of four signals as far as all of them go, with room for the rest of the longest."""
    first, second, third, fourth = signals
    sizes = first.shape[0], second.shape[0], third.shape[0], fourth.shape[0]
    energies = np.empty((4, max(sizes) // CHUNK))
    states = np.empty((4, max(sizes) // CHUNK + 1, 4))
    a0, a1, a2, c1, c2 = filters[0, 0], filters[0, 1], filters[0, 2], filters[0, 4], filters[0, 5]
    b0, b1, b2, d1, d2 = filters[1, 0], filters[1, 1], filters[1, 2], filters[1, 4], filters[1, 5]
    p1 = p2 = p3 = p4 = q1 = q2 = q3 = q4 = r1 = r2 = r3 = r4 = u1 = u2 = u3 = u4 = 0.0
    for chunk in range(min(sizes) // CHUNK):
        states[0, chunk] = p1, p2, p3, p4
        states[1, chunk] = q1, q2, q3, q4
        states[2, chunk] = r1, r2, r3, r4
        states[3, chunk] = u1, u2, u3, u4
        ep = eq = er = eu = 0.0
        for index in range(chunk * CHUNK, (chunk + 1) * CHUNK):
            # each line is one step of ``fill_chunks`` for four signals
            xp, xq, xr, xu = first[index] * scale, second[index] * scale, third[index] * scale, fourth[index] * scale
            yp, yq, yr, yu = a0 * xp + p1, a0 * xq + q1, a0 * xr + r1, a0 * xu + u1
            p1, q1 = a1 * xp - c1 * yp + p2, a1 * xq - c1 * yq + q2
            r1, u1 = a1 * xr - c1 * yr + r2, a1 * xu - c1 * yu + u2
            p2, q2, r2, u2 = a2 * xp - c2 * yp, a2 * xq - c2 * yq, a2 * xr - c2 * yr, a2 * xu - c2 * yu
            zp, zq, zr, zu = b0 * yp + p3, b0 * yq + q3, b0 * yr + r3, b0 * yu + u3
            p3, q3 = b1 * yp - d1 * zp + p4, b1 * yq - d1 * zq + q4
            r3, u3 = b1 * yr - d1 * zr + r4, b1 * yu - d1 * zu + u4
            p4, q4, r4, u4 = b2 * yp - d2 * zp, b2 * yq - d2 * zq, b2 * yr - d2 * zr, b2 * yu - d2 * zu
            ep += zp * zp
            eq += zq * zq
            er += zr * zr
            eu += zu * zu
        energies[0, chunk], energies[1, chunk], energies[2, chunk], energies[3, chunk] = ep, eq, er, eu
    last = min(sizes) // CHUNK
    states[0, last] = p1, p2, p3, p4
    states[1, last] = q1, q2, q3, q4
    states[2, last] = r1, r2, r3, r4
    states[3, last] = u1, u2, u3, u4
    return energies, states
