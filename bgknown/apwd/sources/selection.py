"""Which sources are prepared: those of published lists, or those that the corpora's own labels give."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bgknown.apwd.scenes import Scenes, Split
from bgknown.apwd.sources.published_lists import BACKGROUND, EVENT, SourceSpec, read_lists, sort_sources
from bgknown.corpora.pair import Corpora
from bgknown.errors import InvalidInputError, NotFoundError
from bgknown.jobs.problems import Problem
from bgknown.shown import name_few
from bgknown.tables import list_records

log = logging.getLogger(__name__)

_ADVICE = "name scenes with --scene, or your own labels with --background and --event"


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """Labels of the source tree, and what they are taken from."""

    backgrounds: Mapping[str, tuple[str, ...]]
    """For each background, labels of FSD50K; its recordings have one of them."""
    events: Mapping[str, str]
    """For each event class, its category in ESC-50."""

    def __post_init__(self) -> None:
        for label in (*self.backgrounds, *self.events):
            if not label or label in {".", ".."} or any(character in label for character in "/\\\0"):
                raise InvalidInputError(f"the label {label!r} cannot be the name of a folder; choose another")

    def pairs(self) -> list[tuple[str, str]]:
        """(role, label) of each."""
        return [*((BACKGROUND, label) for label in self.backgrounds), *((EVENT, label) for label in self.events)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The sources to prepare."""

    sources: tuple[SourceSpec, ...]
    """The sources, in the order of their files."""
    labels: Labels
    """The labels that were looked up in the corpora; none if everything comes from lists."""
    layout: str | None = None
    """The layout of the published lists, if there are any."""
    not_clean: tuple[SourceSpec, ...] = ()
    """What the lists mark as not clean."""
    sources_of_clips: tuple[SourceSpec, ...] = ()
    """Recordings that were left out because ESC-50 clips were cut from them."""


def choose(
    corpora: Corpora,
    scenes: Scenes,
    scene_names: Sequence[str],
    own: Labels,
    lists: Path | None,
    *,
    keep_sources: bool = False,
) -> Choice:
    """Decide which sources are prepared.

    No recording that a listed ESC-50 clip was cut from is chosen by its labels. Published lists are followed as they
    are, because the published pairs name what is on them.

    Args:
        corpora: the two corpora.
        scenes: the scenes, and the sources of each split.
        scene_names: the scenes to prepare; none means all of them, or only the lists and own labels if there are any.
        own: labels in addition to those of the scenes; they replace a scene's of the same name.
        lists: folder of published lists, which then decide the sources of a scene's labels.
        keep_sources: whether recordings that clips were cut from are chosen too.

    Raises:
        NotFoundError: there are no such scenes or lists, or a label has no sources at all.
        InvalidInputError: a list breaks a rule, or two sources have the same name.
    """
    names = scene_names or (() if lists is not None or own.pairs() else tuple(scenes.scenes))
    chosen = _look_up_labels(scenes, names)
    if lists is None:
        labels = Labels(backgrounds={**chosen.backgrounds, **own.backgrounds}, events={**chosen.events, **own.events})
        found, left_out = _leave_out(select_by_labels(corpora, scenes.splits, labels), corpora, keep_sources)
        choice = Choice(sources=found, labels=labels, sources_of_clips=left_out)
        _check_every_label(labels.pairs(), choice, corpora)
    else:
        published = read_lists(lists)
        listed = {(row.role, row.label) for row in (*published.sources, *published.not_clean)}
        filtered = (set(chosen.pairs()) if names else listed) - set(own.pairs())
        found, left_out = _leave_out(select_by_labels(corpora, scenes.splits, own), corpora, keep_sources)
        choice = Choice(
            sources=sort_sources(
                (
                    *(row for row in published.sources if (row.role, row.label) in filtered),
                    *found,
                )
            ),
            labels=own,
            layout=published.layout,
            not_clean=tuple(row for row in published.not_clean if (row.role, row.label) in filtered),
            sources_of_clips=left_out,
        )
        _check_every_label([*sorted(filtered), *own.pairs()], choice, corpora)
    _check_unique(choice.sources)
    _warn_of_crossing_events(choice.sources)
    return choice


def _leave_out(
    specs: Sequence[SourceSpec], corpora: Corpora, keep_sources: bool
) -> tuple[tuple[SourceSpec, ...], tuple[SourceSpec, ...]]:
    """The sources that are chosen, and recordings that are not because clips were cut from them."""
    of_clips = set() if keep_sources else set(corpora.foreground.table["source"])
    left_out = tuple(spec for spec in specs if spec.role == BACKGROUND and spec.stem in of_clips)
    return tuple(spec for spec in specs if spec not in set(left_out)), left_out


def _look_up_labels(scenes: Scenes, names: Sequence[str]) -> Labels:
    chosen = [scenes.scene(name) for name in names]
    return Labels(
        backgrounds={scene.background: scene.fsd50k for scene in chosen},
        events={label: scenes.esc50[label] for scene in chosen for label in scene.events},
    )


