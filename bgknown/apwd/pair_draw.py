"""New pairs of the same kind as the published ones, from any source tree.

A pair is drawn in two steps: what changes and what stays (``plan_pair``), then every clip, start, onset and level of
both sides (``draw_pair``). Each pair has its own generator, so that the first thousand pairs are the same whether
a thousand or fifty thousand are drawn, by any number of processes.

Source: the published pairs (github.com/nttcslab/apwd-dataset). The defaults follow 39 of them that were read, of both
scenes and splits: ``ref_db`` -35.4..-26.3; SNRs of added, removed and background-class layers 0.2..11.8; of the louder
side of a change 1.0..11.7, changes of 6.1..10.8 dB; one change in 21 pairs, two in 18; and no event that stays. Of 69
pairs, the kinds in the order of ``KINDS`` number 19, 21, 16, 19, 11 and 15, which does not differ from equal shares.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from bgknown import seeding
from bgknown.apwd.changes import KINDS, LOUDER_DB, Change
from bgknown.apwd.sources.tree import SourceFile, SourceTree
from bgknown.audio.files import RATE_HZ
from bgknown.errors import InvalidInputError
from bgknown.jams.reading import LONGEST_S
from bgknown.soundscape import Layer, Soundscape

Range = tuple[float, float]
Item = TypeVar("Item")

FADE_S = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class PairRules:
    """The ranges and weights of a draw."""

    seed: int = 0
    """Seed of the draw."""
    duration_s: float = 10.0
    """Length of a soundscape, to the nearest sample."""
    backgrounds: int = 2
    """Background layers, each of another recording; the same recordings on both sides."""
    ref_db: Range = (-36.0, -26.0)
    """Loudness of each background, LUFS, uniform; the same on both sides."""
    snr_db: Range = (0.0, 12.0)
    """SNR of an event, and of a background's layer that appears or disappears, uniform; of an event that becomes
    louder or quieter, on its louder side."""
    change_db: Range = (6.0, 11.0)
    """By how much an event that becomes louder or quieter changes, uniform."""
    event_s: Range = (3.0, 5.0)
    """Length of an event, uniform; a shorter clip is used whole."""
    onset_s: Range = (0.0, 8.0)
    """Onset of an event, uniform; earlier if the event would not end within the soundscape."""
    changes: tuple[float, ...] = (21.0, 18.0)
    """Weights of one change, of two, and so on."""
    kept: tuple[float, ...] = (1.0,)
    """Weights of no class, one, two and so on that both sides also have at the same SNR; published pairs have none."""
    kinds: Mapping[str, float] = field(default_factory=lambda: dict.fromkeys(KINDS, 1.0))
    """Weights of the kinds of change; version 0.1.0 had 11, 9, 8, 13, 6 and 10, in the order of ``KINDS``."""

    def __post_init__(self) -> None:
        if not 1.0 <= self.duration_s <= LONGEST_S:
            raise InvalidInputError(f"duration_s is {self.duration_s}; a soundscape has 1 s to {LONGEST_S:g} s")
        if self.backgrounds < 1:
            raise InvalidInputError(f"backgrounds is {self.backgrounds}; a soundscape has at least one")
        limits = {"ref_db": (-60.0, 0.0), "snr_db": (-40.0, 40.0), "change_db": (LOUDER_DB, 60.0)}
        limits |= {"event_s": (0.1, self.duration_s), "onset_s": (0.0, self.duration_s)}
        for name, (low, high) in limits.items():
            first, last = getattr(self, name)
            if not low <= first <= last <= high:
                raise InvalidInputError(f"{name} is {first:g}..{last:g}; it must rise within {low:g}..{high:g}")
        for name in ("changes", "kept"):
            weights = getattr(self, name)
            if not _are_weights(weights):
                raise InvalidInputError(
                    f"{name} has the weights {weights}; they must be finite and at least 0, and one must be above 0"
                )
        if unknown := sorted(set(self.kinds) - set(KINDS)):
            raise InvalidInputError(f"kinds: {unknown[0]!r} is not a kind of change; there are {', '.join(KINDS)}")
        if not _are_weights(self.kinds.values()):
            raise InvalidInputError("kinds: no weight may be below 0 or infinite, one must be above 0")

    @property
    def frames(self) -> int:
        """Samples of a soundscape at 44.1 kHz."""
        return round(self.duration_s * RATE_HZ)

    @property
    def exact_s(self) -> float:
        """Seconds from which Scaper computes exactly ``frames``; from 1.15 s it would compute one sample less."""
        seconds = self.frames / RATE_HZ
        return seconds if int(seconds * RATE_HZ) == self.frames else math.nextafter(seconds, math.inf)


def _are_weights(weights: Iterable[float]) -> bool:
    given = list(weights)
    return all(math.isfinite(weight) and weight >= 0 for weight in given) and sum(given) > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """The sources of a scene in one split."""

    split: str
    """dev or eval."""
    background: str
    """Label of the backgrounds."""
    backgrounds: tuple[SourceFile, ...]
    """Recordings long enough for a background, in background/."""
    layers: tuple[SourceFile, ...]
    """Such recordings in foreground/, for a background's layer as an event."""
    events: Mapping[str, tuple[SourceFile, ...]]
    """Clips of each event class."""


