"""The rules that a recipe keeps: against the corpora at hand, and where these have the sources of its rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import pandas as pd

from bgknown.audio.files import RATE_HZ, count_frames_44k
from bgknown.corpora.columns import ESC50_PREFIXES, CorpusPrefixes
from bgknown.corpora.names import drop_type
from bgknown.corpora.pair import Corpora
from bgknown.errors import InvalidInputError
from bgknown.mixtures.naming import name_row
from bgknown.mixtures.pool import FindTwins, PoolRules
from bgknown.mixtures.recipe import (
    CLIP_FRAMES,
    DURATION_LIMITS_S,
    REF_LIMITS_DB,
    SNR_LIMITS_DB,
    RecipeRow,
    count_clip_frames,
    find_overlap_shift,
    list_rows,
)
from bgknown.paths import find_fault
from bgknown.tables import list_records

DEFAULT_RULES = PoolRules(clip_frames=CLIP_FRAMES)
"""The rules of mixtures of the default length."""


def check_recipe(
    recipe: pd.DataFrame, corpora: Corpora, rules: PoolRules = DEFAULT_RULES, find_twins: FindTwins | None = None
) -> None:
    """Check every row against the rules of BgKnown and the corpora at hand.

    Args:
        recipe: the recipe.
        corpora: the corpora.
        rules: the rules of the recordings; a recipe may have any licence, and any class.
        find_twins: finds audio that is in both splits; None if that is not checked.

    Raises:
        InvalidInputError: lists every row that breaks a rule; or says that all rows are of another duration.
    """
    rows = list_rows(recipe)
    _check_duration(rows, rules.clip_frames)
    known = _index_by_name(corpora, rules)
    faults = [f"  {row.clip_id}: {fault}" for row in rows for fault in _find_faults(row, known, rules.clip_frames)]
    if find_twins is not None:
        faults += _find_twin_faults(rows, known, find_twins)
    if faults:
        shown = "\n".join(faults[:50]) + (f"\n  ... and {len(faults) - 50} more" if len(faults) > 50 else "")
        raise InvalidInputError(
            f"the recipe breaks {len(faults)} rule{'s' * (len(faults) > 1)}; nothing was built:\n{shown}"
        )


def _check_duration(rows: Sequence[RecipeRow], clip_frames: int) -> None:
    """Refuse a recipe whose rows keep all rules of crops, but of another duration."""
    shifts = {abs(row.b_start - row.a_start) for row in rows}
    if len(shifts) != 1 or shifts == {find_overlap_shift(clip_frames)}:
        return
    found_s = _find_duration(shift := shifts.pop())
    if found_s is None or any(abs(row.c_start - row.a_start) < 2 * shift for row in rows):
        return
    raise InvalidInputError(
        f"the recipe has mixtures of {found_s:g} s, but {clip_frames / RATE_HZ:g} s were requested: b_start is "
        f"{shift:,} samples from a_start in all {len(rows):,} rows (the first: {rows[0].clip_id}), "
        f"{find_overlap_shift(clip_frames):,} are required; add --duration {found_s:g}, or give another recipe"
    )


def _find_duration(shift: int) -> float | None:
    """The duration in seconds, with the fewest digits, of mixtures with this overlap; None if there is none."""
    low, high = DURATION_LIMITS_S
    durations = (float(f"{2 * shift / RATE_HZ:.{digits}f}") for digits in range(6))
    fitting = (s for s in durations if low <= s <= high and find_overlap_shift(count_clip_frames(s)) == shift)
    return next(fitting, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class RowSources:
    """Where the corpora at hand have the sources of a row; a file is found by its stem, whatever its type."""

    row: RecipeRow
    """The row."""
    clip_file: str
    """The clip, relative to its corpus."""
    recording_file: str
    """The recording, relative to its corpus."""
    background_label: str
    """The recording's first label."""


