"""Which recordings may be backgrounds, and which of them a clip must not have.

No recording that a listed clip was cut from is a background, of that clip or of another, in the same split or the
other one: otherwise an encoder could know a test clip from the backgrounds of training, or hear the class of one clip
under another.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bgknown.audio.files import RATE_HZ, count_frames_44k
from bgknown.corpora import CorpusIndex
from bgknown.corpora.classes import contains_class, find_class_labels, split_labels
from bgknown.corpora.credits import Credit, list_credits
from bgknown.corpora.licences import find_licence_family
from bgknown.corpora.pair import Corpora
from bgknown.errors import InvalidInputError
from bgknown.mixtures.recipe import DATASET_SPLITS
from bgknown.shown import name_few

log = logging.getLogger(__name__)

FindTwins = Callable[[Sequence[Mapping[str, Any]], Sequence[Mapping[str, Any]]], Mapping[str, str]]
"""Finds the recordings that are the same audio as one of others (``bgknown.corpora.identical.find_identical``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolRules:
    """Which recordings may be backgrounds."""

    clip_frames: int
    """Samples in a crop."""
    keep_sources: bool = False
    """Whether recordings that other clips were cut from may be backgrounds."""
    exclude_same_class: bool = False
    """Whether a clip's background must not contain the clip's class."""
    licences: tuple[str, ...] = ()
    """Families of licences that a background must have; none means any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolCounts:
    """How many recordings of a split may be backgrounds, and why others may not; each counts once."""

    long_enough: int
    """Usable recordings that have room for crops (a) and (c)."""
    licence: int = 0
    """Left out for their licence."""
    sources_of_clips: int = 0
    """Left out because a clip was cut from them."""
    identical_audio: int = 0
    """Left out because the other split has the same audio; counted where they were drawn."""
    same_class: int = 0
    """Not left out, but not for all clips: they contain the class of some clips, which get others."""

    @property
    def left(self) -> int:
        """Recordings that may be backgrounds."""
        return self.long_enough - self.licence - self.sources_of_clips - self.identical_audio

    def describe(self, split: str) -> str:
        """The counts in words."""
        reasons = {
            "with another licence": self.licence,
            "from which clips were cut": self.sources_of_clips,
            "with the same audio as one in the other split": self.identical_audio,
        }
        out = ", ".join(f"{count:,} {why}" for why, count in reasons.items() if count)
        some = f"; {self.same_class:,} not for clips of a class that they contain" if self.same_class else ""
        without = f"; without {out}" if out else ""
        return f"{split} backgrounds: {self.left:,} of {self.long_enough:,} recordings{without}{some}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """The recordings that may be backgrounds of a split."""

    recordings: pd.DataFrame
    """Their rows of the index."""
    counts: PoolCounts
    """How many there are, and how many were left out."""
    of_class: Mapping[str, frozenset[str]]
    """The recordings that a clip of a class must not have."""

    def find_barred(self, category: str) -> frozenset[str]:
        """The recordings that a clip of a class must not have; none where any may contain its class."""
        return self.of_class.get(category, frozenset())

    def check_classes(self, recordings: pd.DataFrame, clips: pd.DataFrame) -> None:
        """Refuse to draw where a class has no background.

        Args:
            recordings: what is left of the pool.
            clips: the clips that draw.

        Raises:
            InvalidInputError: all of them contain a class of the clips; names it.
        """
        left = set(recordings["recording_id"])
        for category in sorted(set(clips["category"])):
            if left <= self.find_barred(category):
                raise InvalidInputError(
                    f"every background that is left contains the class {category!r}, so its clips get none; "
                    "leave out --exclude-same-class, or add recordings"
                )


def list_long_enough(recordings: pd.DataFrame, clip_frames: int) -> pd.DataFrame:
    """The recordings that have room for a crop (a) and a crop (c)."""
    frames = count_frames_44k(recordings["frames"], recordings["rate_hz"])
    return recordings.loc[np.asarray(frames) >= 2 * clip_frames]


def list_clip_sources(clips: CorpusIndex) -> frozenset[str]:
    """What the listed clips were cut from, as far as it is known."""
    return frozenset(filter(None, clips.table["source"]))


def list_crossing_sources(clips: CorpusIndex) -> list[str]:
    """Sources from which clips of both splits were cut, sorted."""
    known = clips.table[clips.table["source"] != ""]
    splits = known.groupby("source")["split"].nunique()
    return sorted(str(source) for source in splits[splits > 1].index)


def warn_of_crossing_sources(clips: CorpusIndex) -> None:
    """Log a warning that names the sources from which clips of both splits were cut, if there are any."""
    if crossing := list_crossing_sources(clips):
        log.warning(
            "%s: clips of training and of testing were cut from the same source: %s; results on them may be too good",
            clips.facts.name,
            name_few(crossing),
        )


def warn_of_short_recordings(background: CorpusIndex, clip_frames: int) -> None:
    """Log how many recordings of a user's table are long enough; those of FSD50K are known."""
    usable = background.usable()
    left = len(list_long_enough(usable, clip_frames))
    if background.reader == "table" and left < len(usable):
        log.warning(
            "%s: %d of %d recordings have the %g s that three references need; the others are not used",
            background.facts.name,
            left,
            len(usable),
            2 * clip_frames / RATE_HZ,
        )


def make_pools(corpora: Corpora, rules: PoolRules) -> dict[str, Pool]:
    """The recordings that may be backgrounds of each split that has clips.

    Args:
        corpora: the corpora; all their clips count as listed.
        rules: the rules.

    Raises:
        InvalidInputError: no recording of a split has one of the licences; says which there are.
    """
    credits = list_credits(corpora.background) if rules.licences else {}
    sources = frozenset() if rules.keep_sources else list_clip_sources(corpora.foreground)
    return {
        split: _make_pool(corpora, split, rules, sources, credits)
        for split in DATASET_SPLITS
        if (corpora.foreground.table["split"] == split).any()
    }


def _make_pool(
    corpora: Corpora, split: str, rules: PoolRules, sources: frozenset[str], credits: Mapping[str, Credit]
) -> Pool:
    corpus = corpora.background.select_split(split)
    recordings = list_long_enough(corpus.usable(), rules.clip_frames)
    licensed = _select_licensed(recordings, corpus, rules.licences, credits) if rules.licences else recordings
    left = licensed[~licensed["source"].isin(sources)]
    clips = corpora.foreground.select_split(split)
    of_class = _find_same_class(left, clips, corpora) if rules.exclude_same_class else {}
    counts = PoolCounts(
        long_enough=len(recordings),
        licence=len(recordings) - len(licensed),
        sources_of_clips=len(licensed) - len(left),
        same_class=len(frozenset().union(*of_class.values())),
    )
    return Pool(recordings=left, counts=counts, of_class=of_class)


def _select_licensed(
    recordings: pd.DataFrame, corpus: CorpusIndex, families: Sequence[str], credits: Mapping[str, Credit]
) -> pd.DataFrame:
    licences = [credits[name].licence for name in recordings[corpus.key]]
    chosen = recordings[[find_licence_family(licence) in families for licence in licences]]
    if chosen.empty and len(recordings):
        counts = pd.Series([licence or "unknown" for licence in licences]).value_counts()
        there = name_few((f"{licence} ({count:,})" for licence, count in counts.items()), most=8)
        raise InvalidInputError(
            f"no background of {corpus.facts.name} has a licence of {', '.join(families)} (--licence); "
            f"its recordings have: {there}{_advise(corpus, licences)}"
        )
    return chosen


def _advise(corpus: CorpusIndex, licences: Sequence[str]) -> str:
    if any(licences):
        return ""
    return "; FSD50K's are in FSD50K.metadata" if corpus.reader == "fsd50k" else "; give the table a column licence"


def _find_same_class(recordings: pd.DataFrame, clips: CorpusIndex, corpora: Corpora) -> dict[str, frozenset[str]]:
    """For each class the recordings that contain it."""
    labels_of = dict(zip(recordings[corpora.background.key], recordings["labels"], strict=True))
    class_labels = list_class_labels(corpora)
    return {
        category: frozenset(
            name for name, labels in labels_of.items() if contains_class(labels, class_labels[category])
        )
        for category in set(clips.table["category"])
    }


def list_class_labels(corpora: Corpora) -> dict[str, frozenset[str]]:
    """For each class of the clips the labels of backgrounds that mean it."""
    vocabulary = frozenset().union(*map(split_labels, set(corpora.background.table["labels"])))
    categories = corpora.foreground.table["category"]
    return find_class_labels(categories, vocabulary, fsd50k=corpora.background.reader == "fsd50k")
