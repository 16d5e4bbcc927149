"""One recipe row to its four signals: the mixture and the reference backgrounds a, b and c."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bgknown.audio.amplitude import Amplitude
from bgknown.audio.files import LARGEST_PCM16, RATE_HZ, to_pcm16
from bgknown.audio.loudness import SILENCE_LUFS, measure_lufs
from bgknown.audio.sources import Source, SourceStore
from bgknown.errors import BgknownError, InvalidInputError, NotFoundError
from bgknown.jobs.problems import Problem, make_problem
from bgknown.mixtures.recipe import CLIP_FRAMES
from bgknown.mixtures.snr import FADE_S, SHORTEST_EVENT_FRAMES, TOLERANCE_DB, Gains, ReferenceGain, measure_snr_db
from bgknown.render import direct, scaper
from bgknown.render.layers import Engine, Slice
from bgknown.soundscape import Layer, Soundscape, find_exact_seconds


class RowError(BgknownError, ValueError):
    """A row cannot be built; carries its problem."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.line())
        self.problem = problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixed:
    """A rendered row."""

    pcm: dict[str, NDArray[np.int16]]
    """[220500] for each of mix, a, b and c."""
    gains: Gains
    """What was multiplied."""
    event_frames: int
    """The event's span: samples from the start of the mixture."""
    achieved_snr_db: float
    """What the mixture's file holds, against its background in 16 bits; see ``bgknown.mixtures.snr``."""
    jams: bytes
    """The JAMS file."""
    amplitudes: dict[str, Amplitude]
    """Of the parts of sources that it is made of, by their files, where there is anything to report."""


def mix_row(
    row: dict[str, Any],
    *,
    clip_path: Path,
    recording_path: Path,
    background_label: str,
    reference_gain: ReferenceGain,
    min_level_lufs: float,
    engine: Engine,
    store: SourceStore,
    folder: Path,
) -> Mixed:
    """Render one recipe row through Scaper, or through the renderer that is equal to it.

    Args:
        row: a row of the recipe.
        clip_path: the ESC-50 clip.
        recording_path: the FSD50K recording.
        background_label: the recording's label in the JAMS.
        reference_gain: whether references carry the gain that (a) has in the mixture, or none.
        min_level_lufs: least loudness of crop (a) in its recording.
        engine: "scaper" or "direct".
        store: opens and converts sources.
        folder: scratch folder of this process.

    Raises:
        RowError: a source is missing, unreadable, too short, silent or too quiet.
    """
    amplitudes: dict[str, Amplitude] = {}
    event_source, event = _read_event(row, clip_path, store, amplitudes)
    recording, crops = _read_crops(row, recording_path, store, amplitudes)
    event_lufs = measure_lufs(event, RATE_HZ)
    if event_lufs <= SILENCE_LUFS:
        what = f"ESC-50 {row['esc50_file']}: the clip is silent (no part above -70 LUFS), so no SNR can be set"
        raise RowError(Problem(where=row["clip_id"], code="snr_undefined", what=what))
    slices = [
        Slice(start=row["a_start"], audio=crops["a"], source_frames=recording.frames),
        Slice(start=0, audio=event, source_frames=event_source.frames),
    ]
    soundscape = _soundscape(row, background_label, event.size)
    rendered = direct.render(soundscape, slices) if engine == "direct" else scaper.render(soundscape, slices, folder)
    background = rendered.layers[0]
    gain = _gain(row, crops["a"], background, min_level_lufs)
    written = crops if reference_gain == "source" else {"a": background, "b": crops["b"] * gain, "c": crops["c"] * gain}
    signals = {"mix": rendered.mixture, **written}
    scale = min(1.0, LARGEST_PCM16 / max(float(np.abs(signal).max()) for signal in signals.values()))
    pcm = {name: to_pcm16(signal * scale) for name, signal in signals.items()}
    gains = Gains(
        scale=scale,
        event_gain_db=row["ref_db"] + row["snr_db"] - event_lufs,
        background_gain_db=float(20.0 * np.log10(gain)),
        reference_gain=reference_gain,
    )
    measured = _measure(row, pcm, background, gains, event.size)
    return Mixed(
        pcm=pcm,
        gains=gains,
        event_frames=event.size,
        achieved_snr_db=measured,
        jams=_jams_bytes(rendered.jams, row, round_scale(scale), reference_gain),
        amplitudes=amplitudes,
    )


def _measure(
    row: dict[str, Any],
    pcm: dict[str, NDArray[np.int16]],
    background: NDArray[np.float64],
    gains: Gains,
    event_frames: int,
) -> float:
    """The SNR of the finished mixture; a row that 16 bits cannot hold is a problem."""
    exact = replace(gains, reference_gain="mixture")
    reference = pcm["a"] if gains == exact else to_pcm16(background * gains.scale)
    measured = measure_snr_db(pcm["mix"], reference, event_frames, exact)
    if abs(measured - row["snr_db"]) > TOLERANCE_DB:
        what = (
            f"the 16-bit mixture has an SNR of {measured:.2f} dB instead of {row['snr_db']}: "
            f"it is too quiet (ref_db {row['ref_db']}, scaled by {gains.scale:.2g})"
        )
        raise RowError(Problem(where=row["clip_id"], code="snr_not_held", what=what))
    return measured


