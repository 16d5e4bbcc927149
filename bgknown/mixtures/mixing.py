"""One recipe row to its four signals: the mixture and the reference backgrounds a, b and c."""

from __future__ import annotations

import contextlib
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
from bgknown.errors import BgknownError, InvalidInputError, NotFoundError
from bgknown.jams.writing import compose_jams
from bgknown.jobs.problems import Problem, make_problem
from bgknown.mixtures.crop_levels import measure_in_pairs, read_crop
from bgknown.mixtures.recipe import RecipeRow
from bgknown.mixtures.snr import FADE_S, SHORTEST_EVENT_FRAMES, TOLERANCE_DB, Gains, ReferenceGain, measure_snr_db
from bgknown.render import direct, scaper
from bgknown.render.layers import Engine, Slice
from bgknown.render.parts import Part, PendingSignal, read_part
from bgknown.soundscape import Layer, Soundscape, find_exact_duration, find_exact_seconds


class RowError(BgknownError, ValueError):
    """A row cannot be built; carries its problem."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.line())
        self.problem = problem


@dataclass(frozen=True, slots=True, kw_only=True)
class RowTask:
    """One row of a recipe, its sources, and how to render it."""

    row: RecipeRow
    """The row."""
    clip_path: Path
    """The clip."""
    recording_path: Path
    """The recording of the background."""
    clip_frames: int
    """Samples in the mixture and in each reference."""
    foreground: str
    """Name of the corpus of the clip, for messages."""
    background: str
    """Name of the corpus of the recording."""
    background_label: str
    """The recording's label in the JAMS."""
    reference_gain: ReferenceGain
    """Whether references carry the gain that (a) has in the mixture, or none."""
    min_level_lufs: float
    """Least loudness of crop (a) in its recording."""
    engine: Engine
    """What renders."""

    @property
    def clip_name(self) -> str:
        """The clip in messages."""
        return f"{self.foreground} {self.row.foreground_file}"

    @property
    def recording_name(self) -> str:
        """The recording in messages."""
        return f"{self.background} {self.row.background_file}"

    def fail(self, code: str, what: str) -> RowError:
        """The error of a row that cannot be built."""
        return RowError(Problem(where=self.row.clip_id, code=code, what=what))


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


def mix_row(task: RowTask, *, store: SourceStore, folder: Path) -> Mixed:
    """Render one recipe row through Scaper, or through the renderer that is equal to it.

    Args:
        task: the row.
        store: opens and converts sources.
        folder: scratch folder of this process.

    Raises:
        RowError: a source is missing, unreadable, too short, silent or too quiet.
    """
    row = task.row
    event = _read_event(task, store)
    background = _read_crops(task, store)
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
    return Mixed(
        pcm=pcm,
        gains=gains,
        event_frames=event_frames,
        achieved_snr_db=_measure(task, pcm, rendering.background, gains, event_frames),
        jams=_format_jams(rendering.jams, row, round_scale(scale), task.reference_gain),
        amplitudes={file: found for file, found in amplitudes.items() if found != Amplitude()},
    )


def _measure(
    task: RowTask,
    pcm: dict[str, NDArray[np.int16]],
    background: PendingSignal,
    gains: Gains,
    event_frames: int,
) -> float:
    """The SNR of the finished mixture; a row that 16 bits cannot hold is a problem."""
    exact = replace(gains, reference_gain="mixture")
    reference = pcm["a"] if gains == exact else background.to_pcm16(gains.scale)
    measured = measure_snr_db(pcm["mix"], reference, event_frames, exact)
    if abs(measured - task.row.snr_db) > TOLERANCE_DB:
        what = (
            f"the 16-bit mixture has an SNR of {measured:.2f} dB instead of {task.row.snr_db}: "
            f"it is too quiet (ref_db {task.row.ref_db}, scaled by {gains.scale:.2g})"
        )
        raise task.fail("snr_not_held", what)
    return measured


def measure_sources(tasks: Sequence[RowTask], *, store: SourceStore) -> None:
    """Measure what a few rows mix, two slices at a time; ``mix_row`` reports what cannot be read.

    Args:
        tasks: as many rows as the store holds the sources of.
        store: opens and converts sources, and remembers their loudness.
    """
    wanted = []
    for task in tasks:
        for path, start in ((task.clip_path, 0), (task.recording_path, task.row.a_start)):
            with contextlib.suppress(InvalidInputError, NotFoundError):
                source = store.open(path)
                wanted.append((source, start, min(source.frames - start, task.clip_frames)))
    measure_in_pairs(wanted)


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


def _render(task: RowTask, event: _Event, background: _Background, folder: Path) -> _Rendering:
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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Event:
    """The part of a clip that is mixed."""

    part: Part
    """Its samples."""
    lufs: float
    """Its loudness."""
    source_frames: int
    """Length of the clip."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Background:
    """The parts of a recording that a row uses."""

    crops: dict[str, Part]
    """[N] for each of a, b and c."""
    lufs: float
    """Loudness of crop (a)."""
    amplitude: Amplitude
    """Whether any crop is silent or clipped."""
    source_frames: int
    """Length of the recording."""


def _read_event(task: RowTask, store: SourceStore) -> _Event:
    try:
        source = store.open(task.clip_path)
        frames = min(source.frames, task.clip_frames)
        if frames < SHORTEST_EVENT_FRAMES:
            least = f"at least {SHORTEST_EVENT_FRAMES} (two fades of 10 ms) are required"
            raise task.fail("too_short", f"{task.clip_name}: has {frames} samples, {least}")
        part, lufs = read_crop(source, 0, frames)
    except (InvalidInputError, NotFoundError) as error:
        raise RowError(make_problem(error, where=task.row.clip_id, what=task.clip_name)) from error
    return _Event(part=part, lufs=lufs, source_frames=source.frames)


def _read_crops(task: RowTask, store: SourceStore) -> _Background:
    frames, starts = task.clip_frames, task.row.starts
    try:
        source = store.open(task.recording_path)
        first, lufs = read_crop(source, starts["a"], frames)
        others = {name: read_part(source, starts[name], starts[name] + frames) for name in "bc"}
    except (InvalidInputError, NotFoundError) as error:
        raise RowError(make_problem(error, where=task.row.clip_id, what=task.recording_name)) from error
    parts = {"a": first, **others}
    return _Background(
        crops=parts,
        lufs=lufs,
        amplitude=Amplitude(
            silent=any(part.amplitude.silent for part in parts.values()),
            clipped=any(part.amplitude.clipped for part in parts.values()),
        ),
        source_frames=source.frames,
    )


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