def gather_sources(tree: SourceTree, split: str, background: str, events: tuple[str, ...], rules: PairRules) -> Sources:
    """The sources from which a scene can be drawn.

    Raises:
        NotFoundError: the tree has no files of a label; lists the labels that have files.
        InvalidInputError: too few recordings are long enough, a clip is too short, or the event classes break a rule.
    """
    _check_events(background, events, len(rules.changes))
    recordings = _select_long_enough(tree.of(split, "background", background), rules)
    if len(recordings) < rules.backgrounds:
        raise InvalidInputError(
            f"{tree.root}: {split}/background/{background} has {len(recordings)} recordings of at least "
            f"{rules.duration_s:g} s, {rules.backgrounds} are required; `bgknown apwd prepare` loops shorter ones"
        )
    wants_layers = any(weight > 0 for kind, weight in rules.kinds.items() if kind.startswith("background"))
    layers = _gather_layers(tree, split, background, recordings, rules) if wants_layers else ()
    clips = {label: tree.of(split, "foreground", label) for label in events}
    for source in (source for label in events for source in clips[label]):
        if source.frames < int(FADE_S * RATE_HZ):
            raise InvalidInputError(
                f"{tree.root / source.file}: {source.frames} samples, shorter than an event's fade of {FADE_S:g} s; "
                "remove it"
            )
    return Sources(split=split, background=background, backgrounds=recordings, layers=layers, events=clips)


def _gather_layers(
    tree: SourceTree, split: str, background: str, recordings: tuple[SourceFile, ...], rules: PairRules
) -> tuple[SourceFile, ...]:
    """Recordings for a background's layer: enough that one is left, whichever backgrounds are chosen."""
    layers = _select_long_enough(tree.of(split, "foreground", background), rules)
    origins = {source.origin for source in layers}
    if len(origins) <= min(rules.backgrounds, len(origins & {source.origin for source in recordings})):
        raise InvalidInputError(
            f"{tree.root}: {split}/foreground/{background} has {len(origins)} recordings of at least "
            f"{rules.duration_s:g} s, and a layer must differ from the {rules.backgrounds} backgrounds; "
            "prepare more, or set the weights of the kinds background_louder and background_quieter to 0"
        )
    return layers


def _check_events(background: str, events: tuple[str, ...], most: int) -> None:
    for place, label in enumerate(events):
        if label in events[:place]:
            raise InvalidInputError(f"the event class {label!r} is named twice; name each class once")
        if label == background:
            raise InvalidInputError(f"the event class {label!r} is the background's label; name another")
    if len(events) < most:
        raise InvalidInputError(
            f"{len(events)} event classes ({', '.join(events)}) for up to {most} changes; name at least as many"
        )


def _select_long_enough(sources: tuple[SourceFile, ...], rules: PairRules) -> tuple[SourceFile, ...]:
    return tuple(source for source in sources if source.frames >= rules.frames)


@dataclass(frozen=True, slots=True, kw_only=True)
class PairPlan:
    """What changes in a pair, and what stays."""

    changes: tuple[Change, ...]
    """The changes, sorted."""
    kept: tuple[str, ...]
    """Classes that both sides have, at the same SNR."""


def plan_pair(sources: Sources, rules: PairRules, random: np.random.Generator) -> PairPlan:
    """Draw what changes in a pair: a class changes in one way, and the background at most once."""
    classes = [str(label) for label in random.permutation(sorted(sources.events))]
    weights = dict(sorted(rules.kinds.items()))
    if not sources.layers:
        weights = {kind: weight for kind, weight in weights.items() if kind.startswith("event")}
    found = []
    for _ in range(1 + _draw_weighted(random, rules.changes)):
        kind = list(weights)[_draw_weighted(random, tuple(weights.values()))]
        if kind.startswith("background"):
            found.append(Change(kind=kind, label=sources.background))
            weights = {kind: weight for kind, weight in weights.items() if kind.startswith("event")}
        else:
            found.append(Change(kind=kind, label=classes.pop()))
        if sum(weights.values()) <= 0:
            break
    kept = tuple(sorted(classes[: _draw_weighted(random, rules.kept)]))
    return PairPlan(changes=tuple(sorted(found)), kept=kept)


