"""The fast renderer: the samples that Scaper 1.6.5 renders, from recordings that stay in memory.

The same steps as ``scaper.generate_from_jams``: slice, loudness, gain, fades, place, sum, all in float64 and in
Scaper's order, then 32-bit PCM and, if required, 16-bit PCM rounded from it. Only the loudness differs: it comes
from the tables of ``bgknown.render.weighted`` and may be off by about 1e-14 dB, so that a sample of a 32-bit file can
differ by one step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from bgknown.audio.files import RATE_HZ
from bgknown.errors import InvalidInputError
from bgknown.jams.writing import compose_jams
from bgknown.render.compiled import compile_function
from bgknown.render.layers import Rendered, Slice
from bgknown.render.passes import round_into_pcm16, round_to_16_bits
from bgknown.render.weighted import Recording, Samples, hold_unweighted, measure_slice_lufs, weigh
from bgknown.soundscape import Layer, Soundscape, find_exact_duration

FULL_SCALE = 1.0
STRETCH = 65_536
"""Samples that are summed and rounded at a time: 0.5 MB, which fits into a core's cache."""

Scratch = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PlacedLayer:
    """A layer ready to be summed."""

    recording: Recording
    """Its source."""
    start: int
    """First sample in the source."""
    frames: int
    """Length of the slice."""
    total: int
    """Length after the slice is repeated; ``frames`` if it is not."""
    onset: int
    """First sample in the soundscape."""
    gain: float
    """Factor."""
    fades: tuple[NDArray[np.float64], NDArray[np.float64]]
    """Factors of its first and its last samples."""


def render_mixture(soundscape: Soundscape, recording_of: Callable[[Layer], Recording]) -> NDArray[np.float64]:
    """The sum of a soundscape's layers.

    Args:
        soundscape: what to render.
        recording_of: opens a layer's source.

    Returns:
        [N] float64, N = duration times 44,100; may exceed full scale. If Scaper's rounding of times makes every
        background one sample shorter and there are no events, N is one less, as in Scaper.

    Raises:
        InvalidInputError: a source is shorter than its slice, an event shorter than its fades, or the layers differ in
            length, which Scaper cannot add either; and what ``recording_of`` raises.
    """
    total = sum_placed(*_place_layers(soundscape, recording_of))
    if soundscape.peak_normalization or soundscape.fix_clipping:
        peak = float(np.abs(total).max())
        if soundscape.peak_normalization or peak > FULL_SCALE:
            total *= 1.0 / (peak + 1e-10)
    return total


def render_mixture_pcm16(
    soundscape: Soundscape, recording_of: Callable[[Layer], Recording], out: NDArray[np.int16], scratch: Scratch
) -> NDArray[np.int16]:
    """``round_to_16_bits(render_mixture(...))`` in existing memory, a stretch at a time, in CPU caches.

    Allocating new memory for each of thousands of soundscapes costs more than the computation.

    Args:
        soundscape: what to render.
        recording_of: opens a layer's source.
        out: [at least N] memory for the result.
        scratch: [``STRETCH``] memory to sum in.

    Returns:
        [N] the beginning of ``out``.

    Raises:
        InvalidInputError: as ``render_mixture``.
    """
    if soundscape.peak_normalization or soundscape.fix_clipping:
        return round_to_16_bits(render_mixture(soundscape, recording_of))
    layers, frames = _place_layers(soundscape, recording_of)
    for begin in range(0, frames, STRETCH):
        part = scratch[: min(STRETCH, frames - begin)]
        part[:] = 0.0
        for layer in layers:
            if layer.onset < begin + part.shape[0] and begin < layer.onset + layer.total:
                _add_layer(part, layer, begin)
        round_into_pcm16(part, out[begin : begin + part.shape[0]])
    return out[:frames]


def _place_layers(soundscape: Soundscape, recording_of: Callable[[Layer], Recording]) -> tuple[list[PlacedLayer], int]:
    """The layers of a soundscape, and its length."""
    backgrounds = [place_background(soundscape, layer, recording_of(layer)) for layer in soundscape.backgrounds]
    events = [place_event(soundscape, layer, recording_of(layer)) for layer in soundscape.events]
    return [*backgrounds, *events], _find_length(soundscape, backgrounds)


