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
from bgknown.audio.files import LARGEST_PCM16
from bgknown.audio.loudness import SILENCE_LUFS
from bgknown.audio.sources import SourceStore
from bgknown.jams.writing import compose_jams
from bgknown.mixtures.recipe import RecipeRow
from bgknown.mixtures.row_parts import RowBackground, RowEvent, measure_sources, read_background, read_event
from bgknown.mixtures.row_task import RowError, RowTask
from bgknown.mixtures.snr import FADE_S, TOLERANCE_DB, Gains, ReferenceGain, StoredMixture, measure_snrs_db
from bgknown.render import direct, scaper
from bgknown.render.layers import Slice
from bgknown.render.parts import PendingSignal
from bgknown.soundscape import Layer, Soundscape, find_exact_duration, find_exact_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixed:
    """A rendered row."""

    pcm: dict[str, NDArray[np.int16]]
    """[N] for each of mix, a, b and c."""
    gains: Gains
    """The gains of its parts."""
    event_frames: int
    """The event's span: samples from the start of the mixture."""
    achieved_snr_db: float
    """The SNR of the mixture's file against its background in 16 bits; see ``bgknown.mixtures.snr``."""
    jams: bytes
    """The JAMS file."""
    amplitudes: dict[str, Amplitude]
    """Silence and clipping in the parts of sources that were used, by file; files without either are left out."""


def mix_rows(tasks: Sequence[RowTask], *, store: SourceStore, folder: Path) -> list[Mixed | RowError]:
    """Render rows of a recipe through Scaper, or through the renderer that is equal to it.

    Args:
        tasks: the rows; a few together take less time than each alone.
        store: opens and converts sources.
        folder: scratch folder of this process.

    Returns:
        for each row what was rendered, or why it cannot be: a source is missing, unreadable, too short, silent or too
        quiet.
    """
    measure_sources(tasks, store=store)
    rows = [_try_row(task, store, folder) for task in tasks]
    measured = iter(measure_snrs_db([row[1] for row in rows if not isinstance(row, RowError)]))
    return [
        row if isinstance(row, RowError) else _check_snr(task, row[0], next(measured))
        for task, row in zip(tasks, rows, strict=True)
    ]


def _try_row(task: RowTask, store: SourceStore, folder: Path) -> tuple[Mixed, StoredMixture] | RowError:
    try:
        return _mix_row(task, store, folder)
    except RowError as error:
        return error


def _mix_row(task: RowTask, store: SourceStore, folder: Path) -> tuple[Mixed, StoredMixture]:
    """Render a row whose SNR is yet to be measured, as the mixture's file and 16 bits of its background have it.

    Raises:
        RowError: it cannot be rendered.
    """
    row = task.row
    event = read_event(task, store)
    background = read_background(task, store)
    crops, event_frames = background.crops, event.part.samples.shape[0]
    if event.lufs <= SILENCE_LUFS:
        what = f"{task.clip_name}: the clip is silent (no part above -70 LUFS), so no SNR can be set"
        raise task.fail("snr_undefined", what)
    rendering = _render(task, event, background, folder)
    gain = _check_gain(task, rendering.gain)
    if task.reference_gain == "mixture":
        references = {"a": rendering.background, **{name: PendingSignal.amplify(crops[name], gain) for name in "bc"}}
    else:
        references = {name: PendingSignal.amplify(crop, 1.0) for name, crop in crops.items()}
    signals = {"mix": rendering.mixture, **references}
    scale = min(1.0, LARGEST_PCM16 / max(signal.peak for signal in signals.values()))
    pcm = {name: signal.to_pcm16(scale) for name, signal in signals.items()}
    gains = Gains(
        scale=scale,
        event_gain_db=row.ref_db + row.snr_db - event.lufs,
        background_gain_db=float(20.0 * np.log10(gain)),
        reference_gain=task.reference_gain,
    )
    amplitudes = {task.clip_name: event.part.amplitude, task.recording_name: background.amplitude}
    mixed = Mixed(
        pcm=pcm,
        gains=gains,
        event_frames=event_frames,
        achieved_snr_db=np.nan,
        jams=_format_jams(rendering.jams, row, round_scale(scale), task.reference_gain),
        amplitudes={file: found for file, found in amplitudes.items() if found != Amplitude()},
    )
    exact = replace(gains, reference_gain="mixture")
    reference = pcm["a"] if gains == exact else rendering.background.to_pcm16(scale)
    return mixed, StoredMixture(mixture=pcm["mix"], reference_a=reference, event_frames=event_frames, gains=exact)


