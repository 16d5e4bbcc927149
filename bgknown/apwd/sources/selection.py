"""Which sources are prepared: those of published lists, or those that the corpora's own labels give."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bgknown.apwd.scenes import Scenes, Split
from bgknown.apwd.sources.published_lists import BACKGROUND, EVENT, Wanted, in_order, read_lists
from bgknown.corpora.pair import Corpora
from bgknown.errors import InvalidInputError, NotFoundError
from bgknown.jobs.problems import Problem
from bgknown.tables import list_records

log = logging.getLogger(__name__)

_LEAVE_OUT = "name the scenes you want with --scene, or labels of your own with --background and --event"


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """Labels of the source tree, and what they are taken from."""

    backgrounds: Mapping[str, tuple[str, ...]]
    """For each background, the labels of FSD50K that its recordings bear one of."""
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
    """What is to be prepared."""

    wanted: tuple[Wanted, ...]
    """The sources, in the order of their files."""
    labels: Labels
    """The labels that were looked up in the corpora; none where everything comes from lists."""
    layout: str | None = None
    """The layout of the published lists, if there are any."""
    not_clean: tuple[Wanted, ...] = ()
    """What the lists mark as not clean."""


def choose(corpora: Corpora, scenes: Scenes, scene_names: Sequence[str], own: Labels, lists: Path | None) -> Choice:
    """Decide which sources are prepared.

    Args:
        corpora: the two corpora.
        scenes: the scenes there are, and the sources of each split.
        scene_names: the scenes wanted; none means all, or where there are lists or own labels, what these say.
        own: labels beside those of the scenes; they replace a scene's of the same name.
        lists: folder of published lists, which then say what a scene's labels are made of.

    Raises:
        NotFoundError: there are no such scenes or lists, or a label has no sources at all.
        InvalidInputError: a list breaks a rule, or two sources have the same name.
    """
    names = scene_names or (() if lists is not None or own.pairs() else tuple(scenes.scenes))
    chosen = _labels_of(scenes, names)
    if lists is None:
        labels = Labels(backgrounds={**chosen.backgrounds, **own.backgrounds}, events={**chosen.events, **own.events})
        choice = Choice(wanted=select_by_labels(corpora, scenes.splits, labels), labels=labels)
        _check_every_label(labels.pairs(), choice, corpora)
    else:
        published = read_lists(lists)
        listed = {(row.role, row.label) for row in (*published.wanted, *published.not_clean)}
        filtered = (set(chosen.pairs()) if names else listed) - set(own.pairs())
        choice = Choice(
            wanted=in_order(
                (
                    *(row for row in published.wanted if (row.role, row.label) in filtered),
                    *select_by_labels(corpora, scenes.splits, own),
                )
            ),
            labels=own,
            layout=published.layout,
            not_clean=tuple(row for row in published.not_clean if (row.role, row.label) in filtered),
        )
        _check_every_label([*sorted(filtered), *own.pairs()], choice, corpora)
    _check_names(choice.wanted)
    return choice


def _labels_of(scenes: Scenes, names: Sequence[str]) -> Labels:
    wanted = [scenes.scene(name) for name in names]
    return Labels(
        backgrounds={scene.background: scene.fsd50k for scene in wanted},
        events={label: scenes.esc50[label] for scene in wanted for label in scene.events},
    )


def select_by_labels(corpora: Corpora, splits: Mapping[str, Split], labels: Labels) -> tuple[Wanted, ...]:
    """What the corpora hold of some labels: every recording that bears one of them, every clip of a category.

    Args:
        corpora: the two corpora.
        splits: the parts of FSD50K and the folds of ESC-50 that go into dev and eval.
        labels: what to look for.

    Returns:
        In the order of their files; a label of which the corpora list nothing is not among them.
    """
    recordings, clips = corpora.fsd50k.table, corpora.esc50.table
    borne = [{label.strip() for label in text.split(",")} for text in recordings["labels"]]
    wanted = []
    for split in splits.values():
        for label, sought in labels.backgrounds.items():
            chosen = (recordings["part"] == split.fsd50k) & np.array([not there.isdisjoint(sought) for there in borne])
            stems = recordings["recording_id"][chosen]
            wanted += [Wanted(role=BACKGROUND, label=label, split=split.name, stem=stem) for stem in stems]
        for label, category in labels.events.items():
            chosen = (clips["category"] == category) & clips["fold"].isin(split.esc50_folds)
            stems = clips["clip_id"][chosen]
            wanted += [Wanted(role=EVENT, label=label, split=split.name, stem=stem) for stem in stems]
    return in_order(wanted)


def _check_every_label(pairs: Sequence[tuple[str, str]], choice: Choice, corpora: Corpora) -> None:
    """Refuse a label that has no sources; say so where it has them in one split only."""
    for role, label in pairs:
        splits = {row.split for row in choice.wanted if (row.role, row.label) == (role, label)}
        if not splits:
            index, sought = corpora.fsd50k, ", ".join(choice.labels.backgrounds.get(label, ()))
            if role == EVENT:
                index, sought = corpora.esc50, choice.labels.events.get(label, "")
            where = f"{index.facts.name} at {index.root} lists nothing of {sought}" if sought else "the lists hold none"
            raise NotFoundError(f"no sources for the {role} {label!r}: {where}; {_LEAVE_OUT}")
        if len(splits) == 1:
            log.warning("the %s %r has sources in %s only", role, label, *splits)


def _check_names(wanted: Sequence[Wanted]) -> None:
    """Refuse two sources with the same name, and a label that is both a background and an event."""
    taken: dict[str, Wanted] = {}
    for row in wanted:
        for file in row.files:
            if file in taken:
                both = " and ".join(f"the {source.role} {source.stem}" for source in (taken[file], row))
                raise InvalidInputError(
                    f"{both} would both become {file}; list each once, or rename one of their labels"
                )
            taken[file] = row
    roles: dict[str, str] = {}
    for row in wanted:
        if roles.setdefault(row.label, row.role) != row.role:
            raise InvalidInputError(
                f"the label {row.label!r} is both a background and an event, whose files would lie in one folder; "
                "rename one of them"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A wanted source, and where its corpus has it."""

    wanted: Wanted
    """The source."""
    row: Mapping[str, Any]
    """Its row in the table of its corpus."""


def find_selected(wanted: Sequence[Wanted], corpora: Corpora, scenes: Scenes) -> tuple[list[Found], list[Problem]]:
    """The corpora's rows of what is wanted, and a problem for each source that they do not list."""
    recordings = {row["recording_id"]: row for row in list_records(corpora.fsd50k.table)}
    clips = {row["clip_id"]: row for row in list_records(corpora.esc50.table)}
    found, absent = [], []
    for source in wanted:
        is_background = source.role == BACKGROUND
        part = scenes.splits[source.split].fsd50k
        row = (recordings if is_background else clips).get(source.stem)
        if row is None or (is_background and row["part"] != part):
            corpus = corpora.fsd50k if is_background else corpora.esc50
            file = f"FSD50K.{part}_audio/{source.stem}" if is_background else f"audio/{source.stem}"
            other = "" if row is None else f" of its part {part} (it is in {row['part']})"
            what = f"{corpus.facts.name}: {source.label} of {source.split}: no such clip in the table{other}"
            absent.append(Problem(where=f"{file}.wav", code="missing", what=what))
        else:
            found.append(Found(wanted=source, row=row))
    return found, absent