def select_by_labels(corpora: Corpora, splits: Mapping[str, Split], labels: Labels) -> tuple[SourceSpec, ...]:
    """The sources that the corpora have for some labels: every recording with one of them, every clip of a category.

    Args:
        corpora: the two corpora.
        splits: the parts of FSD50K and the folds of ESC-50 that go into dev and eval.
        labels: the labels to look for.

    Returns:
        In the order of their files; a label for which the corpora list nothing has none.
    """
    recordings, clips = corpora.background.table, corpora.foreground.table
    labels_of = [{label.strip() for label in text.split(",")} for text in recordings["labels"]]
    specs: list[SourceSpec] = []
    for split in splits.values():
        for label, sought in labels.backgrounds.items():
            chosen = (recordings["part"] == split.fsd50k) & np.array(
                [not there.isdisjoint(sought) for there in labels_of]
            )
            stems = recordings["recording_id"][chosen]
            specs += [SourceSpec(role=BACKGROUND, label=label, split=split.name, stem=stem) for stem in stems]
        for label, category in labels.events.items():
            chosen = (clips["category"] == category) & clips["fold"].isin(split.esc50_folds)
            stems = clips["clip_id"][chosen]
            specs += [SourceSpec(role=EVENT, label=label, split=split.name, stem=stem) for stem in stems]
    return sort_sources(specs)


def _check_every_label(pairs: Sequence[tuple[str, str]], choice: Choice, corpora: Corpora) -> None:
    """Refuse a label that has no sources; warn of a label that has them in one split only."""
    for role, label in pairs:
        splits = {row.split for row in choice.sources if (row.role, row.label) == (role, label)}
        if not splits:
            index, sought = corpora.background, ", ".join(choice.labels.backgrounds.get(label, ()))
            if role == EVENT:
                index, sought = corpora.foreground, choice.labels.events.get(label, "")
            where = f"{index.facts.name} at {index.root} lists nothing of {sought}" if sought else "the lists have none"
            raise NotFoundError(f"no sources for the {role} {label!r}: {where}; {_ADVICE}")
        if len(splits) == 1:
            log.warning("the %s %r has sources in %s only", role, label, *splits)


def _warn_of_crossing_events(specs: Sequence[SourceSpec]) -> None:
    """Name the Freesound sources of which dev and eval both have clips: `apwd draw` refuses labels that share one."""
    splits: dict[str, set[str]] = {}
    for row in specs:
        parts = row.stem.split("-")
        if row.role == EVENT and len(parts) == 4:
            splits.setdefault(parts[1], set()).add(row.split)
    if crossing := sorted(source for source, names in splits.items() if len(names) > 1):
        log.warning("events of dev and eval were cut from the same sources: %s", name_few(crossing))


def _check_unique(specs: Sequence[SourceSpec]) -> None:
    """Refuse two sources with the same name, and a label that is both a background and an event."""
    taken: dict[str, SourceSpec] = {}
    for row in specs:
        for file in row.files:
            if file in taken:
                both = " and ".join(f"the {source.role} {source.stem}" for source in (taken[file], row))
                raise InvalidInputError(
                    f"{both} would both become {file}; list each once, or rename one of their labels"
                )
            taken[file] = row
    roles: dict[str, str] = {}
    for row in specs:
        if roles.setdefault(row.label, row.role) != row.role:
            raise InvalidInputError(
                f"the label {row.label!r} is both a background and an event, whose files would be in one folder; "
                "rename one of them"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class LocatedSource:
    """A source, and where its corpus has it."""

    spec: SourceSpec
    """The source."""
    row: Mapping[str, Any]
    """Its row in the table of its corpus."""


def find_selected(
    specs: Sequence[SourceSpec], corpora: Corpora, scenes: Scenes
) -> tuple[list[LocatedSource], list[Problem]]:
    """The rows of sources in the tables of their corpora, and a problem for each source that is not listed."""
    recordings = {row["recording_id"]: row for row in list_records(corpora.background.table)}
    clips = {row["clip_id"]: row for row in list_records(corpora.foreground.table)}
    found, absent = [], []
    for source in specs:
        is_background = source.role == BACKGROUND
        part = scenes.splits[source.split].fsd50k
        row = (recordings if is_background else clips).get(source.stem)
        if row is None or (is_background and row["part"] != part):
            corpus = corpora.background if is_background else corpora.foreground
            file = f"FSD50K.{part}_audio/{source.stem}" if is_background else f"audio/{source.stem}"
            other = "" if row is None else f" of its part {part} (it is in {row['part']})"
            what = f"{corpus.facts.name}: {source.label} of {source.split}: no such clip in the table{other}"
            absent.append(Problem(where=f"{file}.wav", code="missing", what=what))
        else:
            found.append(LocatedSource(spec=source, row=row))
    return found, absent
