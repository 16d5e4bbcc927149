"""Check a dataset on disk: hash and measure every file again, and compare with recipe and manifest."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bgknown.audio.files import RATE_HZ, read_pcm16
from bgknown.audio.loudness import measure_lufs
from bgknown.corpora.columns import TABLE_PREFIXES
from bgknown.corpora.listing import list_fitting, report_hidden
from bgknown.documents import parse_json
from bgknown.errors import BgknownError
from bgknown.freesound import find_distinctive_id, find_freesound_id
from bgknown.jobs.files import hash_bytes
from bgknown.jobs.parallel import in_processes
from bgknown.mixtures import dataset
from bgknown.mixtures import recipe as recipes
from bgknown.mixtures.dataset import Dataset
from bgknown.mixtures.leaks import find_leak_faults
from bgknown.mixtures.manifest import SAME_CLASS, SIGNALS, ManifestRow, list_paths
from bgknown.mixtures.mixing import describe_work
from bgknown.mixtures.snr import SOURCE_GAIN_TOLERANCE_DB, TOLERANCE_DB, Gains, StoredMixture, measure_snrs_db
from bgknown.userpath import user_path

REF_TOLERANCE_DB = 0.05
"""How far reference a may be from ref_db, if it carries the mixture's gain."""


def verify(root: Path, *, jobs: int) -> tuple[Dataset, list[str]]:
    """Check a finished dataset.

    Args:
        root: its folder.
        jobs: number of processes.

    Returns:
        The dataset, and one line per fault, each with the file or row, the value found and the value expected.

    Raises:
        NotFoundError, InvalidInputError: there is no finished dataset, or its tables cannot be read at all.
    """
    root = user_path(root)
    data = dataset.open_dataset(root)
    faults = [*find_edited_tables(root, data.description), *find_table_faults(data), *_find_stray_files(data)]
    check = partial(
        _find_row_faults, root=root, configuration=data.description["configuration"], clip_frames=data.clip_frames
    )
    for found in in_processes(check, data.rows(), jobs=jobs, title="verify", unit="row", batch=8):
        faults += found
    return data, sorted(set(faults))


def find_edited_tables(root: Path, description: Mapping[str, Any]) -> Iterator[str]:
    """One line for each table that is not the one that the build wrote; earlier versions did not store their hashes.

    Args:
        root: the folder of a dataset or a set of pairs.
        description: its description.
    """
    for name, sha256 in description.get("tables_sha256", {}).items():
        try:
            found = hash_bytes((root / name).read_bytes())
        except OSError as error:
            yield f"{name}: {error.strerror or error}"
            continue
        if found != sha256:
            yield f"{name}: was edited: sha256 is {found[:12]}..., {dataset.DESCRIPTION} says {sha256[:12]}..."


def find_table_faults(data: Dataset) -> Iterator[str]:
    """Manifest against recipe and description, and the rules that concern the dataset as a whole."""
    table, prefixes = data.table, data.prefixes
    try:
        recipe = recipes.set_prefixes(recipes.read_recipe(data.root / dataset.RECIPE), prefixes)
    except BgknownError as error:
        yield str(error)
        return
    described = data.description["recipe_sha256"]
    if recipes.hash_recipe(recipe) != described:
        yield f"{dataset.RECIPE}: its rows are not those that {dataset.DESCRIPTION} names (recipe_sha256 {described})"
    for clip_id in sorted(set(table["clip_id"][table["clip_id"].duplicated()])):
        yield f"{dataset.MANIFEST}: clip {clip_id} has two rows"
    skipped = {problem["where"] for problem in data.description["skipped"]}
    expected = {row.clip_id: row.to_columns(prefixes) for row in recipes.list_rows(recipe)}
    for clip_id in sorted(set(expected) - set(table["clip_id"]) - skipped):
        yield f"{dataset.MANIFEST}: the recipe's row {clip_id} is missing"
    for row in data.rows():
        if row.clip_id not in expected:
            yield f"{_name_row(row)} is not in the recipe"
            continue
        columns = row.to_columns(prefixes)
        for column, value in expected[row.clip_id].items():
            if (found := columns.get(column)) != value:
                yield f"{_name_row(row)}: {column} is {found}, the recipe says {value}"
    counts = data.description["counts"]
    found_counts = {
        "rows": len(table),
        **{split: int((table["split"] == split).sum()) for split in recipes.DATASET_SPLITS},
        **({"clips": len({row.clip for row in data.rows()})} if "clips" in counts else {}),
    }
    for name, found in found_counts.items():
        if counts[name] != found:
            yield f"{dataset.DESCRIPTION}: counts.{name} is {counts[name]}, the manifest has {found}"
    listed = len(data.description["skipped"])
    if counts["skipped"] != listed:
        yield f"{dataset.DESCRIPTION}: counts.skipped is {counts['skipped']}, {listed} are listed"
    yield from _find_rule_faults(data)
    yield from find_leak_faults(data)
    stored = data.description.get("dataset_id", data.id)  # 0.1.0 did not store it
    if stored != data.id:
        yield f"{dataset.DESCRIPTION}: dataset_id is {stored!r}, but the manifest's rows give {data.id}"