def _soundscape(row: dict[str, Any], background_label: str, event_frames: int) -> Soundscape:
    background_s, background_duration_s = find_exact_seconds(row["a_start"], CLIP_FRAMES)
    event_s, event_duration_s = find_exact_seconds(0, event_frames)
    background = Layer(
        label=background_label,
        file=row["fsd50k_file"],
        source_time_s=background_s,
        duration_s=background_duration_s,
    )
    event = Layer(
        label=row["category"],
        file=row["esc50_file"],
        source_time_s=event_s,
        duration_s=event_duration_s,
        snr_db=row["snr_db"],
    )
    return Soundscape(
        name=row["clip_id"],
        duration_s=CLIP_FRAMES / RATE_HZ,
        ref_db=row["ref_db"],
        backgrounds=(background,),
        events=(event,),
        fade_in_s=FADE_S,
        fade_out_s=FADE_S,
    )


def _gain(
    row: dict[str, Any], crop: NDArray[np.float64], background: NDArray[np.float64], min_level_lufs: float
) -> float:
    """The factor that Scaper has put on crop (a), read off its loudest sample; refuses a crop that is too quiet."""
    loudest = int(np.argmax(np.abs(crop)))
    gain = float(background[loudest] / crop[loudest]) if crop[loudest] else np.inf
    crop_lufs = row["ref_db"] - 20.0 * np.log10(gain) if np.isfinite(gain) else SILENCE_LUFS
    if crop_lufs < min_level_lufs:
        what = f"FSD50K {row['fsd50k_file']}: crop (a) has {crop_lufs:.1f} LUFS, at least {min_level_lufs:g} wanted"
        raise RowError(Problem(where=row["clip_id"], code="quiet_background", what=what))
    return gain


def _read_event(
    row: dict[str, Any], path: Path, store: SourceStore, amplitudes: dict[str, Amplitude]
) -> tuple[Source, NDArray[np.float64]]:
    clip_id, file = row["clip_id"], row["esc50_file"]
    try:
        source = store.open(path)
        frames = min(source.frames, CLIP_FRAMES)
        if frames < SHORTEST_EVENT_FRAMES:
            what = (
                f"ESC-50 {file}: has {frames} samples, at least {SHORTEST_EVENT_FRAMES} (two fades of 10 ms) are "
                "required"
            )
            raise RowError(Problem(where=clip_id, code="too_short", what=what))
        audio, amplitude = source.read(0, frames)
    except (InvalidInputError, NotFoundError) as error:
        raise RowError(make_problem(error, where=clip_id, what=f"ESC-50 {file}")) from error
    _note(amplitudes, f"ESC-50 {file}", [amplitude])
    return source, audio


def _read_crops(
    row: dict[str, Any], path: Path, store: SourceStore, amplitudes: dict[str, Amplitude]
) -> tuple[Source, dict[str, NDArray[np.float64]]]:
    file = f"FSD50K {row['fsd50k_file']}"
    try:
        source = store.open(path)
        starts = {name: int(row[f"{name}_start"]) for name in "abc"}
        read = {name: source.read(start, start + CLIP_FRAMES) for name, start in starts.items()}
    except (InvalidInputError, NotFoundError) as error:
        raise RowError(make_problem(error, where=row["clip_id"], what=file)) from error
    _note(amplitudes, file, [amplitude for _, amplitude in read.values()])
    return source, {name: audio for name, (audio, _) in read.items()}


def _note(amplitudes: dict[str, Amplitude], file: str, parts: Sequence[Amplitude]) -> None:
    """Note a file of which some part is silent, or beyond full scale."""
    whole = Amplitude(silent=any(part.silent for part in parts), clipped=any(part.clipped for part in parts))
    if whole != Amplitude():
        amplitudes[file] = whole


def round_scale(scale: float) -> float:
    """The factor as manifest and JAMS tell it: nine significant digits, below 1 where anything was scaled at all.

    Both engines, and different machines, agree on the audio, and on the factor to some 1e-15; nine digits are more than
    16-bit samples can show. Where the factor is just between two such numbers they may still differ in the last digit,
    so no identity is made of it.
    """
    told = float(f"{scale:.9g}")
    return told if scale >= 1.0 else min(told, 1.0 - 1e-9)


def describe_work(row: dict[str, Any], scale: float, reference_gain: str) -> dict[str, Any]:
    """What a JAMS says of the work after Scaper: the references, the common factor."""
    starts = {f"{name}_start": int(row[f"{name}_start"]) for name in "abc"}
    return {"clip_id": row["clip_id"], **starts, "scale": scale, "reference_gain": reference_gain}


def _jams_bytes(jams: dict[str, Any], row: dict[str, Any], scale: float, reference_gain: ReferenceGain) -> bytes:
    """The JAMS file: Scaper's own, with a sandbox that says what was done after Scaper."""
    jams["sandbox"]["bgknown"] = describe_work(row, scale, reference_gain)
    return (json.dumps(jams, indent=1) + "\n").encode()
