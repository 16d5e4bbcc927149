"""Write JAMS files as Scaper 1.6.5 does, without Scaper.

Source: ``scaper.Scaper.generate`` of Scaper 1.6.5, with jams 0.3; every value is a constant.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bgknown.audio.files import RATE_HZ
from bgknown.soundscape import Layer, Soundscape

SCAPER_VERSION = "1.6.5"
JAMS_VERSION = "0.3.5"
"""The release of the package jams with which Scaper writes; it is named in every file."""


def compose_jams(
    soundscape: Soundscape,
    *,
    fg_path: str = ".",
    bg_path: str = ".",
    fg_labels: Sequence[str] | None = None,
    bg_labels: Sequence[str] | None = None,
    paths: tuple[str | None, str | None] = (None, None),
    no_audio: bool = False,
) -> dict[str, Any]:
    """The JAMS tree that Scaper 1.6.5 writes for this soundscape if every value is given as a constant.

    Args:
        soundscape: the soundscape; each layer's file is written as it is.
        fg_path: Scaper's folder of foreground sources.
        bg_path: Scaper's folder of background sources.
        fg_labels: every label of that folder; by default those of the soundscape.
        bg_labels: the same for the backgrounds.
        paths: the paths of audio and JAMS to write into the file.
        no_audio: the value of Scaper's ``no_audio``.
    """
    layers = [("background", layer) for layer in soundscape.backgrounds]
    layers += [("foreground", layer) for layer in soundscape.events]
    observations = [_compose_observation(role, layer) for role, layer in layers]
    settings = _compose_settings(soundscape, layers, (fg_path, bg_path), (fg_labels, bg_labels), paths)
    settings["no_audio"] = no_audio
    annotation = {
        "annotation_metadata": {
            "curator": {"name": "", "email": ""},
            "annotator": {},
            **dict.fromkeys(
                ("version", "corpus", "annotation_tools", "annotation_rules", "validation", "data_source"), ""
            ),
        },
        "namespace": "scaper",
        "data": sorted(observations, key=lambda observation: observation["time"]),
        "sandbox": {"scaper": settings},
        "time": 0,
        "duration": soundscape.duration_s,
    }
    return {
        "annotations": [annotation],
        "file_metadata": {
            "title": "",
            "artist": "",
            "release": "",
            "duration": soundscape.duration_s,
            "identifiers": {},
            "jams_version": JAMS_VERSION,
        },
        "sandbox": {},
    }


def _compose_settings(
    soundscape: Soundscape,
    layers: Sequence[tuple[str, Layer]],
    folders: tuple[str, str],
    labels: tuple[Sequence[str] | None, Sequence[str] | None],
    paths: tuple[str | None, str | None],
) -> dict[str, Any]:
    """Scaper's settings of a soundscape; folders and labels are those of foreground and background."""
    return {
        "duration": soundscape.duration_s,
        "original_duration": soundscape.duration_s,
        "fg_path": folders[0],
        "bg_path": folders[1],
        "fg_spec": [_compose_spec(role, layer) for role, layer in layers if role == "foreground"],
        "bg_spec": [_compose_spec(role, layer) for role, layer in layers if role == "background"],
        "fg_labels": _list_labels(labels[0], soundscape.events),
        "bg_labels": _list_labels(labels[1], soundscape.backgrounds),
        "protected_labels": [],
        "sr": RATE_HZ,
        "ref_db": soundscape.ref_db,
        "n_channels": 1,
        "fade_in_len": soundscape.fade_in_s,
        "fade_out_len": soundscape.fade_out_s,
        "n_events": len(soundscape.events),
        "polyphony_max": _measure_polyphony_max(soundscape.events),
        "polyphony_gini": _measure_polyphony_gini(soundscape),
        "allow_repeated_label": True,
        "allow_repeated_source": True,
        "reverb": None,
        "scaper_version": SCAPER_VERSION,
        "soundscape_audio_path": None,
        "isolated_events_audio_path": [],
        "audio_path": paths[0],
        "jams_path": paths[1],
        "fix_clipping": soundscape.fix_clipping,
        "peak_normalization": soundscape.peak_normalization,
        "save_isolated_events": False,
        "isolated_events_path": None,
        "disable_sox_warnings": True,
        "no_audio": False,
        "txt_path": None,
        "txt_sep": "\t",
        "disable_instantiation_warnings": False,
        "peak_normalization_scale_factor": 1.0,
        "ref_db_change": 0,
        "ref_db_generated": soundscape.ref_db,
        "quick_pitch_time": False,
    }


def _compose_observation(role: str, layer: Layer) -> dict[str, Any]:
    background = role == "background"
    return {
        "time": float(layer.event_time_s),
        "duration": float(layer.duration_s),
        "value": {
            "label": layer.label,
            "source_file": layer.file,
            "source_time": layer.source_time_s,
            "event_time": 0 if background else layer.event_time_s,
            "event_duration": layer.duration_s,
            "snr": 0 if background else layer.snr_db,
            "role": role,
            "pitch_shift": None,
            "time_stretch": None,
        },
        "confidence": 1.0,
    }


def _compose_spec(role: str, layer: Layer) -> list[Any]:
    value = _compose_observation(role, layer)["value"]
    names = ("label", "source_file", "source_time", "event_time", "event_duration", "snr")
    return [*(["const", value[name]] for name in names), role, None, None]


def _list_labels(given: Sequence[str] | None, layers: Sequence[Layer]) -> list[str]:
    return sorted({layer.label for layer in layers} if given is None else given)


def _measure_polyphony_max(events: Sequence[Layer]) -> int:
    """The largest number of events that sound at once; one that begins where another ends counts with it."""
    onsets = [(event.event_time_s, 0, 1) for event in events]
    offsets = [(event.event_time_s + event.duration_s, 1, -1) for event in events]
    return max((int(total) for total in np.cumsum([step for *_, step in sorted(onsets + offsets)])), default=0)


def _measure_polyphony_gini(soundscape: Soundscape, hop_s: float = 0.01) -> float:
    """One minus the Gini coefficient of the number of sounding events, sampled every 10 ms, as in Scaper."""
    if not soundscape.events:
        return 0
    samples = int(np.floor(soundscape.duration_s / hop_s) + 1)
    times = np.linspace(0, (samples - 1) * hop_s, samples)
    sounding = np.zeros(samples)
    for event in soundscape.events:
        first = np.abs(times - event.event_time_s).argmin()
        sounding[first : np.abs(times - (event.event_time_s + event.duration_s)).argmin()] += 1
    ordered = np.sort(sounding[:-1] + 1e-6)
    count = ordered.size
    ranks = 2 * np.arange(1, count + 1) - count - 1
    return float(1 - np.sum(ranks * ordered) / (count * np.sum(ordered)))