def _find_rule_faults(data: Dataset) -> Iterator[str]:
    splits = data.table.groupby(data.prefixes.background_file)["split"].nunique()
    for file in splits[splits > 1].index:
        yield f"{dataset.MANIFEST}: the background {file} is in both splits"
    if SAME_CLASS in data.table and data.prefixes == TABLE_PREFIXES:
        return  # the sources of tables are in ATTRIBUTION.csv; their files may be called anything
    find_id = find_freesound_id if data.has_fsd50k else find_distinctive_id
    for row in data.rows():
        number = find_distinctive_id(row.foreground_file)
        if number is not None and number == find_id(row.background_file):
            yield f"{_name_row(row)}: the background shares the clip's Freesound id {number}"


def _find_stray_files(data: Dataset) -> Iterator[str]:
    listed = {file for row in data.rows() for file in row.files.values()}
    yield from find_stray_files(data.root, ("audio", "jams"), listed)


def find_stray_files(root: Path, folders: Sequence[str], listed: Collection[str]) -> Iterator[str]:
    """One line for each file in some folders that is not listed; hidden files are only counted in a warning."""
    for folder in folders:
        if not (root / folder).is_dir():
            continue
        found = list_fitting(root / folder, lambda _: True)
        report_hidden(root / folder, found.hidden)
        for name in found.files:
            if f"{folder}/{name}" not in listed:
                yield f"{folder}/{name}: is in the folder but not in the manifest"


def _find_row_faults(row: ManifestRow, *, root: Path, configuration: Mapping[str, Any], clip_frames: int) -> list[str]:
    reference_gain = configuration["reference_gain"]
    columns, paths = row.to_columns(TABLE_PREFIXES), list_paths(row.clip_id, configuration["container"])
    expected = {f"{name}_file": path for name, path in paths.items()}
    expected["scaper_version"] = configuration["renderer"].rsplit(" ", 1)[-1]
    for column, value in expected.items():
        if columns[column] != value:
            return [f"{_name_row(row)}: {column} is {columns[column]!r}, must be {value!r}"]
    faults, pcm = [], {}
    for name, path in row.files.items():
        try:
            data = (root / path).read_bytes()
        except OSError as error:
            faults.append(f"{path}: {error.strerror or error}")
            continue
        if (found := hash_bytes(data)) != (sha256 := columns[f"{name}_sha256"]):
            faults.append(f"{path}: sha256 is {found[:12]}..., the manifest says {sha256[:12]}...")
        if name in SIGNALS:
            try:
                pcm[name] = read_pcm16(root / path)
            except BgknownError as error:
                faults.append(str(error).removeprefix(f"{root}/"))
                continue
            faults += _find_signal_faults(path, pcm[name], clip_frames)
        else:
            faults += _find_jams_faults(path, data, row, clip_frames, reference_gain)
    if len(pcm) == len(SIGNALS) and all(signal.size == clip_frames for signal in pcm.values()):
        faults += [*_find_scale_faults(row, pcm, reference_gain), *_find_overlap_faults(row, pcm["a"], pcm["b"])]
        faults += _find_level_faults(row, pcm["mix"], pcm["a"], reference_gain)
    return faults


def _name_row(row: ManifestRow) -> str:
    return f"{dataset.MANIFEST}: row {row.clip_id}"


def _find_signal_faults(path: str, pcm: Any, clip_frames: int) -> Iterator[str]:
    if pcm.size != clip_frames:
        yield f"{path}: has {pcm.size:,} samples, must have {clip_frames:,}"
    elif clipped := int(np.count_nonzero(pcm == -32_768)):
        yield f"{path}: is clipped ({clipped} samples below the largest that the scale allows)"


