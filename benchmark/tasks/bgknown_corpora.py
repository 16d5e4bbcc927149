"""What the task BgKnown has to know of a dataset's corpora: its name, its counts and its clean clips."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pandas as pd

from benchmark.embedding.clips import Clip
from benchmark.tasks.contract import TaskFacts
from bgknown.corpora import esc50
from bgknown.corpora.columns import ESC50_PREFIXES
from bgknown.corpora.listing import find_files
from bgknown.errors import InvalidInputError, NotFoundError
from bgknown.mixtures.dataset import Dataset
from bgknown.mixtures.recipe import MIXTURE_S


def describe_task(dataset: Dataset, facts: TaskFacts) -> TaskFacts:
    """The facts of a dataset: the published ones of BgKnown ESC-50 of 5 s, or those of the data at hand.

    Args:
        dataset: the dataset.
        facts: those of BgKnown ESC-50.

    Raises:
        InvalidInputError: all clips are of one class.
    """
    official = dataset.prefixes == ESC50_PREFIXES
    if official and dataset.duration_s == MIXTURE_S:
        return facts
    classes = dataset.table["category"].nunique()
    if classes < 2:
        raise InvalidInputError(f"{dataset.root}: has a single class; a probe needs two or more to tell apart")
    slug = re.sub("[^a-z0-9]+", "-", dataset.name.removeprefix("BgKnown ").lower()).strip("-")
    name = "-".join(
        [
            facts.name,
            *([slug] if not official else []),
            *([f"{dataset.duration_s:g}s"] * (dataset.duration_s != MIXTURE_S)),
        ]
    )
    corpora = dataset.description["corpora"].values()
    return replace(
        facts,
        name=name,
        title=f"{dataset.name}: classes from y_mix - y_bg, with known backgrounds of {dataset.duration_s:g} s",
        classes=classes,
        counts={split: int((dataset.table["split"] == split).sum()) for split in ("train", "test")},
        duration_s=dataset.duration_s,
        licence="; ".join(f"{corpus['name']}: {corpus.get('licence') or 'not stated'}" for corpus in corpora),
        url="bgknown build --foreground-table TABLE.csv --background-table TABLE.csv --out bgknown",
        protocols=("linear",),
    )


def locate_clean_clips(dataset: Dataset, data: Mapping[str, Path]) -> Path | None:
    """The folder of the clean clips among other data, if it was given."""
    if _has_esc50(dataset) and "esc50" in data:
        return data["esc50"]
    return None if dataset.prefixes == ESC50_PREFIXES else data.get("foreground")


def advise_clean_clips(dataset: Dataset) -> str:
    """How to give the clean clips."""
    if _has_esc50(dataset):
        return "give ESC-50 with --data esc50=DIR"
    return f"give the folder of the clips' table, {_name_foreground(dataset)}, with --data foreground=DIR"


def find_clean_clips(dataset: Dataset, table: pd.DataFrame, root: Path) -> list[Clip]:
    """The clips as they are in their corpus, cut or padded to the mixtures' length.

    Args:
        dataset: the dataset.
        table: rows of its manifest.
        root: folder of the corpus.

    Raises:
        NotFoundError: some are missing.
    """
    files = find_files(root, [str(file) for file in table[dataset.prefixes.foreground_file]])
    clips = [Clip(path=root / file, duration_s=dataset.duration_s) for file in files]
    missing = [clip.path for clip in clips if not clip.path.is_file()]
    if missing:
        corpus = "ESC-50" if _has_esc50(dataset) else f"folder of {_name_foreground(dataset)}"
        raise NotFoundError(
            f"{root}: {len(missing)} of {len(clips)} clips of the dataset are missing there, the first: "
            f"{missing[0].name}; give the {corpus} that the dataset was made from"
        )
    return clips


def _name_foreground(dataset: Dataset) -> str:
    return str(dataset.description["corpora"][dataset.prefixes.foreground].get("name", ""))


def _has_esc50(dataset: Dataset) -> bool:
    return dataset.prefixes == ESC50_PREFIXES or _name_foreground(dataset) == esc50.FACTS.name