def render(soundscape: Soundscape, slices: Sequence[Slice]) -> Rendered:
    """Render a soundscape from slices of its sources: ``scaper.render`` without Scaper.

    Args:
        soundscape: what to render.
        slices: the samples of each layer, backgrounds first.

    Raises:
        InvalidInputError: a slice is not the one that the soundscape requires.
    """
    frames = int(soundscape.duration_s * RATE_HZ)
    sounding = [sum_placed([layer], frames) for layer in place_slices(soundscape, slices)]
    mixed = sum(sounding, np.zeros(frames))
    return Rendered(mixture=mixed, layers=sounding, jams=compose_jams(soundscape))


def mix_slices(soundscape: Soundscape, slices: Sequence[Slice]) -> tuple[NDArray[np.float64], list[PlacedLayer]]:
    """The mixture [N] of ``render`` in one array, and the layers that are in it.

    Args, Raises: as ``render``.
    """
    layers = place_slices(soundscape, slices)
    return sum_placed(layers, int(soundscape.duration_s * RATE_HZ)), layers


def place_slices(soundscape: Soundscape, slices: Sequence[Slice]) -> list[PlacedLayer]:
    """The layers of a soundscape whose sources are known only in slices.

    Args:
        soundscape: what to render.
        slices: the samples of each layer, backgrounds first.

    Raises:
        InvalidInputError: a slice is not the one that the soundscape requires.
    """
    placed = []
    for number, (layer, part) in enumerate(zip((*soundscape.backgrounds, *soundscape.events), slices, strict=True)):
        start, stop = _find_bounds(layer)
        if (start, stop) != (part.start, part.start + part.audio.shape[0]):
            raise InvalidInputError(
                f"samples {start} to {stop} of {layer.file} are required, "
                f"but the slice has {part.start} to {part.start + part.audio.shape[0]}"
            )
        alone = replace(layer, source_time_s=0.0, duration_s=find_exact_duration(stop - start))
        place = place_background if number < len(soundscape.backgrounds) else place_event
        recording = weigh(part.audio) if part.lufs is None else hold_unweighted(part.audio)
        placed.append(place(soundscape, alone, recording, part.lufs))
    return placed


def sum_placed(layers: Sequence[PlacedLayer], frames: int) -> NDArray[np.float64]:
    """The sum [N] of layers, N = ``frames``."""
    total = np.zeros(frames)
    for layer in layers:
        _add_layer(total, layer)
    return total