def _find_scale_faults(row: ManifestRow, pcm: Mapping[str, Any], reference_gain: str) -> Iterator[str]:
    """The loudest sample of a row's signals is at full scale if and only if a scale below 1 put it there.

    References without gain may reach full scale by themselves, as their sources do.
    """
    peaks = {name: int(np.abs(signal.astype(np.int32)).max()) for name, signal in pcm.items()}
    peak = max(peaks.values())
    scale = row.scale
    if scale < 1 and peak != 32_767:
        yield f"{_name_row(row)}: scale is {scale}, but the loudest sample is {peak:,}"
    if scale == 1 and reference_gain == "mixture":
        for name in [name for name in SIGNALS if peaks[name] >= 32_767]:
            yield f"{row.files[name]}: is clipped (reaches full scale although nothing was scaled)"


def _find_overlap_faults(row: ManifestRow, a: Any, b: Any) -> Iterator[str]:
    """Half of reference b is half of reference a."""
    shift = recipes.find_overlap_shift(a.size)
    late, early = (b, a) if row.b_start > row.a_start else (a, b)
    apart = np.abs(late[: a.size - shift].astype(np.int32) - early[shift:].astype(np.int32)).max()
    if apart > 1:
        yield f"{row.b_file}: its overlap with reference a differs by up to {apart:,} steps"


def _find_level_faults(row: ManifestRow, mix: Any, a: Any, reference_gain: Any) -> Iterator[str]:
    exact = reference_gain == "mixture"
    gains = Gains(
        scale=row.scale,
        event_gain_db=row.event_gain_db,
        background_gain_db=row.background_gain_db,
        reference_gain=reference_gain,
    )
    stored = StoredMixture(mixture=mix, reference_a=a, event_frames=row.event_frames, gains=gains)
    snr_db = measure_snrs_db([stored])[0]
    if abs(snr_db - row.achieved_snr_db) > (0.001 if exact else SOURCE_GAIN_TOLERANCE_DB):
        yield f"{row.mix_file}: its SNR measures {snr_db:.4f} dB, the manifest says {row.achieved_snr_db}"
    if abs(snr_db - row.snr_db) > (TOLERANCE_DB if exact else SOURCE_GAIN_TOLERANCE_DB):
        yield f"{row.mix_file}: its SNR measures {snr_db:.4f} dB, the recipe asks for {row.snr_db}"
    to_source = 10.0 ** (-row.background_gain_db / 20.0) if exact else 1.0
    level = measure_lufs(a / (32_768.0 * row.scale) * to_source, RATE_HZ) + row.background_gain_db
    if abs(level - row.ref_db) > REF_TOLERANCE_DB:
        yield f"{row.a_file}: measures {level:.2f} LUFS in the mixture, the recipe asks for {row.ref_db}"


def _find_span(layer: Mapping[str, Any]) -> tuple[int, int]:
    """First and last sample of a layer's slice of its source, as Scaper computes them."""
    begin = layer["source_time"]
    return int(begin * RATE_HZ), int((begin + layer["event_duration"]) * RATE_HZ)


def _find_jams_faults(path: str, data: bytes, row: ManifestRow, clip_frames: int, reference_gain: str) -> Iterator[str]:
    try:
        jams = parse_json(data, "it")
        background, event = (item["value"] for item in jams["annotations"][0]["data"])
        found = {
            "roles": (background["role"], event["role"]),
            "snr_db": event["snr"],
            "foreground_file": event["source_file"],
            "category": event["label"],
            "event_span": (event["event_time"], *_find_span(event)),
            "background_file": background["source_file"],
            "background_span": _find_span(background),
            "ref_db": jams["annotations"][0]["sandbox"]["scaper"]["ref_db"],
            "sandbox": jams["sandbox"]["bgknown"],
        }
    except (ValueError, KeyError, IndexError, TypeError, OverflowError) as error:
        yield f"{path}: not the JAMS of such a mixture ({type(error).__name__}: {error})"
        return
    expected = {
        **row.to_columns(TABLE_PREFIXES),
        "roles": ("background", "foreground"),
        "event_span": (0.0, 0, row.event_frames),
        "background_span": (row.a_start, row.a_start + clip_frames),
        "sandbox": describe_work(row, row.scale, reference_gain),
    }
    for name, value in found.items():
        if value != expected[name]:
            yield f"{path}: {name} is {value}, the manifest says {expected[name]}"