def draw_pair(sources: Sources, rules: PairRules, prefix: str, number: int) -> tuple[PairPlan, Soundscape, Soundscape]:
    """Draw a pair.

    Args:
        sources: the sources to draw from.
        rules: the ranges and weights.
        prefix: the name of the draw; with the split and the number it seeds the pair.
        number: the pair's number.

    Returns:
        The plan, and both soundscapes; files are named as in JAMS, beginning with ``source/``.
    """
    random = seeding.make_generator(rules.seed, prefix, sources.split, str(number))
    plan = plan_pair(sources, rules, random)
    ref_db = random.uniform(*rules.ref_db)
    chosen = [sources.backgrounds[place] for place in random.choice(len(sources.backgrounds), rules.backgrounds, False)]
    levels = _draw_levels(plan, rules, random)
    others = [source for source in sources.layers if source.origin not in {recording.origin for recording in chosen}]
    sides = []
    for side in range(2):
        backgrounds = tuple(_draw_background(sources.background, source, rules, random) for source in chosen)
        events = []
        for label, snr_db in levels[side]:
            if label == sources.background:
                layer = _draw_background(label, _draw_one(random, others), rules, random, snr_db=snr_db)
            else:
                layer = _draw_event(label, _draw_one(random, list(sources.events[label])), rules, random, snr_db=snr_db)
            events.append(layer)
        sides.append(
            Soundscape(
                name=f"s{side + 1}",
                duration_s=rules.exact_s,
                ref_db=ref_db,
                backgrounds=backgrounds,
                events=tuple(events),
                fade_in_s=FADE_S,
                fade_out_s=FADE_S,
            )
        )
    return plan, sides[0], sides[1]


def _draw_levels(
    plan: PairPlan, rules: PairRules, random: np.random.Generator
) -> tuple[list[tuple[str, float]], list[tuple[str, float]]]:
    """The classes of both sides with their SNRs."""
    first: list[tuple[str, float]] = []
    second: list[tuple[str, float]] = []
    for label in plan.kept:
        snr_db = random.uniform(*rules.snr_db)
        first.append((label, snr_db))
        second.append((label, snr_db))
    for change in plan.changes:
        loud_db = random.uniform(*rules.snr_db)
        quiet_db = loud_db - random.uniform(*rules.change_db)
        appears = change.kind in {"event_added", "background_louder"}
        goes = change.kind in {"event_removed", "background_quieter"}
        if not appears:
            first.append((change.label, quiet_db if change.kind == "event_louder" else loud_db))
        if not goes:
            second.append((change.label, quiet_db if change.kind == "event_quieter" else loud_db))
    return first, second


def _draw_background(
    label: str, source: SourceFile, rules: PairRules, random: np.random.Generator, snr_db: float | None = None
) -> Layer:
    """A background's layer; with an SNR, the same as a foreground event."""
    duration_s = rules.exact_s
    latest_s = min(duration_s, max(source.frames - rules.frames - 1, 0) / RATE_HZ)
    start_s = random.uniform(0.0, latest_s)
    while int((start_s + duration_s) * RATE_HZ) - int(start_s * RATE_HZ) != rules.frames:
        start_s = random.uniform(0.0, latest_s)  # Scaper's rounding would lose a sample
    return Layer(
        label=label,
        file=f"source/{source.file}",
        source_time_s=start_s,
        duration_s=duration_s,
        snr_db=0.0 if snr_db is None else snr_db,
    )


def _draw_event(
    label: str, source: SourceFile, rules: PairRules, random: np.random.Generator, *, snr_db: float
) -> Layer:
    duration_s = min(random.uniform(*rules.event_s), source.frames / RATE_HZ, rules.duration_s)
    onset_s = random.uniform(*rules.onset_s)
    if onset_s + duration_s > rules.duration_s:
        onset_s = rules.duration_s - duration_s
    return Layer(
        label=label,
        file=f"source/{source.file}",
        source_time_s=0.0,
        duration_s=duration_s,
        event_time_s=onset_s,
        snr_db=snr_db,
    )


def _draw_weighted(random: np.random.Generator, weights: tuple[float, ...]) -> int:
    shares = np.cumsum(weights) / np.sum(weights)
    return int(np.searchsorted(shares, random.uniform(), side="right"))


def _draw_one(random: np.random.Generator, items: list[Item]) -> Item:
    return items[int(random.integers(len(items)))]
