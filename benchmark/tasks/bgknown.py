"""BgKnown: how much of an added sound survives in y_mix - y_bg (Takeuchi et al., section 5.2).

Probe settings of the paper: mix (y_mix alone), and y_mix minus the embedding of a reference background: a (the same
5 s), b (half of them) or c (none of them). Controls: bg (the background alone: what a probe gets from the
background's company), shuffled (y_mix minus another clip's background: what subtracting just any background does) and
clean (the ESC-50 clip itself: the ceiling), which needs ESC-50 (``--data esc50=DIR``).

A dataset of other corpora (``bgknown build --foreground-table``) is a task of its own, called after the dataset, and so
is one of another duration; its clean clips are in the folder of its table (``--data foreground=DIR``).

Beyond the paper, ``a*``, ``b*``, ``c*`` and their control ``shuffled*`` subtract alpha times y_bg, with alpha chosen
inside the training part: a weight of 1 favours encoders that are linear in power. ``clean -> a`` trains the probe on
clean clips and tests it on the remainder: whether what is left is an embedding of the clip. Gains are paired
differences between settings; a gain over ``mix`` shows knowledge of the background only with a gain over ``shuffled``.

``benchmark.tasks.difference_retrieval`` has the figures that need no probe.
"""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmark.embedding.broken import find_usable_rows
from benchmark.embedding.clips import Clip
from benchmark.tasks.bgknown_corpora import advise_clean_clips, describe_task, find_clean_clips, locate_clean_clips
from benchmark.tasks.contract import (
    Fold,
    Setting,
    TaskData,
    TaskFacts,
    TaskOptions,
    shuffle_labels,
)
from benchmark.tasks.difference_retrieval import measure_difference_retrieval
from benchmark.tasks.other_backgrounds import pair_other_backgrounds
from benchmark.tasks.snr_bands import divide_by_snr
from bgknown.corpora.columns import find_corpus_prefixes
from bgknown.errors import InvalidInputError
from bgknown.jobs.files import hash_bytes, hash_file
from bgknown.mixtures.dataset import MANIFEST, Dataset, open_dataset
from bgknown.mixtures.leaks import DatasetSources, trace_sources
from bgknown.mixtures.naming import list_clip_names
from bgknown.mixtures.recipe import MIXTURE_S
from bgknown.mixtures.selection import take_rows
from bgknown.mixtures.verify import find_table_faults

FACTS = TaskFacts(
    name="bgknown",
    title="BgKnown ESC-50: ESC-50 classes from y_mix - y_bg, with known backgrounds",
    metric="accuracy",
    classes=50,
    counts={"train": 1200, "test": 800},
    duration_s=5.0,
    lr=1e-3,
    licence="that of ESC-50 (CC BY-NC) and of each FSD50K recording",
    citation=(
        "D. Takeuchi, M. Yasuda, D. Niizumi and N. Harada, "
        "Towards Learning a Difference-Aware General-Purpose Audio Representation"
    ),
    url="bgknown build --esc50 ESC-50 --fsd50k FSD50K --out bgknown",
    protocols=("linear", "paper"),
)

SETTINGS = {
    "mix": ("y_mix", "mix", ""),
    "a": ("y_mix - y_bg, the same 5 s of the background", "mix", "a"),
    "b": ("y_mix - y_bg, half of the same 5 s", "mix", "b"),
    "c": ("y_mix - y_bg, other 5 s of the same recording", "mix", "c"),
    "a*": ("y_mix - alpha y_bg, alpha chosen in training, the same 5 s", "mix", "a"),
    "b*": ("y_mix - alpha y_bg, alpha chosen in training, half of the same 5 s", "mix", "b"),
    "c*": ("y_mix - alpha y_bg, alpha chosen in training, other 5 s of the same recording", "mix", "c"),
    "bg": ("control: y_bg alone", "a", ""),
    "shuffled": ("control: y_mix minus another recording's y_bg", "mix", "a"),
    "shuffled*": ("control: y_mix minus alpha times another recording's y_bg, alpha chosen in training", "mix", "a"),
    "clean": ("control: the ESC-50 clip itself", "clean", ""),
    "clean -> a": ("trained on the ESC-50 clip itself, tested on y_mix - y_bg with the same 5 s", "clean", ""),
}
ALPHAS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25)
"""Weights of the background that settings with a star choose from."""
GAINS = (("a", "mix"), ("a", "shuffled"), ("a*", "mix"), ("a*", "shuffled*"))
"""Pairs of settings whose paired difference is measured."""
NEEDS = ("esc50", "foreground")
"""Other data it can use."""


