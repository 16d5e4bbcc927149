"""Checking a dataset on disk: hash again, measure again, compare with recipe and manifest."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd

from bgknown import dataset
from bgknown import recipe as recipes
from bgknown.audio import RATE_HZ, read_pcm16
from bgknown.dataset import SIGNALS, Dataset
from bgknown.errors import BgknownError
from bgknown.files import sha256
from bgknown.loudness import integrated_lufs
from bgknown.parallel import in_processes
from bgknown.snr import SOURCE_GAIN_TOLERANCE_DB, TOLERANCE_DB, Gains, measure_snr_db
from bgknown.tables import records

REF_TOLERANCE_DB = 0.05
"""How far reference a may be from ref_db, where it carries the mixture's gain."""


def verify(root: Path, *, jobs: int) -> tuple[Dataset, list[str]]:
    """Check a finished dataset.

    Args:
        root: its folder.
        jobs: number of processes.

    Returns:
        The dataset, and one line per fault, each naming the file or row, what is there and what should be.

    Raises:
        NotFoundError, InvalidInputError: there is no finished dataset, or its tables cannot be read at all.
    """
    data = dataset.open_dataset(root)
    faults = [*_table_faults(data), *_stray_files(data)]
    gain = data.description["configuration"]["reference_gain"]
    check = partial(_row_faults, root=root, reference_gain=gain)
    for found in in_processes(check, records(data.table), jobs=jobs, title="verify", unit="clip", batch=8):
        faults += found
    return data, sorted(set(faults))


def _table_faults(data: Dataset) -> Iterator[str]:
    """Manifest against recipe and description, and the rules that concern the dataset as a whole."""
    table = data.table
    try:
        recipe = recipes.read_recipe(data.root / dataset.RECIPE)
    except BgknownError as error:
        yield str(error)
        return
    recipe.index = pd.Index(recipe["clip_id"].tolist())
    described = data.description["recipe_sha256"]
    if recipes.recipe_sha256(recipe) != described:
        yield f"{dataset.RECIPE}: its rows are not those that {dataset.DESCRIPTION} names (recipe_sha256 {described})"
    if table.index.has_duplicates:
        yield f"{dataset.MANIFEST}: clip {table.index[table.index.duplicated()][0]} has two rows"
    skipped = {problem["where"] for problem in data.description["skipped"]}
    for clip_id in sorted(set(recipe.index) - set(table.index) - skipped):
        yield f"{dataset.MANIFEST}: the recipe's row {clip_id} is missing"
    for clip_id in sorted(set(table.index) - set(recipe.index)):
        yield f"{dataset.MANIFEST}: row {clip_id} is not in the recipe"
    for clip_id in table.index.intersection(recipe.index).unique():
        for column in recipes.COLUMNS:
            found, wanted = table.loc[clip_id, column], recipe.loc[clip_id, column]
            if str(found) != str(wanted):
                yield f"{dataset.MANIFEST}: row {clip_id}: {column} is {found}, the recipe says {wanted}"
    counts = data.description["counts"]
    found_counts = {
        "rows": len(table),
        **{split: int((table["split"] == split).sum()) for split in recipes.PART_OF_SPLIT},
    }
    for name, found in found_counts.items():
        if counts[name] != found:
            yield f"{dataset.DESCRIPTION}: counts.{name} is {counts[name]}, the manifest has {found}"
    yield from _rule_faults(table)


def _rule_faults(table: pd.DataFrame) -> Iterator[str]:
    splits = table.groupby("fsd50k_file")["split"].nunique()
    for file in splits[splits > 1].index:
        yield f"{dataset.MANIFEST}: the background {file} is in both splits"
    for row in records(table):
        parts = row["clip_id"].split("-")
        if len(parts) == 4 and parts[1] == PurePosixPath(row["fsd50k_file"]).stem:
            yield f"{dataset.MANIFEST}: row {row['clip_id']}: the background shares the clip's Freesound id {parts[1]}"


def _stray_files(data: Dataset) -> Iterator[str]:
    listed = {row[f"{name}_file"] for row in records(data.table) for name in dataset.FILES}
    for folder in ("audio", "jams"):
        for path in sorted((data.root / folder).rglob("*")):
            name = path.relative_to(data.root).as_posix()
            if path.is_file() and name not in listed:
                yield f"{name}: is in the folder but not in the manifest"