def _check_snr(task: RowTask, mixed: Mixed, snr_db: float) -> Mixed | RowError:
    """The row with the SNR of its finished mixture; one that 16 bits cannot hold is a problem."""
    if abs(snr_db - task.row.snr_db) > TOLERANCE_DB:
        what = (
            f"the 16-bit mixture has an SNR of {snr_db:.2f} dB instead of {task.row.snr_db}: "
            f"it is too quiet (ref_db {task.row.ref_db}, scaled by {mixed.gains.scale:.2g})"
        )
        return task.fail("snr_not_held", what)
    return replace(mixed, achieved_snr_db=snr_db)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Rendering:
    """What an engine made of a row."""

    mixture: PendingSignal
    """The sum."""
    background: PendingSignal
    """Crop (a) as it is in the mixture."""
    gain: float
    """The factor that crop (a) got there, taken from its loudest sample; infinite if it is silent."""
    jams: dict[str, Any]
    """The JAMS as a tree."""


def _render(task: RowTask, event: RowEvent, background: RowBackground, folder: Path) -> _Rendering:
    crop, part = background.crops["a"], event.part
    scape = _describe_soundscape(task, part.samples.shape[0])
    of_crop = Slice(
        start=task.row.a_start, audio=crop.samples, source_frames=background.source_frames, lufs=background.lufs
    )
    of_event = Slice(start=0, audio=part.samples, source_frames=event.source_frames, lufs=event.lufs)
    if task.engine == "direct":
        mixture, placed = direct.mix_slices(scape, [of_crop, of_event])
        sounding = PendingSignal.amplify(crop, placed[0].gain)
        gain = sounding.peak / crop.peak if crop.peak else np.inf
        return _Rendering(mixture=PendingSignal.hold(mixture), background=sounding, gain=gain, jams=compose_jams(scape))
    rendered = scaper.render(scape, [of_crop, of_event], folder)
    layer, audio = rendered.layers[0], crop.audio
    loudest = int(np.argmax(np.abs(audio)))
    gain = float(layer[loudest] / audio[loudest]) if audio[loudest] else np.inf
    return _Rendering(
        mixture=PendingSignal.hold(rendered.mixture),
        background=PendingSignal.hold(layer),
        gain=gain,
        jams=rendered.jams,
    )


def _describe_soundscape(task: RowTask, event_frames: int) -> Soundscape:
    row = task.row
    whole_s = find_exact_duration(task.clip_frames)
    background_s, background_duration_s = find_exact_seconds(row.a_start, task.clip_frames, whole_s)
    event_s, event_duration_s = find_exact_seconds(0, event_frames)
    background = Layer(
        label=task.background_label,
        file=row.background_file,
        source_time_s=background_s,
        duration_s=background_duration_s,
    )
    event = Layer(
        label=row.category,
        file=row.foreground_file,
        source_time_s=event_s,
        duration_s=event_duration_s,
        snr_db=row.snr_db,
    )
    return Soundscape(
        name=row.clip_id,
        duration_s=whole_s,
        ref_db=row.ref_db,
        backgrounds=(background,),
        events=(event,),
        fade_in_s=FADE_S,
        fade_out_s=FADE_S,
    )


def _check_gain(task: RowTask, gain: float) -> float:
    """The factor that crop (a) got, unless that says that the crop was too quiet.

    Raises:
        RowError: the crop is too quiet.
    """
    crop_lufs = task.row.ref_db - 20.0 * np.log10(gain) if np.isfinite(gain) else SILENCE_LUFS
    if crop_lufs < task.min_level_lufs:
        minimum = f"below the minimum of {task.min_level_lufs:g}"
        raise task.fail("quiet_background", f"{task.recording_name}: crop (a) is at {crop_lufs:.1f} LUFS, {minimum}")
    return gain


def round_scale(scale: float) -> float:
    """The factor as stored in manifest and JAMS: nine significant digits, and below 1 if anything was scaled at all.

    Both engines, and different machines, agree on the audio, and on the factor to about 1e-15; nine digits are more
    than 16-bit samples can show. If the factor is just between two such numbers they may still differ in the last
    digit, so it is not part of any identity.
    """
    rounded = float(f"{scale:.9g}")
    return rounded if scale >= 1.0 else min(rounded, 1.0 - 1e-9)


def describe_work(row: RecipeRow, scale: float, reference_gain: str) -> dict[str, Any]:
    """What a JAMS says of the work after Scaper: the references, the common factor."""
    starts = {f"{name}_start": start for name, start in row.starts.items()}
    return {"clip_id": row.clip_id, **starts, "scale": scale, "reference_gain": reference_gain}


def _format_jams(jams: dict[str, Any], row: RecipeRow, scale: float, reference_gain: ReferenceGain) -> bytes:
    """The JAMS file: Scaper's, with a sandbox that describes what was done after Scaper."""
    jams["sandbox"]["bgknown"] = describe_work(row, scale, reference_gain)
    return (json.dumps(jams, indent=1) + "\n").encode()
