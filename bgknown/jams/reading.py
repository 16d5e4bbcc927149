"""Reading JAMS files of the ``scaper`` namespace, and check every field that a renderer uses.

The jams package validates a file against its schemas, which takes longer than rendering it; here the fields that a
renderer uses are checked one by one instead, and the message names the field.

Source: the form that ``scaper.Scaper.generate`` of Scaper 1.6.5 writes, with jams 0.3.
"""

from __future__ import annotations

import math
from typing import Any

from bgknown.audio.files import RATE_HZ
from bgknown.documents import parse_json, shorten_value
from bgknown.errors import InvalidInputError
from bgknown.paths import find_fault
from bgknown.soundscape import Layer, Soundscape

LONGEST_S = 3600.0
"""Longest soundscape that can be read."""

_CALLED = {"dict": "an object", "list": "a list", "str": "a text"}
_TREE = "source"  # the folder that published paths begin with
_LIMITS = {
    "duration": (0.01, LONGEST_S),
    "ref_db": (-120.0, 60.0),
    "snr": (-120.0, 120.0),
    "fade_in_len": (0.0, LONGEST_S),
    "fade_out_len": (0.0, LONGEST_S),
    "source_time": (0.0, 1e6),
    "event_time": (0.0, LONGEST_S),
    "event_duration": (1e-4, LONGEST_S),
}


def parse_jams(data: bytes, name: str) -> Soundscape:
    """The soundscape of a JAMS file.

    Layers name their sources relative to the source tree, without the ``source/`` that published paths begin with.
    Events are in the order of their onsets, as in ``jams.load``.

    Args:
        data: the file's content.
        name: the soundscape's name, which begins every message.

    Raises:
        InvalidInputError: the file is not such a JAMS, or needs something that is not rendered here (reverb, changes of
            pitch or length, several channels, another rate than 44.1 kHz, a part that was cut out later).
    """
    tree = parse_json(data, f"{name}: not a JAMS file", nan=True)  # every number that is used is checked
    number, annotation = _find_annotation(tree, name)
    where = f"{name}: annotations[{number}]"
    if _get_value(annotation, "sandbox", dict, where).get("slice"):
        raise InvalidInputError(f"{where}.sandbox.slice: a part was cut out of this soundscape, which is not supported")
    settings = _get_value(annotation["sandbox"], "scaper", dict, f"{where}.sandbox")
    spot = f"{where}.sandbox.scaper"
    _check_settings(settings, spot)
    layers: dict[str, list[Layer]] = {"background": [], "foreground": []}
    observations = [
        (_parse_observation(item, f"{where}.data[{index}]"))
        for index, item in enumerate(_get_value(annotation, "data", list, where))
    ]
    for role, layer in sorted(observations, key=lambda observed: observed[1].event_time_s):
        layers[role].append(layer)
    if not observations:
        raise InvalidInputError(f"{where}.data is empty; a soundscape has at least one layer")
    duration = "original_duration" if "original_duration" in settings else "duration"
    return Soundscape(
        name=name,
        duration_s=_get_number(settings, duration, spot, limits="duration"),
        ref_db=_get_number(settings, "ref_db", spot),
        backgrounds=tuple(layers["background"]),
        events=tuple(layers["foreground"]),
        fade_in_s=_get_number(settings, "fade_in_len", spot),
        fade_out_s=_get_number(settings, "fade_out_len", spot),
        fix_clipping=_get_flag(settings, "fix_clipping", spot),
        peak_normalization=_get_flag(settings, "peak_normalization", spot),
    )


def _find_annotation(tree: Any, name: str) -> tuple[int, dict[str, Any]]:
    annotations = tree.get("annotations") if isinstance(tree, dict) else None
    if not isinstance(annotations, list):
        raise InvalidInputError(f"{name}: not a JAMS file (no list of annotations)")
    for number, annotation in enumerate(annotations):
        if isinstance(annotation, dict) and annotation.get("namespace") == "scaper":
            return number, annotation
    raise InvalidInputError(f"{name}: has no annotation of the namespace 'scaper'")


def _check_settings(settings: dict[str, Any], where: str) -> None:
    fixed = {"sr": RATE_HZ, "n_channels": 1}
    for key, required in fixed.items():
        if (found := _get_number(settings, key, where)) != required:
            raise InvalidInputError(f"{where}.{key} is {found:g}, only {required} is supported")
    if settings.get("reverb") is not None:
        raise InvalidInputError(
            f"{where}.reverb is {_short(settings['reverb'])}; reverb is not supported, it must be null"
        )


def _parse_observation(item: Any, where: str) -> tuple[str, Layer]:
    if not isinstance(item, dict):
        raise InvalidInputError(f"{where} is {_short(item)}, must be an object")
    value = _get_value(item, "value", dict, where)
    where = f"{where}.value"
    role = value.get("role")
    if role not in ("background", "foreground"):  # a tuple: the value in the file may not be hashable
        raise InvalidInputError(f"{where}.role is {_short(role)}, must be 'background' or 'foreground'")
    for key in ("pitch_shift", "time_stretch"):
        if value.get(key) is not None:
            raise InvalidInputError(f"{where}.{key} is {_short(value[key])}; it is not supported, it must be null")
    label = _get_value(value, "label", str, where)
    return role, Layer(
        label=label,
        file=_parse_source(value, label, where),
        source_time_s=_get_number(value, "source_time", where),
        duration_s=_get_number(value, "event_duration", where),
        event_time_s=_get_number(value, "event_time", where),
        snr_db=_get_number(value, "snr", where),
    )


def _parse_source(value: dict[str, Any], label: str, where: str) -> str:
    """The source relative to the source tree; a path that leaves it is refused."""
    text = _get_value(value, "source_file", str, where)
    where = f"{where}.source_file"
    if fault := find_fault(text):
        raise InvalidInputError(f"{where} is {_short(text)}, which {fault}; it must not leave the source tree")
    parts = [part for part in text.replace("\\", "/").split("/") if part not in {"", "."}]
    if parts[:1] == [_TREE]:
        del parts[0]
    if len(parts) < 2 or parts[-2] != label:
        raise InvalidInputError(f"{where} is {_short(text)}; its folder must be the label, {label!r}")
    return "/".join(parts)


def _get_value(holder: dict[str, Any], key: str, kind: type, where: str) -> Any:
    value = holder.get(key)
    if not isinstance(value, kind):
        found = "missing" if key not in holder else _short(value)
        raise InvalidInputError(f"{where}.{key} is {found}, must be {_CALLED[kind.__name__]}")
    return value


def _get_number(holder: dict[str, Any], key: str, where: str, *, limits: str | None = None) -> float:
    value: Any = holder.get(key)
    if type(value) not in {int, float} or not math.isfinite(value):
        found = "missing" if key not in holder else _short(value)
        raise InvalidInputError(f"{where}.{key} is {found}, must be a finite number")
    low, high = _LIMITS.get(limits or key, (-math.inf, math.inf))
    if not low <= value <= high:
        raise InvalidInputError(f"{where}.{key} is {value:g}; it must be in {low:g}..{high:g}")
    return float(value)


def _get_flag(holder: dict[str, Any], key: str, where: str) -> bool:
    value = holder.get(key)
    if value is not None and not isinstance(value, bool):
        raise InvalidInputError(f"{where}.{key} is {_short(value)}, must be true or false")
    return bool(value)


_short = shorten_value