def prepare(root: Path, options: TaskOptions) -> TaskData:
    """Read a dataset that ``bgknown build`` made.

    Args:
        root: its folder.
        options: ``data["esc50"]``, or ``data["foreground"]`` for a dataset of tables, gives the clean clips.

    Raises:
        NotFoundError: there is no finished dataset, or the folder of the clean clips lacks some.
        InvalidInputError: the dataset contradicts itself, or a table of splits was given.
    """
    if options.splits is not None:
        raise InvalidInputError(f"--splits {options.splits}: bgknown has a fixed split; draw another recipe instead")
    dataset = _open_whole_dataset(root)
    table = take_rows(dataset.table.reset_index(drop=True), options.limit)
    table = table.assign(clip=list_clip_names(table), label=table["category"])
    if options.shuffle_labels:
        table = table.assign(label=_shuffle_by_clip(table))
    signals = {name: _list_clips(dataset, table, name) for name in ("mix", "a", "b", "c")}
    clean = locate_clean_clips(dataset, options.data)
    if clean is not None:
        signals["clean"] = find_clean_clips(dataset, table, clean)
    fingerprint = dataset.id
    keep, notes = find_usable_rows(table, signals, options.broken)
    if not keep.all():  # fewer clips are another dataset
        fingerprint = hash_bytes(fingerprint.encode(), *(f"\n{name}".encode() for name in table["clip_id"][~keep]))
    table = add_origins(table[keep].reset_index(drop=True), trace_sources(dataset))
    signals = {name: list(itertools.compress(clips, keep)) for name, clips in signals.items()}
    if "clean" not in signals:
        notes.append(f"clean and the difference retrieval are not measured: {advise_clean_clips(dataset)}")
    other = pair_other_backgrounds(table)
    if other is None:
        notes.append(
            "shuffled is not measured: one recording is the background of more than half of a split, "
            "or a clip has nearly all recordings"
        )
    split = table["split"].to_numpy()
    fold = Fold(name="", train=np.flatnonzero(split == "train"), test=np.flatnonzero(split == "test"))
    return TaskData(
        facts=describe_task(dataset, FACTS),
        root=root,
        table=table,
        signals=signals,
        settings=list_bgknown_settings(other, clean="clean" in signals, duration_s=dataset.duration_s),
        folds=[fold],
        sha256=fingerprint,
        sha256_of_0_1_0=hash_file(root / MANIFEST),
        skipped=int(dataset.description["counts"]["skipped"]) + int((~keep).sum()),
        in_part=not keep.all(),
        leak_check=check_source_leaks(table),
        notes=notes,
        measures=measure_difference_retrieval,
        gains=GAINS,
        bands=divide_by_snr(table, fold.test) if len(fold.test) else None,
    )


def _open_whole_dataset(root: Path) -> Dataset:
    """A dataset whose tables agree with each other."""
    dataset = open_dataset(root)
    faults = list(find_table_faults(dataset))
    if faults:
        more = f" (and {len(faults) - 1} more faults)" if len(faults) > 1 else ""
        raise InvalidInputError(f"{root}: {faults[0]}{more}; `bgknown verify {root}` lists all; build it again")
    return dataset


def list_bgknown_settings(
    other: NDArray[np.int64] | None, *, clean: bool, duration_s: float = MIXTURE_S
) -> list[Setting]:
    """The settings that can be measured.

    Args:
        other: [n] the clip whose background each clip's ``shuffled`` subtracts; None where there is none.
        clean: whether the clean clips are there.
        duration_s: duration of the mixtures, for the descriptions.
    """
    settings = {
        name: Setting(
            name=name,
            about=about.replace("5 s", f"{duration_s:g} s"),
            signal=signal,
            minus=minus,
            minus_rows=other if name.startswith("shuffled") else None,
            alphas=ALPHAS if name.endswith("*") else (1.0,),
        )
        for name, (about, signal, minus) in SETTINGS.items()
        if (clean or signal != "clean") and (other is not None or not name.startswith("shuffled"))
    }
    if clean:
        settings["clean -> a"] = dataclasses.replace(settings["clean -> a"], tested=settings["a"])
    return list(settings.values())


def add_origins(table: pd.DataFrame, sources: DatasetSources) -> pd.DataFrame:
    """A manifest with where its sounds come from: ``group``, ``clip_source``, ``background`` and ``background_source``.

    The group is that of the manifest or, where that has none, the clip's source; a clip without either is a group by
    itself. The background is the recording's file.
    """
    prefixes = find_corpus_prefixes(table.columns)
    of_clips = [sources.clips.get(file, "") for file in table[prefixes.foreground_file]]
    given = table["group"].astype(str) if "group" in table else [""] * len(table)
    clips = list_clip_names(table)
    backgrounds = table[prefixes.background_file]
    return table.assign(
        group=[group or source or clip for group, source, clip in zip(given, of_clips, clips, strict=True)],
        clip_source=of_clips,
        background=backgrounds,
        background_source=[sources.backgrounds.get(file, "") for file in backgrounds],
    )


def check_source_leaks(table: pd.DataFrame) -> str:
    """Look for sounds and groups that are in both splits.

    Sources are compared between the two corpora. Groups and names of files mean something in their own corpus only: a
    speaker 17 is not the Freesound sound 17.

    Args:
        table: a manifest with the columns that ``add_origins`` adds.
    """
    sides: dict[str, set[tuple[str, str]]] = {"train": set(), "test": set()}
    columns = ("split", "group", "clip_source", "background", "background_source")
    for split, group, clip_source, file, background_source in zip(*(table[name] for name in columns), strict=True):
        sides[split] |= {("source", source) for source in (clip_source, background_source) if source}
        sides[split].add(("group", group))
        if not background_source:
            sides[split].add(("background", file))
    shared = sides["train"] & sides["test"]
    shared -= {("group", name) for kind, name in shared if kind == "source"}  # a group may be called after its source
    return f"{len(shared)} sources in both splits" if shared else "ok"


def _shuffle_by_clip(table: pd.DataFrame) -> pd.Series:
    """Labels shuffled among clips, so that all draws of a clip get the same."""
    clips = table.drop_duplicates("clip")
    labels = shuffle_labels(clips["label"], clips["split"], clips["clip"])
    return table["clip"].map(dict(zip(clips["clip"], labels, strict=True)))


def _list_clips(dataset: Dataset, table: pd.DataFrame, name: str) -> list[Clip]:
    pairs = zip(table[f"{name}_file"], table[f"{name}_sha256"], strict=True)
    return [Clip(path=dataset.root / file, duration_s=dataset.duration_s, sha256=digest) for file, digest in pairs]