def place_background(
    soundscape: Soundscape, layer: Layer, recording: Recording, lufs: float | None = None
) -> PlacedLayer:
    """A background: repeated if its source is shorter than the soundscape, at ref_db, without fades.

    Args:
        soundscape: the soundscape.
        layer: the background.
        recording: its source.
        lufs: loudness of its slice; None to measure it.

    Raises:
        InvalidInputError: the slice begins or ends outside the source.
    """
    start, stop = _find_bounds(layer)
    repeats = int(max(soundscape.duration_s // (recording.frames / RATE_HZ) + 1, 1))
    frames = min(stop, recording.frames) - start
    total = min(max(frames, 0) * repeats, stop)
    if frames < 1 or (repeats == 1 and stop > recording.frames):
        raise InvalidInputError(
            f"{layer.file}: samples {start:,} to {stop:,} are required, the source has {recording.frames:,}"
        )
    if lufs is None:
        lufs = measure_slice_lufs(recording, start, frames, total)
    gain_db = soundscape.ref_db - lufs
    return PlacedLayer(
        recording=recording,
        start=start,
        frames=frames,
        total=total,
        onset=0,
        gain=_convert_gain(gain_db),
        fades=(_make_fade_in(0), _make_fade_out(0)),
    )


def place_event(soundscape: Soundscape, layer: Layer, recording: Recording, lufs: float | None = None) -> PlacedLayer:
    """A foreground event: at ref_db + snr, faded at both ends, at its onset.

    Args:
        soundscape: the soundscape.
        layer: the event.
        recording: its source.
        lufs: loudness of its slice; None to measure it.

    Raises:
        InvalidInputError: the source ends before the event does, or the event is shorter than a fade.
    """
    start, stop = _find_bounds(layer)
    if not 0 <= start < stop <= recording.frames:
        raise InvalidInputError(
            f"{layer.file}: samples {start:,} to {stop:,} are required, the source has {recording.frames:,}"
        )
    fades = _make_fade_in(int(soundscape.fade_in_s * RATE_HZ)), _make_fade_out(int(soundscape.fade_out_s * RATE_HZ))
    if stop - start < max(fades[0].size, fades[1].size):
        raise InvalidInputError(
            f"{layer.file}: the event has {stop - start:,} samples, its fades have {fades[0].size:,} and "
            f"{fades[1].size:,}"
        )
    if lufs is None:
        lufs = measure_slice_lufs(recording, start, stop - start, stop - start)
    gain_db = soundscape.ref_db + layer.snr_db - lufs
    return PlacedLayer(
        recording=recording,
        start=start,
        frames=stop - start,
        total=stop - start,
        onset=int(RATE_HZ * layer.event_time_s),
        gain=_convert_gain(gain_db),
        fades=fades,
    )


def _find_length(soundscape: Soundscape, backgrounds: Sequence[PlacedLayer]) -> int:
    """The length of a soundscape, which all its layers must share: backgrounds as they are sliced, events padded."""
    full = int(soundscape.duration_s * RATE_HZ)
    lengths = [min(placed.total, full) for placed in backgrounds]
    longest = full if soundscape.events or not lengths else max(lengths)
    for layer, length in zip(soundscape.backgrounds, lengths, strict=True):
        if length != longest:
            raise InvalidInputError(
                f"{layer.file}: has {length:,} samples from {layer.source_time_s} s on, another layer has "
                f"{longest:,}; Scaper cannot add them either; change source_time"
            )
    return longest


def _find_bounds(layer: Layer) -> tuple[int, int]:
    """First sample and end of a layer's slice, by Scaper's arithmetic."""
    return int(layer.source_time_s * RATE_HZ), int((layer.source_time_s + layer.duration_s) * RATE_HZ)


def _convert_gain(gain_db: float) -> float:
    return float(np.exp(gain_db * np.log(10) / 20))


@lru_cache(maxsize=16)
def _make_fade_in(frames: int) -> NDArray[np.float64]:
    return np.sin(np.linspace(0.0, np.pi / 2.0, frames))


@lru_cache(maxsize=16)
def _make_fade_out(frames: int) -> NDArray[np.float64]:
    return np.sin(np.linspace(np.pi / 2.0, 0.0, frames))


def _add_layer(total: NDArray[np.float64], placed: PlacedLayer, begin: int = 0) -> None:
    """Add a layer to the stretch of the soundscape that begins at sample ``begin``."""
    source = placed.recording
    _sum_layer(
        total,
        source.samples,
        source.scale,
        placed.start,
        placed.frames,
        placed.total,
        placed.onset - begin,
        placed.gain,
        placed.fades[0],
        placed.fades[1],
    )


@compile_function
def _sum_layer(
    total: NDArray[np.float64],
    samples: Samples,
    scale: float,
    start: int,
    frames: int,
    length: int,
    onset: int,
    gain: float,
    fade_in: NDArray[np.float64],
    fade_out: NDArray[np.float64],
) -> None:
    heard = min(length, total.shape[0] - onset)
    index = max(0, -onset)
    falling = length - fade_out.shape[0]
    while index < min(fade_in.shape[0], heard):
        value = gain * (samples[start + index % frames] * scale) * fade_in[index]
        if index >= falling:
            value *= fade_out[index - falling]
        total[onset + index] += value
        index += 1
    while index < min(falling, heard):
        place = index % frames
        run = min(frames - place, min(falling, heard) - index)
        into = total[onset + index : onset + index + run]  # loops from 0 become vector instructions
        part = samples[start + place : start + place + run]
        for step in range(run):
            into[step] += gain * (part[step] * scale)
        index += run
    while index < heard:
        value = gain * (samples[start + index % frames] * scale)
        total[onset + index] += value * fade_out[index - falling]
        index += 1