def resolve_sources(recipe: pd.DataFrame, corpora: Corpora) -> Iterator[RowSources]:
    """The sources of each row of a recipe that ``check_recipe`` accepts."""
    known = _index_by_name(corpora)
    for row in list_rows(recipe):
        recording = known.recordings[drop_type(row.background_file)]
        yield RowSources(
            row=row,
            clip_file=known.clips[drop_type(row.foreground_file)]["file"],
            recording_file=recording["file"],
            background_label=recording["label"],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """The rows of the corpora's tables, by their files without types."""

    corpora: Corpora
    clips: Mapping[str, Mapping[str, Any]]
    recordings: Mapping[str, Mapping[str, Any]]
    clip_of_source: Mapping[str, str]
    """A clip for each source whose recording must not be a background."""


def _index_by_name(corpora: Corpora, rules: PoolRules = DEFAULT_RULES) -> _Known:
    clips, recordings = (
        {drop_type(row["file"]): row for row in list_records(index.table)}
        for index in (corpora.foreground, corpora.background)
    )
    of_source = {row["source"]: row["clip_id"] for row in clips.values() if row["source"]}
    clip_of_source = {} if rules.keep_sources else of_source
    return _Known(corpora=corpora, clips=clips, recordings=recordings, clip_of_source=clip_of_source)


def _find_twin_faults(rows: Sequence[RecipeRow], known: _Known, find_twins: FindTwins) -> Iterator[str]:
    """Backgrounds of training that are the same audio as one of testing."""
    used: dict[str, dict[str, Mapping[str, Any]]] = {"train": {}, "test": {}}
    for row in rows:
        recording = known.recordings.get(drop_type(row.background_file))
        if recording is not None and row.split in used:
            used[row.split][recording["file"]] = recording
    twins = find_twins(list(used["train"].values()), list(used["test"].values()))
    for file, other in sorted(twins.items()):
        clip_ids = [row.clip_id for row in rows if drop_type(row.background_file) == drop_type(file)]
        yield f"  {clip_ids[0]}: {file!r} is the same audio as {other!r}, a background of the other split"


def _find_faults(row: RecipeRow, known: _Known, clip_frames: int) -> Iterator[str]:
    fault = _find_path_fault(row, known.corpora.prefixes)
    if fault:
        yield fault
        return
    clip = known.clips.get(drop_type(row.foreground_file))
    recording = known.recordings.get(drop_type(row.background_file))
    fault = _find_name_fault(row, clip, known.corpora.foreground.facts.name)
    if clip is None or fault:
        yield fault
        return
    if recording is None:
        yield f"{row.background_file!r} is not listed in this {known.corpora.background.facts.name}"
        return
    yield from _find_label_faults(row, clip, known.corpora.foreground.facts.name)
    yield from _find_background_faults(row, clip, recording, known)
    for column, level, (low, high) in (("snr_db", row.snr_db, SNR_LIMITS_DB), ("ref_db", row.ref_db, REF_LIMITS_DB)):
        if not low <= level <= high:
            yield f"{column} is {level}; it must be in {low:g}..{high:g}"
    if recording["frames"]:
        yield from _find_crop_faults(row, count_frames_44k(recording["frames"], recording["rate_hz"]), clip_frames)


def _find_path_fault(row: RecipeRow, prefixes: CorpusPrefixes) -> str:
    """Which file of a row is outside its corpus; empty for none."""
    official = prefixes == ESC50_PREFIXES
    rule = "FOLDER/FILE" if official else "a path"
    files = {prefixes.foreground_file: row.foreground_file, prefixes.background_file: row.background_file}
    for column, file in files.items():
        if find_fault(file) or (official and (":" in file or not _has_one_folder(file))):
            return f"{column} {file!r} leaves the corpus; it must be {rule} relative to the corpus"
    return ""


def _find_label_faults(row: RecipeRow, clip: Mapping[str, Any], corpus: str) -> Iterator[str]:
    for column, value in (("fold", row.fold), ("target", row.target), ("category", row.category)):
        if value != clip[column]:
            yield f"{column} is {value!r}, in {corpus} it is {clip[column]!r}"
    split = clip["split"]
    if row.split != split:
        place = f"fold {clip['fold']} belongs to" if clip["fold"] else f"in {corpus} it is"
        yield f"split is {row.split!r}, {place} {split!r}"


def _find_background_faults(
    row: RecipeRow, clip: Mapping[str, Any], recording: Mapping[str, Any], known: _Known
) -> Iterator[str]:
    split, source, corpus = clip["split"], clip["source"], known.corpora.background
    if recording["split"] != split:
        part = corpus.part_of_split[split]
        place = f"{corpus.facts.name}'s {part} set"
        yield f"a {split} clip takes its background from {place}, not from {row.background_file!r}"
    if source and recording["source"] == source:
        yield f"the background shares the {describe_source(source)} with the clip"
    elif recording["source"] in known.clip_of_source:
        other = known.clip_of_source[recording["source"]]
        yield f"the clip {other} was cut from the background {row.background_file!r}; --keep-sources allows it"


def _has_one_folder(file: str) -> bool:
    return len(PurePosixPath(file.replace("\\", "/")).parts) == 2


def describe_source(source: str) -> str:
    """A source in words: Freesound ids are numbers."""
    return f"Freesound id {source}" if source.isascii() and source.isdigit() else f"source {source}"


def _find_name_fault(row: RecipeRow, clip: Mapping[str, Any] | None, corpus: str) -> str:
    """What is wrong with the names of a row and its clip; empty for nothing."""
    if clip is None or (row.draw is None and not _is_named(row, clip["clip_id"])):
        return f"{row.foreground_file!r} is not the clip of that name in this {corpus}"
    if row.draw is not None and row.draw < 0:
        return f"draw is {row.draw}; it must not be negative"
    if not _is_named(row, clip["clip_id"]):
        return f"draw {row.draw} of clip {clip['clip_id']} must be named {name_row(clip['clip_id'], row.draw)}"
    return ""


def _find_crop_faults(row: RecipeRow, frames: int, clip_frames: int) -> Iterator[str]:
    for name, start in row.starts.items():
        if start < 0 or start + clip_frames > frames:
            yield (
                f"{name}_start {start:,} to {start + clip_frames:,} goes beyond {row.background_file!r}, "
                f"which has {frames:,} samples at 44.1 kHz"
            )
    shift = find_overlap_shift(clip_frames)
    if abs(row.b_start - row.a_start) != shift:
        yield f"b_start must be {shift:,} samples before or after a_start (50 % overlap)"
    if abs(row.c_start - row.a_start) < clip_frames:
        yield f"c_start must be at least {clip_frames:,} samples before or after a_start (no overlap)"


def _is_named(row: RecipeRow, clip: str) -> bool:
    """Whether a row is named for its clip and its draw, with or without its SNR."""
    return row.clip_id in {name_row(clip, row.draw), name_row(clip, row.draw, row.snr_db)}