def _row_faults(row: dict[str, Any], *, root: Path, reference_gain: Any) -> list[str]:
    container = PurePosixPath(row["mix_file"]).suffix.lstrip(".")
    for name, path in dataset.relative_paths(row["clip_id"], container).items():
        if row[f"{name}_file"] != path:
            return [
                f"{dataset.MANIFEST}: row {row['clip_id']}: {name}_file is {row[f'{name}_file']!r}, must be {path!r}"
            ]
    faults, pcm = [], {}
    for name in dataset.FILES:
        path = row[f"{name}_file"]
        try:
            data = (root / path).read_bytes()
        except OSError as error:
            faults.append(f"{path}: {error.strerror or error}")
            continue
        if (found := sha256(data)) != row[f"{name}_sha256"]:
            faults.append(f"{path}: sha256 is {found[:12]}..., the manifest says {row[f'{name}_sha256'][:12]}...")
        if name in SIGNALS:
            try:
                pcm[name] = read_pcm16(root / path)
            except BgknownError as error:
                faults.append(str(error).replace(f"{root}/", "", 1))
                continue
            faults += _signal_faults(path, pcm[name])
        else:
            faults += _jams_faults(path, data, row)
    if {"mix", "a"} <= pcm.keys() and len(pcm["mix"]) == len(pcm["a"]) == recipes.CLIP_FRAMES:
        faults += _scale_faults(row, pcm) if len(pcm) == len(SIGNALS) else []
        faults += _level_faults(row, pcm["mix"], pcm["a"], reference_gain)
    return faults


def _signal_faults(path: str, pcm: Any) -> Iterator[str]:
    if pcm.size != recipes.CLIP_FRAMES:
        yield f"{path}: has {pcm.size:,} samples, must have {recipes.CLIP_FRAMES:,}"
    elif clipped := int(np.count_nonzero(pcm == -32_768)):
        yield f"{path}: is clipped ({clipped} samples below the largest that the scale allows)"


def _scale_faults(row: dict[str, Any], pcm: dict[str, Any]) -> Iterator[str]:
    """The loudest sample of a row's four signals lies at full scale exactly if a scale below 1 put it there."""
    peak = max(int(np.abs(signal.astype(np.int32)).max()) for signal in pcm.values())
    if not 0 < row["scale"] <= 1 or (row["scale"] < 1 and peak != 32_767):
        yield f"{dataset.MANIFEST}: row {row['clip_id']}: scale is {row['scale']}, but the loudest sample is {peak:,}"


def _level_faults(row: dict[str, Any], mix: Any, a: Any, reference_gain: Any) -> Iterator[str]:
    gains = Gains(
        scale=row["scale"],
        event_gain_db=row["event_gain_db"],
        background_gain_db=row["background_gain_db"],
        reference_gain=reference_gain,
    )
    measured = measure_snr_db(mix, a, int(row["event_frames"]), gains)
    exact = reference_gain == "mixture"
    if abs(measured - row["achieved_snr_db"]) > (0.001 if exact else SOURCE_GAIN_TOLERANCE_DB):
        yield f"{row['mix_file']}: its SNR measures {measured:.4f} dB, the manifest says {row['achieved_snr_db']}"
    if abs(measured - row["snr_db"]) > (TOLERANCE_DB if exact else SOURCE_GAIN_TOLERANCE_DB):
        yield f"{row['mix_file']}: its SNR measures {measured:.4f} dB, the recipe asks for {row['snr_db']}"
    to_source = 10.0 ** (-row["background_gain_db"] / 20.0) if exact else 1.0
    level = integrated_lufs(a / (32_768.0 * row["scale"]) * to_source, RATE_HZ) + row["background_gain_db"]
    if abs(level - row["ref_db"]) > REF_TOLERANCE_DB:
        yield f"{row['a_file']}: measures {level:.2f} LUFS in the mixture, the recipe asks for {row['ref_db']}"


def _jams_faults(path: str, data: bytes, row: dict[str, Any]) -> Iterator[str]:
    try:
        jams = json.loads(data)
        events = {event["value"]["role"]: event["value"] for event in jams["annotations"][0]["data"]}
        found = {
            "snr_db": events["foreground"]["snr"],
            "esc50_file": events["foreground"]["source_file"],
            "category": events["foreground"]["label"],
            "fsd50k_file": events["background"]["source_file"],
            "a_start": int(events["background"]["source_time"] * RATE_HZ),
            "ref_db": jams["annotations"][0]["sandbox"]["scaper"]["ref_db"],
        }
    except (ValueError, KeyError, IndexError, TypeError) as error:
        yield f"{path}: not a Scaper JAMS ({type(error).__name__}: {error})"
        return
    for column, value in found.items():
        if value != row[column]:
            yield f"{path}: {column} is {value!r}, the manifest says {row[column]!r}"
