"""Which changes lead from one soundscape to another.

The rule, class by class (the labels of Scaper). Levels are absolute: ``ref_db`` plus the SNR of an event, ``ref_db``
for a background; so a change of ``ref_db`` alone makes every class louder or quieter.

**Events.** An event of s1 and one of s2 belong together if they play the same file (the earlier with the earlier),
then if their levels are closest. What remains was added or removed. Two that belong together differ in level by
``LOUDER_DB`` or more: louder or quieter; by ``AUDIBLE_DB`` or more: slightly so. Only where a class has none of these
changes do the clips count: other files were replaced, and the same file moved earlier or later if its onset is
``MOVED_S`` or more away. In published pairs a change of level always brings another clip and onset with it.

**Backgrounds.** All layers of a background's label, events included, are one sound whose powers add up. With more or
fewer layers it is louder or quieter; with as many, by the same two limits. It is replaced if each side has a recording
that the other lacks. A label without a layer on one side was added or removed.

**Not a change:** where a background's recording starts, which is drawn again in every published pair; the length and
source time of an event; fades.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from bgknown.apwd.changes import LOUDER_DB, Change
from bgknown.soundscape import Layer, Soundscape

AUDIBLE_DB = 1.0
"""Least change of level that counts at all: about the smallest that listeners notice."""
MOVED_S = 0.5
"""Least change of an onset that counts."""

_ROUNDING_DB = 1e-9  # a change of exactly LOUDER_DB counts, however its two SNRs were rounded


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sound:
    """An event as it is compared."""

    file: str
    onset_s: float
    level_db: float


def find_changes(first: Soundscape, second: Soundscape) -> tuple[Change, ...]:
    """The changes from one soundscape to another, sorted, each once.

    Raises:
        InvalidInputError: a label holds ";" or ":".
    """
    backgrounds = {layer.label for scape in (first, second) for layer in scape.backgrounds}
    labels = {layer.label for scape in (first, second) for layer in scape.events}
    found: list[Change] = []
    for label in labels - backgrounds:
        found += _compare_events(label, _list_sounds(first, label), _list_sounds(second, label))
    for label in backgrounds:
        kinds = _compare_background(_list_sounds(first, label), _list_sounds(second, label))
        found += [Change(kind=f"background_{kind}", label=label) for kind in kinds]
    return tuple(sorted(found))


def _list_sounds(soundscape: Soundscape, label: str) -> list[_Sound]:
    """The layers of a class; those of the backgrounds have the level ``ref_db``, as in Scaper."""
    layers = [(layer, 0.0) for layer in soundscape.backgrounds]
    layers += [(layer, layer.snr_db) for layer in soundscape.events]
    return [
        _Sound(file=_name_recording(layer), onset_s=layer.event_time_s, level_db=soundscape.ref_db + snr_db)
        for layer, snr_db in layers
        if layer.label == label
    ]


def _name_recording(layer: Layer) -> str:
    """The name of a source, which is the same in background/ and foreground/."""
    return PurePosixPath(layer.file).name


def _compare_events(label: str, before: Sequence[_Sound], after: Sequence[_Sound]) -> Iterator[Change]:
    matched = _match(before, after)
    kinds = Counter(_name_level_change(new.level_db - old.level_db) for old, new in matched)
    kinds["removed"], kinds["added"] = len(before) - len(matched), len(after) - len(matched)
    del kinds[""]
    if not +kinds:
        kinds = Counter(_name_other_clip(old, new) for old, new in matched)
        del kinds[""]
    for kind, count in (+kinds).items():
        alone = (count, len(before)) == ((1, 0) if kind == "added" else (1, 1))
        yield Change(kind=f"event_{kind}", label=label, part=() if alone else (count, len(before)))


def _match(before: Sequence[_Sound], after: Sequence[_Sound]) -> list[tuple[_Sound, _Sound]]:
    """Events that belong together: of the same file, then of the closest levels."""
    matched: list[tuple[_Sound, _Sound]] = []
    rest, others = sorted(before, key=_order), sorted(after, key=_order)
    for old in list(rest):
        new = next((other for other in others if other.file == old.file), None)
        if new is not None:
            matched.append((old, new))
            rest.remove(old)
            others.remove(new)
    while rest and others:
        # the second key makes the way back the opposite of the way there
        old, new = min(
            ((old, new) for old in rest for new in others),
            key=lambda pair: (round(abs(pair[1].level_db - pair[0].level_db), 6), pair[0].level_db + pair[1].level_db),
        )
        matched.append((old, new))
        rest.remove(old)
        others.remove(new)
    return matched


def _order(sound: _Sound) -> tuple[float, float, str]:
    return sound.onset_s, sound.level_db, sound.file


def _name_level_change(change_db: float) -> str:
    """louder, quieter, slightly so, or nothing."""
    if abs(change_db) < AUDIBLE_DB - _ROUNDING_DB:
        return ""
    slightly = "" if abs(change_db) >= LOUDER_DB - _ROUNDING_DB else "slightly_"
    return f"{slightly}{'louder' if change_db > 0 else 'quieter'}"


def _name_other_clip(old: _Sound, new: _Sound) -> str:
    """replaced, earlier, later, or nothing."""
    if old.file != new.file:
        return "replaced"
    if abs(new.onset_s - old.onset_s) < MOVED_S:
        return ""
    return "later" if new.onset_s > old.onset_s else "earlier"


def _compare_background(before: Sequence[_Sound], after: Sequence[_Sound]) -> Iterator[str]:
    if not before or not after:
        yield "removed" if before else "added"
        return
    change_db = _add_up(after) - _add_up(before)
    level = _name_level_change(change_db)
    if len(before) != len(after) and abs(change_db) > _ROUNDING_DB:
        level = "louder" if change_db > 0 else "quieter"
    if level:
        yield level
    files = [Counter(sound.file for sound in side) for side in (before, after)]
    if files[0] - files[1] and files[1] - files[0]:
        yield "replaced"


def _add_up(sounds: Sequence[_Sound]) -> float:
    """The level of several sounds together, by their powers."""
    loudest = max(sound.level_db for sound in sounds)
    return loudest + 10 * math.log10(sum(10 ** ((sound.level_db - loudest) / 10) for sound in sounds))


def find_changes_in_style_1(first: Soundscape, second: Soundscape) -> tuple[Change, ...]:
    """The changes by the rule of text style 1, which is right for the shapes of the published pairs alone.

    It compares the number of a class's events, then their mean SNR; an event of a background's class is that
    background made louder.

    Raises:
        InvalidInputError: a label holds ";" or ":".
    """
    backgrounds = {layer.label for scape in (first, second) for layer in scape.backgrounds}
    found = []
    for label in sorted({event.label for scape in (first, second) for event in scape.events}):
        before, after = ([event.snr_db for event in scape.events if event.label == label] for scape in (first, second))
        kind = _find_kind_in_style_1(before, after, is_background=label in backgrounds)
        if kind is not None:
            found.append(Change(kind=kind, label=label))
    return tuple(sorted(found))


def _find_kind_in_style_1(before: Sequence[float], after: Sequence[float], *, is_background: bool) -> str | None:
    if len(before) != len(after):
        more = len(after) > len(before)
        if is_background:
            return "background_louder" if more else "background_quieter"
        return "event_added" if more else "event_removed"
    change_db = sum(after) / len(after) - sum(before) / len(before)
    if abs(change_db) < LOUDER_DB - _ROUNDING_DB:
        return None
    return f"{'background' if is_background else 'event'}_{'louder' if change_db > 0 else 'quieter'}"
